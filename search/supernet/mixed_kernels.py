"""The candidates of many edges at once, as convolution kernels: what the kernel-space supernet mixes.

On binary spikes every primitive but max-pool is a linear map, so it is a kernel, and a mixture of primitives is the
weighted sum of their kernels. A stack holds one primitive on all E edges of a cell and adds its share to the mixed
kernels, [25, E, I, O]: the 5x5 taps (row * 5 + column), each a matrix from I to O channels per edge. A depthwise
convolution followed by a pointwise one is the outer product of the two; a smaller kernel is centred in 5x5; the taps of
a dilated primitive are two pixels apart. Of signals of one row a mixed kernel has 1x5 taps (`to_one_row`).

Before it is mixed, each candidate is normalised per output channel o by the standard deviation of its current, so that
the architecture weights compare like with like (the plain supernet does it with batch norms):

    skip, max-pool, avg-pool    r(x)_o / sqrt(var r(x)_o)                              measured on the state's spikes x
    a kernel K that is learned  (K * x)_o / sqrt(sum over i, taps of K[o, i]^2 hits var x_i)

where `hits` is the part of the positions at which the tap meets the image and not the zeros around it: at 2x2, 4 / 25
for a 5x5 kernel as a whole. The second is exact for independent spikes of mean 0; it costs no pass over the spikes,
because it needs nothing but the kernel and the variances of the channels. Constants are no matter: a batch norm follows
at the node.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..settings.network import PrimitiveSet
from ..space.primitives import PRIMITIVES

SIZE = 5  # rows and columns of a mixed kernel; of signals of one row its columns
SMALLEST_VARIANCE = 1e-5  # of a channel that is silent; as the eps of a batch norm


@dataclass(frozen=True, slots=True)
class Variances:
    """Of the spikes of each edge's source and of what the pools make of them, [E, I] each.

    `hits` is by dilation [25, E, 1]: the part of an edge's positions at which a tap meets the image.
    """

    spikes: Tensor
    max_pooled: Tensor
    avg_pooled: Tensor
    hits: Mapping[int, Tensor]


def hits(rows: int, columns: int, stride: int, dilation: int, *, one_row: bool = False) -> Tensor:
    """[25]: the part of the positions [rows, columns] of a convolution at which each tap meets the image; of signals of
    one row [5]."""

    def along(positions: int) -> Tensor:
        offsets = dilation * torch.arange(-(SIZE // 2), SIZE // 2 + 1)
        reached = stride * torch.arange(positions).unsqueeze(1) + offsets  # [positions, 5]
        return ((reached >= 0) & (reached < stride * positions)).float().mean(0)

    return along(columns) if one_row else torch.outer(along(rows), along(columns)).flatten()


@functools.cache
def edge_hits(
    rows: int,
    columns: int,
    strides: tuple[int, ...],
    dilation: int,
    device: torch.device | None = None,
    *,
    one_row: bool = False,
) -> Tensor:
    """[25, E, 1], of one row [5, E, 1]: `hits` of edges of these strides, all of which lead to maps [rows, columns]."""
    each = [hits(rows, columns, stride, dilation, one_row=one_row) for stride in strides]
    return torch.stack(each, dim=1).unsqueeze(2).to(device)


class Separable(nn.Module):
    """Depthwise [k * k, E, I], pointwise [E, I, O]."""

    def __init__(self, edges: int, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.depthwise = uniform((kernel * kernel, edges, channels), fan_in=kernel * kernel)
        self.pointwise = uniform((edges, channels, channels), fan_in=channels)

    def to_one_row(self) -> None:
        self.depthwise = _in_one_row(self.depthwise, self.kernel)

    def forward(self, total: Tensor, weights: Tensor, variances: Variances) -> Tensor:
        depthwise = _centred(self.depthwise, self.kernel)
        reach = (depthwise.square() * variances.hits[self.dilation]).sum(0) * variances.spikes  # [E, I]
        mixed = self.pointwise * _scale(weights, reach, self.pointwise.square())
        return total.addcmul_(depthwise.unsqueeze(3), mixed)


class Convolution(nn.Module):
    """Kernels [k * k, E, I, O]."""

    dilation = 1

    def __init__(self, edges: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = uniform((kernel * kernel, edges, channels, channels), fan_in=channels * kernel * kernel)

    def to_one_row(self) -> None:
        self.weight = _in_one_row(self.weight, self.kernel)

    def forward(self, total: Tensor, weights: Tensor, variances: Variances) -> Tensor:
        kernel = _centred(self.weight, self.kernel)
        squares = (kernel.square() * variances.hits[self.dilation].unsqueeze(3)).sum(0)
        return total.addcmul_(kernel, _scale(weights, variances.spikes, squares))


class AveragePool(nn.Module):
    """3x3 taps of 1 / 9; of one row 1x3 of 1 / 3."""

    dilation = 1
    box: Tensor

    def __init__(self, edges: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("box", _centred(torch.full((9, 1, 1), 1 / 9), 3), persistent=False)  # [25, 1, 1]

    def to_one_row(self) -> None:
        self.box = _centred(torch.full((3, 1, 1), 1 / 3), 3)

    def forward(self, total: Tensor, weights: Tensor, variances: Variances) -> Tensor:
        return total.add_(torch.diag_embed(self.box * (weights[:, None] * variances.avg_pooled.rsqrt())))


class Skip(nn.Module):
    """The identity; on the first `halving` edges, which have stride 2, the factorized reduce [halving, I, O]."""

    dilation = 1
    tap: Tensor
    halves: Tensor

    def __init__(self, edges: int, channels: int, halving: int) -> None:
        super().__init__()
        self.halving, self.channels = halving, channels
        self.register_buffer("tap", self._tap(SIZE), persistent=False)
        if halving:
            self.reduce = uniform((halving, channels, channels), fan_in=channels)
            self.register_buffer("halves", self._halves(SIZE), persistent=False)

    def _tap(self, rows: int) -> Tensor:
        tap = torch.zeros(rows * SIZE, 1, 1)
        tap[rows * SIZE // 2] = 1
        return tap

    def _halves(self, rows: int) -> Tensor:
        """As FactorizedReduce: half of the channels read the next tap, one row, where there are some, and one column
        further."""
        halves, centre, first = (
            torch.zeros(rows * SIZE, 1, 1, self.channels),
            rows * SIZE // 2,
            (self.channels + 1) // 2,
        )
        halves[centre, ..., :first] = 1
        halves[centre + 1 + (SIZE if rows > 1 else 0), ..., first:] = 1
        return halves

    def to_one_row(self) -> None:
        self.tap = self._tap(1)
        if self.halving:
            self.halves = self._halves(1)

    def forward(self, total: Tensor, weights: Tensor, variances: Variances) -> Tensor:
        first, rest = slice(self.halving), slice(self.halving, None)
        identity = torch.diag_embed(self.tap * (weights[rest, None] * variances.spikes[rest].rsqrt()))
        if not self.halving:
            return total.add_(identity)
        reduce = self.reduce * _scale(weights[first], variances.spikes[first], self.reduce.square())
        return total.add_(torch.cat([self.halves * reduce, identity], dim=1))


# (edges, channels, edges of stride 2) -> the stack of one primitive. `none` has no current; max-pool is no kernel.
STACKS: Mapping[str, Callable[[int, int, int], nn.Module]] = {
    "avg_pool_3x3": lambda edges, channels, halving: AveragePool(edges, channels),
    "skip_connect": Skip,
    "sep_conv_3x3": lambda edges, channels, halving: Separable(edges, channels, 3, dilation=1),
    "sep_conv_5x5": lambda edges, channels, halving: Separable(edges, channels, 5, dilation=1),
    "dil_conv_3x3": lambda edges, channels, halving: Separable(edges, channels, 3, dilation=2),
    "dil_conv_5x5": lambda edges, channels, halving: Separable(edges, channels, 5, dilation=2),
    "conv_3x3": lambda edges, channels, halving: Convolution(edges, channels, 3),
    "conv_5x5": lambda edges, channels, halving: Convolution(edges, channels, 5),
}


class MixedKernels(nn.Module):
    """Weights [E, primitives] -> the mixed kernels [25 of each dilation, E, I, O], or 5 of signals of one row.

    The first `halving` edges have stride 2. `dilations` are those of the primitives, ascending.
    """

    def __init__(self, primitives: PrimitiveSet, edges: int, channels: int, halving: int) -> None:
        super().__init__()
        names = list(PRIMITIVES[primitives])
        self._columns = {name: names.index(name) for name in names if name in STACKS}
        self.stacks = nn.ModuleDict({name: STACKS[name](edges, channels, halving) for name in self._columns})
        self.dilations = tuple(sorted({dilation_of(stack) for stack in self.stacks.values()}))
        self.rows = SIZE

    def to_one_row(self) -> None:
        self.rows = 1

    def forward(self, weights: Tensor, variances: Variances) -> Tensor:
        edges, channels = variances.spikes.shape
        totals = {
            dilation: weights.new_zeros(self.rows * SIZE, edges, channels, channels) for dilation in self.dilations
        }
        for name, column in self._columns.items():
            stack = self.stacks[name]
            dilation = dilation_of(stack)
            totals[dilation] = stack(totals[dilation], weights[:, column], variances)
        return torch.cat(list(totals.values()))


def dilation_of(stack: nn.Module) -> int:
    return cast(int, stack.dilation)


def uniform(shape: Sequence[int], fan_in: int) -> nn.Parameter:
    """Drawn as nn.Conv2d draws its weights: uniform in +-1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def _scale(weights: Tensor, variances: Tensor, squares: Tensor) -> Tensor:
    """What to multiply kernels by, [E, 1, O].

    Of weights [E], variances of the input [E, I] and squares of the kernels, summed over their taps, [E, I, O].
    """
    return weights[:, None, None] * (variances.unsqueeze(1) @ squares).rsqrt()


def _centred(taps: Tensor, kernel: int) -> Tensor:
    """[kernel * kernel, ...] -> [25, ...]; of one row [kernel, ...] -> [5, ...]."""
    if kernel == SIZE:
        return taps
    rim, one_row = (SIZE - kernel) // 2, len(taps) == kernel
    square = taps.reshape(len(taps) // kernel, kernel, -1)
    above = 0 if one_row else rim
    return functional.pad(square, (0, 0, rim, rim, above, above)).view(-1, *taps.shape[1:])


def _in_one_row(taps: Tensor, kernel: int) -> nn.Parameter:
    """[kernel * kernel, ...] -> its middle row, drawn as if it had been alone (`primitives.middle_row`)."""
    middle = taps.detach().view(kernel, kernel, *taps.shape[1:])[kernel // 2]
    return nn.Parameter(kernel**0.5 * middle)
