"""With nothing switched, the replay is simulate.py: every margin, spike and membrane, in both arithmetics."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.deploy.diagnosis.replay import Replay
from spikeport.deploy.diagnosis.rules import meaning_of
from spikeport.deploy.equivalence.conformance import Case, dense_graph, image_graph
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.simulate import Trace, simulate

FAMILIES = {"image": image_graph, "dense": dense_graph}


def equal(graph: SpikingGraph, spikes: np.ndarray, *, forget: tuple[str, ...] = ()) -> bool:
    """Whether the replay on what simulate.py gave is what simulate.py gave. forget: populations not recorded."""
    entry = graph.inputs[0].name
    found: Trace = simulate(graph, {entry: spikes})
    recorded = {name: value for name, value in found.spikes.items() if name not in forget}
    meaning = meaning_of(graph)
    replay = Replay(recorded, meaning)
    same = []
    for p in graph.populations:
        again = replay.population(meaning, p.name)
        if p.name in found.spikes:
            same.append(np.array_equal(again.spikes, found.spikes[p.name]))
        unit = 64 if graph.arithmetic == "loihi" else 1
        threshold = (
            np.asarray(p.threshold).reshape(-1, *[1] * (len(p.shape) - 1)) if np.ndim(p.threshold) == 1 else p.threshold
        )
        same.append(near(again.margins, found.membranes[p.name] - unit * threshold))
    same.append(near(replay.population(meaning, graph.readout.name).left, found.readout))
    return all(same)


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """Integers are equal; floats are added in another order, all steps at once."""
    return np.array_equal(a, b) if a.dtype.kind == "i" else np.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_nothing_switched_is_the_definition_in_integers(family: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case: Case = FAMILIES[family](lambda low, high: int(rng.integers(low, high + 1)))
    assert equal(case.graph, case.spikes)
    names = tuple(p.name for p in case.graph.populations[:-1])
    assert equal(case.graph, case.spikes, forget=names[:2])


def float_graph(seed: int, reset: str) -> tuple[SpikingGraph, np.ndarray]:
    rng = np.random.default_rng(seed)
    populations = [
        Population(
            name=name,
            shape=(7,),
            decay=0.7,
            current_decay=current,
            threshold=1.0,
            bias=rng.normal(0.1, 0.2, 7),
            reset=reset,
        )
        for name, current in (("a", 0.0), ("b", 0.4))
    ]
    readout = Population(name="out", shape=(3,), decay=1.0, threshold=np.inf, bias=rng.normal(size=3), role="readout")
    dense = [Dense(weight=rng.normal(0.2, 0.6, size)) for size in ((7, 5), (7, 7), (7, 7), (3, 7))]
    graph = SpikingGraph(
        inputs=(SpikeInput(name="in", shape=(5,)),),
        populations=(*populations, readout),
        projections=(
            Projection(source="in", target="a", kernel=dense[0], delay=rng.integers(0, 3, (7, 5))),
            Projection(source="a", target="b", kernel=dense[1]),
            Projection(source="b", target="b", kernel=dense[2]),
            Projection(source="b", target="out", kernel=dense[3]),
        ),
        time_steps=9,
    )
    return check(graph), (rng.random((9, 4, 5)) < 0.5).astype(np.uint8)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_nothing_switched_is_the_definition_in_floats(reset: str) -> None:
    graph, spikes = float_graph(1, reset)
    assert equal(graph, spikes)
    assert equal(graph, spikes, forget=("a", "b"))


def test_one_changed_weight_is_seen() -> None:
    graph, spikes = float_graph(1, "zero")
    found = simulate(graph, {"in": spikes})
    weight = graph.projections[1].kernel.weight.copy()
    weight[3, 2] += 1.0
    first, second, *rest = graph.projections
    changed = replace(graph, projections=(first, replace(second, kernel=Dense(weight=weight)), *rest))
    meaning = meaning_of(changed)
    again = Replay(found.spikes, meaning).population(meaning, "b").spikes
    assert set(np.argwhere(again != found.spikes["b"])[:, 2].tolist()) == {3}  # the neuron, and no other
