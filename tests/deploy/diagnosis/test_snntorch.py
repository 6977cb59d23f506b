"""snnTorch itself against a graph of ours: what it does otherwise is named, by the rules that its documentation has.

snnTorch fires on mem > threshold and subtracts at the step after, its default; its reset to zero is ours
(snntorch 1.0.0, _neurons/leaky.py).
"""

from typing import Any

import numpy as np
import pytest
import torch

from spikeport.deploy.diagnosis.diagnose import diagnose
from spikeport.deploy.run.record import Record
from spikeport.export.graph import SpikingGraph

from .by_hand import small, spikes_for

snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed; it is a peer to test against only")


def by_snntorch(graph: SpikingGraph, spikes: np.ndarray, mechanism: str) -> Record:
    """The chain of a graph as snnTorch's Leaky computes it, step by step in float32."""
    fired: dict[str, Any] = {"input": spikes}
    before = torch.from_numpy(spikes).float()
    for population in graph.populations[:-1]:
        (projection,) = graph.incoming(population.name)
        weight, bias = (
            torch.from_numpy(np.asarray(x, np.float32)) for x in (projection.kernel.weight, population.bias)
        )
        leaky = snntorch.Leaky(beta=float(population.decay), threshold=1.0, reset_mechanism=mechanism)
        membrane, steps = leaky.init_leaky(), []
        for came in before:
            if weight.ndim == 4:
                current = torch.nn.functional.conv2d(came, weight, bias, padding=1)
            else:
                current = came.flatten(1) @ weight.T + bias
            spike, membrane = leaky(current, membrane)
            steps.append(spike.detach())
        before = torch.stack(steps)
        fired[population.name] = before.numpy().astype(np.uint8)
    return Record(spikes=fired, readout=np.zeros((spikes.shape[1], 0)), margins={})


@pytest.mark.parametrize(
    ("mechanism", "says"),
    [
        ("subtract", "resets by subtraction one step late"),
        ("none", "does not reset"),
    ],
)
def test_what_snntorch_does_otherwise(mechanism: str, says: str) -> None:
    net = small("float", ties=True)
    spikes = spikes_for(net)
    found = diagnose(net.graph(), by_snntorch(net.graph(), spikes, mechanism), spikes)
    (cause,) = found.causes
    assert (cause.name, cause.everywhere) == (says, True)
    assert cause.also is not None and cause.also.startswith("fires on v > threshold only")
    assert found.notes == ("answers were not compared: the candidate has none",)


def test_its_reset_to_zero_is_ours() -> None:
    net = small("float", ties=True)
    spikes = spikes_for(net)
    found = diagnose(net.graph(), by_snntorch(net.graph(), spikes, "zero"), spikes)
    assert [(cause.rule, cause.name) for cause in found.causes] == [("tie rule", "fires on v > threshold only")]
