"""Convolutions of many edges as products of spectra.

A mixed kernel of the `darts` set has 41 taps that reach over 9x9, and fourteen edges of a cell read five states and
meet at four nodes. So each state is transformed once, an edge is a matrix product per frequency, currents are summed as
spectra, and each node is transformed back once: at 32x32 a sixth of the multiplications of direct convolution.

The transform is the discrete Fourier transform of the image followed by `reach` rows and columns of zeros: the circular
convolution that belongs to it is then the zero-padded one. The transforms are matrix products; images are real, so half
of the frequencies is enough. With stride 2 the even and odd rows and columns are channels of their own, of half size.

Maps are [H, W, B, C], contiguous; a spectrum is [2, F, B, C]: real and imaginary part, frequency, image, channel.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from .kernels import SIZE

REACH = SIZE // 2
ONE_PRODUCT = 64  # pixels; up to here one big matrix is faster than one per axis


@dataclass(frozen=True, slots=True)
class Axis:
    """Positions 0 .. size - 1 and `points` frequencies of one axis."""

    size: int
    reach: int

    @property
    def points(self) -> int:
        return self.size + min(self.reach, self.size - 1)

    def angles(self, frequencies: Tensor, positions: Tensor) -> Tensor:
        """[frequencies, positions], in radians."""
        return 2 * math.pi * torch.outer(frequencies.double(), positions.double()) / self.points


@dataclass(frozen=True, slots=True)
class Grid:
    """The frequencies of maps of one size: of the columns those of a real signal only, the others are their mirror."""

    rows: Axis
    columns: Axis

    @property
    def half(self) -> Tensor:
        """The frequencies of the columns."""
        return torch.arange(self.columns.points // 2 + 1)

    @property
    def shape(self) -> tuple[int, int]:
        """The frequencies of rows and of columns."""
        return self.rows.points, len(self.half)

    @property
    def small(self) -> bool:
        return self.rows.size * self.columns.size <= ONE_PRODUCT

    def spectrum(self, maps: Tensor) -> Tensor:
        """[H, W, B, C] -> [2, F, B, C]."""
        shape = (2, -1, *maps.shape[2:])
        if self.small:
            return (_forward(self) @ maps.flatten(0, 1).flatten(1)).view(shape)
        return cast(Tensor, _Analysis.apply(maps.flatten(2), *_forward_axes(self))).view(shape)

    def maps(self, spectrum: Tensor) -> Tensor:
        """[2, F, B, C] -> [H, W, B, C]: the inverse."""
        shape = (self.rows.size, self.columns.size, *spectrum.shape[2:])
        if self.small:
            return (_backward(self) @ spectrum.reshape(2 * spectrum.shape[1], -1)).view(shape)
        split = spectrum.reshape(2 * self.shape[0], self.shape[1], -1)
        return cast(Tensor, _Synthesis.apply(split, *_backward_axes(self))).view(shape)

    def kernel(self, taps: Tensor, dilations: tuple[int, ...], stride: int) -> Tensor:
        """Taps [25 of each dilation, I, O] -> [2, F, stride^2 * I, O], by which a spectrum is multiplied.

        With stride 2 it is the spectrum of `phases`, and the grid is that of the phases.
        """
        return (_taps(self, dilations, stride) @ taps.flatten(1)).view(2, math.prod(self.shape), -1, taps.shape[2])


def phases(maps: Tensor, stride: int) -> Tensor:
    """[H, W, B, C] -> [H / stride, W / stride, B, stride^2 * C]: what is strided over, side by side."""
    rows, columns, batch, channels = maps.shape
    split = maps.view(rows // stride, stride, columns // stride, stride, batch, channels)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(rows // stride, columns // stride, batch, -1)


def grid(rows: int, columns: int, dilations: tuple[int, ...]) -> Grid:
    """The grid for maps of this size and kernels of these dilations."""
    reach = REACH * max(dilations)
    return Grid(Axis(rows, reach), Axis(columns, reach))


def product(spectrum: Tensor, kernel: Tensor, plus: Tensor | None = None) -> Tensor:
    """[2, F, B, I] and [2, F, I, O] -> [2, F, B, O]: complex matrix products, one per frequency, added to `plus`."""
    return cast(Tensor, _Product.apply(spectrum, kernel, plus))


class _Product(torch.autograd.Function):
    """(x + iy)(a + ib) + plus, and its gradient, in real products that write where their sum belongs."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, kernel: Tensor, plus: Tensor | None) -> Tensor:
        (x, y), (a, b) = spectrum, kernel
        result = spectrum.new_empty(*spectrum.shape[:3], kernel.shape[3])
        real, imaginary = result
        if plus is None:
            torch.bmm(x, a, out=real)
            torch.bmm(x, b, out=imaginary)
        else:
            torch.baddbmm(plus[0], x, a, out=real)
            torch.baddbmm(plus[1], x, b, out=imaginary)
        real.baddbmm_(y, b, alpha=-1)
        imaginary.baddbmm_(y, a)
        ctx.save_for_backward(spectrum, kernel)
        ctx.plus = plus is not None
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        spectrum, kernel = ctx.saved_tensors
        to_spectrum, to_kernel = torch.empty_like(spectrum), torch.empty_like(kernel)
        real, imaginary = gradient
        (x, y), (a, b) = spectrum.transpose(2, 3), kernel.transpose(2, 3)
        torch.bmm(real, a, out=to_spectrum[0]).baddbmm_(imaginary, b)
        torch.bmm(imaginary, a, out=to_spectrum[1]).baddbmm_(real, b, alpha=-1)
        torch.bmm(x, real, out=to_kernel[0]).baddbmm_(y, imaginary)
        torch.bmm(x, imaginary, out=to_kernel[1]).baddbmm_(y, real, alpha=-1)
        return to_spectrum, to_kernel, gradient if ctx.plus else None


def _analyse(maps: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """[H, W, M] with columns [2 * FW, W] and rows [2 * FH, H * 2] -> [2 * FH, FW, M]."""
    height, _, depth = maps.shape
    along_columns = torch.bmm(columns.expand(height, -1, -1), maps)  # [H, 2 * FW, M]
    return torch.mm(rows, along_columns.view(2 * height, -1)).view(len(rows), -1, depth)


def _synthesise(spectrum: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """[2 * FH, FW, M] with rows [H * 2, 2 * FH] and columns [W, 2 * FW] -> [H, W, M]."""
    height, depth = len(rows) // 2, spectrum.shape[2]
    along_rows = torch.mm(rows, spectrum.flatten(1))
    return torch.bmm(columns.expand(height, -1, -1), along_rows.view(height, -1, depth))


class _Analysis(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(columns, rows)
        return _analyse(maps, columns, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        columns, rows = ctx.saved_tensors
        return _synthesise(gradient, columns.T, rows.T), None, None


class _Synthesis(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(columns, rows)
        return _synthesise(spectrum, columns, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        columns, rows = ctx.saved_tensors
        return _analyse(gradient, columns.T, rows.T), None, None


@functools.cache
def _forward_axes(grid: Grid) -> tuple[Tensor, Tensor]:
    """Columns [2 * FW, W], real -> complex; rows [2 * FH, H * 2], complex -> complex."""
    columns = grid.columns.angles(grid.half, torch.arange(grid.columns.size))
    rows = grid.rows.angles(torch.arange(grid.rows.points), torch.arange(grid.rows.size))
    real, imaginary = rows.cos(), -rows.sin()
    turn = torch.stack([torch.stack([real, -imaginary], dim=2), torch.stack([imaginary, real], dim=2)])
    return torch.cat([columns.cos(), -columns.sin()]).float(), turn.flatten(0, 1).flatten(1).float()


@functools.cache
def _backward_axes(grid: Grid) -> tuple[Tensor, Tensor]:
    """Columns [W, 2 * FW], half of the frequencies -> real; rows [H * 2, 2 * FH], complex -> complex."""
    half, points = grid.half, grid.columns.points
    columns = grid.columns.angles(half, torch.arange(grid.columns.size)).T
    twice = torch.where((half == 0) | (2 * half == points), 1.0, 2.0) / points  # the mirrored ones, too
    rows = grid.rows.angles(torch.arange(grid.rows.points), torch.arange(grid.rows.size)).T
    real, imaginary = rows.cos() / grid.rows.points, rows.sin() / grid.rows.points
    turn = torch.stack([torch.cat([real, -imaginary], dim=1), torch.cat([imaginary, real], dim=1)], dim=1)
    return torch.cat([columns.cos() * twice, -columns.sin() * twice], dim=1).float(), turn.flatten(0, 1).float()


@functools.cache
def _forward(grid: Grid) -> Tensor:
    """[2 * F, H * W]: both axes in one matrix."""
    pixels = torch.eye(grid.rows.size * grid.columns.size).view(grid.rows.size, grid.columns.size, -1)
    return _analyse(pixels, *_forward_axes(grid)).flatten(0, 1)


@functools.cache
def _backward(grid: Grid) -> Tensor:
    """[H * W, 2 * F]: both axes in one matrix."""
    shape = (2 * grid.shape[0], grid.shape[1])
    frequencies = torch.eye(math.prod(shape)).view(*shape, -1)
    return _synthesise(frequencies, *_backward_axes(grid)).flatten(0, 1)


@functools.cache
def _taps(grid: Grid, dilations: tuple[int, ...], stride: int) -> Tensor:
    """[2 * F * stride^2, 25 * dilations]: y[p] = sum over k of K[k] * x[stride * p + offset(k)].

    An offset is a phase and a number of pixels of that phase; taps that always miss the image are 0.
    """
    blocks = []
    for dilation in dilations:
        offsets = dilation * torch.arange(-REACH, REACH + 1)
        down, right = offsets.repeat_interleave(SIZE), offsets.repeat(SIZE)
        rows = grid.rows.angles(torch.arange(grid.rows.points), down // stride).unsqueeze(1)
        angles = rows + grid.columns.angles(grid.half, right // stride)  # [FH, FW, 25]
        hits = ((down // stride).abs() < grid.rows.size) & ((right // stride).abs() < grid.columns.size)
        phase = stride * (down % stride) + right % stride
        mine = hits & (phase == torch.arange(stride**2).unsqueeze(1))  # [phases, 25]
        turned = torch.stack([angles.cos(), angles.sin()]).unsqueeze(3) * mine
        blocks.append(turned.flatten(0, 3))
    return torch.cat(blocks, dim=1).float()
