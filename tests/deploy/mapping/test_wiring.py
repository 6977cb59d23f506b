"""What a box reads: patterns, lists, pixels, by hand and against a matrix that is walked synapse by synapse."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.mapping.wiring import (
    ConvWiring,
    DenseWiring,
    Wiring,
    box_neurons,
    delay_bits,
    patterns,
    value_bits,
    weight_bits,
    wiring_of,
)
from spikeport.deploy.synapses import Box
from spikeport.errors import UnsupportedError
from spikeport.export.graph import Conv, Dense, Kernel, Population, Projection, Shape, SpikeInput, SpikingGraph, neurons
from spikeport.export.simulate import apply


def graph_of(kernel: Kernel, source: Shape, target: Shape, delay: NDArray[np.int64] | None = None) -> SpikingGraph:
    """in -> out, in the chip's integers."""
    return SpikingGraph(
        inputs=(SpikeInput(name="in", shape=source),),
        populations=(Population(name="out", shape=target, decay=0.0, threshold=1.0, bias=np.zeros(target[0])),),
        projections=(Projection(source="in", target="out", kernel=kernel, delay=delay),),
        time_steps=1,
        arithmetic="loihi",
    )


def wired(kernel: Kernel, source: Shape, target: Shape | None = None, delay: NDArray[np.int64] | None = None) -> Wiring:
    if target is None:
        assert isinstance(kernel, Conv)
        target = kernel.output_shape(source)
    graph = graph_of(kernel, source, target, delay)
    return wiring_of(graph.projections[0], graph)


def whole(shape: Shape) -> Box:
    return tuple((0, size) for size in shape)


def three(**geometry: tuple[int, int]) -> Conv:
    return Conv(weight=np.ones((1, 1, 3, 3)), **geometry)


def test_rows_of_a_3x3_kernel_have_three_patterns() -> None:
    # target rows 0..3 of a source with 4: row 0 is read by tap 1 of row 0 and tap 0 of row 1, row 3 by taps 2 and 1
    found = patterns(three(padding=(1, 1)), 0, 4, (0, 4))
    taps = found.taps.astype(int).tolist()
    assert sorted(taps) == [[0, 1, 1], [1, 1, 0], [1, 1, 1]]
    assert [taps[i] for i in found.of] == [[1, 1, 0], [1, 1, 1], [1, 1, 1], [0, 1, 1]]
    assert found.times[taps.index([1, 1, 1])] == 2


def test_a_span_inside_reads_one_row_more_on_either_side() -> None:
    # target rows 2 and 3 of 8 read rows 1..4: by tap 0; 1 and 0; 2 and 1; 2
    found = patterns(three(padding=(1, 1)), 0, 8, (2, 4))
    taps = [[int(t) for t in found.taps[i]] if i >= 0 else None for i in found.of]
    assert taps == [None, [1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1], None, None, None]
    assert found.times.tolist() == [1, 1, 1, 1]


def test_a_stride_makes_phases() -> None:
    # stride 2, padding 1: target row q reads 2q - 1 .. 2q + 1; odd rows are read by taps 2 and 0, even ones by tap 1
    found = patterns(three(stride=(2, 2), padding=(1, 1)), 0, 8, (0, 4))
    taps = [[int(t) for t in found.taps[i]] for i in found.of]
    assert taps == [[0, 1, 0], [1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_the_lists_of_a_small_image_by_hand() -> None:
    # 3x3 kernel, 2 -> 1 channels, 4x4: patterns of 2, 3 and 2 taps along each axis, a list for each pair and channel
    weight = np.ones((1, 2, 3, 3))
    wiring = wired(Conv(weight=weight, padding=(1, 1)), (2, 4, 4))
    assert sorted(wiring.lists(whole((1, 4, 4)))) == sorted(2 * [4, 6, 4, 6, 9, 6, 4, 6, 4])
    assert wiring.in_axons(whole((1, 4, 4))) == 16
    weight[0, 1, 1, 1] = 0.0  # the middle is in every pattern, so each list of channel 1 loses a synapse
    thinner = wired(Conv(weight=weight, padding=(1, 1)), (2, 4, 4))
    assert sorted(thinner.lists(whole((1, 4, 4)))) == sorted([4, 6, 4, 6, 9, 6, 4, 6, 4, 3, 5, 3, 5, 8, 5, 3, 5, 3])


def test_a_relay_has_one_list_for_each_channel() -> None:
    wiring = wired(Conv(weight=254.0 * np.eye(5)[:, :, None, None]), (5, 6, 7))
    assert wiring.lists(whole((5, 6, 7))).tolist() == [1] * 5
    assert wiring.in_axons(((0, 5), (2, 4), (0, 7))) == 14
    assert wiring.lists(((3, 5), (0, 6), (0, 7))).tolist() == [1, 1]
    assert wiring.reaches(((3, 5), (0, 1), (0, 1))).sum(axis=(1, 2)).tolist() == [0, 0, 0, 1, 1]


def test_taps_that_are_zero_read_nothing() -> None:
    # a factorized reduce reads the even rows and columns only
    weight = np.zeros((1, 1, 2, 2))
    weight[0, 0, 0, 0] = 2.0
    wiring = wired(Conv(weight=weight, stride=(2, 2)), (1, 4, 4))
    assert wiring.in_axons(whole((1, 2, 2))) == 4
    assert wiring.pixels(whole((1, 2, 2))).reshape(4, 4).nonzero()[0].tolist() == [0, 0, 2, 2]
    assert wiring.lists(whole((1, 2, 2))).tolist() == [1]


def matrix(kernel: Kernel, source: Shape) -> NDArray[np.float64]:
    """[targets, *source]: the kernel as a matrix, column by column through the definition of `apply`."""
    size = neurons(source)
    columns = apply(kernel, np.eye(size).reshape(size, *source)).reshape(size, -1)
    return columns.T.reshape(-1, *source)


def slow_lists(full: NDArray[np.float64], target: Shape, box: Box) -> list[int]:
    """Every pixel's synapses, channel by channel, moved so that they start at 0; equal ones once."""
    inside = np.zeros(target, bool)
    inside[tuple(slice(*span) for span in box)] = True
    seen: dict[object, list[int]] = {}
    channels, rows, columns = full.shape[1:]
    for y, x in product(range(rows), range(columns)):
        lists = []
        for channel in range(channels):
            hit = (full[:, channel, y, x].reshape(target) != 0) & inside
            lists.append([(*place, full[:, channel, y, x].reshape(target)[tuple(place)]) for place in np.argwhere(hit)])
        reached = [synapse for synapses in lists for synapse in synapses]
        if reached:
            row, column = min(r for _, r, _, _ in reached), min(c for _, _, c, _ in reached)
            moved = tuple(tuple((o, r - row, c - column, w) for o, r, c, w in synapses) for synapses in lists)
            seen[moved] = [len(synapses) for synapses in lists if synapses]
    return sorted(number for numbers in seen.values() for number in numbers)


def random_box(rng: np.random.Generator, shape: Shape) -> Box:
    starts = [int(rng.integers(0, size)) for size in shape]
    return tuple((start, int(rng.integers(start + 1, size + 1))) for start, size in zip(starts, shape, strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_random_kernels_against_the_matrix(seed: int) -> None:
    """Pixels and neurons that reach a box exactly; lists where no weight is zero and no two are equal."""
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    shape = (groups * int(rng.integers(1, 3)), int(rng.integers(1, 3)), *(int(k) for k in rng.integers(1, 5, 2)))
    weight = 1.0 + rng.permutation(np.prod(shape)).reshape(shape)
    stride, dilation, padding = (tuple(int(n) for n in rng.integers(low, 4, 2)) for low in (1, 1, 0))
    sparse = seed % 2 == 1
    if sparse:
        weight[rng.random(shape) < 0.4] = 0.0
    kernel = Conv(weight=weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, shape[2:], strict=True)]
    source = (groups * shape[1], *(r + int(n) for r, n in zip(reach, rng.integers(0, 5, 2), strict=True)))
    target = kernel.output_shape(source)
    wiring, full = wired(kernel, source), matrix(kernel, source)
    assert isinstance(wiring, ConvWiring)
    for box in (whole(target), *(random_box(rng, target) for _ in range(4))):
        inside = np.zeros(target, bool)
        inside[tuple(slice(*span) for span in box)] = True
        reaches = (full[inside.ravel()] != 0).any(axis=0)
        np.testing.assert_array_equal(wiring.reaches(box), reaches)
        window, within = wiring.reaches_within(box)
        np.testing.assert_array_equal(reaches[window], within)
        assert within.sum() == reaches.sum()
        np.testing.assert_array_equal(wiring.pixels(box), reaches.any(axis=0).ravel())
        assert wiring.in_axons(box) == reaches.any(axis=0).sum()
        if not sparse:
            assert sorted(wiring.lists(box).tolist()) == slow_lists(full, target, box)
        assert wiring.lists(box).sum() >= sum(slow_lists(full, target, box))
        synapses, lists = wiring.least_synapses(box)
        assert synapses == wiring.lists(box).sum() and lists <= len(wiring.lists(box))
        assert box_neurons(box) == inside.sum()


def test_boxes_of_one_class_are_alike() -> None:
    wiring = wired(Conv(weight=np.ones((4, 2, 3, 3)), padding=(1, 1)), (2, 12, 12))
    inner, other, border = ((0, 2), (4, 6), (4, 6)), ((0, 2), (6, 8), (2, 4)), ((0, 2), (0, 2), (4, 6))
    assert wiring.class_of(inner) == wiring.class_of(other) != wiring.class_of(border)
    assert wiring.in_axons(inner) == wiring.in_axons(other) == 16 != wiring.in_axons(border) == 12


def test_a_flat_source_has_a_list_for_each_neuron() -> None:
    weight = np.array([[2.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 2.0, 0.0]])
    wiring = wired(Dense(weight=weight), (3,), (3,))
    assert isinstance(wiring, DenseWiring)
    assert wiring.lists(((0, 3),)).tolist() == [2, 3]
    assert wiring.lists(((2, 3),)).tolist() == [1]
    assert wiring.in_axons(((0, 3),)) == 2 and wiring.in_axons(((2, 3),)) == 1
    assert wiring.reaches(((2, 3),)).tolist() == [False, True, False]


def pooled(rows: int = 2, columns: int = 2) -> NDArray[np.float64]:
    """[3, 2 * rows * columns]: an average pool over 2 channels before a linear layer, all pixels alike."""
    linear = np.array([[2.0, -4.0], [6.0, 0.0], [8.0, 10.0]])
    return np.repeat(linear, rows * columns, axis=1)


def test_pixels_that_are_weighted_alike_share_their_lists() -> None:
    wiring = wired(Dense(weight=pooled()), (2, 2, 2), (3,))
    assert wiring.lists(((0, 3),)).tolist() == [3, 2]  # channel 1 has no weight to neuron 1
    assert wiring.in_axons(((0, 3),)) == 4
    broken = pooled()
    broken[0, 3] = 14.0  # pixel 3 of channel 0 differs
    assert sorted(wired(Dense(weight=broken), (2, 2, 2), (3,)).lists(((0, 3),))) == [2, 2, 3, 3]
    assert sorted(wired(Dense(weight=broken), (2, 2, 2), (3,)).lists(((1, 3),))) == [1, 2]


def test_pixels_of_unlike_delays_share_nothing() -> None:
    delay = np.zeros((3, 8), np.int64)
    wiring = wired(Dense(weight=pooled()), (2, 2, 2), (3,), delay)
    assert len(wiring.lists(((0, 3),))) == 2
    delay[0, 0] = 1
    assert len(wired(Dense(weight=pooled()), (2, 2, 2), (3,), delay).lists(((0, 3),))) == 4


def test_minus_zero_is_no_other_weight() -> None:
    weight = pooled()
    weight[1, 4] = -0.0
    assert len(wired(Dense(weight=weight), (2, 2, 2), (3,)).lists(((0, 3),))) == 2


def test_a_matrix_into_an_image_takes_the_rows_of_the_box() -> None:
    weight = np.zeros((8, 3))
    weight[7, 2] = 2.0  # neuron (1, 1, 1) of (2, 2, 2)
    wiring = wired(Dense(weight=weight), (3,), (2, 2, 2))
    assert wiring.in_axons(((1, 2), (1, 2), (1, 2))) == 1
    assert wiring.in_axons(((0, 1), (0, 2), (0, 2))) == 0


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([0, 0], 0),
        ([1, 0], 1),
        ([254], 7),  # 127 after halving
        ([-256, 254], 8),  # -128..127
        ([-2, 2], 2),  # -1..1
        ([-12, 8], 3),  # -3..2
        ([-4, 4, 64], 6),  # -1..16
        ([-255, 254], 9),
    ],
)
def test_bits_of_weights(values: list[int], bits: int) -> None:
    assert value_bits(np.array(values, float)) == bits


@pytest.mark.parametrize(("values", "bits"), [([0, 0], 1), ([-2, 2], 2), ([254, 2], 8), ([-4, 64], 6)])
def test_a_synapse_has_the_next_number_of_bits_there_is(values: list[int], bits: int) -> None:
    graph = graph_of(Dense(weight=np.array([values], float)), (2,), (1,))
    assert weight_bits(graph.projections[0], graph, 8) == bits


def test_weights_that_are_not_integers_yet_take_8_bits() -> None:
    graph = replace(graph_of(Dense(weight=np.array([[1.0, 0.5]])), (2,), (1,)), arithmetic="float")
    assert weight_bits(graph.projections[0], graph, 8) == 8
    assert weight_bits(graph.projections[0], graph, 7) == 6  # there are no 7


@pytest.mark.parametrize(("values", "most", "need"), [([-255, 254], 8, 9), ([-20, 18], 4, 5)])
def test_weights_of_too_many_bits_are_refused(values: list[int], most: int, need: int) -> None:
    graph = graph_of(Dense(weight=np.array([values], float)), (2,), (1,))
    said = rf"Projection 'in' -> 'out': a weight has at most {most} bits on the chip, but these need {need}"
    with pytest.raises(UnsupportedError, match=said):
        weight_bits(graph.projections[0], graph, most)


@pytest.mark.parametrize(("longest", "bits"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (63, 6)])
def test_bits_of_delays(longest: int, bits: int) -> None:
    graph = graph_of(Dense(weight=np.ones((1, 2))), (2,), (1,), np.array([[0, longest]]))
    assert delay_bits(graph.projections[0]) == bits
