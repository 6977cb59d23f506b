"""The integer arithmetic of `export/simulate.py` ("loihi") as compiled kernels whose cost follows the spikes.

Spikes are bits, 64 neurons in a word. A spike adds contiguous rows of weights to the sums of the neurons that it
reaches; where more than half of a source fires, the sums start from the answer to all of it firing, and its *silent*
neurons subtract their rows: the same integers, and never more than half of the dense work. One kernel serves
convolutions, one full matrices, one the membranes. Layer by layer: a population runs through all its time steps before
the next one starts. Several samples run side by side; a single one is cut into bands of rows.

Memory layout of a node (input or population): rows of whole words. An image [C, H, W] has H rows, in each the
neurons by (column, channel), in an input by (channel, column); a vector has 64 neurons in a row. Neurons that only
fill a row up are dead: nothing arrives there, and their bits are masked.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import get_thread_id, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic
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
NODE, FIRST, LAST, DECAY, SHIFT, CURRENT_DECAY, THRESHOLD, BIAS_AT, BIAS_STEP, NARROW, READOUT = range(11)
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
    readout: NDArray[np.int32]  # [N, steps, neurons of the readout]


class Span(NamedTuple):
    """Which part of the stream a call computes."""

    first_step: int
    window: int  # time steps after which the state is zero again
    history: int  # steps in Work.bits before first_step
    carry: bool


@intrinsic
def _add_lanes(_: Any, sums: Any, i: Any, weights: Any, j: Any, sign: Any) -> tuple[Any, Callable[..., Any]]:
    """sums[i : i + RUN] += weights[j : j + RUN], or -= where sign is -1 and not 0; exact: -w = (w ^ -1) + 1."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums_at, weights_at = (
            _lanes_at(context, builder, signature.args[n], arguments[n], arguments[n + 1], RUN) for n in (0, 2)
        )
        align = signature.args[0].dtype.bitwidth // 8
        value = builder.load(weights_at, align=align)
        flip = _splat(builder, arguments[4], value.type)
        value = builder.sub(builder.xor(value, flip), flip)
        builder.store(builder.add(builder.load(sums_at, align=align), value), sums_at, align=align)
        return context.get_dummy_value()

    return types.void(sums, types.intp, weights, types.intp, types.intp), codegen


@intrinsic
def _step_lanes(
    _: Any, sums: Any, i: Any, v: Any, j: Any, bias: Any, k: Any, kept: Any, shift: Any, threshold: Any
) -> tuple[Any, Callable[..., Any]]:
    """One membrane step of LANES neurons in 32 bits: v = clip(trunc(v * kept / 2^shift) + 64 * sum + bias), and 0
    where it fired. Returns a bit for each neuron that fired, and above them one for each that was active.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(32), LANES)
        sums_at, v_at, bias_at = (
            _lanes_at(context, builder, signature.args[n], arguments[n], arguments[n + 1]) for n in (0, 2, 4)
        )
        kept_, shift_, threshold_ = (_splat(builder, arguments[n], lanes) for n in (6, 7, 8))
        zero = ir.Constant(lanes, [0] * LANES)
        one, sign, low, high, mantissa = (
            ir.Constant(lanes, [n] * LANES) for n in (1, 31, 1 - STATE_LIMIT, STATE_LIMIT - 1, MANTISSA_SHIFT)
        )
        below = builder.sub(builder.shl(one, shift_), one)  # what rounding toward zero adds to a negative product
        product = builder.mul(builder.load(v_at, align=4), kept_)
        rounding = builder.and_(builder.ashr(product, sign), below)
        total = builder.load(sums_at, align=signature.args[0].dtype.bitwidth // 8)
        arriving = builder.shl(builder.sext(total, lanes) if total.type != lanes else total, mantissa)
        x = builder.add(builder.ashr(builder.add(product, rounding), shift_), arriving)
        x = builder.add(x, builder.load(bias_at, align=4))
        x = builder.select(builder.icmp_signed(">", x, low), x, low)
        x = builder.select(builder.icmp_signed("<", x, high), x, high)
        fires = builder.icmp_signed(">", x, threshold_)
        builder.store(builder.select(fires, zero, x), v_at, align=4)
        moves = builder.icmp_signed("!=", builder.or_(arriving, x), zero)
        word = ir.IntType(64)
        fired, moved = (builder.zext(builder.bitcast(flags, ir.IntType(LANES)), word) for flags in (fires, moves))
        return builder.or_(fired, builder.shl(moved, ir.Constant(word, LANES)))

    scalars = [types.int64] * 3
    return types.uint64(sums, types.intp, v, types.intp, bias, types.intp, *scalars), codegen


def _lanes_at(context: Any, builder: Any, array_type: Any, array: Any, index: Any, number: int = LANES) -> Any:
    """A pointer to some numbers of an array."""
    data = context.make_array(array_type)(context, builder, array).data
    lanes = ir.VectorType(ir.IntType(array_type.dtype.bitwidth), number)
    return builder.bitcast(builder.gep(data, [index]), lanes.as_pointer())


def _splat(builder: Any, value: Any, lanes: Any) -> Any:
    """A number in every lane."""
    nothing = ir.Constant(lanes, ir.Undefined)
    one = builder.insert_element(nothing, builder.trunc(value, lanes.element), ir.IntType(32)(0))
    return builder.shuffle_vector(
        one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), [0] * lanes.count)
    )


@intrinsic
def _packed(_: Any, flags: Any) -> tuple[Any, Callable[..., Any]]:
    """The first 64 bytes of an array as the bits of a word: 1 where a byte is not 0."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), WORD)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        value = builder.load(builder.bitcast(data, vector.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", value, ir.Constant(vector, [0] * WORD)), ir.IntType(WORD))

    return types.uint64(flags), codegen


@intrinsic
def _lowest(_: Any, word: Any) -> tuple[Any, Callable[..., Any]]:
    """The index of the lowest bit that is set."""

    def codegen(_c: Any, builder: Any, _s: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), codegen


@intrinsic
def _ones(_: Any, word: Any) -> tuple[Any, Callable[..., Any]]:
    """How many bits are set."""

    def codegen(_c: Any, builder: Any, _s: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), codegen


@njit(cache=True)
def _convolve(
    program: Program, projection: Any, bits: Any, flip: Any, sums: Any, found: Any, first_row: int, last_row: int
) -> None:
    """Add the weights of every spike (with `flip`: subtract those of every silent neuron) to the rows of a band."""
    nodes, weights, taps = program.nodes, program.weights, program.taps
    rows, words, at = nodes[projection[SOURCE], ROWS], nodes[projection[SOURCE], WORDS], nodes[projection[SOURCE], AT]
    reach = program.reach[projection[REACH_AT] : projection[REACH_AT] + words * WORD]
    sign, apart, joined = -1 if flip else 0, projection[APART], projection[LENGTH]
    for y in range(rows):
        begin, end = program.tap_ends[projection[TAPS_AT] + y], program.tap_ends[projection[TAPS_AT] + y + 1]
        while begin < end and taps[begin, 0] < first_row:
            begin += 1
        while begin < end and taps[end - 1, 0] >= last_row:
            end -= 1
        if begin == end:
            continue
        number = _find(bits, program.masks, flip, at + y * words, words, reach, found)
        for k in range(begin, end):
            first_target, first_weight = taps[k, 1], taps[k, 2]
            if joined:
                _add_runs(sums, first_target, weights, first_weight, found, number, sign)
            else:
                _add_segments(sums, first_target, weights, first_weight, found, number, sign, apart)


@njit(cache=True)
def _find(bits: Any, masks: Any, flip: Any, at: int, words: int, reach: Any, found: Any) -> int:
    """Write what each spike of a row reaches into `found`; returns how many there are."""
    number = 0
    for w in range(words):
        word = (bits[at + w] ^ flip) & masks[at + w]
        while word:
            neuron = np.uint64(w * WORD + _lowest(word))
            word &= word - np.uint64(1)
            for column in range(4):
                found[number, column] = reach[neuron, column]
            number += 1
    return number


@njit(cache=True)
def _add_runs(sums: Any, first: int, weights: Any, first_weight: int, found: Any, number: int, sign: int) -> None:
    for n in range(number):
        i, j = first + found[n, 0], first_weight + found[n, 1]
        for o in range(0, found[n, 2], RUN):
            _add_lanes(sums, i + o, weights, j + o, sign)


@njit(cache=True)
def _add_segments(
    sums: Any, first: int, weights: Any, first_weight: int, found: Any, number: int, sign: int, apart: int
) -> None:
    """Where groups or a dilation leave gaps between the targets of a spike."""
    for n in range(number):
        i, j = first + found[n, 0], first_weight + found[n, 1]
        for _ in range(found[n, 3]):
            for o in range(found[n, 2]):
                sums[i + o] += (weights[j + o] ^ sign) - sign
            i += apart
            j += found[n, 2]


@njit(cache=True)
def _multiply(
    program: Program, projection: Any, bits: Any, flip: Any, sums: Any, first_row: int, last_row: int
) -> None:
    """The same for a full matrix; the target's rows have one word each, or all belong to the band."""
    nodes, masks, weights = program.nodes, program.masks, program.weights
    at, length = nodes[projection[SOURCE], AT], projection[LENGTH]
    begin, end = first_row * projection[APART], min(last_row * projection[APART], length)
    sign = -1 if flip else 0
    for w in range(nodes[projection[SOURCE], ROWS] * nodes[projection[SOURCE], WORDS]):
        word = (bits[at + w] ^ flip) & masks[at + w]
        while word:
            j = projection[WEIGHTS_AT] + (w * WORD + _lowest(word)) * length
            word &= word - np.uint64(1)
            for o in range(begin, end, RUN):
                _add_lanes(sums, o, weights, j + o, sign)


@njit(cache=True)
def _arrive(
    program: Program,
    population: Any,
    bits: Any,
    t: int,
    earliest: int,
    sums: Any,
    found: Any,
    first_row: int,
    last_row: int,
) -> None:
    """The sums of one step: all incoming projections."""
    node = program.nodes[population[NODE]]
    begin, end = first_row * node[WORDS] * WORD, last_row * node[WORDS] * WORD
    sums[begin:end] = 0
    for q in range(population[FIRST], population[LAST]):
        projection = program.projections[q]
        if t - projection[LAG] < earliest:
            continue
        spikes = bits[t - projection[LAG]]
        source = program.nodes[projection[SOURCE]]
        fired = 0
        for w in range(source[AT], source[AT] + source[ROWS] * source[WORDS]):
            fired += _ones(spikes[w])
        flip = np.uint64(0)
        if 2 * fired > source[NEURONS]:
            flip = EVERY
            answer = program.answers[projection[ALL_AT] :]
            for i in range(begin, end):
                sums[i] += answer[i]
        if projection[DENSE]:
            _multiply(program, projection, spikes, flip, sums, first_row, last_row)
        else:
            _convolve(program, projection, spikes, flip, sums, found, first_row, last_row)


@njit(cache=True)
def _membranes_narrow(
    program: Program, population: Any, sums: Any, v: Any, bits: Any, first_row: int, last_row: int
) -> int:
    """One step of membranes that forget the current and whose arithmetic fits 32 bits. Counts the active neurons."""
    node, bias, masks = program.nodes[population[NODE]], program.bias, program.masks
    at, words, bias_at, bias_step = node[AT], node[WORDS], population[BIAS_AT], population[BIAS_STEP]
    kept, shift, threshold = population[DECAY], population[SHIFT], population[THRESHOLD]
    active = 0
    for row in range(first_row, last_row):
        for w in range(words):
            word = row * words + w
            i, j, k = word * WORD, (at + word) * WORD, bias_at + row * bias_step + w * WORD
            fired, moved = np.uint64(0), np.uint64(0)
            for o in range(0, WORD, LANES):
                both = _step_lanes(sums, i + o, v, j + o, bias, k + o, kept, shift, threshold)
                fired |= (both & np.uint64(0xFFFF)) << np.uint64(o)
                moved |= (both >> np.uint64(LANES)) << np.uint64(o)
            active += _ones(moved)
            bits[at + word] = fired & masks[at + word]
    return active


@njit(cache=True)
def _kept(state: int, numerator: int) -> int:
    """trunc(state * numerator / 4096), toward zero."""
    product = state * numerator
    return (product + ((product >> 63) & ((1 << DECAY_SHIFT) - 1))) >> DECAY_SHIFT


@njit(cache=True)
def _membranes(
    program: Program, population: Any, sums: Any, u: Any, v: Any, bits: Any, first_row: int, last_row: int
) -> int:
    """One step of any membranes, in 64 bits. Counts the active neurons."""
    node = program.nodes[population[NODE]]
    shift = DECAY_SHIFT - population[SHIFT]
    active = 0
    for row in range(first_row, last_row):
        for w in range(node[WORDS]):
            word = row * node[WORDS] + w
            fired = np.uint64(0)
            for i in range(WORD):
                at = (node[AT] + word) * WORD + i
                x = _kept(u[at], population[CURRENT_DECAY]) + (np.int64(sums[word * WORD + i]) << MANTISSA_SHIFT)
                if x > STATE_LIMIT:
                    x -= 2 * STATE_LIMIT
                if x <= -STATE_LIMIT:
                    x += 2 * STATE_LIMIT
                u[at] = x
                bias = program.bias[population[BIAS_AT] + row * population[BIAS_STEP] + w * WORD + i]
                y = _kept(np.int64(v[at]), population[DECAY] << shift) + x + bias
                y = min(max(y, 1 - STATE_LIMIT), STATE_LIMIT - 1)
                active += (x != 0) | (y != 0)
                if y > population[THRESHOLD]:
                    fired |= np.uint64(1) << np.uint64(i)
                    y = 0
                v[at] = np.int32(y)
            bits[node[AT] + word] = fired & program.masks[node[AT] + word]
    return active


@njit(cache=True)
def _population(
    program: Program, work: Work, span: Span, k: int, sample: int, thread: int, band: int, first_row: int, last_row: int
) -> None:
    """All steps of one population of one sample, in one band of its rows."""
    population = program.populations[k]
    node = program.nodes[population[NODE]]
    slot = sample if span.carry else thread
    sums, u, v, bits = work.sums[thread], work.current[slot], work.membrane[slot], work.bits[sample]
    begin, end = first_row * node[WORDS] * WORD, last_row * node[WORDS] * WORD
    offset = node[AT] * WORD
    earliest = max(0, span.history - span.first_step)
    found = np.empty((program.nodes[:, WORDS].max() * WORD, 4), np.int32)
    for t in range(span.history, len(bits)):
        step = span.first_step + t - span.history
        if step % span.window == 0:
            v[offset + begin : offset + end] = 0
            if not population[NARROW]:
                u[offset + begin : offset + end] = 0
        _arrive(program, population, bits, t, earliest, sums, found, first_row, last_row)
        if population[NARROW]:
            active = _membranes_narrow(program, population, sums, v, bits[t], first_row, last_row)
        else:
            active = _membranes(program, population, sums, u, v, bits[t], first_row, last_row)
        work.active[sample, band, k] += active
        if population[READOUT]:
            work.readout[sample, t - span.history, begin:end] = v[offset + begin : offset + end]


@njit(cache=True, parallel=True)
def run_samples(program: Program, work: Work, span: Span, first: int, last: int) -> None:
    """Populations first..last of every sample, samples side by side."""
    for each in prange(len(work.bits)):
        sample, thread = np.int64(each), np.int64(get_thread_id())  # both are unsigned, which does not mix
        for k in range(first, last):
            _population(program, work, span, k, sample, thread, 0, 0, program.nodes[program.populations[k, NODE], ROWS])


@njit(cache=True, parallel=True)
def run_bands(program: Program, work: Work, span: Span, first: int, last: int, recurrent: NDArray[np.bool_]) -> None:
    """The same, sample after sample, with the rows of a population cut into one band for each thread."""
    for sample in range(len(work.bits)):
        for k in range(first, last):
            rows = program.nodes[program.populations[k, NODE], ROWS]
            bands = 1 if recurrent[k] else min(rows, work.active.shape[1])
            for each in prange(bands):
                band = np.int64(each)
                _population(program, work, span, k, sample, 0, band, rows * band // bands, rows * (band + 1) // bands)


@njit(cache=True, parallel=True)
def pack(spikes: NDArray[np.uint8], bits: NDArray[np.uint64], words: int, at: int, history: int) -> int:
    """Spikes [T, N, C, H, W] -> the bits of an input; returns the largest value that was met.

    A vector comes as C = H = 1.
    """
    steps, samples, channels, rows, columns = spikes.shape
    worst = np.zeros(samples, np.uint8)
    for sample in prange(samples):
        line = np.zeros((words, WORD), np.uint8)
        flat = line.reshape(-1)
        seen = np.uint8(0)
        for t in range(steps):
            for y in range(rows):
                for c in range(channels):
                    flat[c * columns : (c + 1) * columns] = spikes[t, sample, c, y]
                for w in range(words):
                    bits[sample, history + t, at + y * words + w] = _packed(line[w])
                for i in range(channels * columns):
                    seen |= flat[i]
        worst[sample] = seen
    return int(worst.max())


@njit(cache=True, parallel=True)
def count(bits: NDArray[np.uint64], history: int, totals: Integers) -> None:
    """Add to totals [words, 64] how often each neuron fired."""
    samples, steps, words = bits.shape
    for w in prange(words):
        for sample in range(samples):
            for t in range(history, steps):
                word = bits[sample, t, w]
                while word:
                    totals[w, _lowest(word)] += 1
                    word &= word - np.uint64(1)
