"""What a network may return: spikes or currents, their mean, sum or last step, or all steps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikeport import run, write_model
from spikeport.errors import UnsupportedError
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.own_networks import (
    assert_file_is_graph,
    assert_graph_is_torch,
    by_hooks,
    settled,
)
from spikeport.tests.export.trace.small_network import Small, lif

T = 3
IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(5))
ENDS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda x: x.mean(0),
    "sum": lambda x: x.sum(0),
    "sum by name": lambda x: torch.sum(x, dim=0),
    "sum divided": lambda x: x.sum(0) / T,
    "last step": lambda x: x[-1],
    "last step by number": lambda x: x[T - 1],
    "all steps": lambda x: x,
}


class Ending(Small):
    def __init__(self, end: Callable[[torch.Tensor], Any], last: nn.Module | None = None) -> None:
        super().__init__()
        self.end, self.last = end, last or nn.Identity()

    def head(self, x: torch.Tensor) -> Any:
        return self.end(self.last(self.readout(x.flatten(2))))


def network(end: str, spikes: bool) -> nn.Module:
    return settled(lambda: Ending(ENDS[end], lif() if spikes else None), drive=1.6)


@pytest.mark.parametrize("spikes", [False, True], ids=["currents", "spikes"])
@pytest.mark.parametrize("end", ENDS)
def test_the_readout_is_what_torch_returns(tmp_path: Path, end: str, spikes: bool) -> None:
    ending = network(end, spikes)
    traced = assert_graph_is_torch(ending, IMAGES, T)
    assert traced.graph.readout.decay == (0.0 if end.startswith("last") else 1.0)
    if end in ("sum", "last step", "all steps"):
        assert_file_is_graph(tmp_path / "x.net", traced, ending, IMAGES)


@pytest.mark.parametrize("end", ["sum", "last step", "all steps"])
def test_a_scale_of_another_end_is_seen(end: str) -> None:
    """Twin: with the readout of another end, or one weight changed, the logits differ."""
    ending = network(end, True)
    fired, answer = by_hooks(ending, IMAGES)
    wanted = answer.mean(0) if answer.ndim == 3 else answer
    graph = trace(ending, IMAGES[:1], T).graph
    inputs = {graph.inputs[0].name: fired["stem_lif"]}
    other = replace(graph.readout, decay=1.0 - graph.readout.decay)
    changed = replace(graph, populations=(*graph.populations[:-1], other))
    assert not np.allclose(simulate(changed, inputs).readout[-1], wanted, atol=1e-5)
    with torch.no_grad():
        ending.readout.weight[0] += 0.5
    broken = simulate(trace(ending, IMAGES[:1], T).graph, inputs)
    assert not np.array_equal(broken.spikes["last"], fired["last"])


class Further(Ending):
    def __init__(self, end: Callable[[torch.Tensor], Any]) -> None:
        super().__init__(end, lif())
        self.more = nn.Linear(4, 3)

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0 * self.more(super().head(x)) + 1.0


@pytest.mark.parametrize("end", ["sum", "last step"])
def test_a_linear_layer_behind_the_end(end: str) -> None:
    assert_graph_is_torch(settled(lambda: Further(ENDS[end]), drive=1.6), IMAGES, T)


def test_the_onnx_file_and_the_runner_answer_with_the_mean_of_all_steps(tmp_path: Path) -> None:
    ending = network("all steps", True)
    found = run(write_model(tmp_path / "model.onnx", ending, IMAGES), IMAGES.numpy())
    fired, answer = by_hooks(ending, IMAGES)
    assert answer.shape == (T, 3, 4)
    assert np.allclose(found.readout, answer.mean(0), atol=1e-6)
    assert np.array_equal(found.spikes["last"], fired["last"])


REFUSED: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "the first step": (lambda x: x[0], r"of 3 time steps only the last one can be the answer, x\[-1\], but step 0 is"),
    "the mean and the last step": (lambda x: x.mean(0) + x[-1], "only currents of the same shape can be added"),
    "the largest": (lambda x: x.amax(0), "'amax' has no rule for spikes"),
    "a sum twice": (lambda x: x.sum(0).sum(0), "after the mean over time only linear layers have a rule"),
    "a sum that keeps time": (lambda x: x.sum(0, keepdim=True), "'sum' has no rule"),
    "two answers": (lambda x: [x, x], "one number for each class.* but it returns a list"),
    "a dictionary": (lambda x: {"out": x}, "one number for each class.* but it returns a dict"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_ends_are_refused(case: str) -> None:
    end, message = REFUSED[case]
    with pytest.raises(UnsupportedError, match=message):
        trace(settled(lambda: Ending(end)), IMAGES[:1], T)
