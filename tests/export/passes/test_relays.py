"""Levels, and the relays that carry spikes over them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from spikeport.export.graph import Dense, SpikingGraph, check
from spikeport.export.passes.fold import fold
from spikeport.export.passes.relays import insert_relays, levels
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
        assert 0 < spikes[name].mean() < 1
        assert np.array_equal(spikes[name], spikes[name.split(".relay")[0]])


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
