"""Where the synapses of a projection lead: the fan-out of every source neuron, into a population or a part of it."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..export.graph import Conv, Dense, Projection, Shape, neurons

Box = tuple[tuple[int, int], ...]  # [start, stop) on every axis of a population's shape
SynapseKind = Literal["conv", "dense", "sparse"]
KINDS: tuple[SynapseKind, ...] = get_args(SynapseKind)
SPARSE = 0.5  # a full matrix with fewer non-zero weights than this share is stored as lists with indices


def kind_of(projection: Projection) -> SynapseKind:
    """How a chip would store it."""
    kernel = projection.kernel
    if isinstance(kernel, Conv):
        return "conv"
    return "dense" if np.count_nonzero(kernel.weight) >= SPARSE * kernel.weight.size else "sparse"


def fan_out(
    projection: Projection, source_shape: Shape, target_shape: Shape, *, box: Box | None = None, zeros: bool = False
) -> NDArray[np.int64]:
    """Synapses that leave each source neuron (into `box` of the target only); int64 of `source_shape`.

    Those of weight zero are left out, or counted with `zeros`. For a convolution the sum over kernel rows k and columns
    l of

        nonzero[c, k, l] * rows[k, y] * columns[l, x]

    where nonzero counts the target channels of the group of channel c, and rows[k, y] is 1 where some target row q has
    q * stride + k * dilation - padding = y: exact at borders and for every stride, padding, dilation and group.
    """
    kernel = projection.kernel
    chosen = box or tuple((0, size) for size in target_shape)
    there = np.ones_like(kernel.weight, bool) if zeros else kernel.weight != 0
    if isinstance(kernel, Dense):
        places = np.arange(neurons(target_shape)).reshape(target_shape)[tuple(slice(*ends) for ends in chosen)]
        leaving: NDArray[np.int64] = there[places.ravel()].sum(0, dtype=np.int64).reshape(source_shape)
        return leaving
    outputs, inputs_per_group, *taps = kernel.weight.shape
    first, last = chosen[0]
    within = (np.arange(outputs) >= first) & (np.arange(outputs) < last)
    per_group = (kernel.groups, outputs // kernel.groups, inputs_per_group, *taps)
    nonzero = (there & within[:, None, None, None]).reshape(per_group).sum(1).reshape(source_shape[0], *taps)
    rows, columns = (_reaches(kernel, axis, source_shape, chosen[1 + axis]) for axis in (0, 1))
    spread: NDArray[np.int64] = np.einsum("ckl,ky,lx->cyx", nonzero.astype(np.int64), rows, columns, optimize=True)
    return spread


def synapses(projection: Projection, source_shape: Shape, target_shape: Shape) -> int:
    """Synapses of non-zero weight of a projection; taps on the zero padding are none."""
    return int(fan_out(projection, source_shape, target_shape).sum())


def _reaches(kernel: Conv, axis: int, source_shape: Shape, targets: tuple[int, int]) -> NDArray[np.int64]:
    """[taps, source size] of 0 and 1: does this tap carry this source row (axis 0) or column (axis 1) to a target in
    [start, stop)?"""
    tap = np.arange(kernel.weight.shape[2 + axis])[:, None]
    place = np.arange(source_shape[1 + axis])[None, :]
    reached, phase = np.divmod(place + kernel.padding[axis] - tap * kernel.dilation[axis], kernel.stride[axis])
    hits: NDArray[np.int64] = ((phase == 0) & (reached >= targets[0]) & (reached < targets[1])).astype(np.int64)
    return hits
