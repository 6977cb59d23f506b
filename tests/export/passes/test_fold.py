"""Dead populations and parallel projections."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from spikeport.export.graph import Conv, Dense, Kernel, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.passes import lower
from spikeport.export.passes.fold import fold
from spikeport.export.simulate import apply, simulate

RNG = np.random.default_rng(0)


def parallel(*kernels: Kernel) -> SpikingGraph:
    """x =kernels=> a -> readout"""
    a = Population(name="a", shape=(2, 8, 8), decay=0.5, threshold=1.0, bias=np.zeros(2))
    readout = Population(name="readout", shape=(1,), decay=1.0, threshold=np.inf, bias=np.zeros(1), role="readout")
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="x", shape=(2, 8, 8)),),
            populations=(a, readout),
            projections=(
                *(Projection(source="x", target="a", kernel=kernel) for kernel in kernels),
                Projection(source="a", target="readout", kernel=Dense(weight=np.ones((1, 128)))),
            ),
            time_steps=1,
        )
    )


def conv(size: int, dilation: int = 1) -> Conv:
    padding = dilation * (size // 2)
    weight = RNG.normal(size=(2, 2, size, size))
    return Conv(weight=weight, padding=(padding, padding), dilation=(dilation, dilation))


def kernels_after(graph: SpikingGraph) -> list[Kernel]:
    return [p.kernel for p in fold(graph).incoming("a")]


def sums_to(found: list[Kernel], kernels: tuple[Kernel, ...]) -> bool:
    spikes = RNG.integers(0, 2, (2, 2, 8, 8))
    return np.allclose(sum(apply(k, spikes) for k in found), sum(apply(k, spikes) for k in kernels))


def test_dead_populations_go(random_graph: Callable[..., SpikingGraph]) -> None:
    graph = random_graph()
    folded = fold(graph)
    assert {p.name for p in graph.populations} - {p.name for p in folded.populations} == {"dead"}
    assert len(folded.projections) == len(graph.projections) - 2  # the dead one, and input -> a merged
    assert folded.inputs == graph.inputs


def test_skip_and_convolution_become_one() -> None:
    kernels = (conv(1), conv(3), conv(5))
    (one,) = found = kernels_after(parallel(*kernels))
    assert one.weight.shape == (2, 2, 5, 5)
    assert sums_to(found, kernels)


def test_merging_goes_on_until_nothing_merges() -> None:
    # 3x3 and dilated 3x3 would need 25 taps instead of 18; once a 5x5 has joined, they all fit into it.
    kernels = (conv(3), conv(3, dilation=2), conv(5))
    assert len(kernels_after(parallel(*kernels[:2]))) == 2
    (one,) = found = kernels_after(parallel(*kernels))
    assert one.weight.shape == (2, 2, 5, 5)
    assert sums_to(found, kernels)


def test_unequal_strides_and_groups_stay_apart() -> None:
    depthwise = replace(conv(3), weight=RNG.normal(size=(2, 1, 3, 3)), groups=2)
    assert len(kernels_after(parallel(conv(3), depthwise))) == 2
    wide = Conv(weight=RNG.normal(size=(2, 2, 2, 2)), stride=(2, 2), padding=(4, 4))  # also 8x8
    assert len(kernels_after(parallel(conv(3), wide))) == 2


def test_matrices_add() -> None:
    graph = parallel(conv(3))
    twice = replace(graph, projections=(*graph.projections, graph.projections[-1]))
    (one,) = fold(twice).incoming("readout")
    assert np.array_equal(one.kernel.weight, np.full((1, 128), 2.0))


def test_delayed_synapses_stay() -> None:
    """Of three matrices from the same source the two without delays add up, and the network computes the same."""
    graph = parallel(conv(3))
    (last,) = (p for p in graph.projections if p.target == "readout")
    delay = np.arange(128, dtype=np.int64).reshape(1, 128) % 3
    graph = replace(graph, projections=(*graph.projections, last, replace(last, delay=delay)), time_steps=5)
    found = fold(graph)
    assert [p.delay is None for p in found.incoming("readout")] == [False, True]
    assert len(found.incoming("readout")) == 2 and fold(found) == found
    name, shape = graph.inputs[0].name, graph.inputs[0].shape
    spikes = {name: (RNG.random((5, 3, *shape)) < 0.5).astype(np.uint8)}
    before = simulate(graph, spikes)
    assert np.allclose(simulate(found, spikes).readout, before.readout)
    assert np.allclose(simulate(lower(graph), spikes).readout, before.readout)
    without = replace(found, projections=tuple(replace(p, delay=None) for p in found.projections))
    assert not np.allclose(simulate(without, spikes).readout, before.readout)
