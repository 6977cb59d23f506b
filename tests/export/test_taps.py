"""convolution_of(taps_of(kernel)) computes what the kernel computes, whatever taps are zero."""

import numpy as np

from spikeport.export.graph import Conv
from spikeport.export.simulate import apply
from spikeport.export.taps import convolution_of, taps_of, ungrouped


def random_kernel(rng: np.random.Generator) -> Conv:
    """A kernel of any geometry, many of its taps zero."""

    def pair(low: int, high: int) -> tuple[int, int]:
        return int(rng.integers(low, high)), int(rng.integers(low, high))

    groups = int(rng.choice([1, 2]))
    weight = rng.integers(-9, 10, (4, 2 // groups, *pair(1, 5))).astype(np.float64)
    weight *= rng.random(weight.shape[2:]) < 0.6
    return Conv(weight=weight, stride=pair(1, 4), padding=pair(0, 4), dilation=pair(1, 4), groups=groups)


def test_the_same_convolution_comes_back() -> None:
    rng = np.random.default_rng(0)
    checked = 0
    while checked < 300:
        kernel = random_kernel(rng)
        source = (2, int(rng.integers(4, 10)), int(rng.integers(4, 10)))
        target = kernel.output_shape(source)
        if min(target) < 1:
            continue
        checked += 1
        again = convolution_of(taps_of(kernel), kernel.stride, source, target)
        spikes = rng.integers(0, 2, (2, *source))
        assert np.array_equal(apply(again, spikes), apply(kernel, spikes)), (kernel, source)


def test_it_is_no_larger_than_its_taps() -> None:
    weight = np.zeros((1, 1, 5, 5))
    weight[0, 0, ::2, ::2] = 1.0  # a dilated 3x3 kernel in a 5x5 one
    kernel = convolution_of(taps_of(Conv(weight=weight, padding=(2, 2))), (1, 1), (1, 8, 8), (1, 8, 8))
    assert kernel.weight.shape == (1, 1, 3, 3)
    assert (kernel.padding, kernel.dilation) == ((2, 2), (2, 2))


def test_no_taps_are_a_zero_kernel() -> None:
    kernel = convolution_of({}, (2, 2), (3, 8, 8), (2, 4, 4))
    assert not kernel.weight.any() and kernel.output_shape((3, 8, 8)) == (2, 4, 4)


def test_offsets_count_from_the_output_pixel() -> None:
    kernel = Conv(weight=np.arange(1.0, 4.0).reshape(1, 1, 1, 3), padding=(0, 1), dilation=(1, 2))
    assert {offset: weight.item() for offset, weight in taps_of(kernel).items()} == {(0, -1): 1, (0, 1): 2, (0, 3): 3}


def test_groups_become_zeros() -> None:
    kernel = ungrouped(Conv(weight=np.arange(1.0, 5.0).reshape(4, 1, 1, 1), groups=2))
    assert kernel.groups == 1
    assert kernel.weight[:, :, 0, 0].tolist() == [[1, 0], [2, 0], [0, 3], [0, 4]]


def test_any_sizes_have_a_convolution() -> None:
    tap = np.ones((1, 1))
    for target in ((1, 3, 12), (1, 12, 5), (1, 1, 1)):
        kernel = convolution_of({(0, 1): tap, (0, 3): tap}, (2, 1), (1, 6, 6), target)
        assert kernel.output_shape((1, 6, 6)) == target
