"""What the kernels work on: a SpikingGraph as tables of integers, the arrays of a run, and the numbers of their layout.

Numba caches the kernels by the date of `kernels.py` alone: after a change here, delete `deploy/__pycache__`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LANES = 16  # neurons whose membranes are computed at once
RUN = 32  # weights that are added at once; runs of weights are filled up to a multiple
WORD = 64  # neurons in a word of bits
EVERY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
STATE_LIMIT = 2**23
MANTISSA_SHIFT = 6
DECAY_SHIFT = 12

# columns of Program.nodes
ROWS, WORDS, AT, NEURONS = range(4)  # AT: the node's first word among those of a step
# columns of Program.populations
NODE, FIRST, LAST, DECAY, SHIFT, CURRENT_DECAY, THRESHOLD, BIAS_AT, BIAS_STEP, NARROW, READOUT, EACH_AT = range(12)
# columns of Program.projections
SOURCE, DENSE, LAG, WEIGHTS_AT, ALL_AT, REACH_AT, TAPS_AT, APART, LENGTH = range(9)

Integers = NDArray[np.int64]


class Program(NamedTuple):
    """A SpikingGraph as tables of integers; a row for each node, population and projection."""

    nodes: Integers
    populations: Integers  # in topological order
    projections: Integers  # sorted by target
    masks: NDArray[np.uint64]  # the bits of neurons that are not dead
    bias: NDArray[np.int32]  # in membrane units
    each: NDArray[np.int32]  # [neurons, 3]: current decay, decay, threshold, where a population's neurons differ
    weights: NDArray[Any]  # int16 where no sum can leave it, else int32
    answers: NDArray[Any]  # of every target to a source that fires as a whole
    reach: NDArray[np.int32]  # [neurons of a source row, 4]: first target neuron, first weight, weights, segments
    tap_ends: NDArray[np.int64]  # first tap of each source row
    taps: NDArray[np.int64]  # [taps, 3]: target row, its first neuron, offset of the weights


class Work(NamedTuple):
    """The arrays of one run. A slot is a thread, or a sample where state is carried to the next call."""

    bits: NDArray[np.uint64]  # [N, history + steps, words]
    sums: NDArray[Any]  # [threads, neurons]
    current: NDArray[np.int64]  # [slots, neurons]
    membrane: NDArray[np.int32]  # [slots, neurons]
    active: Integers  # [N, bands, populations]
    moved: NDArray[np.uint64]  # [N, steps, words]: which neurons were active; [0, 0, 0] where nobody asks
    readout: NDArray[np.int32]  # [N, steps, neurons of the readout]


class Span(NamedTuple):
    """Which part of the stream a call computes."""

    first_step: int
    window: int  # time steps after which the state is zero again
    history: int  # steps in Work.bits before first_step
    carry: bool
