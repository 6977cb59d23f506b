"""Bits of synapse lists by hand, and against the words that Intel's log of PilotNet-LIF shows."""

from math import ceil

import numpy as np
import pytest

from spikeport.deploy.mapping.memory import index_bits, least_bits, list_bits, loihi1_memory, loihi2_memory, run_bits
from spikeport.deploy.mapping.wiring import Wiring, box_neurons, wiring_of
from spikeport.deploy.synapses import Box
from spikeport.export.graph import Conv, Dense, Kernel, Population, Projection, Shape, SpikeInput, SpikingGraph


def wired(kernel: Kernel, source: Shape, target: Shape) -> Wiring:
    graph = SpikingGraph(
        inputs=(SpikeInput(name="in", shape=source),),
        populations=(Population(name="out", shape=target, decay=0.0, threshold=1.0, bias=np.zeros(target[0])),),
        projections=(Projection(source="in", target="out", kernel=kernel),),
        time_steps=1,
        arithmetic="loihi",
    )
    return wiring_of(graph.projections[0], graph)


@pytest.mark.parametrize(
    ("synapses", "bits_each", "bits"),
    [
        (0, 15, 0),
        (1, 15, 64),  # 25 bits
        (3, 15, 64),  # 55
        (4, 15, 128),  # 70
        (64, 15, 1024),  # 970
        (65, 15, 1024 + 64),
        (79, 15, 1024 + 256),  # the second block: 15 * 15 + 10 = 235
        (128, 16, 2 * 1088),  # 1034 each
    ],
)
def test_a_list_lies_in_blocks_of_64(synapses: int, bits_each: int, bits: int) -> None:
    assert list_bits(np.array([synapses]), bits_each).tolist() == [bits]


@pytest.mark.parametrize(
    ("neurons", "bits"), [(1, 6), (64, 6), (65, 7), (79, 7), (128, 7), (129, 8), (1024, 10), (4096, 12)]
)
def test_an_index_tells_the_neurons_of_a_core_apart(neurons: int, bits: int) -> None:
    assert index_bits(neurons) == bits


def test_a_kernel_on_a_small_image_by_hand() -> None:
    """3x3 kernel, 2 -> 1 channels, 4x4 neurons, weights 2 (1 bit), 6 bits of index: 7 bits a synapse.

    Lists of 4, 6, 9 synapses take 38, 52 and 73 bits, so 1, 1 and 2 words; nine lists for each of two channels.
    """
    wiring = wired(Conv(weight=np.full((1, 2, 3, 3), 2.0), padding=(1, 1)), (2, 4, 4), (1, 4, 4))
    memory = loihi1_memory([wiring], ((0, 1), (0, 4), (0, 4)))
    assert memory.bits(16) == 2 * 10 * 64
    # 1000 neurons on the core: 10 bits of index, 54, 76 and 109 bits: 4 lists of a word and 5 of two for each channel
    assert memory.bits(1000) == 2 * 14 * 64
    broken = wired(Conv(weight=np.full((1, 2, 3, 3), 2.0), padding=(0, 0)), (2, 4, 4), (1, 2, 2))
    assert loihi1_memory([broken], ((0, 1), (0, 2), (0, 2))).bits(16) == 2 * 16 * 64  # 1, 2 or 4 synapses each


def test_a_stride_halves_what_a_pixel_reaches() -> None:
    """Stride 2 on 8x8: along an axis odd rows reach two targets, the last one and even rows one: 3 patterns."""
    wiring = wired(Conv(weight=np.full((8, 1, 3, 3), 2.0), stride=(2, 2), padding=(1, 1)), (1, 8, 8), (8, 4, 4))
    # synapses 8 * (2, 1, 1) x (2, 1, 1): 32, four of 16, four of 8; index 7 bits (128 neurons), weight 1 bit
    bits = ceil((32 * 8 + 10) / 64) + 4 * ceil((16 * 8 + 10) / 64) + 4 * ceil((8 * 8 + 10) / 64)
    assert loihi1_memory([wiring], ((0, 8), (0, 4), (0, 4))).bits(128) == 64 * bits


def test_several_projections_add_up() -> None:
    a = wired(Dense(weight=np.full((4, 3), 2.0)), (3,), (4,))
    b = wired(Dense(weight=np.full((4, 5), 254.0)), (5,), (4,))
    # 4 synapses of 1 + 6 bits: one word; of 8 + 6 bits: two words
    assert loihi1_memory([a, b], ((0, 4),)).bits(4) == (3 * 1 + 5 * 2) * 64
    assert loihi1_memory([], ((0, 4),)).bits(4) == 0


@pytest.mark.parametrize(
    ("layer_neurons", "row", "words"),
    # 2560 rows of 100 and 17 synapses: "SynMem allocation=61440", "allocation=12800"; of 50 and 10 rows
    [(100, 100, 61440 / 2560), (100, 17, 12800 / 2560), (10, 10, 150 / 50), (1, 1, 10 / 10)],
)
def test_rows_of_intels_mapping(layer_neurons: int, row: int, words: float) -> None:
    assert run_bits(row, 8 + index_bits(layer_neurons)) == words * 64


def test_a_kernel_lies_on_a_core_of_loihi_2_once() -> None:
    """Intel's log has 81 words for the first convolution: 24 * 3 * 3 * 3 weights of 8 bits."""
    weight = np.full((24, 3, 3, 3), 2.0)
    for columns in ((0, 4), (96, 99)):
        wiring = wired(Conv(weight=weight, stride=(2, 2)), (3, 66, 200), (24, 32, 99))
        assert loihi2_memory([wiring], ((0, 24), (0, 32), columns)).bits(3072) == 81 * 64
    weight[5:, 2] = 0.0  # pairs of channels without any weight are not stored
    thinner = wired(Conv(weight=weight, stride=(2, 2)), (3, 66, 200), (24, 32, 99))
    assert loihi2_memory([thinner], ((0, 24), (0, 32), (0, 4))).bits(3072) == (24 * 2 + 5) * 9 * 8
    assert loihi2_memory([thinner], ((0, 6), (0, 32), (0, 4))).bits(1) == (6 * 2 + 5) * 9 * 8


def test_a_matrix_row_of_loihi_2_keeps_its_zeros() -> None:
    weight = np.zeros((8, 100))
    weight[3, :70] = 2.0
    # 70 rows of 8 synapses, 8 + 6 bits each: 122 bits, two words; 30 rows without any synapse are not there
    assert loihi2_memory([wired(Dense(weight=weight), (100,), (8,))], ((0, 8),)).bits(8) == 70 * 128


@pytest.mark.parametrize("seed", range(20))
def test_the_quick_bound_is_never_above(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outs, ins = (int(n) for n in rng.integers(1, 90, 2))
    weight = 2.0 * rng.integers(-100, 100, (outs, ins, 3, 3))
    weight[rng.random(weight.shape) < 0.5] = 0.0
    wiring = wired(Conv(weight=weight, padding=(1, 1)), (ins, 9, 7), (outs, 9, 7))
    for box in (((0, outs), (0, 9), (0, 7)), ((0, 1), (2, 5), (3, 4)), ((0, max(1, outs // 2)), (4, 5), (0, 7))):
        typed: Box = box
        exact = loihi1_memory([wiring], typed).bits(box_neurons(typed))
        assert exact / 4 < least_bits([wiring], typed) <= exact or exact == 0
