"""What a part of a population reads through one projection: source pixels, synapses, which sources reach it.

A part is a box, [start, stop) along each axis of the population's shape. A source pixel is one (row, column) of an
image, whatever its channels; in a flat source each neuron is a pixel.

A convolution is separable: a source row matters only by the kernel rows that carry it to some target row of the box,
its *pattern*. A box has few patterns (border, inside, stride phase), so counting over patterns of rows x patterns of
columns replaces counting over neurons. Zero weights are no synapses.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from ...errors import UnsupportedError
from ...export.graph import Array, Conv, Dense, Projection, Shape, SpikingGraph, neurons
from ...export.taps import ungrouped
from ..synapses import Box

Span = tuple[int, int]  # [start, stop)
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

WEIGHT_BITS = (1, 2, 3, 4, 5, 6, 8)  # that a weight can have [nengo-loihi block.py, SynapseConfig.WEIGHT_BITS_MAP]


def box_neurons(box: Box) -> int:
    """Neurons of a box."""
    return prod(stop - start for start, stop in box)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """The rows (or columns) of a source, by the taps that carry them into a span of the target.

    taps [P, k]: the distinct patterns, none of them empty; times [P]: how many rows have it; of [size]: the pattern of
    each row, -1 for a row that does not reach the span.
    """

    taps: Bools
    times: Integers
    of: Integers

    @property
    def key(self) -> Hashable:
        """Equal for spans that read as many rows by the same patterns."""
        return (self.taps.tobytes(), self.times.tobytes())


def patterns(kernel: Conv, axis: int, source_size: int, span: Span) -> Patterns:
    """Patterns of the source's rows (axis 0) or columns (axis 1) into target rows [start, stop).

    Tap j carries source row y to target row q where q * stride = y + padding - j * dilation.
    """
    tap = np.arange(kernel.weight.shape[2 + axis])[:, None]
    place = np.arange(source_size)[None, :]
    row, phase = np.divmod(place + kernel.padding[axis] - tap * kernel.dilation[axis], kernel.stride[axis])
    hits = (phase == 0) & (row >= span[0]) & (row < span[1])  # [k, size]
    distinct, inverse, times = np.unique(hits.T, axis=0, return_inverse=True, return_counts=True)
    filled = distinct.any(axis=1)
    renumbered = np.where(filled, np.cumsum(filled) - 1, -1)
    return Patterns(taps=distinct[filled], times=times[filled], of=renumbered[inverse.ravel()])


@dataclass(frozen=True, slots=True, kw_only=True)
class SynapseBits:
    """Bits of the parts of a synapse. weight: what the weights of this projection need; most_weight: what there is."""

    weight: int
    delay: int
    most_weight: int

    @property
    def needed(self) -> int:
        return self.weight + self.delay


class ConvWiring:
    """A convolution from an image to an image. Patterns and channel counts are kept once they are computed."""

    def __init__(self, projection: Projection, kernel: Conv, source_shape: Shape, bits: SynapseBits) -> None:
        self.source, self.source_shape, self.kernel = projection.source, source_shape, ungrouped(kernel)
        self.bits = bits
        self.nonzero = self.kernel.weight != 0
        self._patterns: dict[tuple[int, Span], Patterns] = {}
        self._targets: dict[Span, Integers] = {}

    def class_of(self, box: Box) -> Hashable:
        """Boxes of one class read as many pixels by the same lists."""
        return (box[0], self.patterns(0, box[1]).key, self.patterns(1, box[2]).key)

    def lists(self, box: Box) -> Integers:
        """The synapses of each list of the box, none of them empty.

        An axon is one source pixel with its channel as atom. Axons whose pixels have the same patterns share their
        list up to a shift, so there is one for each source channel and each two patterns of row and column.
        """
        sizes = self._sizes(box)
        return sizes[sizes > 0]

    def in_axons(self, box: Box) -> int:
        """How many source pixels have a synapse onto the box."""
        rows, columns = self.patterns(0, box[1]), self.patterns(1, box[2])
        return int(rows.times @ self._read(box) @ columns.times)

    def pixels(self, box: Box) -> Bools:
        """[H * W]: which ones they are."""
        return self._spread(self._read(box), box).ravel()

    def reaches(self, box: Box) -> Bools:
        """[C, H, W]: which source neurons have a synapse onto the box."""
        return self._spread(self._sizes(box) > 0, box)

    def reaches_within(self, box: Box) -> tuple[tuple[slice, ...], Bools]:
        """A window (channels, rows, columns) outside of which none has, and which of those inside have."""
        ends = [np.flatnonzero(self.patterns(axis, box[1 + axis]).of >= 0) for axis in (0, 1)]
        rows, columns = (slice(at.min(initial=0), at.max(initial=-1) + 1) for at in ends)
        return (slice(None), rows, columns), self._spread(self._sizes(box) > 0, box, rows, columns)

    def least_synapses(self, box: Box) -> tuple[int, int]:
        """(synapses of all lists together, no more lists than there are), at a fraction of the cost of `lists`."""
        rows, columns, targets = self.patterns(0, box[1]).taps, self.patterns(1, box[2]).taps, self.targets(box[0])
        synapses = rows.sum(axis=0) @ targets.sum(axis=0) @ columns.sum(axis=0)
        channels = np.count_nonzero(targets, axis=0)  # [kh, kw]: source channels that have the tap
        either = rows[:, None, :, None] & columns[None, :, None, :]  # [R, Q, kh, kw]
        return int(synapses), int((either * channels).max(axis=(2, 3)).sum())

    def channel_pairs(self, channels: Span) -> int:
        """Pairs of a target channel of the span and a source channel that have any weight."""
        return int(self.nonzero[slice(*channels)].any(axis=(2, 3)).sum())

    def patterns(self, axis: int, span: Span) -> Patterns:
        if (axis, span) not in self._patterns:
            self._patterns[axis, span] = patterns(self.kernel, axis, self.source_shape[1 + axis], span)
        return self._patterns[axis, span]

    def targets(self, channels: Span) -> Integers:
        """[I, kh, kw]: target channels of the span that a source channel has a weight to."""
        if channels not in self._targets:
            self._targets[channels] = np.count_nonzero(self.nonzero[slice(*channels)], axis=0).astype(np.int64)
        return self._targets[channels]

    def _sizes(self, box: Box) -> Integers:
        """[I, patterns of rows, patterns of columns]: the synapses of each list."""
        rows, columns = self.patterns(0, box[1]).taps, self.patterns(1, box[2]).taps
        sizes = rows.astype(np.float64) @ self.targets(box[0]).astype(np.float64) @ columns.T.astype(np.float64)
        return sizes.astype(np.int64)  # whole numbers far below 2^53

    def _read(self, box: Box) -> Bools:
        """[patterns of rows, patterns of columns]: has any source channel a synapse there?"""
        rows, columns, taps = self.patterns(0, box[1]).taps, self.patterns(1, box[2]).taps, self.targets(box[0])
        read: Bools = (rows.astype(np.int64) @ taps.any(axis=0).astype(np.int64) @ columns.T.astype(np.int64)) > 0
        return read

    def _spread(self, values: Bools, box: Box, rows: slice = slice(None), columns: slice = slice(None)) -> Bools:
        """[..., patterns of rows, patterns of columns] -> [..., H, W], or those rows and columns of it."""
        filled = np.zeros((*values.shape[:-2], values.shape[-2] + 1, values.shape[-1] + 1), bool)
        filled[..., :-1, :-1] = values  # pattern -1, which is none, finds False
        return filled[..., self.patterns(0, box[1]).of[rows][:, None], self.patterns(1, box[2]).of[columns]]


class DenseWiring:
    """A full matrix, into a population of any shape."""

    def __init__(
        self, projection: Projection, kernel: Dense, source_shape: Shape, shape: Shape, bits: SynapseBits
    ) -> None:
        self.source, self.source_shape, self.kernel = projection.source, source_shape, kernel
        self.delay, self.bits = projection.delay, bits
        self._rows = np.arange(neurons(shape)).reshape(shape)

    @property
    def target_neurons(self) -> int:
        return self._rows.size

    def class_of(self, box: Box) -> Hashable:
        """Boxes of one class read as many pixels by the same lists: here each is its own."""
        return box

    def lists(self, box: Box) -> Integers:
        """The synapses of each list of the box, none of them empty.

        In a flat source each neuron has a list. Pixels of an image whose blocks [neurons of the box, C] are equal share
        their lists, one for each channel.
        """
        rows = self._of(box)
        sizes: Integers = np.count_nonzero(self.kernel.weight[rows], axis=0)
        if len(self.source_shape) == 3:
            sizes = sizes.reshape(self.source_shape[0], -1)[:, self._distinct(rows)]
        return sizes[sizes > 0]

    def in_axons(self, box: Box) -> int:
        """How many source pixels have a synapse onto the box."""
        return int(np.count_nonzero(self.pixels(box)))

    def pixels(self, box: Box) -> Bools:
        """[H * W] or [N]: which ones they are."""
        reached = self.reaches(box)
        return reached.any(axis=0).ravel() if reached.ndim == 3 else reached

    def reaches(self, box: Box) -> Bools:
        """[C, H, W] or [N]: which source neurons have a synapse onto the box."""
        reached: Bools = self.kernel.weight[self._of(box)].any(axis=0).reshape(self.source_shape)
        return reached

    def reaches_within(self, box: Box) -> tuple[tuple[slice, ...], Bools]:
        """A window of the source outside of which none has, and which of those inside have."""
        return (slice(None),), self.reaches(box)

    def least_synapses(self, box: Box) -> tuple[int, int]:
        """Nothing is known without `lists`."""
        return 0, 0

    def _of(self, box: Box) -> slice | Integers:
        """The matrix rows of a box."""
        if len(box) == 1:
            return slice(*box[0])
        return self._rows[tuple(slice(*span) for span in box)].ravel()

    def _distinct(self, rows: slice | Integers) -> list[int]:
        """One pixel of each set of pixels whose weights and delays are equal."""
        parts = [self.kernel.weight[rows]] + ([] if self.delay is None else [self.delay[rows].astype(np.float64)])
        pixels = np.concatenate(parts).reshape(-1, neurons(self.source_shape[1:])).T  # [pixels, blocks]
        pixels = np.ascontiguousarray(pixels) + 0.0  # -0.0 and 0.0 are the same weight
        return list({pixel.tobytes(): i for i, pixel in enumerate(pixels)}.values())


Wiring = ConvWiring | DenseWiring


def wiring_of(projection: Projection, graph: SpikingGraph, most_bits: int = WEIGHT_BITS[-1]) -> Wiring:
    """The wiring of one projection of the graph. most_bits: of a weight of the chip.

    Raises UnsupportedError for weights of more bits.
    """
    shapes, kernel = graph.shapes(), projection.kernel
    source, target = shapes[projection.source], shapes[projection.target]
    weight, delay = weight_bits(projection, graph, most_bits), delay_bits(projection)
    bits = SynapseBits(weight=weight, delay=delay, most_weight=most_bits)
    if isinstance(kernel, Conv):
        return ConvWiring(projection, kernel, source, bits)
    return DenseWiring(projection, kernel, source, target, bits)


def weight_bits(projection: Projection, graph: SpikingGraph, most_bits: int) -> int:
    """Bits of a weight of the projection: those its integers need, or all where the weights are not integers yet.

    Raises UnsupportedError for weights that need more.
    """
    choices = [bits for bits in WEIGHT_BITS if bits <= most_bits]
    if graph.arithmetic != "loihi":
        return choices[-1]
    need = value_bits(projection.kernel.weight)
    if need > choices[-1]:
        raise UnsupportedError(
            f"Projection '{projection.source}' -> '{projection.target}': a weight has at most {choices[-1]} bits on "
            f"the chip, but these need {need}; quantize them to so many."
        )
    return next(bits for bits in choices if bits >= need)


def value_bits(values: Array) -> int:
    """Bits of the smallest integers that hold all values after dividing by their common power of two; 0 for zeros."""
    whole = values.astype(np.int64)
    if not whole.any():
        return 0
    shared = int(np.bitwise_or.reduce(whole, axis=None))
    whole = whole // (shared & -shared)  # the lowest bit that any of them has
    low, high = int(whole.min()), int(whole.max())
    size = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)
    return size + (low < 0 < high)


def delay_bits(projection: Projection) -> int:
    """Bits of the longest delay of a projection: ceil(log2(delay + 1))."""
    return 0 if projection.delay is None else int(projection.delay.max()).bit_length()
