"""How a population is cut into boxes, each of which fits on one core.

Loihi 1: near-equal boxes, as few as there can be; of as many, those with fewer cuts along channels, then along rows.

Loihi 2: as Intel's mapping of PilotNet-LIF cuts [lava-dl tutorials/lava/lib/dl/netx/pilotnet_snn/benchmark.ipynb].
Images along columns, into boxes whose width is the largest power of two that fits; the last box may be narrower, but
counts with the full width (64 x 2 x 20 neurons lie on two cores of 16 and 4 columns, for 32 columns would be 4096).
Where one column does not fit, fewer channels, in powers of two, then fewer rows. Flat populations into ever more
near-equal parts: each time as many times more as the largest exceeds its limit, rounded up (100 neurons of 2560 axons:
61440 words of 12000, so 6 parts; 12800 words, so 12).
"""

from collections.abc import Iterator
from itertools import pairwise, product
from math import ceil, prod

from ...export.graph import Shape
from ..synapses import Box
from .core_demand import Site, boxes_of, fraction
from .memory import least_bits
from .wiring import Span

Axes = tuple[tuple[Span, ...], ...]  # the spans of a cut along each axis

ONE_NEURON = "one neuron alone"


def fewest_boxes(site: Site) -> Axes:
    """The cut with the fewest boxes, for Loihi 1. Raises TooLargeError where a single neuron does not fit."""
    finest = tuple(near_equal(size, size) for size in site.shape)
    middle = tuple((spans[len(spans) // 2],) for spans in finest)
    if not _may_fit(site, middle):
        raise site.too_large(finest, ONE_NEURON)
    for pieces in cuts(site.shape, least=_fewest_possible(site)):
        axes = tuple(near_equal(size, number) for size, number in zip(site.shape, pieces, strict=True))
        if _may_fit(site, axes) and site.fits(axes):
            return axes
    raise site.too_large(finest, ONE_NEURON)


def powers_of_two(site: Site) -> Axes:
    """The cut for Loihi 2. Raises TooLargeError where a single neuron does not fit."""
    if len(site.shape) == 1:
        return _divided(site)
    channels, rows, columns = site.shape
    for height, depth in product(_halvings(rows), _halvings(channels)):
        sides = (_steps(channels, depth), _steps(rows, height))
        if not site.fits((*sides, _steps(columns, 1))):
            continue
        for width in _halvings(columns):
            axes = (*sides, _steps(columns, width))
            if min(depth, channels) * min(height, rows) * width <= site.allowed["neurons"].value and site.fits(axes):
                return axes
    raise site.too_large((_steps(channels, 1), _steps(rows, 1), _steps(columns, 1)), ONE_NEURON)


def near_equal(size: int, pieces: int) -> tuple[Span, ...]:
    """`size` places in `pieces` spans whose lengths differ by one at most, the longer ones first."""
    length, longer = divmod(size, pieces)
    ends = [i * length + min(i, longer) for i in range(pieces + 1)]
    return tuple(pairwise(ends))


def cuts(shape: Shape, *, least: int = 1) -> Iterator[tuple[int, ...]]:
    """Numbers of pieces along each axis, by how many boxes they make, `least` or more.

    Of the numbers whose longest piece is the same only the smallest is there: more pieces would not be smaller.
    """
    choices = [sorted({ceil(size / length) for length in range(1, size + 1)}) for size in shape]
    yield from sorted(
        (pieces for pieces in product(*choices) if prod(pieces) >= least), key=lambda pieces: (prod(pieces), pieces)
    )


def _fewest_possible(site: Site) -> int:
    """No cut has fewer boxes: the neurons and the out-axons of all boxes together have to lie somewhere."""
    total = {"neurons": prod(site.shape), "out_axons": int(site.fans.sum())}
    return max(1, *(ceil(number / site.allowed[quantity].value) for quantity, number in total.items()))


def _may_fit(site: Site, axes: Axes) -> bool:
    """False where the box in the middle is too large at first sight; much cheaper than `site.fits`."""
    box: Box = tuple(spans[len(spans) // 2] for spans in axes)
    largest = prod(spans[0][1] - spans[0][0] for spans in axes)  # the first one is the longest
    return (
        largest <= site.allowed["neurons"].value
        and site.in_axons(box) <= site.allowed["in_axons"].value
        and least_bits(site.wirings, box) <= site.allowed["memory_bits"].value
    )


def _divided(site: Site) -> Axes:
    """A flat population in ever more parts."""
    size, pieces = site.shape[0], 1
    while True:
        axes: Axes = (near_equal(size, pieces),)
        loads = zip(boxes_of(axes), site.out_axons(axes).tolist(), strict=True)
        excess = max(max(fraction(site.load(box, leaving), site.allowed).values()) for box, leaving in loads)
        if excess <= 1:
            return axes
        if pieces == size:
            raise site.too_large(axes, ONE_NEURON)
        pieces = min(size, pieces * ceil(excess))


def _halvings(size: int) -> list[int]:
    """Powers of two: the first one that is not below `size`, and all smaller ones."""
    return [1 << exponent for exponent in range((size - 1).bit_length(), -1, -1)]


def _steps(size: int, length: int) -> tuple[Span, ...]:
    """Spans of `length`; the last one ends with the axis."""
    return tuple((start, min(start + length, size)) for start in range(0, size, length))
