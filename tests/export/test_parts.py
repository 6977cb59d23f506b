"""A graph in parts, JSON and arrays, comes back as it was: delays, registers of each neuron, an endless threshold."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.parts import graph_of, parts_of


def drawn(arithmetic: str) -> SpikingGraph:
    draw = np.random.default_rng(3)
    many = arithmetic == "loihi"
    first = Population(
        name="first",
        shape=(4,),
        decay=draw.integers(0, 4096, 4) / 4096 if many else 0.3,
        threshold=draw.integers(1, 99, 4).astype(np.float64) if many else 0.7,
        bias=draw.integers(-9, 9, 4).astype(np.float64),
        current_decay=0.25,
    )
    readout = Population(
        name="readout", shape=(2,), decay=1.0, threshold=131071.0 if many else np.inf, bias=np.zeros(2), role="readout"
    )
    graph = SpikingGraph(
        inputs=(SpikeInput(name="in", shape=(3,)),),
        populations=(first, readout),
        projections=(
            Projection(source="in", target="first", kernel=Dense(weight=draw.normal(size=(4, 3)))),
            Projection(
                source="in",
                target="first",
                kernel=Dense(weight=draw.normal(size=(4, 3))),
                delay=draw.integers(0, 5, (4, 3)),
            ),
            Projection(source="first", target="first", kernel=Dense(weight=draw.normal(size=(4, 4)))),
            Projection(source="first", target="readout", kernel=Dense(weight=draw.normal(size=(2, 4)))),
        ),
        time_steps=3,
    )
    return check(replace(graph, arithmetic=arithmetic))


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
def test_it_comes_back(arithmetic: str) -> None:
    graph = drawn(arithmetic)
    head, arrays = parts_of(graph)
    again = graph_of(json.loads(json.dumps(head)), arrays.__getitem__, arrays.__contains__)
    other, others = parts_of(again)
    assert other == head and others.keys() == arrays.keys()
    assert all(np.array_equal(others[name], arrays[name]) for name in arrays)
    assert np.array_equal(again.projections[1].delay, graph.projections[1].delay)
    assert again.projections[0].delay is None and again.readout.threshold == graph.readout.threshold


@pytest.mark.parametrize("change", [{"format": 2}, {"arithmetic": "fixed"}, {"time_steps": 1.5}, {"inputs": []}])
def test_another_head_is_refused(change: dict[str, object]) -> None:
    head, arrays = parts_of(drawn("float"))
    with pytest.raises((ValueError, InputError)):
        graph_of(json.loads(json.dumps(head | change)), arrays.__getitem__, arrays.__contains__)
