"""Which populations share a level: equal leaks, and products where they forget."""

import numpy as np
import pytest

from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph
from spikeport.export.passes import lower
from spikeport.export.passes.neighbours import may_share, one_after_the_other
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import levels
from spikeport.export.simulate import simulate


def population(name: str, decay: float = 0.5, role: str = "neuron", current: float = 0.0) -> Population:
    threshold = {"and": 1.5, "readout": np.inf}.get(role, 0.8)
    return Population(
        name=name, shape=(2,), decay=decay, threshold=threshold, bias=np.zeros(2), current_decay=current, role=role
    )


@pytest.mark.parametrize(
    ("a", "b", "steps", "may"),
    [
        (population("a"), population("b"), 9, True),
        (population("a"), population("b", 0.25), 9, False),
        (population("a"), population("b", current=0.5), 9, False),
        (population("a", 0.0, "or"), population("b", 0.9), 9, True),
        (population("a", 0.0, "or"), population("b", current=0.5), 9, False),
        (population("a", 0.0, "and"), population("b", 0.5), 4, True),
        (population("a", 0.0, "and"), population("b", 0.5), 5, False),
        (population("a", 1.0), population("b", 0.0, "and"), 2, False),
        (population("a", 0.0, "and"), population("b", 0.0, "or"), 9, True),
        (population("a", 0.0, "and"), population("b", 0.0, "and"), 9, True),
    ],
)
def test_pairs(a: Population, b: Population, steps: int, may: bool) -> None:
    assert may_share(a, b, steps) is may_share(b, a, steps) is may


def side_by_side(decays: list[float], product: bool, steps: int) -> SpikingGraph:
    """An input into neurons of these decays side by side, all of them into the readout; and an AND of the input."""
    names = [f"n{i}" for i in range(len(decays))]
    inner = [population(name, decay) for name, decay in zip(names, decays, strict=True)]
    if product:
        inner.append(population("and", 0.0, "and"))
    last = population("readout", 1.0, "readout")
    swapped = np.eye(2) + np.eye(2)[::-1]
    kernels = {p.name: swapped if p.role == "and" else np.eye(2) * 0.6 for p in inner}
    projections = [Projection(source="x", target=p.name, kernel=Dense(weight=kernels[p.name])) for p in inner]
    projections += [Projection(source=p.name, target="readout", kernel=Dense(weight=np.eye(2) * 1.5)) for p in inner]
    return SpikingGraph(
        inputs=(SpikeInput(name="x", shape=(2,)),),
        populations=(*inner, last),
        projections=tuple(projections),
        time_steps=steps,
    )


@pytest.mark.parametrize(("decays", "product", "steps"), [([0.5, 0.25, 0.5], False, 3), ([1.0, 1.0], True, 6)])
def test_those_that_may_not_lie_one_after_the_other(decays: list[float], product: bool, steps: int) -> None:
    graph = side_by_side(decays, product, steps)
    lowered = lower(graph)
    level = levels(lowered)
    there = [[p for p in lowered.populations if level[p.name] == n] for n in range(1, max(level.values()) + 1)]
    assert all(may_share(a, b, steps) for members in there for a in members for b in members)
    assert max(level.values()) == 3  # no deeper than it must be: two levels of neurons, one of the readout
    spikes = {"x": (np.random.default_rng(0).random((steps, 8, 2)) < 0.6).astype(np.uint8)}
    exact, found = simulate(graph, spikes), simulate(quantize(lowered, 20.0), spikes)
    assert all(np.array_equal(found.spikes[p.name], exact.spikes[p.name]) for p in graph.populations[:-1])
    assert all(0 < exact.spikes[p.name].mean() < 1 for p in graph.populations[:-1])


def test_equal_ones_need_no_order() -> None:
    graph = side_by_side([0.5, 0.5], True, 3)
    assert one_after_the_other(graph, levels(graph)) == [] and max(levels(lower(graph)).values()) == 2
