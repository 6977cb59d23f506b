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
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from .mixed_kernels import SIZE

REACH = SIZE // 2
CPU = torch.device("cpu")
ONE_PRODUCT = 64  # pixels; up to here one big matrix is faster than one per axis
ONE_BLOCK = 1 << 18  # numbers of a spectrum; up to here one product of blocks is faster than four


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
    """The frequencies of maps of one size: of the columns those of a real signal only, the others are their mirror.

    Spectra are of this type, on this device.
    """

    rows: Axis
    columns: Axis
    dtype: torch.dtype
    device: torch.device

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

    def own(self, matrix: Tensor) -> Tensor:
        """In the type and on the device of the spectra."""
        return matrix.to(self.device, self.dtype)

    def spectrum(self, maps: Tensor) -> Tensor:
        """[H, W, B, C] -> [2, F, B, C]."""
        shape, maps = (2, -1, *maps.shape[2:]), maps.to(self.dtype)
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

        With stride 2 it is the spectrum of `phases`, and the grid is that of the phases. Of signals of one row there
        are 5 taps of each dilation, and 2 phases.
        """
        shape = (2, math.prod(self.shape), -1, taps.shape[2])
        order, matrices = _taps(self, dilations, stride, len(taps) == len(dilations) * SIZE)
        if stride == 1:
            return (matrices[0] @ taps.flatten(1).to(self.dtype)).view(shape)
        blocks = torch.split(taps.flatten(1).to(self.dtype)[order], [matrix.shape[1] for matrix in matrices])
        return torch.stack([matrix @ block for matrix, block in zip(matrices, blocks, strict=True)], dim=1).view(shape)


def phases(maps: Tensor, stride: int) -> Tensor:
    """[H, W, B, C] -> [H / stride, W / stride, B, stride^2 * C]: what is strided over, side by side; one row is not."""
    rows, columns, batch, channels = maps.shape
    down = 1 if rows == 1 else stride
    split = maps.view(rows // down, down, columns // stride, stride, batch, channels)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(rows // down, columns // stride, batch, -1)


def grid(
    rows: int,
    columns: int,
    dilations: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> Grid:
    """The grid for maps of this size and kernels of these dilations."""
    reach = REACH * max(dilations)
    return Grid(Axis(rows, reach), Axis(columns, reach), dtype, device)


def product(spectrum: Tensor, kernel: Tensor, plus: Tensor | None = None) -> Tensor:
    """[2, F, B, I] and [2, F, I, O] -> [2, F, B, O]: complex matrix products, one per frequency, added to `plus`."""
    form = _BlockProduct if spectrum.numel() <= ONE_BLOCK else _Product
    return cast(Tensor, form.apply(spectrum, kernel, plus))


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
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        spectrum, kernel = ctx.saved_tensors
        to_spectrum = to_kernel = None
        real, imaginary = gradient
        (x, y), (a, b) = spectrum.transpose(2, 3), kernel.transpose(2, 3)
        if ctx.needs_input_grad[0]:
            to_spectrum = torch.empty_like(spectrum)
            torch.bmm(real, a, out=to_spectrum[0]).baddbmm_(imaginary, b)
            torch.bmm(imaginary, a, out=to_spectrum[1]).baddbmm_(real, b, alpha=-1)
        if ctx.needs_input_grad[1]:
            to_kernel = torch.empty_like(kernel)
            torch.bmm(x, real, out=to_kernel[0]).baddbmm_(y, imaginary)
            torch.bmm(x, imaginary, out=to_kernel[1]).baddbmm_(y, real, alpha=-1)
        return to_spectrum, to_kernel, gradient if ctx.plus else None


class _BlockProduct(torch.autograd.Function):
    """The same as one real product per frequency; for small ones, where a call costs more than a copy.

             [ a  b]
    [x  y] * [-b  a] + plus
    """

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, kernel: Tensor, plus: Tensor | None) -> Tensor:
        _, frequencies, _, inward = spectrum.shape
        outward = kernel.shape[3]
        (a, b), blocks = kernel, kernel.new_empty(frequencies, 2, inward, 2, outward)
        blocks[:, 0, :, 0], blocks[:, 0, :, 1], blocks[:, 1, :, 1] = a, b, a
        torch.neg(b, out=blocks[:, 1, :, 0])
        rows, matrix = _side_by_side(spectrum), blocks.view(frequencies, 2 * inward, -1)
        ctx.save_for_backward(rows, matrix)
        ctx.plus = plus is not None
        return _apart(torch.bmm(rows, matrix) if plus is None else torch.baddbmm(_side_by_side(plus), rows, matrix))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, matrix = ctx.saved_tensors
        arrived, to_spectrum, to_kernel = _side_by_side(gradient), None, None
        if ctx.needs_input_grad[0]:
            to_spectrum = _apart(torch.bmm(arrived, matrix.transpose(1, 2)))
        if ctx.needs_input_grad[1]:
            blocks = torch.bmm(rows.transpose(1, 2), arrived).view(len(rows), 2, rows.shape[2] // 2, 2, -1)
            to_a, to_b = blocks[:, 0, :, 0] + blocks[:, 1, :, 1], blocks[:, 0, :, 1] - blocks[:, 1, :, 0]
            to_kernel = torch.stack([to_a, to_b])
        return to_spectrum, to_kernel, gradient if ctx.plus else None


def _side_by_side(spectrum: Tensor) -> Tensor:
    """[2, F, B, C] -> [F, B, 2 * C]."""
    return spectrum.permute(1, 2, 0, 3).flatten(2)


def _apart(spectrum: Tensor) -> Tensor:
    """[F, B, 2 * C] -> [2, F, B, C]."""
    return spectrum.view(*spectrum.shape[:2], 2, -1).permute(2, 0, 1, 3)


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
    return grid.own(torch.cat([columns.cos(), -columns.sin()])), grid.own(turn.flatten(0, 1).flatten(1))


@functools.cache
def _backward_axes(grid: Grid) -> tuple[Tensor, Tensor]:
    """Columns [W, 2 * FW], half of the frequencies -> real; rows [H * 2, 2 * FH], complex -> complex."""
    half, points = grid.half, grid.columns.points
    columns = grid.columns.angles(half, torch.arange(grid.columns.size)).T
    twice = torch.where((half == 0) | (2 * half == points), 1.0, 2.0) / points  # the mirrored ones, too
    rows = grid.rows.angles(torch.arange(grid.rows.points), torch.arange(grid.rows.size)).T
    real, imaginary = rows.cos() / grid.rows.points, rows.sin() / grid.rows.points
    turn = torch.stack([torch.cat([real, -imaginary], dim=1), torch.cat([imaginary, real], dim=1)], dim=1)
    back = torch.cat([columns.cos() * twice, -columns.sin() * twice], dim=1)
    return grid.own(back), grid.own(turn.flatten(0, 1))


@functools.cache
def _forward(grid: Grid) -> Tensor:
    """[2 * F, H * W]: both axes in one matrix."""
    pixels = torch.eye(grid.rows.size * grid.columns.size).view(grid.rows.size, grid.columns.size, -1)
    return grid.own(_analyse(pixels, *_forward_axes(_exact(grid))).flatten(0, 1))


@functools.cache
def _backward(grid: Grid) -> Tensor:
    """[H * W, 2 * F]: both axes in one matrix."""
    shape = (2 * grid.shape[0], grid.shape[1])
    frequencies = torch.eye(math.prod(shape)).view(*shape, -1)
    return grid.own(_synthesise(frequencies, *_backward_axes(_exact(grid))).flatten(0, 1))


def _exact(grid: Grid) -> Grid:
    return replace(grid, dtype=torch.float32, device=CPU)


@functools.cache
def _taps(grid: Grid, dilations: tuple[int, ...], stride: int, one_row: bool) -> tuple[Tensor, list[Tensor]]:
    """Taps belong to one phase each: their order by phase, and for each phase [2 * F, taps of the phase].

    y[p] = sum over k of K[k] * x[stride * p + offset(k)]; an offset is a phase and a number of pixels of that phase.
    Taps that always miss the image are 0.
    """
    offsets = torch.cat([dilation * torch.arange(-REACH, REACH + 1) for dilation in dilations])
    offsets = offsets.view(len(dilations), SIZE)
    down, right = offsets.repeat_interleave(SIZE, dim=1).flatten(), offsets.repeat(1, SIZE).flatten()
    if one_row:
        down, right = torch.zeros(offsets.numel(), dtype=offsets.dtype), offsets.flatten()
    rows = grid.rows.angles(torch.arange(grid.rows.points), down // stride).unsqueeze(1)
    angles = (rows + grid.columns.angles(grid.half, right // stride)).flatten(0, 1)  # [F, taps]
    hits = ((down // stride).abs() < grid.rows.size) & ((right // stride).abs() < grid.columns.size)
    turned = torch.cat([angles.cos(), angles.sin()]) * hits
    phase = stride * (down % stride) + right % stride
    numbers = range(stride if one_row else stride**2)
    mine = [(phase == number).nonzero().squeeze(1) for number in numbers]
    return torch.cat(mine).to(grid.device), [grid.own(turned[:, taps]) for taps in mine]
