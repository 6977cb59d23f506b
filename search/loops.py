"""The element-wise loops of the kernel-space supernet, compiled: each reads and writes its arrays once.

Arrays are float32 and contiguous. One thread each: beside torch's own threads a second pool of them cost more than it
gave (measured: 6 ms instead of 0.7 ms for the neurons of 2x32x8x32x32 on two busy cores).
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., None])

ZERO = np.float32(0)
ONE = np.float32(1)
PI = np.float32(math.pi)
FIRED = np.float32(16)  # in a key of the max-pool


def compiled(loop: Loop) -> Loop:
    """Compiled at its first call, and kept in the package's cache."""
    return cast(Loop, njit(cache=True, nogil=True)(loop))


@compiled
def lif_forward(current: Any, decay: Any, charges: Any, spikes: Any) -> None:
    """[P, T, M]: h[t] = decay * v[t - 1] + I[t], a spike where h[t] >= 1, then v[t] = 0. Fills charges (h), spikes."""
    pixels, steps, neurons = current.shape
    for p in range(pixels):
        for t in range(steps):
            now, charge, spike = current[p, t], charges[p, t], spikes[p, t]
            if t == 0:
                charge[:] = now
            else:
                before = charges[p, t - 1]
                for i in range(neurons):
                    charge[i] = (ZERO if before[i] >= ONE else before[i] * decay) + now[i]
            for i in range(neurons):
                spike[i] = ONE if charge[i] >= ONE else ZERO


@compiled
def lif_backward(charges: Any, gradient: Any, decay: Any, result: Any) -> None:
    """[P, T, M]: dL/dI[t] = dL/ds[t] / (1 + (pi * (h[t] - 1))^2) + decay * (1 - s[t]) * dL/dI[t + 1]."""
    pixels, steps, neurons = charges.shape
    for p in range(pixels):
        for t in range(steps - 1, -1, -1):
            charge, arrived, answer = charges[p, t], gradient[p, t], result[p, t]
            for i in range(neurons):
                x = PI * (charge[i] - ONE)
                answer[i] = ONE / (ONE + x * x) * arrived[i]
            if t + 1 < steps:
                after = result[p, t + 1]
                for i in range(neurons):
                    answer[i] += (ZERO if charge[i] >= ONE else decay) * after[i]


@compiled
def pool_forward(spikes: Any, stride: int, keys: Any, largest: Any) -> None:
    """[H, W, M]: the 3x3 max-pool of 0 and 1, `largest`, and its keys, 16 * largest + 8 - tap.

    The tap 0..8 is the first, row by row, that has the largest: the larger key wins, and of equals the earlier tap, as
    in torch's max-pool.
    """
    rows, columns, neurons = spikes.shape
    of_rows = np.empty((3, columns, neurons), np.float32)  # 16 * largest + 2 - column; row y lies at y % 3
    best = np.empty(neurons, np.float32)
    done = 0
    for y in range(keys.shape[0]):
        row = y * stride
        while done < min(row + 2, rows):
            _pool_row(spikes[done], of_rows[done % 3])
            done += 1
        for x in range(keys.shape[1]):
            column = x * stride
            middle = of_rows[row % 3, column]
            for i in range(neurons):
                best[i] = middle[i] + np.float32(3)
            if row > 0:
                _raise(best, of_rows[(row - 1) % 3, column], ONE, np.float32(6))
            if row + 1 < rows:
                _raise(best, of_rows[(row + 1) % 3, column], ONE, ZERO)
            key, spike = keys[y, x], largest[y, x]
            for i in range(neurons):
                key[i] = best[i]
                spike[i] = ONE if best[i] >= FIRED else ZERO


@compiled
def _pool_row(row: Any, largest: Any) -> None:
    """[W, M]: 16 * the largest of three columns + 2 - its column."""
    columns, neurons = row.shape
    for x in range(columns):
        for i in range(neurons):
            largest[x, i] = FIRED * row[x, i] + ONE
        if x > 0:
            _raise(largest[x], row[x - 1], FIRED, np.float32(2))
        if x + 1 < columns:
            _raise(largest[x], row[x + 1], FIRED, ZERO)


@compiled
def _raise(best: Any, values: Any, scale: Any, shift: Any) -> None:
    """best = the larger of best and scale * values + shift."""
    for i in range(len(best)):
        value = scale * values[i] + shift
        best[i] = value if value > best[i] else best[i]


@compiled
def pool_backward(keys: Any, gradient: Any, stride: int, result: Any) -> None:
    """[H, W, M]: adds each gradient to the pixel that was the largest."""
    rows, columns, neurons = gradient.shape
    flat, width = result.reshape(-1), result.shape[1]
    offsets = np.empty(9, np.int64)
    for tap in range(9):
        offsets[tap] = (tap // 3 * width + tap % 3) * neurons
    for y in range(rows):
        for x in range(columns):
            corner = ((y * stride - 1) * width + x * stride - 1) * neurons
            for i in range(neurons):
                flat[corner + offsets[8 - (np.int64(keys[y, x, i]) & 15)] + i] += gradient[y, x, i]


@compiled
def add_scaled(maps: Any, scales: Any, total: Any) -> None:
    """[P, M] and [M]: total += scales * maps."""
    pixels, neurons = maps.shape
    for p in range(pixels):
        pixel, to = maps[p], total[p]
        for i in range(neurons):
            to[i] += scales[i] * pixel[i]


@compiled
def add_scaled_backward(gradient: Any, maps: Any, scales: Any, to_maps: Any, to_scales: Any) -> None:
    """Fills to_maps [P, M] and adds to to_scales [M]."""
    pixels, neurons = maps.shape
    for p in range(pixels):
        arrived, pixel, to = gradient[p], maps[p], to_maps[p]
        for i in range(neurons):
            to[i] = scales[i] * arrived[i]
            to_scales[i] += pixel[i] * arrived[i]
