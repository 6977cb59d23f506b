"""Fan-out, worked by hand, against the plainest loop and against a convolution with ones."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.synapses import fan_out, kind_of, synapses
from spikeport.export.graph import Conv, Dense, Kernel, Projection, Shape
from spikeport.export.simulate import apply


def project(kernel: Kernel, source: str = "a", target: str = "b") -> Projection:
    return Projection(source=source, target=target, kernel=kernel)


def conv_fan(kernel: Conv, source: Shape) -> NDArray[np.int64]:
    return fan_out(project(kernel), source, kernel.output_shape(source))


def ones(*shape: int) -> NDArray[np.float64]:
    return np.ones(shape)


def test_a_border_neuron_reaches_fewer_targets() -> None:
    fan = conv_fan(Conv(weight=ones(1, 1, 3, 3), padding=(1, 1)), (1, 3, 3))
    assert fan.tolist() == [[[4, 6, 4], [6, 9, 6], [4, 6, 4]]]
    assert fan.dtype == np.int64


def test_without_padding_a_corner_reaches_one_target() -> None:
    fan = conv_fan(Conv(weight=ones(1, 1, 2, 2)), (1, 3, 3))
    assert fan.tolist() == [[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]


def test_stride_two_alternates() -> None:
    # one row of 5, kernel 3, padding 1, stride 2: targets read 0..1, 1..3, 3..4
    fan = conv_fan(Conv(weight=ones(1, 1, 1, 3), stride=(1, 2), padding=(0, 1)), (1, 1, 5))
    assert fan.tolist() == [[[1, 2, 1, 2, 1]]]


def test_stride_larger_than_the_kernel_leaves_neurons_out() -> None:
    fan = conv_fan(Conv(weight=ones(1, 1, 1, 1), stride=(2, 2)), (1, 3, 3))
    assert fan.tolist() == [[[1, 0, 1], [0, 0, 0], [1, 0, 1]]]


def test_the_last_column_can_fall_off_the_stride() -> None:
    # a row of 4, kernel 2, stride 3: one target, which reads columns 0 and 1
    fan = conv_fan(Conv(weight=ones(1, 1, 1, 2), stride=(1, 3)), (1, 1, 4))
    assert fan.tolist() == [[[1, 1, 0, 0]]]


def test_dilation_two_skips_neighbours() -> None:
    # a row of 5, taps 0, 2, 4, no padding: the only target reads columns 0, 2 and 4
    fan = conv_fan(Conv(weight=ones(1, 1, 1, 3), dilation=(1, 2)), (1, 1, 5))
    assert fan.tolist() == [[[1, 0, 1, 0, 1]]]


def test_groups_keep_channels_apart() -> None:
    # 4 -> 6 channels in 2 groups: sources 0 and 1 reach targets 0..2 only
    weight = ones(6, 2, 1, 1)
    weight[0, 0] = 0.0  # target 0 loses source 0
    weight[5, 1] = 0.0  # target 5 loses source 3, the second of its group
    assert conv_fan(Conv(weight=weight, groups=2), (4, 1, 1)).ravel().tolist() == [2, 3, 3, 2]


def test_depthwise_reaches_its_own_channel() -> None:
    weight = ones(3, 1, 3, 3)
    weight[1] = 0.0
    fan = conv_fan(Conv(weight=weight, padding=(1, 1), groups=3), (3, 3, 3))
    assert fan.sum(axis=(1, 2)).tolist() == [49, 0, 49]


def test_zero_weights_are_no_synapses() -> None:
    cross = np.array([[0.0, 1.0, 0.0], [1.0, -1.0, 1.0], [0.0, 1e-30, 0.0]]).reshape(1, 1, 3, 3)
    fan = conv_fan(Conv(weight=cross, padding=(1, 1)), (1, 3, 3))
    assert fan.tolist() == [[[3, 4, 3], [4, 5, 4], [3, 4, 3]]]


def test_dense_counts_columns_in_the_shape_of_the_source() -> None:
    weight = np.array([[1.0, 0.0, -2.0, 3.0], [4.0, 0.0, 0.0, 5.0]])
    projection = project(Dense(weight=weight))
    fan = fan_out(projection, (1, 2, 2), (2,))
    assert fan.tolist() == [[[2, 0], [1, 2]]]
    assert fan.dtype == np.int64
    assert synapses(projection, (1, 2, 2), (2,)) == 5


def slow_fan_out(kernel: Conv, source: Shape, target: Shape) -> NDArray[np.int64]:
    """Walk every target and every tap, and mark the source it reads."""
    fan = np.zeros(source, dtype=np.int64)
    outputs, inputs, rows, columns = kernel.weight.shape
    for o, i, k, c in product(range(outputs), range(inputs), range(rows), range(columns)):
        for y, x in product(range(target[1]), range(target[2])):
            row = y * kernel.stride[0] - kernel.padding[0] + k * kernel.dilation[0]
            column = x * kernel.stride[1] - kernel.padding[1] + c * kernel.dilation[1]
            channel = o // (outputs // kernel.groups) * inputs + i
            if 0 <= row < source[1] and 0 <= column < source[2] and kernel.weight[o, i, k, c] != 0:
                fan[channel, row, column] += 1
    return fan


def random_conv(rng: np.random.Generator) -> tuple[Conv, Shape]:
    """A kernel of any stride, padding, dilation and groups, 40 % of its weights zero, and the shape it reads."""
    groups = int(rng.integers(1, 4))
    weight = rng.normal(size=(groups * rng.integers(1, 3), rng.integers(1, 3), *rng.integers(1, 5, size=2)))
    weight[rng.random(weight.shape) < 0.4] = 0.0
    pair = rng.integers(1, 4, size=(2, 2))
    kernel = Conv(
        weight=weight,
        stride=(int(pair[0, 0]), int(pair[0, 1])),
        dilation=(int(pair[1, 0]), int(pair[1, 1])),
        padding=(int(rng.integers(0, 4)), int(rng.integers(0, 4))),
        groups=groups,
    )
    reach = [d * (k - 1) + 1 for d, k in zip(kernel.dilation, weight.shape[2:], strict=True)]
    return kernel, (groups * weight.shape[1], reach[0] + int(rng.integers(0, 5)), reach[1] + int(rng.integers(0, 5)))


@pytest.mark.parametrize("seed", range(40))
def test_random_kernels_match_the_plain_loop(seed: int) -> None:
    kernel, source = random_conv(np.random.default_rng(seed))
    target = kernel.output_shape(source)
    np.testing.assert_array_equal(fan_out(project(kernel), source, target), slow_fan_out(kernel, source, target))


@pytest.mark.parametrize("seed", range(40))
def test_synaptic_operations_are_the_convolution_of_the_spikes_with_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel, source = random_conv(rng)
    spikes = rng.integers(0, 2, size=source, dtype=np.uint8)
    all_ones = replace(kernel, weight=np.ones_like(kernel.weight))
    fan = fan_out(project(kernel), source, kernel.output_shape(source), zeros=True)
    assert (fan * spikes).sum() == apply(all_ones, spikes[None]).sum()
    there = replace(kernel, weight=(kernel.weight != 0).astype(float))
    assert (fan_out(project(kernel), source, kernel.output_shape(source)) * spikes).sum() == apply(
        there, spikes[None]
    ).sum()


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_of_a_target_add_up_to_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel, source = random_conv(rng)
    target = kernel.output_shape(source)
    cuts = [sorted({0, size, int(rng.integers(0, size + 1))}) for size in target]
    boxes = product(*[list(pairwise(cut)) for cut in cuts])
    parts = sum(fan_out(project(kernel), source, target, box=box) for box in boxes)
    np.testing.assert_array_equal(parts, fan_out(project(kernel), source, target))


def test_a_part_of_a_full_matrix_is_some_of_its_rows() -> None:
    weight = np.array([[1.0, 0.0, 2.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert fan_out(project(Dense(weight=weight)), (3,), (3,), box=((1, 3),)).tolist() == [1, 2, 0]
    # of an image [1, 1, 3], columns 1 and 2
    assert fan_out(project(Dense(weight=weight)), (3,), (1, 1, 3), box=((0, 1), (0, 1), (1, 3))).tolist() == [1, 2, 0]


def test_how_a_chip_would_store_it() -> None:
    half = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert kind_of(project(Dense(weight=half))) == "dense"
    assert kind_of(project(Dense(weight=np.diag([1.0, 2.0, 3.0])))) == "sparse"
    assert kind_of(project(Conv(weight=ones(1, 1, 1, 1)))) == "conv"
