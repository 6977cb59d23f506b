"""Levels, and the relays that carry spikes over them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from spikeport.export.graph import Dense, Population, Projection, Role, SpikeInput, SpikingGraph, check, neurons
from spikeport.export.passes.fold import fold
from spikeport.export.passes.relays import Levels, cheapest_levels, insert_relays, levels
from spikeport.export.simulate import simulate


def test_levels(random_graph: Callable[..., SpikingGraph]) -> None:
    assert levels(fold(random_graph())) == {"input": 0, "a": 1, "or": 2, "b": 2, "c": 3, "readout": 4}


def test_every_projection_spans_one_level(random_graph: Callable[..., SpikingGraph]) -> None:
    graph = check(insert_relays(fold(random_graph())))
    level = levels(graph)
    assert {level[p.target] - level[p.source] for p in graph.projections} == {1}
    relays = [p for p in graph.populations if p.role == "relay"]
    assert [p.name for p in relays] == ["a.relay1", "b.relay1"]  # a -> c and b -> readout skip one level each
    assert all(p.decay == 0.0 and not p.bias.any() for p in relays)


def test_relay_spikes_are_their_sources(random_graph: Any, random_spikes: Any) -> None:
    graph = insert_relays(random_graph())
    spikes = simulate(graph, random_spikes(graph)).spikes
    relays = [name for name in spikes if ".relay" in name]
    assert relays
    for name in relays:
        source = spikes[name.split(".relay")[0]]
        read = source[..., ::2, ::2] if name == "a.relay1" else source  # a's late reader has stride 2 and dilation 2
        assert 0 < spikes[name].mean() < 1
        assert np.array_equal(spikes[name], read)


def test_flat_spikes_and_inputs_are_carried_too(random_graph: Any, random_spikes: Any) -> None:
    # readout also reads the input itself, 4 levels before it: three relays
    graph = random_graph()
    direct = replace(graph.projections[-1], source="input", kernel=Dense(weight=np.ones((4, 96))))
    graph = replace(graph, projections=(*graph.projections, direct))
    carried = insert_relays(graph)
    assert sum(p.name.startswith("input.relay") for p in carried.populations) == 3
    inputs = random_spikes(graph)
    np.testing.assert_allclose(simulate(carried, inputs).readout, simulate(graph, inputs).readout, atol=1e-9)


def test_the_readout_is_alone_on_the_last_level(random_graph: Callable[..., SpikingGraph]) -> None:
    # readout reads a only; b and c, though dead, lie on levels 2 and 3
    graph = random_graph()
    shallow = replace(graph.projections[-1], source="a", kernel=Dense(weight=np.ones((4, 144))))
    kept = tuple(p for p in graph.projections if p.target != "readout")
    graph = insert_relays(replace(graph, projections=(*kept, shallow)))
    level = levels(graph)
    assert [name for name in level if level[name] == max(level.values())] == ["readout"]


def _cost(graph: SpikingGraph, level: Levels) -> float:
    """Relay neurons that these levels need; infinite where a projection spans no level."""
    shapes, total = graph.shapes(), 0.0
    for name in shapes:
        readers = [level[p.target] for p in graph.outgoing(name)]
        if any(reader <= level[name] for reader in readers):
            return np.inf
        total += neurons(shapes[name]) * (max(readers) - 1 - level[name]) if readers else 0
    return total


@pytest.mark.parametrize("seed", range(8))
def test_cheapest_levels_are_the_best_of_all(seed: int) -> None:
    """Five flat populations of random sizes, random projections: every assignment of levels is tried."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, 6)
    names = ["x", *"abcd", "readout"]
    pairs = [(i, j) for j in range(1, 6) for i in range(j) if i == j - 1 or rng.random() < 0.4]
    pairs += [(i, 5) for i in range(1, 5) if rng.random() < 0.5 and (i, 5) not in pairs]
    if seed % 2:  # branches of unequal length, not one chain
        pairs = [(i, j) for i, j in pairs if (i, j) not in ((1, 2), (3, 4))] + [(0, 2), (0, 4)]
    graph = SpikingGraph(
        inputs=(SpikeInput(name="x", shape=(int(sizes[0]),)),),
        populations=tuple(
            Population(
                name=name,
                shape=(int(size),),
                decay=0.5,
                threshold=1.0,
                bias=np.zeros(size),
                role="readout" if name == "readout" else "neuron",
            )
            for name, size in zip(names[1:], sizes[1:], strict=True)
        ),
        projections=tuple(
            Projection(source=names[i], target=names[j], kernel=Dense(weight=rng.normal(size=(sizes[j], sizes[i]))))
            for i, j in sorted(set(pairs), key=lambda pair: pair[1])
        ),
        time_steps=2,
    )
    graph = fold(check(graph))
    depth = max(levels(graph).values())
    free = [p.name for p in graph.populations[:-1]]
    assignments = product(range(1, depth + 1), repeat=len(free))
    best = min(
        _cost(graph, {"x": 0, **dict(zip(free, chosen, strict=True)), "readout": depth}) for chosen in assignments
    )
    cheapest = cheapest_levels(graph)
    assert _cost(graph, cheapest) == best
    assert max(cheapest.values()) == depth
    relayed = insert_relays(graph)
    assert sum(neurons(p.shape) for p in relayed.populations if p.role == "relay") == best
    assert {name: level for name, level in levels(relayed).items() if name in cheapest} == cheapest


def test_cheapest_levels_carry_the_smaller_side() -> None:
    """x(20) -> a(1) -> b .. and a needed late: a early and its one neuron relayed, not the 20 of x."""

    def population(name: str, size: int, role: Role = "neuron") -> Population:
        return Population(name=name, shape=(size,), decay=0.5, threshold=1.0, bias=np.zeros(size), role=role)

    def projection(source: str, target: str, shape: tuple[int, int]) -> Projection:
        return Projection(source=source, target=target, kernel=Dense(weight=np.ones(shape)))

    graph = SpikingGraph(
        inputs=(SpikeInput(name="x", shape=(20,)),),
        populations=(
            population("big", 30),
            population("small", 2),
            population("next", 4),
            population("late", 50),
            population("readout", 3, "readout"),
        ),
        projections=(
            projection("x", "big", (30, 20)),
            projection("big", "small", (2, 30)),
            projection("small", "next", (4, 2)),
            projection("x", "late", (50, 20)),
            projection("next", "readout", (3, 4)),
            projection("late", "readout", (3, 50)),
        ),
        time_steps=1,
    )
    assert levels(graph)["late"] == 1
    assert cheapest_levels(graph)["late"] == 3  # 20 neurons of x carried over two levels beat 50 of `late`
    soonest, cheapest = insert_relays(graph, levels), insert_relays(graph)
    relays = [sum(neurons(p.shape) for p in g.populations if p.role == "relay") for g in (soonest, cheapest)]
    assert relays == [100, 40]
