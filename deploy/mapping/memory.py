"""Synapse memory: how many bits the lists of a box take on its core.

Loihi 1 [nengo-loihi nengo_loihi/block.py, SynapseConfig.bits_per_axon]: a list lies in blocks of at most 64 synapses,

    bits of a block of n synapses = 64 * ceil((n * (weight + index + delay + tag bits) + 10) / 64)

with 0 or 6 to 12 bits for the index of the target among the neurons of the core, and no tag.

Loihi 2, as the log of Intel's mapping of PilotNet-LIF shows it [lava-dl
tutorials/lava/lib/dl/netx/pilotnet_snn/benchmark.ipynb]: a kernel lies on a core once, whatever the borders; a row of a
full matrix is one run, zero weights included, in words of 64 bits:

    bits of a row of n synapses = 64 * ceil((n * (8 + index bits) + 10) / 64)

which gives the log's 61440 and 12800 words for 2560 rows of 100 and of 17 synapses at 7 index bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..synapses import Box
from .wiring import ConvWiring, Integers, Wiring, box_neurons

WORD = 64  # bits
BLOCK = 64  # synapses
HEADER = 10  # bits: index of the first synapse and their number
LEAST_INDEX_BITS = 6  # Loihi 1 has 0, without an index, and 6 to 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Memory:
    """What a box takes of its core's synapse memory, which on Loihi 1 depends on how many neurons share the core.

    fixed: bits. sizes [K], times [K]: there are `times` lists of `sizes` synapses, whose weight and delay together have
    `synapse_bits`.
    """

    fixed: int = 0
    sizes: Integers
    times: Integers
    synapse_bits: Integers  # [K]

    def bits(self, neurons: int) -> int:
        """Bits on a core of so many neurons."""
        return self.fixed + int(self.times @ list_bits(self.sizes, self.synapse_bits + index_bits(neurons)))


def list_bits(synapses: Integers, bits_each: Integers | int) -> Integers:
    """Bits of lists of so many synapses on Loihi 1, `bits_each` for weight, index, delay and tag of a synapse."""
    full, rest = np.divmod(synapses, BLOCK)
    bits: Integers = full * run_bits(BLOCK, bits_each) + (rest > 0) * run_bits(rest, bits_each)
    return bits


def run_bits(synapses: Integers | int, bits_each: Integers | int) -> Integers:
    """Bits of so many synapses with one header, in whole words."""
    return np.asarray(-(-(synapses * bits_each + HEADER) // WORD) * WORD, np.int64)


def index_bits(neurons: int) -> int:
    """Bits that tell so many neurons apart, at least 6."""
    return max(LEAST_INDEX_BITS, (neurons - 1).bit_length())


def loihi1_memory(wirings: Sequence[Wiring], box: Box) -> Memory:
    """Memory of a box of a population that reads through these wirings, on Loihi 1."""
    found = [(*np.unique(wiring.lists(box), return_counts=True), wiring.bits.needed) for wiring in wirings]
    none = np.zeros(0, np.int64)
    return Memory(
        sizes=np.concatenate([none, *(sizes for sizes, _, _ in found)]),
        times=np.concatenate([none, *(times for _, times, _ in found)]),
        synapse_bits=np.concatenate([none, *(np.full(len(sizes), bits) for sizes, _, bits in found)]),
    )


def loihi2_memory(wirings: Sequence[Wiring], box: Box) -> Memory:
    """The same on Loihi 2, where the neurons that share the core do not matter."""
    none = np.zeros(0, np.int64)
    return Memory(fixed=sum(_loihi2_bits(wiring, box) for wiring in wirings), sizes=none, times=none, synapse_bits=none)


def least_bits(wirings: Sequence[Wiring], box: Box) -> int:
    """No more bits than the box takes on Loihi 1, found at a fraction of the cost.

    A list of n synapses takes at least n * bits + 10, and a word.
    """
    bits = 0
    for wiring in wirings:
        synapses, lists = wiring.least_synapses(box)
        bits_each = wiring.bits.needed + index_bits(box_neurons(box))
        bits += max(synapses * bits_each + lists * HEADER, lists * WORD)
    return bits


def _loihi2_bits(wiring: Wiring, box: Box) -> int:
    if isinstance(wiring, ConvWiring):
        rows, columns = wiring.kernel.weight.shape[2:]
        return int(wiring.channel_pairs(box[0]) * rows * columns * wiring.bits.most_weight)
    bits_each = wiring.bits.most_weight + index_bits(wiring.target_neurons)
    return len(wiring.lists(box)) * int(run_bits(box_neurons(box), bits_each))
