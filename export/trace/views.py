"""Expressions whose tensor shows their neurons in another order (`layout.py`): what becomes of kernels.

A sum over tokens is a kernel of ones over the whole map, one over a head's channels a 1x1 kernel; `chunk` takes
channels by a 1x1 kernel of zeros and ones. Where two tensors meet, the one that has a size of 1 is repeated: over
channels by a 1x1 kernel, over the map by a padded kernel of ones (`spread`). All of this is exact.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from ...errors import UnsupportedError
from ..graph import Array, Conv, Dense, Kernel, Shape, neurons
from . import linear
from .layout import Axis, Factor, Layout, canonical, joined, spelled, split
from .linear import Expression, Term

Index = NDArray[np.int64]


def shown(x: Expression, layout: Layout, steps: int) -> Expression:
    """x as a tensor of this layout. One axis that counts channels and places at once becomes a flat value."""
    rest = [axis for axis in layout if not {factor.axis for factor in axis} & {"T", "N"}]
    if len(rest) == 1 and any(factor.axis in "HW" for factor in rest[0]):
        x, flat = _flat_in_order(x, rest[0]), joined((Factor("C", 1, neurons(x.shape)),))
        layout = tuple(flat if axis == rest[0] else axis for axis in layout)
    return replace(x, layout=None if layout == canonical(x.shape, steps, x.averaged) else layout)


def layout_of(x: Expression, steps: int) -> Layout:
    return canonical(x.shape, steps, x.averaged) if x.layout is None else x.layout


def plain(x: Expression) -> Expression:
    """x in the order of its map."""
    return replace(x, layout=None)


def whole_in_time(x: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """A change of the map, which is linear: behind the mean over time it does what it did before it."""
    return replace(change(replace(plain(x), averaged=False)), averaged=x.averaged)


def _flat_in_order(x: Expression, axis: Axis) -> Expression:
    """[C, H, W] -> flat, counted as the axis counts."""
    strides = {"C": neurons(x.shape[1:]), "H": x.shape[-1], "W": 1}
    order = _counted([factor.size for factor in axis], [factor.stride * strides[factor.axis] for factor in axis])
    flat = whole_in_time(x, linear.flattened)
    if np.array_equal(order, np.arange(len(order))):
        return flat
    terms = tuple(replace(t, kernel=Dense(weight=t.kernel.weight[order])) for t in flat.terms)
    return replace(flat, terms=terms, constant=flat.constant[order])


def _counted(sizes: Sequence[int], strides: Sequence[int]) -> Index:
    """Where each place of a product of factors lies."""
    found = np.zeros(1, np.int64)
    for size, stride in zip(sizes, strides, strict=True):
        found = (found[:, None] + stride * np.arange(size)).ravel()
    return found


def _channels(layout: Layout) -> list[Factor]:
    """The factors of the channels, the slowest first."""
    return sorted((f for axis in layout for f in axis if f.axis == "C"), key=lambda f: -f.stride)


def counted_channels(layout: Layout) -> Index:
    """The map's channel of each place of the tensor, time, batch and the map's places left out."""
    factors = [f for axis in layout for f in axis if f.axis == "C"]
    return _counted([f.size for f in factors], [f.stride for f in factors])


def channels_first(x: Expression, layout: Layout, dim: int) -> tuple[Expression, Layout]:
    """x with the channels of a dimension counted slowest in its map, and its layout then."""
    order = [*(f for f in layout[dim] if f.axis == "C"), *(f for f in _channels(layout) if f not in layout[dim])]
    return _in_order(x, layout, order)


def channels_last(x: Expression, layout: Layout, dim: int) -> tuple[Expression, Layout]:
    """x with the channels of a dimension counted fastest in its map, and its layout then."""
    order = [*(f for f in _channels(layout) if f not in layout[dim]), *(f for f in layout[dim] if f.axis == "C")]
    return _in_order(x, layout, order)


def _in_order(x: Expression, layout: Layout, order: Sequence[Factor]) -> tuple[Expression, Layout]:
    channels = _counted([f.size for f in order], [f.stride for f in order])
    return _gathered(plain(x), channels), _renumbered(layout, order)


def through(x: Expression, weight: Array) -> Expression:
    """Channels (or the neurons of a flat x) through a matrix [C', C], the same at every place of the map."""
    if np.array_equal(weight, np.eye(x.shape[0])):
        return x
    if len(x.shape) == 1:
        return linear.multiplied(plain(x), weight)
    return whole_in_time(x, lambda y: linear.convolved(y, Conv(weight=weight[:, :, None, None])))


def _gathered(x: Expression, channels: Index) -> Expression:
    """The channels with these numbers: spikes stay spikes."""
    y = through(x, np.eye(x.shape[0])[channels])
    return replace(y, binary=x.binary, complement=x.complement)


def _renumbered(layout: Layout, order: Sequence[Factor]) -> Layout:
    """The layout when the channels are counted in this order."""
    strides = {f: prod(g.size for g in order[i + 1 :]) for i, f in enumerate(order)}
    return tuple(joined([replace(f, stride=strides[f]) if f in strides else f for f in axis]) for axis in layout)


def summed(x: Expression, dims: Sequence[int], keepdim: bool, mean: bool, steps: int) -> Expression:
    """The sum or mean over dimensions other than time and batch."""
    layout = layout_of(x, steps)
    gone = [factor for dim in dims for factor in layout[dim]]
    if any(factor.axis in "TN" for factor in gone):
        raise UnsupportedError(f"a sum over time or batch together with others of {spelled(layout)} has no rule")
    kept = [factor for factor in _channels(layout) if factor not in gone]
    weight = np.zeros((prod(f.size for f in kept), x.shape[0]))
    rows = _counted([f.size for f in kept], [f.stride for f in kept])
    inside = [f for f in gone if f.axis == "C"]
    columns = _counted([f.size for f in inside], [f.stride for f in inside])
    weight[np.arange(len(rows))[:, None], rows[:, None] + columns] = 1.0
    if mean:
        weight /= prod(f.size for f in gone)
    window = (_window(gone, "H", layout), _window(gone, "W", layout))
    if window == (1, 1):
        y = through(plain(x), weight)
    else:
        kernel = Conv(weight=weight[:, :, None, None] * np.ones((1, 1, *window)), stride=window)
        y = whole_in_time(x, lambda z: linear.convolved(z, kernel))
    left = tuple(
        tuple(_behind(f, window) for f in axis) if i not in dims else ()
        for i, axis in enumerate(layout)
        if i not in dims or keepdim
    )
    return shown(y, _renumbered(left, kept), steps)


def _window(gone: Sequence[Factor], axis: str, layout: Layout) -> int:
    inside = joined(sorted((f for f in gone if f.axis == axis), key=lambda f: -f.stride))
    if not inside:
        return 1
    if len(inside) > 1 or inside[0].stride != 1:
        raise UnsupportedError(f"a sum over every other row or column, as of {spelled(layout)}, has no rule")
    return inside[0].size


def _behind(factor: Factor, window: tuple[int, int]) -> Factor:
    """The factor in the map that the window leaves."""
    return replace(factor, stride=factor.stride // window["HW".index(factor.axis)]) if factor.axis in "HW" else factor


def taken(x: Expression, dim: int, places: range, steps: int) -> Expression:
    """These places of a dimension made of channels, as `chunk`, `split` and slices take them."""
    layout = layout_of(x, steps)
    axis = layout[dim]
    if any(factor.axis != "C" for factor in axis):
        raise UnsupportedError(
            f"parts are taken of channels only, but dimension {dim} of {spelled(layout)} counts something else"
        )
    order = [f for f in _channels(layout) if f not in axis]
    part = Factor("C", 0, len(places))  # a place of its own in the new order: where the axis' slowest factor was
    before = [f for f in order if axis and f.stride > axis[0].stride]
    inside = _counted([f.size for f in axis], [f.stride for f in axis])[places]
    channels = np.zeros(1, np.int64)
    for offsets in (
        *(f.stride * np.arange(f.size) for f in before),
        inside,
        *(f.stride * np.arange(f.size) for f in order[len(before) :]),
    ):
        channels = (channels[:, None] + offsets).ravel()
    there: Layout = (*layout[:dim], (part,), *layout[dim + 1 :])
    there = _renumbered(there, [*before, part, *order[len(before) :]])
    there = tuple(tuple(f for f in axis if f.size > 1 or f.axis in "TN") for axis in there)
    return shown(_gathered(plain(x), channels), there, steps)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same places in two tensors; None where one of them is repeated."""

    a: Factor | None
    b: Factor | None

    @property
    def some(self) -> Factor:
        found = self.a or self.b
        assert found is not None
        return found


def aligned(a: Expression, b: Expression, steps: int) -> tuple[Expression, Expression, Layout]:
    """Both on the same map, channels in the same order, and the layout of what is made of them, as torch broadcasts."""
    one, other = layout_of(a, steps), layout_of(b, steps)
    if one == other and a.shape == b.shape:
        return plain(a), plain(b), one
    if len(one) != len(other) or a.averaged != b.averaged:
        raise _differ(one, other)
    axes = [_paired(x, y, one, other) for x, y in zip(one, other, strict=True)]
    pairs = [pair for axis in axes for pair in axis]
    channels = [pair for pair in pairs if pair.some.axis == "C"]
    if all(pair.a for pair in channels):
        channels.sort(key=lambda pair: -pair.a.stride if pair.a else 0)
    elif all(pair.b for pair in channels):
        channels.sort(key=lambda pair: -pair.b.stride if pair.b else 0)
    a, b = (_repeated(x, channels, side) for x, side in ((a, "a"), (b, "b")))
    if len(a.shape) != len(b.shape):
        raise _differ(one, other)
    map_size = tuple(max(pair) for pair in zip(a.shape[1:], b.shape[1:], strict=True))
    sizes = {pair.some: prod(p.some.size for p in channels[i + 1 :]) for i, pair in enumerate(channels)}
    layout = tuple(
        joined([replace(p.some, stride=sizes[p.some]) if p.some.axis == "C" else p.some for p in axis]) for axis in axes
    )
    return spread(a, map_size), spread(b, map_size), layout


def _paired(x: Axis, y: Axis, one: Layout, other: Layout) -> list[_Pair]:
    if not x or not y:
        return [_Pair(factor, None) for factor in x] + [_Pair(None, factor) for factor in y]
    found: list[_Pair] = []
    left, right = list(x), list(y)
    while left and right:
        f, g = left.pop(0), right.pop(0)
        if f.axis != g.axis or max(f.size, g.size) % min(f.size, g.size):
            raise _differ(one, other)
        if f.size > g.size:
            f, inner = split(f, g.size)
            left.insert(0, inner)
        elif g.size > f.size:
            g, inner = split(g, f.size)
            right.insert(0, inner)
        if f.axis in "HW" and f.stride != g.stride:
            raise _differ(one, other)
        found.append(_Pair(f, g))
    if left or right:
        raise _differ(one, other)
    return found


def _differ(one: Layout, other: Layout) -> UnsupportedError:
    return UnsupportedError(
        f"tensors {spelled(one)} and {spelled(other)} meet, which do not count the same neurons in the same order; "
        "bring both into one order first"
    )


def _repeated(x: Expression, channels: Sequence[_Pair], side: str) -> Expression:
    """x with the channels of a pair in their order; where it has none, the same ones again."""
    factors, sizes = [getattr(pair, side) for pair in channels], [pair.some.size for pair in channels]
    return _gathered(plain(x), _counted(sizes, [f.stride if f else 0 for f in factors]))


def spread(x: Expression, size: tuple[int, ...]) -> Expression:
    """A value at one row or column -> the same at each of `size` (rows, columns)."""
    if x.shape[1:] == tuple(size):
        return x
    terms = tuple(replace(term, kernel=_spread(term, x.shape[1:], size)) for term in x.terms)
    return replace(x, shape=(x.shape[0], *size), terms=terms)


def _spread(term: Term, before: Shape, size: tuple[int, ...]) -> Kernel:
    """A kernel with one output place, seen from every place: of n rows all must weigh the same, then 2n - 1 do."""
    kernel = term.kernel
    if not isinstance(kernel, Conv) or any(n not in (1, new) for n, new in zip(before, size, strict=True)):
        raise UnsupportedError(f"a value of {before} neurons per channel cannot be repeated to {size}")
    for axis, (n, new) in enumerate(zip(before, size, strict=True)):
        if n != new:
            kernel = spread_axis(kernel, axis, term.source_shape[1 + axis], new)
    return kernel


def constant_along(kernel: Conv, axis: int, source: int) -> bool:
    """Whether a kernel has one output row (axis 0) or column (axis 1), for which all of the source's weigh the same."""
    size, weight = kernel.weight.shape[2 + axis], np.moveaxis(kernel.weight, 2 + axis, 0)
    whole = size == source and kernel.padding[axis] == 0 and (kernel.dilation[axis] == 1 or source == 1)
    return whole and bool((weight == weight[:1]).all())


def spread_axis(kernel: Conv, axis: int, source: int, size: int) -> Conv:
    """A kernel with one output row (axis 0) or column (axis 1) -> one with `size`, all of which are the same."""
    if not constant_along(kernel, axis, source):
        raise UnsupportedError(
            "what is repeated over the map must be a spike, or a sum in which all its rows and columns weigh the same; "
            "put a spiking layer before it"
        )
    # row y of the output reads rows y - (size - 1) ... y + source - 1, which are all rows there are, whatever y is
    weight = np.repeat(kernel.weight.take([0], 2 + axis), source + size - 1, axis=2 + axis)
    padding, stride = kernel.padding, kernel.stride
    if axis == 0:
        return replace(kernel, weight=weight, padding=(size - 1, padding[1]), stride=(1, stride[1]))
    return replace(kernel, weight=weight, padding=(padding[0], size - 1), stride=(stride[0], 1))
