"""The same network, narrower: fewer channels of every hidden population, the rest of it as it is.

    a(C) --K [O, C]--> b(O)   =>   a(C') --K [kept O, kept C]--> b(O')          C' = ratio * C, rounded down

The kept channels are evenly spaced. Inputs and the last population stay whole; a relay or OR keeps what its source
keeps, so that it still carries channel by channel.
"""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import InputError
from ....export.graph import REGISTERS, Conv, Kernel, Population, Projection, Shape, SpikingGraph, check
from ....export.taps import ungrouped

Kept = Mapping[str, NDArray[np.int64]]  # name -> indices of the channels (neurons, if flat) that stay

CARRIERS = ("relay", "or")


def narrowed(graph: SpikingGraph, ratio: Fraction) -> SpikingGraph:
    """The graph with `ratio` of the channels of its hidden populations, at least one each.

    Raises InputError unless 0 < ratio <= 1.
    """
    if not 0 < ratio <= 1:
        raise InputError(f"`0 < ratio <= 1` must hold, but ratio={float(ratio):g}; give the share of channels to keep.")
    kept = kept_channels(graph, ratio)
    shapes = graph.shapes()
    populations = tuple(_population(p, kept[p.name]) for p in graph.populations)
    projections = tuple(_projection(p, shapes, kept) for p in graph.projections)
    return check(replace(graph, populations=populations, projections=projections))


def kept_channels(graph: SpikingGraph, ratio: Fraction) -> Kept:
    """Which channels of each input and population stay."""
    kept, shapes = {node.name: np.arange(node.shape[0]) for node in graph.inputs}, graph.shapes()
    for population in graph.populations:
        size = population.shape[0]
        sources = {p.source for p in graph.incoming(population.name)} - {population.name}
        carried = [kept[source] for source in sources if shapes[source][0] == size]
        if population.role in CARRIERS and len(sources) == len(carried) == 1:
            kept[population.name] = carried[0]
        elif population is graph.readout:
            kept[population.name] = np.arange(size)
        else:
            number = max(1, size * ratio.numerator // ratio.denominator)
            kept[population.name] = np.arange(number) * size // number
    return kept


def _population(population: Population, kept: NDArray[np.int64]) -> Population:
    """The same with the channels that stay; what has one number for all keeps it."""
    each = {word: getattr(population, word) for word in ("bias", *REGISTERS)}
    arrays: dict[str, Any] = {word: value[kept] for word, value in each.items() if isinstance(value, np.ndarray)}
    return replace(population, shape=(len(kept), *population.shape[1:]), **arrays)


def _projection(projection: Projection, shapes: Mapping[str, Shape], kept: Kept) -> Projection:
    source, target = projection.source, projection.target
    if isinstance(projection.kernel, Conv):
        kernel: Kernel = ungrouped(projection.kernel)
        return replace(projection, kernel=replace(kernel, weight=kernel.weight[np.ix_(kept[target], kept[source])]))
    chosen = np.ix_(_flat(shapes[target], kept[target]), _flat(shapes[source], kept[source]))
    delay = None if projection.delay is None else projection.delay[chosen]
    kernel = replace(projection.kernel, weight=projection.kernel.weight[chosen])
    return replace(projection, kernel=kernel, delay=delay)


def _flat(shape: Shape, channels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices, in C-order, of the neurons of these channels."""
    return np.asarray(np.arange(np.prod(shape)).reshape(shape)[channels].ravel(), np.int64)
