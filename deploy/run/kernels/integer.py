"""The integer arithmetic of `export/simulate.py` ("loihi") as compiled kernels whose cost follows the spikes.

Spikes are bits, 64 neurons in a word. A spike adds contiguous rows of weights to the sums of the neurons that it
reaches; where more than half of a source fires, the sums start from the answer to all of it firing, and its *silent*
neurons subtract their rows: the same integers, and never more than half of the dense work. One kernel serves
convolutions, one full matrices, one the membranes. Layer by layer: a population runs through all its time steps before
the next one starts. Several samples run side by side; a single one is cut into bands of rows.

The loops are written out, also where a slice or `max` would do: those take Numba seconds more to compile.

Memory layout of a node (input or population): rows of whole words. An image [C, H, W] has H rows, in each the
neurons by (column, channel), in an input by (channel, column); a vector has 64 neurons in a row. Neurons that only
fill a row up are dead: nothing arrives there, and their bits are masked.
"""

from typing import Any

import numpy as np
from numba import get_thread_id, njit, prange
from numpy.typing import NDArray

from .lanes import add_lanes, lowest, ones, packed, step_lanes
from .tables import (
    ALL_AT,
    APART,
    AT,
    BIAS_AT,
    BIAS_STEP,
    CURRENT_DECAY,
    DECAY,
    DECAY_SHIFT,
    DENSE,
    EACH_AT,
    EVERY,
    FIRST,
    LAG,
    LANES,
    LAST,
    LENGTH,
    MANTISSA_SHIFT,
    NARROW,
    NEURONS,
    NODE,
    REACH_AT,
    READOUT,
    ROWS,
    RUN,
    SHIFT,
    SOURCE,
    STATE_LIMIT,
    TAPS_AT,
    THRESHOLD,
    WEIGHTS_AT,
    WORD,
    WORDS,
    Integers,
    Program,
    Span,
    Work,
)


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
            neuron = np.uint64(w * WORD + lowest(word))
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
            add_lanes(sums, i + o, weights, j + o, sign)


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
            j = projection[WEIGHTS_AT] + (w * WORD + lowest(word)) * length
            word &= word - np.uint64(1)
            for o in range(begin, end, RUN):
                add_lanes(sums, o, weights, j + o, sign)


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
    for i in range(begin, end):
        sums[i] = 0
    for q in range(population[FIRST], population[LAST]):
        projection = program.projections[q]
        if t - projection[LAG] < earliest:
            continue
        spikes = bits[t - projection[LAG]]
        source = program.nodes[projection[SOURCE]]
        fired = 0
        for w in range(source[AT], source[AT] + source[ROWS] * source[WORDS]):
            fired += ones(spikes[w])
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
    program: Program,
    population: Any,
    sums: Any,
    v: Any,
    bits: Any,
    noted: Any,
    note: bool,
    first_row: int,
    last_row: int,
) -> int:
    """One step of membranes that forget the current and whose arithmetic fits 32 bits. Counts the active neurons, and
    notes which they are."""
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
                both = step_lanes(sums, i + o, v, j + o, bias, k + o, kept, shift, threshold)
                fired |= (both & np.uint64(0xFFFF)) << np.uint64(o)
                moved |= (both >> np.uint64(LANES)) << np.uint64(o)
            active += ones(moved)
            if note:
                noted[at + word] = moved
            bits[at + word] = fired & masks[at + word]
    return active


@njit(cache=True)
def _kept(state: int, numerator: int) -> int:
    """trunc(state * numerator / 4096), toward zero."""
    product = state * numerator
    return (product + ((product >> 63) & ((1 << DECAY_SHIFT) - 1))) >> DECAY_SHIFT


@njit(cache=True)
def _membranes(
    program: Program,
    population: Any,
    sums: Any,
    u: Any,
    v: Any,
    bits: Any,
    noted: Any,
    note: bool,
    first_row: int,
    last_row: int,
) -> int:
    """One step of any membranes, in 64 bits. Counts the active neurons, and notes which they are."""
    node, each, each_at = program.nodes[population[NODE]], program.each, population[EACH_AT]
    current_decay, threshold = population[CURRENT_DECAY], population[THRESHOLD]
    decay = population[DECAY] << (DECAY_SHIFT - population[SHIFT])
    active = 0
    for row in range(first_row, last_row):
        for w in range(node[WORDS]):
            word = row * node[WORDS] + w
            fired, moved = np.uint64(0), np.uint64(0)
            for i in range(WORD):
                at = (node[AT] + word) * WORD + i
                if each_at >= 0:
                    k = each_at + word * WORD + i
                    current_decay, decay, threshold = np.int64(each[k, 0]), np.int64(each[k, 1]), np.int64(each[k, 2])
                x = _kept(u[at], current_decay) + (np.int64(sums[word * WORD + i]) << MANTISSA_SHIFT)
                if x > STATE_LIMIT:
                    x -= 2 * STATE_LIMIT
                if x <= -STATE_LIMIT:
                    x += 2 * STATE_LIMIT
                u[at] = x
                bias = program.bias[population[BIAS_AT] + row * population[BIAS_STEP] + w * WORD + i]
                y = _kept(np.int64(v[at]), decay) + x + bias
                y = min(max(y, 1 - STATE_LIMIT), STATE_LIMIT - 1)
                if (x != 0) | (y != 0):
                    active += 1
                    moved |= np.uint64(1) << np.uint64(i)
                if y > threshold:
                    fired |= np.uint64(1) << np.uint64(i)
                    y = 0
                v[at] = np.int32(y)
            if note:
                noted[node[AT] + word] = moved
            bits[node[AT] + word] = fired & program.masks[node[AT] + word]
    return active


@njit(cache=True)
def _population(
    program: Program, work: Work, span: Span, k: int, sample: int, thread: int, band: int, first_row: int, last_row: int
) -> None:
    """All steps of one population of one sample, in one band of its rows.

    Callers give np.int64(0), not 0: for the type of a literal Numba would compile all of it once more.
    """
    population = program.populations[k]
    node = program.nodes[population[NODE]]
    slot = sample if span.carry else thread
    sums, u, v, bits = work.sums[thread], work.current[slot], work.membrane[slot], work.bits[sample]
    begin, end = first_row * node[WORDS] * WORD, last_row * node[WORDS] * WORD
    offset = node[AT] * WORD
    earliest = max(0, span.history - span.first_step)
    widest, note = 0, len(work.moved) > 0
    for n in range(len(program.nodes)):
        widest = max(widest, program.nodes[n, WORDS])
    found = np.empty((widest * WORD, 4), np.int32)
    for t in range(span.history, len(bits)):
        step = span.first_step + t - span.history
        if step % span.window == 0:
            for i in range(offset + begin, offset + end):
                v[i] = 0
            if not population[NARROW]:
                for i in range(offset + begin, offset + end):
                    u[i] = 0
        _arrive(program, population, bits, t, earliest, sums, found, first_row, last_row)
        noted = work.moved[sample, t - span.history] if note else bits[t]
        if population[NARROW]:
            active = _membranes_narrow(program, population, sums, v, bits[t], noted, note, first_row, last_row)
        else:
            active = _membranes(program, population, sums, u, v, bits[t], noted, note, first_row, last_row)
        work.active[sample, band, k] += active
        if population[READOUT]:
            for i in range(begin, end):
                work.readout[sample, t - span.history, i] = v[offset + i]


@njit(cache=True, parallel=True)
def run_samples(program: Program, work: Work, span: Span, first: int, last: int) -> None:
    """Populations first..last of every sample, samples side by side."""
    for each in prange(len(work.bits)):
        sample, thread = np.int64(each), np.int64(get_thread_id())  # both are unsigned, which does not mix
        for k in range(first, last):
            rows = program.nodes[program.populations[k, NODE], ROWS]
            _population(program, work, span, k, sample, thread, np.int64(0), np.int64(0), rows)


@njit(cache=True, parallel=True)
def run_bands(program: Program, work: Work, span: Span, first: int, last: int, recurrent: NDArray[np.bool_]) -> None:
    """The same, sample after sample, with the rows of a population cut into one band for each thread."""
    for sample in range(len(work.bits)):
        for k in range(first, last):
            rows = program.nodes[program.populations[k, NODE], ROWS]
            bands = 1 if recurrent[k] else min(rows, work.active.shape[1])
            for each in prange(bands):
                band = np.int64(each)
                begin, end = rows * band // bands, rows * (band + 1) // bands
                _population(program, work, span, k, sample, np.int64(0), band, begin, end)


@njit(cache=True, parallel=True)
def pack(spikes: NDArray[np.uint8], bits: NDArray[np.uint64], words: int, at: int, history: int) -> int:
    """Spikes [T, N, C, H, W] -> the bits of an input; returns the largest value that was met.

    A vector comes as C = H = 1.
    """
    steps, samples, channels, rows, columns = spikes.shape
    worst = np.zeros(samples, np.uint8)
    for each in prange(samples):
        sample = np.int64(each)
        line = np.zeros((words, WORD), np.uint8)
        flat = line.reshape(-1)
        seen = np.uint8(0)
        for t in range(steps):
            for y in range(rows):
                for c in range(channels):
                    for x in range(columns):
                        flat[c * columns + x] = spikes[t, sample, c, y, x]
                for w in range(words):
                    bits[sample, history + t, at + y * words + w] = packed(line[w])
                for i in range(channels * columns):
                    seen |= flat[i]
        worst[sample] = seen
    largest = 0
    for value in worst:
        largest = max(largest, int(value))
    return largest


@njit(cache=True, parallel=True)
def count(bits: NDArray[np.uint64], history: int, totals: Integers) -> None:
    """Add to totals [words, 64] how often each neuron fired."""
    samples, steps, words = bits.shape
    for w in prange(words):
        for sample in range(samples):
            for t in range(history, steps):
                word = bits[sample, t, w]
                while word:
                    totals[w, lowest(word)] += 1
                    word &= word - np.uint64(1)
