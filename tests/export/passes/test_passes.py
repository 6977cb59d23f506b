"""The contract of every pass: input unchanged, same spikes, twice = once; and that breaking a weight shows."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import pytest

from spikeport.export.graph import SpikingGraph, check
from spikeport.export.passes import LOIHI_PASSES, Pass, lower
from spikeport.export.passes.fold import fold
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import insert_relays
from spikeport.export.passes.spread import spread
from spikeport.export.simulate import simulate

FLOAT: tuple[Pass, ...] = (fold, insert_relays, lower)
ALL: tuple[Pass, ...] = (*FLOAT, partial(quantize, peak=8.0))


def equal(a: Any, b: Any) -> bool:
    """Graphs by value, arrays included."""
    return repr_of(a) == repr_of(b)


def repr_of(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return (x.shape, x.dtype.str, x.tobytes())
    if isinstance(x, tuple):
        return tuple(repr_of(item) for item in x)
    if hasattr(x, "__dataclass_fields__"):
        return tuple(repr_of(getattr(x, name)) for name in x.__dataclass_fields__)
    return x


def prepared(run: Pass, graph: SpikingGraph) -> SpikingGraph:
    """quantize takes a graph whose projections span one level; all others take any."""
    return graph if run in FLOAT else lower(graph)


@pytest.mark.parametrize("run", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_input_unchanged_and_twice_is_once(run: Pass, seed: int, random_graph: Callable[..., SpikingGraph]) -> None:
    graph = prepared(run, random_graph(seed))
    before = deepcopy(graph)
    once = check(run(graph))
    assert equal(graph, before)
    assert equal(run(once), once)


@pytest.mark.parametrize("run", FLOAT)
@pytest.mark.parametrize("seed", range(3))
def test_same_numbers(
    run: Pass, seed: int, random_graph: Any, random_spikes: Any, same_spikes: Any, broken: Any
) -> None:
    graph = random_graph(seed)
    inputs = random_spikes(graph, seed=seed)
    before, after = simulate(graph, inputs), simulate(run(graph), inputs)
    rates = [before.spikes[name].mean() for name in "abc"]
    assert min(rates) > 0.02 and max(rates) < 0.95
    assert same_spikes(before.spikes, after.spikes, least=5)
    np.testing.assert_allclose(after.readout, before.readout, atol=1e-9)
    wrong = simulate(broken(run(graph), "b", "c"), inputs)
    assert not same_spikes(before.spikes, wrong.spikes)


def test_the_order() -> None:
    assert (fold, spread, insert_relays) == LOIHI_PASSES
