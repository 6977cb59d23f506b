"""Weights of fewer bits: what they are, what cannot be, and the memory that they take."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from spikeport.deploy.mapping.wiring import value_bits, weight_bits
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.graph import SpikingGraph, check
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import levels
from spikeport.export.passes.scales import largest_scales, level_scale, levels_of
from spikeport.export.settings import WEIGHT_BITS
from spikeport.export.simulate import apply, simulate
from spikeport.tests.export.tuning.graphs import gated, spikes_of


@pytest.mark.parametrize("bits", WEIGHT_BITS)
@pytest.mark.parametrize("seed", range(3))
def test_every_projection_is_stored_in_so_many_bits(
    seed: int, bits: int, random_graph: Callable[..., SpikingGraph]
) -> None:
    lowered = lower(random_graph(seed))
    graph, scales = check(quantize(lowered, 5.0, weight_bits=bits)), largest_scales(lowered, 5.0, bits)
    level = levels(graph)
    roles = {p.name: p.role for p in graph.populations}
    for projection in graph.projections:
        weight, one = projection.kernel.weight, scales[level[projection.target]]
        assert value_bits(weight) <= bits and weight_bits(projection, graph, 8) <= bits
        assert np.array_equal(weight % 2, np.zeros_like(weight)) and -256 <= weight.min() <= weight.max() <= 254
        if roles[projection.target] in ("neuron", "readout"):
            assert np.array_equal(weight % one.step, np.zeros_like(weight))
            assert len(np.unique(weight)) <= 2**bits and one.bottom <= weight.min() <= weight.max() <= one.top
    spikes = {"input": spikes_of(graph)}
    fired, exact = simulate(graph, spikes).spikes, simulate(lowered, spikes).spikes
    for name, role in roles.items():  # relays and pools do what they did, whatever the bits
        if role == "relay":
            source = graph.incoming(name)[0].source
            kernel, size = lowered.incoming(name)[0].kernel, graph.shapes()[source]
            carried = apply(kernel, fired[source].reshape(-1, *size)).reshape(fired[name].shape)
            assert np.array_equal(fired[name], carried)
    assert fired["a"].any() and fired.keys() == exact.keys()


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_products_are_exact_in_few_bits(bits: int) -> None:
    graph = gated(decay=0.25)
    chip = quantize(graph, 5.0, weight_bits=bits)
    fired = simulate(chip, {"x": spikes_of(graph)}).spikes
    a, b = fired["a"], fired["b"]
    relayed = next(p.source for p in chip.incoming("any") if p.source.startswith("a"))
    assert np.array_equal(fired[relayed], a) and np.array_equal(fired["any"], a | b)
    assert np.array_equal(fired["not.a"], b & (1 - a)) and fired["not.a"].any()
    assert max(value_bits(p.kernel.weight) for p in chip.incoming("not.a")) <= bits


def test_a_product_that_remembers_in_two_bits_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'not.a': a product .* too much in 2-bit weights; .* or more bits"):
        quantize(replace(gated(decay=0.5), time_steps=9), 5.0, weight_bits=2)  # levels as they are for T = 3


@pytest.mark.parametrize("bits", [1, 7, 9, 0])
def test_other_bits_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match=f"one of 2, 3, 4, 5, 6, 8 bits, but got weight_bits={bits}"):
        quantize(gated(), 5.0, weight_bits=bits)


def test_the_step_is_as_large_as_the_scale_allows() -> None:
    """Weights of 0.5 thresholds in 4 bits: top 7 * 32 = 224 would need a scale of 448, so 7 * 16 = 112 at 224."""
    graph = gated()
    weights = tuple(
        replace(p, kernel=replace(p.kernel, weight=np.clip(p.kernel.weight, -0.5, 0.5))) for p in graph.projections
    )
    flat = tuple(replace(p, threshold=1.0) if p.role == "neuron" else p for p in graph.populations)
    first = levels_of(replace(graph, projections=weights, populations=flat))[0]
    found = level_scale(first, 5.0, 4)
    assert (found.scale, found.step, found.top, found.bottom) == (224, 16, 112, -128)
    clipped = level_scale(first, 5.0, 4, clip=4.0)  # 1/8 of a threshold is the largest: a quarter of the step
    assert (clipped.scale, clipped.step) == (224, 4)


def test_fewer_bits_take_less_memory(random_graph: Callable[..., SpikingGraph]) -> None:
    from spikeport.deploy.mapping.memory import loihi1_memory
    from spikeport.deploy.mapping.wiring import wiring_of

    taken = []
    for bits in (8, 4, 2):
        graph = quantize(lower(random_graph()), 5.0, weight_bits=bits)
        taken.append(0)
        for population in graph.populations:
            box = tuple((0, size) for size in population.shape)
            wirings = [wiring_of(p, graph) for p in graph.incoming(population.name)]
            taken[-1] += loihi1_memory(wirings, box).bits(64)
    assert taken[0] > taken[1] > taken[2]
