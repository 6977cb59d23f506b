"""Cuts: near-equal boxes, as few as there can be, against trying them all; powers of two as Intel cuts."""

from itertools import product
from math import prod

import numpy as np
import pytest

from spikeport.deploy.mapping.boxes import cuts, fewest_boxes, near_equal, powers_of_two
from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.mapping.core_demand import TooLargeError, boxes_of, fits
from spikeport.deploy.mapping.wiring import box_neurons
from spikeport.export.graph import Conv, Dense, Shape
from spikeport.tests.deploy.mapping.small import chip_with, site


def test_pieces_are_near_equal() -> None:
    assert near_equal(10, 3) == ((0, 4), (4, 7), (7, 10))
    assert near_equal(4, 4) == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert near_equal(5, 1) == ((0, 5),)


def test_cuts_come_by_number_of_boxes_columns_first() -> None:
    assert list(cuts((2, 2, 2))) == [
        (1, 1, 1),
        (1, 1, 2),
        (1, 2, 1),
        (2, 1, 1),
        (1, 2, 2),
        (2, 1, 2),
        (2, 2, 1),
        (2, 2, 2),
    ]
    assert list(cuts((10,))) == [(1,), (2,), (3,), (4,), (5,), (10,)]  # 6..9 pieces have one of 2, as 5 have
    assert list(cuts((10,), least=4)) == [(4,), (5,), (10,)]


def test_neurons_alone_are_cut_along_columns() -> None:
    assert fewest_boxes(site(find_chip("loihi1"), (16, 8, 16), {})) == (((0, 16),), ((0, 8),), ((0, 8), (8, 16)))


def test_a_dense_layer_takes_as_many_cores_as_published() -> None:
    """784 -> 1024 at 8 bits: 13 cores, the largest of 79 neurons; 390 -> 256: 2 cores."""
    for inputs, outputs, cores, largest in ((784, 1024, 13, 79), (390, 256, 2, 128)):
        weight = np.full((outputs, inputs), 254.0)
        axes = fewest_boxes(site(find_chip("loihi1"), (outputs,), {("in", (inputs,)): Dense(weight=weight)}))
        assert (len(axes[0]), axes[0][0]) == (cores, (0, largest))
    thin = site(find_chip("loihi1"), (1024,), {("in", (784,)): Dense(weight=np.full((1024, 784), 2.0))})
    assert len(fewest_boxes(thin)[0]) < 13  # one bit a weight


def test_in_axons_bind() -> None:
    """1x1 kernel on 64x64 pixels: 4096 axons on a core; with 3x3 a box of half the columns reads a column more."""
    point, window = Conv(weight=np.full((1, 1, 1, 1), 2.0)), Conv(weight=np.full((1, 1, 3, 3), 2.0), padding=(1, 1))
    chip = chip_with("loihi1", neurons_per_core=4096)
    assert fewest_boxes(site(chip, (1, 64, 64), {("in", (1, 64, 64)): point})) == (((0, 1),), ((0, 64),), ((0, 64),))
    tight = chip_with("loihi1", neurons_per_core=4096, in_axons_per_core=64 * 33)
    assert [len(s) for s in fewest_boxes(site(tight, (1, 64, 64), {("in", (1, 64, 64)): window}))] == [1, 1, 2]
    tighter = chip_with("loihi1", neurons_per_core=4096, in_axons_per_core=64 * 33 - 1)
    assert [len(s) for s in fewest_boxes(site(tighter, (1, 64, 64), {("in", (1, 64, 64)): window}))] == [1, 1, 3]


def test_out_axons_bind() -> None:
    fans = np.zeros((8, 4, 4), np.int64)
    fans[..., 1] = 100  # 32 neurons with 100 target cores each
    assert [len(s) for s in fewest_boxes(site(find_chip("loihi1"), (8, 4, 4), {}, fans))] == [1, 1, 1]
    fans[..., 0] = 100  # 6400 in two columns that lie side by side
    assert [len(s) for s in fewest_boxes(site(find_chip("loihi1"), (8, 4, 4), {}, fans))] == [1, 2, 1]


def test_a_recurrent_population_counts_its_own_cores() -> None:
    """Every neuron of 64 reaches all: on n cores a box of 64 / n sends to n cores, 64 in all, whatever n."""
    own = {("out", (64,)): Dense(weight=np.full((64, 64), 254.0))}
    small = chip_with("loihi1", neurons_per_core=16, out_axons_per_core=64)
    assert len(fewest_boxes(site(small, (64,), own))[0]) == 4
    smaller = chip_with("loihi1", neurons_per_core=16, out_axons_per_core=63)
    with pytest.raises(
        TooLargeError, match="'out': one neuron alone needs 64 of out_axons_per_core, but a core has 63"
    ):
        fewest_boxes(site(smaller, (64,), own))


@pytest.mark.parametrize("seed", range(12))
def test_no_cut_has_fewer_boxes(seed: int) -> None:
    """All cuts into near-equal boxes are tried."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(2, 8, 3))
    inputs = int(rng.integers(1, 5))
    weight = 2.0 * rng.integers(-60, 60, (shape[0], inputs, 3, 3))
    weight[rng.random(weight.shape) < 0.3] = 0.0
    chip = chip_with(
        "loihi1",
        neurons_per_core=int(rng.integers(3, 90)),
        in_axons_per_core=int(rng.integers(10, 60)),
        out_axons_per_core=int(rng.integers(20, 400)),
        synapse_bits_per_core=int(rng.integers(10, 120)) * 64 * inputs,
    )
    here = site(
        chip, shape, {("in", (inputs, *shape[1:])): Conv(weight=weight, padding=(1, 1))}, rng.integers(0, 4, shape)
    )

    def possible(pieces: tuple[int, ...]) -> bool:
        axes = [near_equal(size, number) for size, number in zip(shape, pieces, strict=True)]
        loads = [here.load(box, int(here.fans[tuple(slice(*s) for s in box)].sum())) for box in boxes_of(axes)]
        return all(fits(load, here.allowed) for load in loads)

    ways = [pieces for pieces in product(*(range(1, size + 1) for size in shape)) if possible(pieces)]
    if not ways:
        with pytest.raises(TooLargeError):
            fewest_boxes(here)
        return
    fewest = min(prod(pieces) for pieces in ways)
    found = tuple(len(spans) for spans in fewest_boxes(here))
    assert found == min(pieces for pieces in ways if prod(pieces) == fewest)
    assert sum(box_neurons(box) for box in boxes_of(fewest_boxes(here))) == prod(shape)


@pytest.mark.parametrize(
    ("inputs", "changed", "said"),
    [
        (5000, {}, "one neuron alone needs 5,000 of in_axons_per_core, but a core has 4,096"),
        (300, {"synapse_bits_per_core": 299 * 64}, "needs 19,200 of synapse_bits_per_core, but a core has 19,136"),
    ],
)
def test_a_neuron_that_fits_on_no_core_is_refused(inputs: int, changed: dict[str, int], said: str) -> None:
    here = site(chip_with("loihi1", **changed), (8,), {("in", (inputs,)): Dense(weight=np.full((8, inputs), 2.0))})
    with pytest.raises(TooLargeError) as error:
        fewest_boxes(here)
    assert said in str(error.value) and "Population 'out'" in str(error.value)
    assert error.value.population == "out" and error.value.needed > error.value.allowed


def test_loihi_2_cuts_along_columns_in_powers_of_two() -> None:
    chip = find_chip("loihi2")
    for shape, widths in (
        ((3, 66, 200), [16] * 12 + [8]),
        ((64, 4, 22), [8, 8, 6]),  # 16 columns would be 4096 neurons
        ((64, 2, 20), [16, 4]),  # 20 columns would fit, but a box of 32 would not
        ((64, 2, 16), [16]),
    ):
        axes = powers_of_two(site(chip, shape, {}))
        assert [stop - start for start, stop in axes[2]] == widths
        assert [len(axes[0]), len(axes[1])] == [1, 1]


def test_loihi_2_cuts_channels_where_the_kernel_does_not_fit() -> None:
    """128 -> 256 channels, 3x3: 36864 words of 64 bits, a quarter of the channels takes 9216 of 12000."""
    kernel = Conv(weight=np.full((256, 128, 3, 3), 2.0), padding=(1, 1))
    axes = powers_of_two(site(find_chip("loihi2"), (256, 4, 4), {("in", (128, 4, 4)): kernel}))
    assert axes == (((0, 64), (64, 128), (128, 192), (192, 256)), ((0, 4),), ((0, 4),))


def test_loihi_2_cuts_rows_last() -> None:
    chip = chip_with("loihi2", lif_neurons_per_core=3)
    assert [len(spans) for spans in powers_of_two(site(chip, (1, 4, 2), {}))] == [1, 2, 2]
    assert [len(spans) for spans in powers_of_two(site(chip, (4, 2, 2), {}))] == [4, 1, 2]


def test_loihi_2_divides_a_dense_layer_as_intel_does() -> None:
    """2560 -> 100: six times too large, then twice, so 12 parts of 8 or 9 neurons."""
    weight = np.random.default_rng(0).integers(1, 60, (100, 2560)) * 2.0
    (spans,) = powers_of_two(site(find_chip("loihi2"), (100,), {("in", (64, 2, 20)): Dense(weight=weight)}))
    assert [stop - start for start, stop in spans] == [9] * 4 + [8] * 8
    alike = np.repeat(weight[:, :64], 40, axis=1)  # all pixels weighted alike: 64 rows
    assert len(powers_of_two(site(find_chip("loihi2"), (100,), {("in", (64, 2, 20)): Dense(weight=alike)}))[0]) == 1


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2)])
def test_loihi_2_refuses_a_neuron_with_too_many_sources(shape: Shape) -> None:
    here = site(find_chip("loihi2"), shape, {("in", (12001,)): Dense(weight=np.full((4, 12001), 2.0))})
    with pytest.raises(TooLargeError, match=r"needs 768,064 of synapse_bits_per_core, but a core has 768,000"):
        powers_of_two(here)
