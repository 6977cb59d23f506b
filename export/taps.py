"""A convolution as taps: offset -> weights. The form in which kernels are merged, embedded and carried to other grids.

Output y reads input `stride * y + offset` for every tap; offset = dilation * j - padding for kernel column j. Reading
outside the input gives 0, as zero padding does.
"""

from dataclasses import replace
from itertools import product
from math import gcd

import numpy as np

from .graph import Array, Conv, Shape

Taps = dict[tuple[int, int], Array]  # (row offset, column offset) -> weight [O, I]


def taps_of(kernel: Conv) -> Taps:
    """The non-zero taps of a convolution."""
    weights = ungrouped(kernel).weight
    rows, columns = weights.shape[2:]
    found = {
        (
            i * kernel.dilation[0] - kernel.padding[0],
            j * kernel.dilation[1] - kernel.padding[1],
        ): weights[:, :, i, j]
        for i, j in product(range(rows), range(columns))
    }
    return {offset: weight for offset, weight in found.items() if weight.any()}


def ungrouped(kernel: Conv) -> Conv:
    """The same convolution with groups=1: zeros where a group does not reach."""
    if kernel.groups == 1:
        return kernel
    out_channels, per_group, *size = kernel.weight.shape
    weight = np.zeros((out_channels, per_group * kernel.groups, *size))
    rows = out_channels // kernel.groups
    for g in range(kernel.groups):
        block = slice(g * rows, (g + 1) * rows)
        weight[block, g * per_group : (g + 1) * per_group] = kernel.weight[block]
    return replace(kernel, weight=weight, groups=1)


def convolution_of(taps: Taps, stride: tuple[int, int], source: Shape, target: Shape) -> Conv:
    """A small Conv with these taps that maps source (I, H, W) to target (O, H', W').

    A Conv pads both sides alike, so it may be larger than the taps' span."""
    offsets = [[offset[axis] for offset in taps] or [0] for axis in (0, 1)]
    axes = [_axis(offsets[axis], stride[axis], source[1 + axis], target[1 + axis]) for axis in (0, 1)]
    (rows, top, dy), (columns, left, dx) = axes
    weight = np.zeros((target[0], source[0], rows, columns))
    for (row, column), tap in taps.items():
        weight[:, :, (row + top) // dy, (column + left) // dx] = tap
    return Conv(weight=weight, stride=stride, padding=(top, left), dilation=(dy, dx))


def _axis(offsets: list[int], stride: int, source: int, target: int) -> tuple[int, int, int]:
    """(kernel size, padding, dilation) along one axis.

    With dilation 1 there always is one: more padding adds output positions, a larger kernel takes them away.
    """
    low, high = min(offsets), max(offsets)
    spacing = gcd(*(offset - low for offset in offsets)) or 1
    least, most = max(0, -low), max(0, -low) + stride * target + abs(high)
    return next(
        (size, padding, dilation)
        for dilation in range(spacing, 0, -1)
        for padding in range(least, most + 1)
        if spacing % dilation == 0 and (padding + low) % dilation == 0
        for size in range((padding + high) // dilation + 1, (source + 2 * padding - 1) // dilation + 2)
        if (source + 2 * padding - dilation * (size - 1) - 1) // stride + 1 == target
    )
