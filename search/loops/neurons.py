"""The loops of the kernel-space supernet's neurons, compiled: each reads and writes its arrays once.

Arrays are contiguous, and float32 unless it is said otherwise. Spikes are 0 or `one`, the bits of 1.0 in any type. A
loop does `start` to `stop` of its first array's first axis, so that threads can share it (threads.py); results do not
depend on how it is shared.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import overload

Loop = TypeVar("Loop", bound=Callable[..., None])

DECAY = np.float32(0.5)  # of a membrane
ZERO = np.float32(0)
ONE = np.float32(1)
PI = np.float32(math.pi)


def compiled(loop: Loop) -> Loop:
    """Compiled at its first call, and kept in the package's cache."""
    return cast(Loop, njit(cache=True, nogil=True)(loop))


def widened(row: Any, room: Any) -> Any:
    """A row of float32, or of bfloat16 (as int16), as float32; `room` is used for it if need be."""
    raise NotImplementedError  # below for compiled callers, by the type of the row


@overload(widened, inline="always")
def _widened(row, room):  # type: ignore[no-untyped-def]  # numba wants the signature of what is returned
    if row.dtype != types.int16:
        return lambda row, room: row

    def widen(row, room):  # type: ignore[no-untyped-def]
        bits = room.view(np.int32)
        for i in range(len(row)):
            bits[i] = np.int32(row[i]) << 16
        return room

    return widen


def narrowed(row: Any, to: Any) -> None:
    """A row of float32 rounded to the nearest bfloat16 (as int16), of two the even one; or copied to a float32 one."""
    raise NotImplementedError


@overload(narrowed, inline="always")
def _narrowed(row, to):  # type: ignore[no-untyped-def]
    if to.dtype != types.int16:
        return lambda row, to: _copy(row, to)

    def narrow(row, to):  # type: ignore[no-untyped-def]
        bits = row.view(np.int32)
        for i in range(len(row)):
            to[i] = np.int16((bits[i] + np.int32(0x7FFF) + ((bits[i] >> 16) & 1)) >> 16)

    return narrow


@compiled
def _copy(row: Any, to: Any) -> None:
    to[:] = row


@compiled
def lif_forward(current: Any, decay: Any, charges: Any, one: Any, spikes: Any, start: int, stop: int) -> None:
    """[P, T, M]: h[t] = decay * v[t - 1] + I[t], a spike where h[t] >= 1, then v[t] = 0. Fills charges (h), spikes."""
    _, steps, neurons = current.shape
    for p in range(start, stop):
        for t in range(steps):
            now, charge, spike = current[p, t], charges[p, t], spikes[p, t]
            if t == 0:
                charge[:] = now
            else:
                before = charges[p, t - 1]
                for i in range(neurons):
                    charge[i] = (ZERO if before[i] >= ONE else before[i] * decay) + now[i]
            for i in range(neurons):
                spike[i] = one if charge[i] >= ONE else 0


@compiled
def _lif_step_backward(charge: Any, arrived: Any, decay: Any, half: Any, after: Any, answer: Any) -> None:
    """[M]: dL/dI[t] = half * dL/ds[t] / (1 + (pi * half * (h[t] - 1))^2) + decay * (1 - s[t]) * dL/dI[t + 1], of one
    step. half: of the sharpness of the arctangent, usually 1."""
    for i in range(len(charge)):
        x = PI * half * (charge[i] - ONE)
        answer[i] = half / (ONE + x * x) * arrived[i] + (ZERO if charge[i] >= ONE else decay) * after[i]


@compiled
def lif_backward(charges: Any, gradient: Any, decay: Any, half: Any, result: Any, start: int, stop: int) -> None:
    """[P, T, M]: fills result, dL/dI, with a surrogate whose sharpness is twice `half`."""
    _, steps, neurons = charges.shape
    last = np.zeros(neurons, np.float32)
    for p in range(start, stop):
        for t in range(steps - 1, -1, -1):
            after = result[p, t + 1] if t + 1 < steps else last
            _lif_step_backward(charges[p, t], gradient[p, t], decay, half, after, result[p, t])


@compiled
def moments(blocks: Any, current: Any, start: int, stop: int) -> None:
    """[P, M] in equal parts of the pixels: fills blocks [parts, 2, M], means and sums of squares around them."""
    parts, _, neurons = blocks.shape
    pixels = len(current)
    for part in range(start, stop):
        first, last = pixels * part // parts, pixels * (part + 1) // parts
        mean, squares = blocks[part, 0], blocks[part, 1]
        mean[:] = ZERO
        squares[:] = ZERO
        for p in range(first, last):
            for i in range(neurons):
                mean[i] += current[p, i]
        for i in range(neurons):
            mean[i] /= np.float32(last - first)
        for p in range(first, last):
            for i in range(neurons):
                distance = current[p, i] - mean[i]
                squares[i] += distance * distance


@compiled
def all_moments(blocks: Any, pixels: int, mean: Any, variance: Any) -> None:
    """What `moments` found of the parts -> mean and variance [C] of all; neurons are [.., C]."""
    parts, _, neurons = blocks.shape
    channels = len(mean)
    means, squares = np.zeros(channels), np.zeros(channels)
    for part in range(parts):
        inside = pixels * (part + 1) // parts - pixels * part // parts
        for first in range(0, neurons, channels):
            for c in range(channels):
                means[c] += inside * blocks[part, 0, first + c]
    numbers = pixels * (neurons // channels)
    for c in range(channels):
        means[c] /= numbers
    for part in range(parts):
        inside = pixels * (part + 1) // parts - pixels * part // parts
        for first in range(0, neurons, channels):
            for c in range(channels):
                distance = blocks[part, 0, first + c] - means[c]
                squares[c] += blocks[part, 1, first + c] + inside * distance * distance
    for c in range(channels):
        mean[c], variance[c] = means[c], squares[c] / numbers


@compiled
def norm_lanes(mean: Any, variance: Any, eps: float, weight: Any, bias: Any, inverse: Any, lanes: Any) -> None:
    """All but lanes are [C]. Fills inverse, 1 / the standard deviation, and lanes [3, M]: mean, scale, bias."""
    channels, neurons = len(mean), lanes.shape[1]
    for c in range(channels):
        inverse[c] = ONE / np.sqrt(variance[c] + np.float32(eps))
        for i in range(c, neurons, channels):
            lanes[0, i], lanes[1, i], lanes[2, i] = mean[c], weight[c] * inverse[c], bias[c]


@compiled
def norm_lif_forward(
    current: Any, mean: Any, scale: Any, bias: Any, decay: Any, one: Any, spikes: Any, start: int, stop: int
) -> None:
    """`lif_forward` on (I - mean) * scale + bias; these are [M]."""
    _, steps, neurons = current.shape
    charge = np.empty(neurons, np.float32)
    for p in range(start, stop):
        charge[:] = ZERO
        for t in range(steps):
            now, spike = current[p, t], spikes[p, t]
            for i in range(neurons):
                kept = ZERO if charge[i] >= ONE else charge[i] * decay
                charge[i] = kept + ((now[i] - mean[i]) * scale[i] + bias[i])
                spike[i] = one if charge[i] >= ONE else 0


@compiled
def norm_lif_backward(
    sums: Any,
    current: Any,
    gradient: Any,
    mean: Any,
    scale: Any,
    bias: Any,
    decay: Any,
    result: Any,
    start: int,
    stop: int,
) -> None:
    """`lif_backward` of the same: fills result, dL/d((I - mean) * scale + bias).

    Fills sums [parts, 2, M] of it, and of it times I - mean, over equal parts of the pixels.
    """
    parts = len(sums)
    pixels, steps, neurons = current.shape
    charges, room = np.empty((steps, neurons), np.float32), np.empty(neurons, np.float32)
    last = np.zeros(neurons, np.float32)
    for part in range(start, stop):
        sums[part] = ZERO
        total, product = sums[part, 0], sums[part, 1]
        for p in range(pixels * part // parts, pixels * (part + 1) // parts):
            for t in range(steps):
                charge, now = charges[t], current[p, t]
                if t == 0:
                    for i in range(neurons):
                        charge[i] = (now[i] - mean[i]) * scale[i] + bias[i]
                else:
                    before = charges[t - 1]
                    for i in range(neurons):
                        kept = ZERO if before[i] >= ONE else before[i] * decay
                        charge[i] = kept + ((now[i] - mean[i]) * scale[i] + bias[i])
            for t in range(steps - 1, -1, -1):
                answer, now = result[p, t], current[p, t]
                after = result[p, t + 1] if t + 1 < steps else last
                _lif_step_backward(charges[t], widened(gradient[p, t], room), decay, ONE, after, answer)
                for i in range(neurons):
                    total[i] += answer[i]
                    product[i] += answer[i] * (now[i] - mean[i])


@compiled
def norm_gradients(sums: Any, inverse: Any, count: float, totals: Any, lanes: Any) -> None:
    """The sums of `norm_lif_backward`, of so many currents per channel, whose 1 / standard deviation is `inverse` [C].

    Fills totals [2, C], dL/dweight and dL/dbias; and lanes [2, M], the offset and slope of `norm_backward`.
    """
    parts, _, neurons = sums.shape
    channels = len(inverse)
    exact = np.zeros((2, channels))
    for part in range(parts):
        for which in range(2):
            for first in range(0, neurons, channels):
                for c in range(channels):
                    exact[which, c] += sums[part, which, first + c]
    for c in range(channels):
        totals[0, c], totals[1, c] = exact[1, c] * inverse[c], exact[0, c]
        offset, slope = exact[0, c] / count, exact[1, c] * inverse[c] * inverse[c] / count
        for i in range(c, neurons, channels):
            lanes[0, i], lanes[1, i] = offset, slope


@compiled
def norm_backward(
    result: Any, current: Any, mean: Any, scale: Any, offset: Any, slope: Any, start: int, stop: int
) -> None:
    """[P, M], in place: result = scale * (result - offset - slope * (I - mean)); these are [M]."""
    neurons = result.shape[1]
    for p in range(start, stop):
        answer, now = result[p], current[p]
        for i in range(neurons):
            answer[i] = scale[i] * (answer[i] - offset[i] - slope[i] * (now[i] - mean[i]))
