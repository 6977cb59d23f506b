"""Depthwise convolutions of maps with their channels last, [B, H, W, C]: forward, by the maps and by the kernel.

torch has cuDNN do these, which for dilated ones and in bfloat16 takes several times what the memory would allow. Sums
are float32; those by the kernel are taken in parts that do not depend on the GPU.
"""

from typing import Any, cast

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import ceil_div, power_of_two

ROWS, CHANNELS = 32, 64  # of a tile
PARTS = 256
SIZES = (3, 5)  # of kernels
# A kernel is compiled once for all of these; it takes seconds.
AT_RUN_TIME = ["pixels", "in_rows", "in_columns", "out_rows", "out_columns", "dilation"]


@triton.jit(do_not_specialize=AT_RUN_TIME)
def _forward(
    maps, weight, result, pixels, in_rows, in_columns, out_rows, out_columns, channels, dilation,
    STRIDE: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Pixels of the result [B, H / stride, W / stride, C]; weight [SIZE * SIZE, C]."""
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    across, down, image = pixel % out_columns, pixel // out_columns % out_rows, pixel // (out_columns * out_rows)
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    for line in range(SIZE):
        y = down * STRIDE + (line - SIZE // 2) * dilation
        for tap in tl.static_range(SIZE):
            x = across * STRIDE + (tap - SIZE // 2) * dilation
            hits = (pixel < pixels) & (y >= 0) & (y < in_rows) & (x >= 0) & (x < in_columns)
            place = ((image.to(tl.int64) * in_rows + y) * in_columns + x)[:, None] * channels + column[None, :]
            now = tl.load(maps + place, mask=hits[:, None] & inside[None, :], other=0.0).to(tl.float32)
            factor = tl.load(weight + (line * SIZE + tap) * channels + column, mask=inside, other=0.0)
            total += now * factor[None, :]
    place = pixel.to(tl.int64)[:, None] * channels + column[None, :]
    tl.store(result + place, total.to(result.dtype.element_ty), mask=(pixel < pixels)[:, None] & inside[None, :])


@triton.jit(do_not_specialize=AT_RUN_TIME)
def _by_maps(
    gradient, weight, result, pixels, in_rows, in_columns, out_rows, out_columns, channels, dilation,
    STRIDE: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Pixels of the maps [B, H, W, C]."""
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    across, down, image = pixel % in_columns, pixel // in_columns % in_rows, pixel // (in_columns * in_rows)
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    for line in range(SIZE):
        y = down - (line - SIZE // 2) * dilation
        for tap in tl.static_range(SIZE):
            x = across - (tap - SIZE // 2) * dilation
            hits = (pixel < pixels) & (y >= 0) & (y < out_rows * STRIDE) & (x >= 0) & (x < out_columns * STRIDE)
            if STRIDE > 1:
                hits = hits & (y % STRIDE == 0) & (x % STRIDE == 0)
            at = (image.to(tl.int64) * out_rows + y // STRIDE) * out_columns + x // STRIDE
            place = at[:, None] * channels + column[None, :]
            now = tl.load(gradient + place, mask=hits[:, None] & inside[None, :], other=0.0).to(tl.float32)
            factor = tl.load(weight + (line * SIZE + tap) * channels + column, mask=inside, other=0.0)
            total += now * factor[None, :]
    place = pixel.to(tl.int64)[:, None] * channels + column[None, :]
    tl.store(result + place, total.to(result.dtype.element_ty), mask=(pixel < pixels)[:, None] & inside[None, :])


@triton.jit
def _tap(maps, arrived, image, y, x, in_rows, in_columns, channels, column, mask):
    """What arrives at the pixels times what one tap reads there."""
    hits = (y >= 0) & (y < in_rows) & (x >= 0) & (x < in_columns)
    place = ((image.to(tl.int64) * in_rows + y) * in_columns + x)[:, None] * channels + column[None, :]
    return arrived * tl.load(maps + place, mask=mask & hits[:, None], other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=[*AT_RUN_TIME, "parts"])
def _by_kernel(
    maps, gradient, sums, pixels, in_rows, in_columns, out_rows, out_columns, channels, dilation, parts,
    STRIDE: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Sums [parts, SIZE * SIZE, C] over pixels of the result; a program has one row of the kernel's taps."""
    line, part = tl.program_id(0), tl.program_id(1)
    column = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    first = tl.zeros([ROWS, CHANNELS], tl.float32)
    second = tl.zeros([ROWS, CHANNELS], tl.float32)
    third = tl.zeros([ROWS, CHANNELS], tl.float32)
    fourth = tl.zeros([ROWS, CHANNELS], tl.float32)
    fifth = tl.zeros([ROWS, CHANNELS], tl.float32)
    for start in range(part * ROWS, pixels, parts * ROWS):
        pixel = start + tl.arange(0, ROWS)
        mask = (pixel < pixels)[:, None] & inside[None, :]
        place = pixel.to(tl.int64)[:, None] * channels + column[None, :]
        arrived = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        across, down, image = pixel % out_columns, pixel // out_columns % out_rows, pixel // (out_columns * out_rows)
        y = down * STRIDE + (line - SIZE // 2) * dilation
        x = across * STRIDE - (SIZE // 2) * dilation
        first += _tap(maps, arrived, image, y, x, in_rows, in_columns, channels, column, mask)
        second += _tap(maps, arrived, image, y, x + dilation, in_rows, in_columns, channels, column, mask)
        third += _tap(maps, arrived, image, y, x + 2 * dilation, in_rows, in_columns, channels, column, mask)
        if SIZE == 5:
            fourth += _tap(maps, arrived, image, y, x + 3 * dilation, in_rows, in_columns, channels, column, mask)
            fifth += _tap(maps, arrived, image, y, x + 4 * dilation, in_rows, in_columns, channels, column, mask)
    target = sums + (part * SIZE * SIZE + line * SIZE) * channels + column
    tl.store(target, tl.sum(first, 0), mask=inside)
    tl.store(target + channels, tl.sum(second, 0), mask=inside)
    tl.store(target + 2 * channels, tl.sum(third, 0), mask=inside)
    if SIZE == 5:
        tl.store(target + 3 * channels, tl.sum(fourth, 0), mask=inside)
        tl.store(target + 4 * channels, tl.sum(fifth, 0), mask=inside)


def depthwise(maps: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """[B, H, W, C] and [C, 1, K, K], K of SIZES -> [B, H / stride, W / stride, C], padded by dilation * (K // 2)."""
    return cast(Tensor, _Depthwise.apply(maps.contiguous(), weight, stride, dilation))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        images, rows, columns, channels = maps.shape
        size = weight.shape[-1]
        taps = weight.detach().float().view(channels, size * size).T.contiguous()
        result = maps.new_empty(images, ceil_div(rows, stride), ceil_div(columns, stride), channels)
        ctx.save_for_backward(maps, taps)
        ctx.options = {
            "STRIDE": stride, "SIZE": size, "ROWS": ROWS,
            "CHANNELS": min(CHANNELS, power_of_two(channels)),
        }  # fmt: skip
        ctx.sizes = rows, columns, *result.shape[1:], dilation
        pixels = result.numel() // channels
        grid = ceil_div(pixels, ROWS), ceil_div(channels, ctx.options["CHANNELS"])
        _forward[grid](maps, taps, result, pixels, *ctx.sizes, **ctx.options)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        maps, taps = ctx.saved_tensors
        gradient = gradient.contiguous()
        channels, size = maps.shape[-1], ctx.options["SIZE"]
        columns = ceil_div(channels, ctx.options["CHANNELS"])
        to_maps = to_weight = None
        if ctx.needs_input_grad[0]:
            to_maps = torch.empty_like(maps)
            pixels = maps.numel() // channels
            _by_maps[(ceil_div(pixels, ROWS), columns)](gradient, taps, to_maps, pixels, *ctx.sizes, **ctx.options)
        if ctx.needs_input_grad[1]:
            pixels = gradient.numel() // channels
            parts = min(PARTS, ceil_div(pixels, ROWS))
            sums = taps.new_empty(parts, size * size, channels)
            _by_kernel[(size, parts, columns)](maps, gradient, sums, pixels, *ctx.sizes, parts, **ctx.options)
            to_weight = sums.sum(0).T.reshape(channels, 1, size, size)
        return to_maps, to_weight, None, None
