"""The chip's neurons in torch against the definition, where numbers are largest and decays most awkward."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import surrogate

from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph
from spikeport.export.simulate import simulate
from spikeport.export.tuning.agreement import run_graph
from spikeport.export.tuning.arithmetic import UNIT, chip_neurons

SIZE = 64


def chip(rng: np.random.Generator, decay: float, current_decay: float, largest: int) -> SpikingGraph:
    """x(64) -> a(64) -> readout(4) in integers; sums of weights up to 64 * largest."""
    weight = 2.0 * rng.integers(-largest // 2, largest // 2 + 1, (SIZE, SIZE))
    a = Population(
        name="a",
        shape=(SIZE,),
        decay=decay,
        current_decay=current_decay,
        threshold=float(rng.integers(1, 1 << 17)),
        bias=rng.integers(-4095, 4096, SIZE).astype(np.float64),
    )
    readout = replace(a, name="readout", shape=(4,), bias=np.zeros(4), decay=1.0, current_decay=0.0, role="readout")
    return SpikingGraph(
        inputs=(SpikeInput(name="x", shape=(SIZE,)),),
        populations=(a, replace(readout, threshold=2.0**17 - 1)),
        projections=(
            Projection(source="x", target="a", kernel=Dense(weight=weight)),
            Projection(source="a", target="readout", kernel=Dense(weight=weight[:4])),
        ),
        time_steps=6,
        arithmetic="loihi",
    )


@pytest.mark.parametrize("largest", [8, 254, 16384])  # the last lets currents wrap and membranes saturate
@pytest.mark.parametrize("current_decay", [0.0, 0.5, 3001 / 4096])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.25, 1.0, 1 / 4096, 4095 / 4096, 1234 / 4096])
def test_every_spike_and_membrane(decay: float, current_decay: float, largest: int) -> None:
    rng = np.random.default_rng(largest)
    graph = chip(rng, decay, current_decay, largest)
    spikes = (rng.random((6, 16, SIZE)) < 0.5).astype(np.uint8)
    wanted = simulate(graph, {"x": spikes})
    fired, readout = run_graph(graph, torch.from_numpy(spikes))
    assert np.array_equal(fired["a"].numpy(), wanted.spikes["a"])
    assert np.array_equal(readout.numpy(), wanted.readout)
    currents = torch.from_numpy(spikes.astype(np.float64) @ graph.projections[0].kernel.weight.T)
    _, membranes = chip_neurons(graph.populations[0], 1.0, currents, torch.from_numpy(graph.populations[0].bias))
    reset = np.where(wanted.spikes["a"] > 0, 0, wanted.membranes["a"])
    assert np.array_equal(membranes.numpy(), reset)


def test_the_largest_numbers_are_reached() -> None:
    rng = np.random.default_rng(16384)
    graph = chip(rng, 1.0, 0.5, 16384)
    spikes = (rng.random((6, 16, SIZE)) < 0.5).astype(np.uint8)
    assert np.abs(simulate(graph, {"x": spikes}).membranes["a"]).max() == 2**23 - 1


def test_the_surrogate_is_spikingjelly_s_in_the_units_of_the_float_neuron() -> None:
    threshold, scale = 1.5, 100
    one = Population(name="a", shape=(1,), decay=0.0, threshold=float(scale - 1), bias=np.zeros(1))
    currents = torch.arange(0, 200, 2.0, requires_grad=True)
    spikes, _ = chip_neurons(one, threshold, currents.reshape(1, -1, 1), torch.zeros(1))
    spikes.sum().backward()
    v = torch.tensor((currents.detach() * threshold / scale - threshold).numpy(), requires_grad=True)
    surrogate.ATan()(v).sum().backward()
    assert currents.grad is not None and v.grad is not None
    torch.testing.assert_close(currents.grad, v.grad * threshold / scale)
    assert torch.equal(spikes.flatten(), (currents >= scale).float()) and UNIT == 64
