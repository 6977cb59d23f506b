"""The chip's integers as real numbers: the same spikes and the same readout, to the last bit, or a refusal."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeport.errors import UnsupportedError
from spikeport.export.graph import Population, SpikingGraph, check
from spikeport.export.passes import lower
from spikeport.export.passes.dequantize import dequantize
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate


def changed(graph: SpikingGraph, name: str, **more: Any) -> SpikingGraph:
    return replace(graph, populations=tuple(replace(p, **more) if p.name == name else p for p in graph.populations))


@pytest.mark.parametrize("seed", range(6))
def test_the_same_numbers(seed: int, random_graph: Callable[..., SpikingGraph], random_spikes: Any) -> None:
    graph = quantize(lower(random_graph(seed)), peak=8.0)
    graph = replace(
        graph, populations=tuple(replace(p, decay=0.5 if p.decay not in (0, 1) else p.decay) for p in graph.populations)
    )
    inputs = random_spikes(graph, seed=seed)
    real = check(dequantize(graph))
    before, after = simulate(graph, inputs), simulate(real, inputs)
    assert graph.time_steps <= 7 and real.arithmetic == "float"
    assert all(np.array_equal(before.spikes[name], after.spikes[name]) for name in before.spikes)
    assert np.array_equal(before.readout, after.readout)
    off = changed(real, "b", threshold=float(real.populations[1].threshold) * 0.7)
    assert any((before.spikes[n] != s).any() for n, s in simulate(off, inputs).spikes.items())
    assert dequantize(real) is real


def test_a_membrane_at_its_threshold_does_not_fire() -> None:
    """64 * threshold itself is silent on the chip, one unit above fires."""
    from spikeport.export.graph import Dense, Projection, SpikeInput

    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="in", shape=(1,)),),
            populations=(
                Population(name="at", shape=(2,), decay=0.5, threshold=5.0, bias=np.array([0.0, 1.0])),
                Population(
                    name="readout", shape=(1,), decay=1.0, threshold=2.0**17 - 1, bias=np.zeros(1), role="readout"
                ),
            ),
            projections=(
                Projection(source="in", target="at", kernel=Dense(weight=np.array([[5.0], [5.0]]))),
                Projection(source="at", target="readout", kernel=Dense(weight=np.array([[2.0, 4.0]]))),
            ),
            time_steps=3,
            arithmetic="loihi",
        )
    )
    spikes = {"in": np.array([1, 0, 0], np.uint8).reshape(3, 1, 1)}
    found, expected = simulate(dequantize(graph), spikes), simulate(graph, spikes)
    assert expected.spikes["at"][0, 0].tolist() == [0, 1]
    assert np.array_equal(found.spikes["at"], expected.spikes["at"])
    assert found.readout.ravel().tolist() == expected.readout.ravel().tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decay": 3000 / 4096}, "its integers round when they decay, 9 bits a step, which shows after 1 of 3 steps"),
        ({"threshold": np.full((4,), 100.0)}, "each neuron has a threshold or bias of its own"),
        ({"decay": np.full((4,), 0.5)}, "each neuron has a decay of its own"),
        ({"bias": np.full((4,), 2.0**17)}, "its membranes may leave 24 bits, where the chip saturates"),
    ],
)
def test_what_would_round_or_saturate(change: dict[str, Any], said: str, quantized: SpikingGraph) -> None:
    first = quantized.populations[0]
    change = {k: np.full(first.shape[:1], v.ravel()[0]) if isinstance(v, np.ndarray) else v for k, v in change.items()}
    with pytest.raises(UnsupportedError, match=f"Population '{first.name}': {said}"):
        dequantize(changed(quantized, first.name, **change))


def test_a_network_that_ends_in_spikes_or_a_readout_that_fires(quantized: SpikingGraph) -> None:
    last = quantized.readout.name
    with pytest.raises(UnsupportedError, match="the readout fires above 3"):
        dequantize(changed(quantized, last, threshold=3.0))
    with pytest.raises(UnsupportedError, match="spikes, but a float graph ends in a readout"):
        dequantize(changed(quantized, last, role="neuron"))
