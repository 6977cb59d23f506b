"""A narrower network is the same network with fewer channels."""

from fractions import Fraction

import numpy as np
import pytest

from spikeport.deploy.mapping.fit.narrow import kept_channels, narrowed
from spikeport.errors import InputError
from spikeport.export.graph import Conv, Dense, Population, Projection, Role, Shape, SpikeInput, SpikingGraph, check
from spikeport.export.simulate import simulate


def population(name: str, shape: Shape, role: Role = "neuron") -> Population:
    return Population(
        name=name, shape=shape, decay=0.5, threshold=1.0, bias=np.arange(shape[0], dtype=float), role=role
    )


def network() -> SpikingGraph:
    """in 3x2x2 -> carry (relay) -> a 4x2x2 -> pool (OR) -> b 6 (flat, recurrent, delayed) -> out 2"""
    rng = np.random.default_rng(0)
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="in", shape=(3, 2, 2)),),
            populations=(
                population("carry", (3, 2, 2), "relay"),
                population("a", (4, 2, 2)),
                population("pool", (4, 1, 1), "or"),
                population("b", (6,)),
                population("out", (2,), "readout"),
            ),
            projections=(
                Projection(source="in", target="carry", kernel=Conv(weight=np.eye(3)[:, :, None, None])),
                Projection(source="carry", target="a", kernel=Conv(weight=rng.normal(size=(4, 3, 1, 1)))),
                Projection(source="a", target="pool", kernel=Conv(weight=np.ones((4, 1, 2, 2)), groups=4)),
                Projection(
                    source="pool",
                    target="b",
                    kernel=Dense(weight=rng.normal(size=(6, 4))),
                    delay=np.arange(24).reshape(6, 4),
                ),
                Projection(source="a", target="b", kernel=Dense(weight=rng.normal(size=(6, 16)))),
                Projection(source="b", target="b", kernel=Dense(weight=rng.normal(size=(6, 6)))),
                Projection(source="b", target="out", kernel=Dense(weight=rng.normal(size=(2, 6)))),
            ),
            time_steps=3,
        )
    )


def test_channels_are_kept_evenly() -> None:
    kept = {name: indices.tolist() for name, indices in kept_channels(network(), Fraction(1, 2)).items()}
    assert kept == {
        "in": [0, 1, 2],
        "carry": [0, 1, 2],  # a relay of the input carries all of it
        "a": [0, 2],
        "pool": [0, 2],  # what its source keeps
        "b": [0, 2, 4],
        "out": [0, 1],
    }
    assert [len(indices) for indices in kept_channels(network(), Fraction(1, 64)).values()] == [3, 3, 1, 1, 1, 2]


def test_kernels_biases_and_delays_follow_their_channels() -> None:
    whole, half = network(), narrowed(network(), Fraction(1, 2))
    assert [p.shape for p in half.populations] == [(3, 2, 2), (2, 2, 2), (2, 1, 1), (3,), (2,)]
    assert half.populations[3].bias.tolist() == [0.0, 2.0, 4.0]
    before, after = ({(p.source, p.target): p for p in g.projections} for g in (whole, half))
    np.testing.assert_array_equal(after["carry", "a"].kernel.weight, before["carry", "a"].kernel.weight[[0, 2]])
    assert after["a", "pool"].kernel.weight[:, :, 0, 0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert after["pool", "b"].delay is not None
    assert after["pool", "b"].delay.tolist() == [[0, 2], [8, 10], [16, 18]]
    columns = [0, 1, 2, 3, 8, 9, 10, 11]  # channels 0 and 2 of 2x2 pixels
    dense = before["a", "b"].kernel.weight[np.ix_([0, 2, 4], columns)]
    np.testing.assert_array_equal(after["a", "b"].kernel.weight, dense)
    np.testing.assert_array_equal(after["b", "b"].kernel.weight, before["b", "b"].kernel.weight[::2, ::2])
    np.testing.assert_array_equal(after["b", "out"].kernel.weight, before["b", "out"].kernel.weight[:, ::2])


def test_the_whole_width_changes_nothing_that_is_computed() -> None:
    spikes = {"in": (np.random.default_rng(1).random((3, 2, 3, 2, 2)) < 0.5).astype(np.uint8)}
    same = simulate(narrowed(network(), Fraction(1)), spikes)
    np.testing.assert_array_equal(same.readout, simulate(network(), spikes).readout)
    other = simulate(narrowed(network(), Fraction(1, 2)), spikes)
    assert (other.readout != same.readout).any()


@pytest.mark.parametrize("ratio", [Fraction(0), Fraction(-1, 2), Fraction(5, 4)])
def test_no_other_ratio(ratio: Fraction) -> None:
    with pytest.raises(InputError, match="`0 < ratio <= 1` must hold, but ratio="):
        narrowed(network(), ratio)
