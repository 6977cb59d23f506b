"""Products and maxima of spikes are populations: exact in torch's floats, and in the chip's integers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from spikeport.errors import UnsupportedError
from spikeport.export.graph import Population, Projection, SpikeInput, SpikingGraph
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate
from spikeport.export.trace.linear import identity
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.small_network import IMAGES, Small, lif, tuned
from spikeport.tests.export.trace.test_walk import assert_chain_equals_graph, assert_equals_torch, encoded

pytestmark = pytest.mark.slow

Gate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
AND: dict[str, Gate] = {
    "a * b": lambda a, b: a * b,
    "a * (1 - b)": lambda a, b: a * (1.0 - b),
    "(1 - a) * (1 - b)": lambda a, b: torch.mul(1 - a, 1 - b),
    "minimum": torch.minimum,
}
OR: dict[str, Gate] = {"maximum": torch.maximum}
TRUTH: dict[str, Callable[[Any, Any], Any]] = {
    "a * b": lambda a, b: a & b,
    "a * (1 - b)": lambda a, b: a & (1 - b),
    "(1 - a) * (1 - b)": lambda a, b: (1 - a) & (1 - b),
    "minimum": lambda a, b: a & b,
    "maximum": lambda a, b: a | b,
}


class Gated(Small):
    """stem -> LIF -> middle -> LIF, a gate of both, -> LIF."""

    def __init__(self, gate: Gate, **settings: Any) -> None:
        super().__init__(neurons=lif(**settings), between=lif(**settings))
        self.gate = gate

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return 1.2 * self.gate(self.between(self.norm(self.middle(x))), x)


@pytest.mark.parametrize("name", [*AND, *OR])
def test_in_torch_and_on_the_chip(name: str, recorded: Any, same_spikes: Any) -> None:
    network = tuned(Gated((AND | OR)[name]))
    traced = assert_equals_torch(network, recorded, same_spikes)
    (gate,) = [p for p in traced.graph.populations if p.role in ("and", "or")]
    assert gate.role == ("and" if name in AND else "or")
    inputs = encoded(traced, IMAGES)
    assert_chain_equals_graph(traced.graph, inputs)
    chip = quantize(lower(traced.graph), 1.0)
    found = simulate(chip, inputs).spikes
    between, stem = found["between"].astype(int), inputs["stem_lif"].astype(int)
    expected = TRUTH[name](between, stem)
    assert 0.02 < expected.mean() < 0.9
    assert np.array_equal(found[gate.name], expected)


def test_a_weight_too_small_would_be_seen() -> None:
    traced = trace(tuned(Gated(AND["a * b"])), IMAGES[:1], 3)
    chip = quantize(lower(traced.graph), 1.0)
    (gate,) = [p.name for p in chip.populations if p.role == "and"]
    halved = tuple(
        replace(p, kernel=replace(p.kernel, weight=p.kernel.weight / 2)) if p.target == gate else p
        for p in chip.projections
    )
    inputs = encoded(traced, IMAGES)
    right, wrong = (simulate(graph, inputs).spikes[gate] for graph in (chip, replace(chip, projections=halved)))
    assert right.any() and not np.array_equal(right, wrong)


def gate_alone(decay: float, time_steps: int) -> SpikingGraph:
    """Two inputs at an AND, beside a neuron that has its level's decay, and a readout."""
    one = np.zeros(1)
    return SpikingGraph(
        inputs=(SpikeInput(name="a", shape=(1,)), SpikeInput(name="b", shape=(1,))),
        populations=(
            Population(name="and", shape=(1,), decay=0.0, threshold=1.5, bias=one, role="and"),
            Population(name="lif", shape=(1,), decay=decay, threshold=1.0, bias=one),
            Population(name="readout", shape=(1,), decay=1.0, threshold=np.inf, bias=one, role="readout"),
        ),
        projections=tuple(
            Projection(source=source, target=target, kernel=identity((1,)))
            for source, target in (("a", "and"), ("b", "and"), ("a", "lif"), ("and", "readout"), ("lif", "readout"))
        ),
        time_steps=time_steps,
    )


@pytest.mark.parametrize(("decay", "time_steps"), [(0.0, 7), (0.25, 6), (0.5, 5), (0.75, 2)])
def test_every_pattern_of_a_window(decay: float, time_steps: int) -> None:
    patterns = np.arange(4**time_steps)
    bits = (patterns[None, :] >> np.arange(2 * time_steps)[:, None]) & 1
    a, b = bits[::2, :, None].astype(np.uint8), bits[1::2, :, None].astype(np.uint8)  # [T, patterns, 1]
    found = simulate(quantize(gate_alone(decay, time_steps), 1.0), {"a": a, "b": b})
    assert np.array_equal(found.spikes["and"], a & b)


def test_a_level_that_remembers_too_much_is_refused() -> None:
    message = r"Population 'and': a product of spikes must forget one spike before the next, but at T = 4 .* keep 0.75"
    with pytest.raises(UnsupportedError, match=message):
        quantize(gate_alone(0.75, 4), 1.0)


def test_a_gate_on_a_level_of_its_own_has_no_memory(recorded: Any, same_spikes: Any) -> None:
    class Integrators(Gated):
        def __init__(self) -> None:
            super().__init__(AND["a * b"])
            self.between: nn.Module = neuron.IFNode(step_mode="m")
            self.lif = neuron.IFNode(step_mode="m")

    traced = assert_equals_torch(tuned(Integrators()), recorded, same_spikes)
    assert_chain_equals_graph(traced.graph, encoded(traced, IMAGES))
