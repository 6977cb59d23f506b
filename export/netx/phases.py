"""Full matrices between images that are convolutions in blocks, as behind an Upsample or a pool whose windows differ.

Target pixel block * y + p reads source pixel stride * y + offset with a weight that does not depend on y, and nothing
outside: for each phase p that is a convolution, and a layer whose channels are phases holds them all (`chain.py`).
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import Dense, Shape
from ..taps import Taps

LARGEST = 8  # rows and columns of a block; a layer has the square of it as many channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """taps: (row, column) of a target pixel in its block -> offset -> weight [O, I]."""

    block: tuple[int, int]
    stride: tuple[int, int]
    taps: dict[tuple[int, int], Taps]


def phases_of(kernel: Dense, source: Shape, target: Shape) -> Phases | None:
    """The smallest blocks of a matrix into an image, or None where it has none that are small."""
    if len(source) != 3 or len(target) != 3:
        return None
    weight = kernel.weight.reshape(*target, *source)
    rows, columns = (
        [b for b in range(1, LARGEST + 1) if target[axis] % b == 0 and b * source[axis] % target[axis] == 0]
        for axis in (1, 2)
    )
    for block in sorted(product(rows, columns), key=lambda sides: sides[0] * sides[1]):
        stride = (block[0] * source[1] // target[1], block[1] * source[2] // target[2])
        taps = {
            (row, column): _taps(weight[:, row :: block[0], column :: block[1]], stride)
            for row, column in product(range(block[0]), range(block[1]))
        }
        found = {phase: each for phase, each in taps.items() if each is not None}
        if len(found) == len(taps):
            return Phases(block=block, stride=stride, taps=found)
    return None


def _taps(weight: NDArray[Any], stride: tuple[int, int]) -> Taps | None:
    """weight [O, blocks, blocks, I, H, W] of one phase -> offset -> weight [O, I]."""
    blocks, (height, width) = weight.shape[1:3], weight.shape[4:]
    used = np.argwhere(weight.any((0, 3)))
    taps: Taps = {}
    for down, right in np.unique(used[:, 2:] - np.array(stride) * used[:, :2], axis=0).tolist():
        ys, xs = (np.arange(n) for n in blocks)
        ys = ys[(stride[0] * ys + down >= 0) & (stride[0] * ys + down < height)][:, None]
        xs = xs[(stride[1] * xs + right >= 0) & (stride[1] * xs + right < width)][None]
        each = weight[:, ys, xs, :, stride[0] * ys + down, stride[1] * xs + right]  # [blocks, blocks, O, I]
        if (each != each[0, 0]).any():
            return None
        taps[down, right] = each[0, 0]
    return taps
