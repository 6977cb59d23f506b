"""A spike that is repeated over a map is fired at every place of it.

Attention sums over all places and lets the answer weigh each of them: one neuron per channel, read everywhere.

    a [C, H, W] -sum-> b [C, 1, 1] -repeat-> c [C, H, W]      =>      a -sum, at each place-> b [C, H, W] -1x1-> c

A chain of convolutions goes from fine to coarse only, so `b` becomes as fine as what reads it. It can where it reads
all places of its source with the same weights, for then its neurons have the same membrane everywhere; else it stays.
"""

from dataclasses import replace

import numpy as np

from ..graph import Conv, Dense, Kernel, Projection, Shape, SpikingGraph, neurons
from ..trace.views import constant_along, spread_axis


def spread(graph: SpikingGraph) -> SpikingGraph:
    """The last populations first: what repeats into one that was repeated is repeated, too."""
    for name in [population.name for population in reversed(graph.populations)]:
        graph = _one(graph, name)
    return graph


def _one(graph: SpikingGraph, name: str) -> SpikingGraph:
    shapes = graph.shapes()
    shape, outgoing = shapes[name], graph.outgoing(name)
    sizes = {shapes[p.target][1:] for p in outgoing if _repeats(p, shape, shapes[p.target])}
    if len(sizes) != 1:
        return graph
    whole = (shape[0], *sizes.pop())
    coming = [_everywhere(p, shapes[p.source], whole) for p in graph.incoming(name)]
    going = [_from_everywhere(p, shapes[p.target], whole) for p in outgoing]
    if not all(coming) or not all(going) or any(p.target == name for p in outgoing):
        return graph
    before = [*graph.incoming(name), *outgoing]
    changed = {id(old): new for old, new in zip(before, (*coming, *going), strict=True) if new}
    populations = tuple(replace(p, shape=whole) if p.name == name else p for p in graph.populations)
    projections = tuple(changed.get(id(p), p) for p in graph.projections)
    return replace(graph, populations=populations, projections=projections)


def _repeats(projection: Projection, source: Shape, target: Shape) -> bool:
    return len(source) == len(target) == 3 and source[1:] == (1, 1) != target[1:]


def _everywhere(projection: Projection, source: Shape, whole: Shape) -> Projection | None:
    """What sums a map into one place, at every place."""
    kernel = projection.kernel
    if not isinstance(kernel, Conv) or kernel.groups != 1:
        return None
    for axis in (0, 1):
        if not constant_along(kernel, axis, source[1 + axis]):
            return None
        kernel = spread_axis(kernel, axis, source[1 + axis], whole[1 + axis])
    return replace(projection, kernel=kernel)


def _from_everywhere(projection: Projection, target: Shape, whole: Shape) -> Projection | None:
    """What read the one place: the place beside it where it repeated it, else the first of all places."""
    kernel = _read(projection.kernel, target, whole)
    return None if kernel is None else replace(projection, kernel=kernel)


def _read(kernel: Kernel, target: Shape, whole: Shape) -> Kernel | None:
    if isinstance(kernel, Dense):
        weight = np.zeros((len(kernel.weight), neurons(whole)))
        weight[:, :: neurons(whole[1:])] = kernel.weight
        return Dense(weight=weight)
    first = kernel.weight[:, :, :1, :1]
    if target[1:] == whole[1:]:
        repeats = (whole[1:], (1, 1), (whole[1] - 1, whole[2] - 1))
        same = _geometry(kernel) == repeats and bool((kernel.weight == first).all())
        return Conv(weight=first, groups=kernel.groups) if same else None
    if kernel.weight.shape[2:] == (1, 1) and target[1:] == (1, 1):
        weight = np.zeros((*kernel.weight.shape[:2], *whole[1:]))
        weight[:, :, :1, :1] = first
        return Conv(weight=weight, groups=kernel.groups)
    return None


def _geometry(kernel: Conv) -> tuple[object, ...]:
    return kernel.weight.shape[2:], kernel.stride, kernel.padding
