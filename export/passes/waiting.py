"""What of a source's neurons its readers read: only that waits for them.

A projection of stride 2 may read every other pixel alone, and one of a concatenation some channels alone. Neurons are
told apart by channel and, where the strides of all readers are multiples of a block (by, bx), by phase, their row and
column in the block. A reader's tap at (row, column) of stride s reads, at target pixel y,

    s * y + row = by * Y + phase        Y = (s / by) * y + floor(row / by)        phase = row mod by

so from a relay that holds some phases of some channels side by side,

    [C, H, W] -> [pairs of channel and phase, H / by, W / bx]

it reads by a kernel of stride s / by with the same weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
from numpy.typing import NDArray

from ..graph import Conv, Dense, Kernel, Projection, Shape, SpikingGraph, neurons
from ..taps import Taps, convolution_of, taps_of, ungrouped
from ..trace.linear import identity

Mask = NDArray[np.bool_]  # [C, by, bx], or [N, 1, 1] of flat neurons
Block = tuple[int, int]

LARGEST = 8  # rows and columns of a block


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A projection and what it reads of its source."""

    projection: Projection
    mask: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The neurons of a source of this shape that are held somewhere: those of the mask, in its order; a block of (1, 1)
    keeps whole channels."""

    source: Shape
    block: Block
    mask: Mask

    @property
    def shape(self) -> Shape:
        sizes = [n // b for n, b in zip(self.source[1:], self.block, strict=False)]
        return (int(self.mask.sum()), *sizes)

    @property
    def is_whole(self) -> bool:
        return self.shape == self.source


def readers_of(graph: SpikingGraph, name: str) -> list[Reader]:
    """Those of a later level: without the population itself."""
    outgoing, shape = [p for p in graph.outgoing(name) if p.target != name], graph.shapes()[name]
    block = _block([p.kernel for p in outgoing], shape)
    return [Reader(projection=p, mask=_read(p.kernel, shape, block)) for p in outgoing]


def parts_of(readers: Sequence[Reader], source: Shape) -> list[tuple[int, list[Reader]]]:
    """(neurons, who reads them) of neurons that are read by the same; what nobody reads is in none."""
    if not readers:
        return []
    found, counts = np.unique(np.stack([r.mask.ravel() for r in readers]), axis=1, return_counts=True)
    each = int(np.prod(source)) // readers[0].mask.size
    return [
        (int(number) * each, [reader for reader, reads in zip(readers, column, strict=True) if reads])
        for column, number in zip(found.T, counts, strict=True)
        if column.any()
    ]


def whole(source: Shape) -> Form:
    return Form(source=source, block=(1, 1), mask=np.ones((source[0], 1, 1), np.bool_))


def narrower(before: Form, readers: Sequence[Reader]) -> Form:
    """What is left of a form once only these readers wait: in phases where that is less than whole channels."""
    needed = np.asarray(np.stack([reader.mask for reader in readers]).any(0), np.bool_)
    channels = np.asarray(needed.any((1, 2), keepdims=True), np.bool_)
    block = (needed.shape[1], needed.shape[2])
    in_phases = (needed != channels).any() and all(_fits(reader.projection.kernel, block) for reader in readers)
    if before.block == block or in_phases:
        return Form(source=before.source, block=block, mask=needed)
    return Form(source=before.source, block=(1, 1), mask=channels)


def hop(before: Form, after: Form) -> Kernel:
    """The kernel that carries spikes from one form to a narrower one."""
    if after.shape == before.shape:
        return identity(before.shape)
    held, kept = np.argwhere(before.mask), np.argwhere(after.mask)  # channel, row and column of the block
    same = before.block == after.block
    carried = (kept[:, None] == held[None])[..., : 3 if same else 1].all(-1).astype(np.float64)
    if len(before.shape) == 1:
        return Dense(weight=carried)
    if same:
        return Conv(weight=carried[:, :, None, None])
    phase = kept[:, 1:]
    taps = {
        (row, column): carried * (phase == (row, column)).all(1)[:, None]
        for row, column in np.unique(phase, axis=0).tolist()
    }
    return convolution_of(taps, after.block, before.shape, after.shape)


def read_from(held: Form, projection: Projection, target: Shape) -> Projection:
    """A projection from a population -> the one from what is held of it, with the same result."""
    if held.is_whole:
        return projection
    kernel, channels = projection.kernel, held.mask.any((1, 2))
    if isinstance(kernel, Dense):
        columns = np.repeat(channels, neurons(held.source[1:]))
        delay = None if projection.delay is None else projection.delay[:, columns]
        return replace(projection, kernel=Dense(weight=kernel.weight[:, columns]), delay=delay)
    if held.block == (1, 1):
        kernel = ungrouped(kernel)
        return replace(projection, kernel=replace(kernel, weight=kernel.weight[:, channels]))
    (down, across), place = held.block, np.cumsum(held.mask.ravel()).reshape(held.mask.shape) - 1
    taps: Taps = {}
    for (row, column), weight in taps_of(kernel).items():
        there = held.mask[:, row % down, column % across]
        tap = taps.setdefault((row // down, column // across), np.zeros((len(weight), held.shape[0])))
        tap[:, place[there, row % down, column % across]] += weight[:, there]
    stride = (kernel.stride[0] // down, kernel.stride[1] // across)
    return replace(projection, kernel=convolution_of(taps, stride, held.shape, target))


def _block(kernels: Sequence[Kernel], source: Shape) -> Block:
    """The largest of which all strides above 1 are multiples, and into which the source divides."""
    if len(source) != 3:
        return (1, 1)
    strides = [kernel.stride for kernel in kernels if isinstance(kernel, Conv)]
    rows, columns = (gcd(*(s[axis] for s in strides if s[axis] > 1)) or 1 for axis in (0, 1))
    fits = source[1] % rows == source[2] % columns == 0 and max(rows, columns) <= LARGEST
    return (rows, columns) if fits else (1, 1)


def _fits(kernel: Kernel, block: Block) -> bool:
    """Whether a kernel reads the same phases of a block at every target pixel."""
    return isinstance(kernel, Conv) and not any(s % b for s, b in zip(kernel.stride, block, strict=True))


def _read(kernel: Kernel, source: Shape, block: Block) -> Mask:
    """[C, by, bx] of the neurons that a kernel reads; all of them of one without a weight."""
    mask: Mask = np.zeros((source[0], *block), np.bool_)
    if isinstance(kernel, Dense):
        mask |= (kernel.weight != 0.0).any(0).reshape(source[0], -1, 1).any(1, keepdims=True)
    else:
        near, far = (gcd(s, b) for s, b in zip(kernel.stride, block, strict=True))
        for (row, column), weight in taps_of(kernel).items():
            mask[:, row % near :: near, column % far :: far] |= weight.any(0).reshape(-1, 1, 1)
    return mask if mask.any() else ~mask
