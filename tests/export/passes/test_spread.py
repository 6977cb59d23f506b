"""What is repeated over a map is fired at every place of it, and computes the same; what cannot be stays."""

from dataclasses import replace

import numpy as np
import pytest

from spikeport.export.graph import Conv, Dense, Kernel, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.passes.spread import spread
from spikeport.export.simulate import simulate

ONES = Conv(weight=np.eye(2)[:, :, None, None] * np.ones((3, 4)))  # 2x3x4 -> 2x1x1
REPEATED = Conv(weight=np.eye(2)[:, :, None, None] * np.ones((3, 4)), padding=(2, 3))  # 2x1x1 -> 2x3x4


def neurons(name: str, *shape: int, threshold: float = 1.0) -> Population:
    bias = np.linspace(-0.2, 0.4, shape[0])
    return Population(name=name, shape=shape, decay=0.5, threshold=threshold, bias=bias)


def summing(sums: Kernel = ONES, repeats: Kernel = REPEATED) -> SpikingGraph:
    """a [2, 3, 4] -> b [2, 1, 1] -> c [2, 3, 4], and b -> d [3, 1, 1]; b and c -> readout."""
    random = np.random.default_rng(0)

    def joined(source: str, target: str, kernel: Kernel) -> Projection:
        return Projection(source=source, target=target, kernel=kernel)

    last = Population(name="readout", shape=(4,), decay=1.0, threshold=np.inf, bias=np.zeros(4), role="readout")
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="a", shape=(2, 3, 4)),),
            populations=(neurons("b", 2, 1, 1, threshold=4.0), neurons("c", 2, 3, 4), neurons("d", 3, 1, 1), last),
            projections=(
                joined("a", "b", sums),
                joined("a", "c", Conv(weight=random.normal(size=(2, 2, 3, 3)), padding=(1, 1))),
                joined("b", "c", repeats),
                joined("b", "d", Conv(weight=random.normal(size=(3, 2, 1, 1)))),
                joined("b", "readout", Dense(weight=random.normal(size=(4, 2)))),
                joined("c", "readout", Dense(weight=random.normal(size=(4, 24)))),
                joined("d", "readout", Dense(weight=random.normal(size=(4, 3)))),
            ),
            time_steps=4,
        )
    )


def test_it_is_the_same_neuron_everywhere() -> None:
    graph = summing()
    whole = spread(graph)
    assert [p.shape for p in whole.populations] == [(2, 3, 4), (2, 3, 4), (3, 1, 1), (4,)]
    (sums, repeats, single) = (
        p.kernel for p in whole.projections if "b" in (p.source, p.target) and p.target != "readout"
    )
    assert isinstance(sums, Conv) and sums.weight.shape[2:] == (5, 7) and sums.padding == (2, 3)
    assert repeats.weight.shape == (2, 2, 1, 1) and single.weight.shape == (3, 2, 3, 4)
    spikes = {"a": (np.random.default_rng(1).random((4, 5, 2, 3, 4)) < 0.4).astype(np.uint8)}
    before, after = simulate(graph, spikes), simulate(whole, spikes)
    assert 0.1 < before.spikes["b"].mean() < 0.9
    assert np.array_equal(np.broadcast_to(before.spikes["b"], (4, 5, 2, 3, 4)), after.spikes["b"])
    assert all(np.array_equal(before.spikes[name], after.spikes[name]) for name in ("c", "d"))
    np.testing.assert_allclose(before.readout, after.readout, atol=1e-12)


@pytest.mark.parametrize(
    ("sums", "repeats"),
    [
        (replace(ONES, weight=ONES.weight * np.arange(1, 13).reshape(3, 4)), REPEATED),
        (ONES, replace(REPEATED, weight=REPEATED.weight * np.arange(1, 13).reshape(3, 4))),
        (Dense(weight=np.ones((2, 24))), REPEATED),
    ],
    ids=["places weigh unequally", "places get unequal weights", "a full matrix"],
)
def test_what_differs_from_place_to_place_stays(sums: Kernel, repeats: Kernel) -> None:
    graph = summing(sums, repeats)
    assert spread(graph) is graph
