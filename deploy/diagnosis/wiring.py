"""Axes and kernels read in another order: what goes wrong between frameworks without any error.

SpikingJelly, torch and our graphs have spikes [C, H, W], kernels [O, I, kh, kw] that are correlated with them, and
matrices [O, I] whose columns count C, H, W in C-order. TensorFlow has [H, W, C], Lava [W, H, C].
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np

from ...export.graph import Array, Conv, Dense, Kernel, Projection, Shape, SpikingGraph
from .changes import Change, of_kernels
from .rules import Meaning

Axes = tuple[int, int, int]

LETTERS = "CHW"
ORDERS: dict[str, Axes] = {
    ", ".join(LETTERS[axis] for axis in (first, second, third)): (first, second, third)
    for first, second, third in permutations(range(3))
    if (first, second, third) != (0, 1, 2)
}


def columns_reordered(axes: Axes) -> Change:
    """Columns of a matrix that reads (C, H, W), reordered as if spikes were to be read with their axes in `axes`.

    None where `columns_read` does the same, as for two axes of one length.
    """

    def reordered(projection: Projection, graph: SpikingGraph) -> Kernel | None:
        shape = graph.shapes()[projection.source]
        if not isinstance(projection.kernel, Dense) or len(shape) != 3:
            return None
        weight = projection.kernel.weight
        turned = weight.reshape(-1, *shape).transpose(0, *(1 + axis for axis in axes)).reshape(weight.shape)
        return None if np.array_equal(turned, _read(weight, shape, axes)) else Dense(weight=turned)

    return of_kernels(reordered)


def columns_read(axes: Axes) -> Change:
    """Spikes (C, H, W) flattened in another order before a matrix: the same columns, at other neurons."""

    def read(projection: Projection, graph: SpikingGraph) -> Kernel | None:
        shape = graph.shapes()[projection.source]
        if not isinstance(projection.kernel, Dense) or len(shape) != 3:
            return None
        return Dense(weight=_read(projection.kernel.weight, shape, axes))

    return of_kernels(read)


def _read(weight: Array, shape: Shape, axes: Axes) -> Array:
    """The weight [O, C * H * W] that does to spikes in C-order what `weight` does to those with axes in `axes`."""
    back = np.argsort(axes)
    turned = weight.reshape(-1, *(shape[axis] for axis in axes)).transpose(0, *(1 + axis for axis in back))
    return turned.reshape(weight.shape)


def input_transposed(meaning: Meaning) -> Meaning | None:
    """What reads an input gets it with rows as columns."""
    entering = {node.name: node.shape for node in meaning.graph.inputs}
    readers = {p.target for p in meaning.graph.projections if len(entering.get(p.source, ())) == 3}
    if not readers:
        return None
    turned = {name: replace(meaning.rules[name], axes=(0, 2, 1)) for name in readers}
    return replace(meaning, rules={**meaning.rules, **turned})


def of_windows(change: Callable[[Array], Array]) -> Change:
    """Every convolution's weight [O, I, kh, kw], where its shape stays."""

    def changed(projection: Projection, graph: SpikingGraph) -> Kernel | None:
        kernel = projection.kernel
        if not isinstance(kernel, Conv):
            return None
        weight = change(kernel.weight)
        return replace(kernel, weight=weight) if weight.shape == kernel.weight.shape else None

    return of_kernels(changed)


def matrix_transposed(projection: Projection, graph: SpikingGraph) -> Kernel | None:
    """A square matrix read as [I, O]."""
    weight = projection.kernel.weight
    square = isinstance(projection.kernel, Dense) and weight.shape[0] == weight.shape[1]
    return Dense(weight=weight.T.copy()) if square else None


def rows_first(projection: Projection, graph: SpikingGraph) -> Kernel | None:
    """A matrix stored as [I, O] and filled into [O, I] as it lies in memory."""
    weight = projection.kernel.weight
    if not isinstance(projection.kernel, Dense) or weight.shape[0] == weight.shape[1]:
        return None
    return Dense(weight=weight.T.reshape(weight.shape))
