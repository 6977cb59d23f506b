"""The loops of max-pools and of what is counted of spikes, for the kernel-space supernet; see neurons.py."""

from typing import Any

import numpy as np

from .neurons import ONE, ZERO, compiled, narrowed, widened

FIRED = np.uint8(16)  # in a key of the max-pool
TAP = np.uint8(15)


@compiled
def count_spikes(spikes: Any, images: Any, total: Any) -> None:
    """[H, W, B, C]: adds the spikes of these images to total [C]."""
    rows, columns, _, channels = spikes.shape
    for y in range(rows):
        for x in range(columns):
            for image in images:
                for c in range(channels):
                    total[c] += spikes[y, x, image, c] != 0


@compiled
def count_averages(spikes: Any, images: Any, total: Any, squares: Any) -> None:
    """[H, W, B, C]: adds the 3x3 avg-pool of these images, the padding counts, to total [C], its square to squares."""
    rows, columns, _, channels = spikes.shape
    share = ONE / np.float32(9)
    of_rows = np.zeros((columns + 2, channels), np.float32)
    for image in images:
        for y in range(rows):
            for x in range(columns):
                for c in range(channels):
                    spiking = ZERO
                    for row in range(max(y - 1, 0), min(y + 2, rows)):
                        spiking += ONE if spikes[row, x, image, c] else ZERO
                    of_rows[x + 1, c] = spiking
            for x in range(columns):
                for c in range(channels):
                    mean = share * (of_rows[x, c] + of_rows[x + 1, c] + of_rows[x + 2, c])
                    total[c] += mean
                    squares[c] += mean * mean


@compiled
def pool_forward(keys: Any, spikes: Any, stride: int, one: Any, largest: Any, start: int, stop: int) -> None:
    """[H, W, M]: the 3x3 max-pool of spikes, `largest`, and its keys, uint8: 16 * (it is a spike) + 8 - tap.

    The tap 0..8 is the first, row by row, that has the largest: the larger key wins, and of equals the earlier tap, as
    in torch's max-pool.
    """
    rows, columns, neurons = spikes.shape
    of_rows = np.empty((3, columns, neurons), np.uint8)  # 16 * largest + 2 - column; row y lies at y % 3
    done = max(0, start * stride - 1)
    for y in range(start, stop):
        row = y * stride
        while done < min(row + 2, rows):
            _pool_row(spikes[done], of_rows[done % 3])
            done += 1
        for x in range(keys.shape[1]):
            key, spike = keys[y, x], largest[y, x]
            middle = of_rows[row % 3, x * stride]
            for i in range(neurons):
                key[i] = middle[i] + 3
            if row > 0:
                _raise(key, of_rows[(row - 1) % 3, x * stride], 6)
            if row + 1 < rows:
                _raise(key, of_rows[(row + 1) % 3, x * stride], 0)
            for i in range(neurons):
                spike[i] = one if key[i] >= FIRED else 0


@compiled
def _pool_row(row: Any, keys: Any) -> None:
    """[W, M]: 16 * the largest of three columns + 2 - its column."""
    columns, neurons = row.shape
    fired = np.empty((columns, neurons), np.uint8)
    for x in range(columns):
        for i in range(neurons):
            fired[x, i] = FIRED if row[x, i] else 0
    for x in range(columns):
        for i in range(neurons):
            keys[x, i] = fired[x, i] + 1
        if x > 0:
            _raise(keys[x], fired[x - 1], 2)
        if x + 1 < columns:
            _raise(keys[x], fired[x + 1], 0)


@compiled
def _raise(best: Any, keys: Any, shift: int) -> None:
    """best = the larger of best and keys + shift, which is below 256."""
    for i in range(len(best)):
        key = np.uint8(keys[i] + shift)
        best[i] = key if key > best[i] else best[i]


@compiled
def pool_backward(result: Any, keys: Any, gradient: Any, stride: int, start: int, stop: int) -> None:
    """[H, W, M]: each pixel gets the sum of the gradients of the pools in which it was the largest."""
    _, columns, neurons = result.shape
    pools_y, pools_x = keys.shape[:2]
    answer = np.empty(neurons, np.float32)
    for y in range(start, stop):
        for x in range(columns):
            answer[:] = ZERO
            for pool_y in range((y - 1 + stride - 1) // stride, min((y + 1) // stride, pools_y - 1) + 1):
                for pool_x in range((x - 1 + stride - 1) // stride, min((x + 1) // stride, pools_x - 1) + 1):
                    if pool_y >= 0 and pool_x >= 0:
                        mine = np.uint8(8 - 3 * (y - pool_y * stride + 1) - (x - pool_x * stride + 1))
                        key, arrived = keys[pool_y, pool_x], gradient[pool_y, pool_x]
                        for i in range(neurons):
                            answer[i] += arrived[i] if key[i] & TAP == mine else ZERO
            narrowed(answer, result[y, x])


@compiled
def weighted_sum_forward(total: Any, current: Any, scales: Any, maps: Any, start: int, stop: int) -> None:
    """[P, M], scales [K, M] and K maps of spikes: total = current + sum over k of scales[k] * maps[k]."""
    neurons = total.shape[1]
    room = np.empty(neurons, np.float32)
    for p in range(start, stop):
        to = total[p]
        to[:] = widened(current[p], room)
        for k in range(len(maps)):
            spike, scale = maps[k][p], scales[k]
            for i in range(neurons):
                to[i] += scale[i] if spike[i] else ZERO


@compiled
def weighted_sum_backward(
    to_scales: Any, gradient: Any, scales: Any, maps: Any, to_maps: Any, start: int, stop: int
) -> None:
    """Fills to_maps, K of [P, M], and to_scales [blocks, K, M], the sums over equal parts of the pixels."""
    blocks, _, neurons = to_scales.shape
    pixels = len(gradient)
    to = np.empty(neurons, np.float32)
    for block in range(start, stop):
        to_scales[block] = ZERO
        for p in range(pixels * block // blocks, pixels * (block + 1) // blocks):
            arrived = gradient[p]
            for k in range(len(maps)):
                spike, scale, to_scale = maps[k][p], scales[k], to_scales[block, k]
                for i in range(neurons):
                    to[i] = scale[i] * arrived[i]
                    to_scale[i] += arrived[i] if spike[i] else ZERO
                narrowed(to, to_maps[k][p])
