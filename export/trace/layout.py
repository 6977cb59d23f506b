"""How the axes of a tensor [T, N, ...] are made of those of the map [T, N, C, H, W] that it shows.

Reshaping, flattening, splitting and permuting move no number from one neuron to another: they say in which order the
same neurons are counted. A `Layout` says that order, each axis of the tensor being a product of `Factor`s of the map's:

    [T, N, C, H, W]                              T, N, C, H, W
    .flatten(3).transpose(-1, -2)                T, N, H W, C
    .reshape(T, N, L, heads, d)                  T, N, H W, C / d, C % d
    .permute(0, 1, 3, 2, 4)                      T, N, C / d, H W, C % d

Time and batch are factors, too, so that `flatten(0, 1)` and back are seen for what they are. The size of the batch is
not a number but a `Batch`: a network that mixes it with anything else has no layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ...errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Batch:
    """`times` * N, N being the number of images, which is not known."""

    times: int = 1

    def __mul__(self, other: object) -> "Batch":
        return Batch(self.times * other) if isinstance(other, int) else NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> "int | Batch":
        found = other.times if isinstance(other, Batch) else other
        if not isinstance(found, int) or self.times % found:
            return NotImplemented
        return self.times // found if isinstance(other, Batch) else Batch(self.times // found)


Size = int | Batch


@dataclass(frozen=True, slots=True)
class Factor:
    """Counts `size` places of an axis of the map, `stride` apart. Of N the size is not known and stands as 1."""

    axis: str  # "T", "N", "C", "H", "W"
    stride: int
    size: int


Axis = tuple[Factor, ...]  # the last one counts fastest; () is an axis of size 1
Layout = tuple[Axis, ...]


def canonical(shape: tuple[int, ...], steps: int, averaged: bool = False) -> Layout:
    """[T, N, C, H, W] or [T, N, C]; without T behind the mean over time."""
    lead: Layout = ((Factor("T", 1, steps),), (Factor("N", 1, 1),))
    rest = tuple((Factor(axis, 1, n),) if n > 1 else () for axis, n in zip("CHW", shape, strict=False))
    return lead[averaged:] + rest


def size_of(axis: Axis) -> Size:
    known = prod(factor.size for factor in axis)
    return Batch(known) if any(factor.axis == "N" for factor in axis) else known


def sizes_of(layout: Layout) -> tuple[Size, ...]:
    return tuple(size_of(axis) for axis in layout)


def spelled(layout: Layout) -> str:
    """As a person would write it: [T, N, C4, C8, H W]."""
    whole: dict[str, int] = {}
    for axis in layout:
        for factor in axis:
            whole[factor.axis] = whole.get(factor.axis, 1) * factor.size
    names = [
        " ".join(f.axis if f.size == whole[f.axis] else f"{f.axis}/{f.size}" for f in axis) or "1" for axis in layout
    ]
    return f"[{', '.join(names)}]"


def joined(axis: Sequence[Factor]) -> Axis:
    """Neighbours that count on from each other become one."""
    found: list[Factor] = []
    for factor in axis:
        last = found[-1] if found else None
        if last and last.axis == factor.axis and last.stride == factor.stride * factor.size:
            found[-1] = Factor(factor.axis, factor.stride, last.size * factor.size)
        else:
            found.append(factor)
    return tuple(found)


def split(factor: Factor, outer: int) -> tuple[Factor, Factor]:
    """A factor as one of `outer` places and one that counts inside each of them."""
    inner = factor.size // outer
    return Factor(factor.axis, factor.stride * inner, outer), Factor(factor.axis, factor.stride, inner)


def reshaped(layout: Layout, sizes: Sequence[Size]) -> Layout:
    """The same factors in the same order, dealt out to axes of these sizes; one of them may be -1."""
    found: list[Axis] = []
    waiting = [factor for axis in layout for factor in axis]
    for size in _without_unknown(waiting, sizes):
        found.append(joined(_dealt(waiting, size, layout, sizes)))
    if waiting:
        raise UnsupportedError(f"{spelled(layout)} cannot be reshaped to {_told(sizes)}")
    return tuple(found)


def _without_unknown(factors: Sequence[Factor], sizes: Sequence[Size]) -> list[Size]:
    if -1 not in sizes:
        return list(sizes)
    rest: Size = size_of(tuple(factors))
    for size in sizes:
        if size != -1:
            rest = _divided(rest, size, sizes)
    return [rest if size == -1 else size for size in sizes]


def _divided(rest: Size, size: Size, sizes: Sequence[Size]) -> Size:
    known, by = (n.times if isinstance(n, Batch) else n for n in (rest, size))
    batches = isinstance(rest, Batch) - isinstance(size, Batch)
    if not by or known % by or batches < 0:
        raise UnsupportedError(f"a reshape to {_told(sizes)} does not come out even")
    return Batch(known // by) if batches else known // by


def _dealt(waiting: list[Factor], size: Size, layout: Layout, sizes: Sequence[Size]) -> list[Factor]:
    """Take the factors of one axis off the front of those that wait."""
    left, batch = (size.times, True) if isinstance(size, Batch) else (size, False)
    taken: list[Factor] = []
    while left > 1 or batch or (not taken and waiting and waiting[0].axis == "T" and waiting[0].size == 1):
        factor = waiting.pop(0) if waiting else None
        if factor and factor.axis == "N" and batch:
            batch = False
        elif factor and factor.axis != "N" and left % factor.size == 0:
            left //= factor.size
        elif factor and factor.axis not in "TN" and factor.size % left == 0 and left > 1:
            factor, inner = split(factor, left)
            waiting.insert(0, inner)
            left = 1
        else:
            raise UnsupportedError(
                f"{spelled(layout)} reshaped to {_told(sizes)} cuts across its axes; keep time and batch apart from "
                "the rest, and split channels into whole heads"
            )
        taken.append(factor)
    return taken


def _told(sizes: Sequence[Size]) -> str:
    return (
        "[" + ", ".join(f"{s.times if s.times > 1 else ''}N" if isinstance(s, Batch) else str(s) for s in sizes) + "]"
    )


def at(dim: object, rank: int) -> int:
    """A dimension as torch counts it, from the front."""
    if not isinstance(dim, int) or not -rank <= dim < rank:
        raise UnsupportedError(f"there is no dimension {dim} of {rank}")
    return dim % rank


def permuted(layout: Layout, dims: Sequence[int]) -> Layout:
    places = [at(dim, len(layout)) for dim in dims]
    if sorted(places) != list(range(len(layout))):
        raise UnsupportedError(f"a permutation must name every dimension once, but names {list(dims)}")
    return tuple(layout[place] for place in places)


def merged_axes(layout: Layout, start: int, end: int) -> Layout:
    """`flatten(start, end)`."""
    start, end = at(start, len(layout)), at(end, len(layout))
    inside = joined([factor for axis in layout[start : end + 1] for factor in axis])
    return (*layout[:start], inside, *layout[end + 1 :])
