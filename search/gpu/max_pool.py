"""3x3 max-pools of maps with their channels last, [B, H, W, C], and their weighted sums: loops/max_pool.py on a GPU."""

from typing import Any, cast

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import PARTS, ceil_div, tile

MOST_MAPS = 5  # of a weighted sum: the states that a node can hear


@triton.jit(do_not_specialize=["pixels", "in_rows", "in_columns", "out_rows", "out_columns"])
def _pool_forward(
    maps, result, keys, pixels, in_rows, in_columns, out_rows, out_columns, channels,
    STRIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The largest of nine, and which it was; of equals the first."""
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    mask = (pixel < pixels)[:, None] & (column < channels)[None, :]
    across, down, image = pixel % out_columns, pixel // out_columns % out_rows, pixel // (out_columns * out_rows)
    largest = tl.full([ROWS, CHANNELS], float("-inf"), tl.float32)
    key = tl.zeros([ROWS, CHANNELS], tl.int32)
    for tap in range(9):
        y, x = down * STRIDE + tap // 3 - 1, across * STRIDE + tap % 3 - 1
        hits = (y >= 0) & (y < in_rows) & (x >= 0) & (x < in_columns)
        place = ((image.to(tl.int64) * in_rows + y) * in_columns + x)[:, None] * channels + column[None, :]
        now = tl.load(maps + place, mask=mask & hits[:, None], other=float("-inf")).to(tl.float32)
        key = tl.where(now > largest, tap, key)
        largest = tl.maximum(largest, now)
    place = pixel.to(tl.int64)[:, None] * channels + column[None, :]
    tl.store(result + place, largest.to(result.dtype.element_ty), mask=mask)
    tl.store(keys + place, key.to(tl.uint8), mask=mask)


@triton.jit(do_not_specialize=["pixels", "in_rows", "in_columns", "out_rows", "out_columns"])
def _pool_backward(
    gradient, keys, result, pixels, in_rows, in_columns, out_rows, out_columns, channels,
    STRIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    mask = (pixel < pixels)[:, None] & (column < channels)[None, :]
    across, down, image = pixel % in_columns, pixel // in_columns % in_rows, pixel // (in_columns * in_rows)
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    for tap in range(9):
        y, x = down + 1 - tap // 3, across + 1 - tap % 3
        hits = (y >= 0) & (y < out_rows * STRIDE) & (x >= 0) & (x < out_columns * STRIDE)
        if STRIDE > 1:
            hits = hits & (y % STRIDE == 0) & (x % STRIDE == 0)
        y = y // STRIDE
        x = x // STRIDE
        place = ((image.to(tl.int64) * out_rows + y) * out_columns + x)[:, None] * channels + column[None, :]
        there = mask & hits[:, None]
        taken = tl.load(keys + place, mask=there, other=255).to(tl.int32) == tap
        total += tl.load(gradient + place, mask=there & taken, other=0.0).to(tl.float32)
    place = pixel.to(tl.int64)[:, None] * channels + column[None, :]
    tl.store(result + place, total.to(result.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows"])
def _sum_forward(
    current, scales, a, b, c, d, e, result, rows, channels, MAPS: tl.constexpr, ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    mask = (row < rows)[:, None] & inside[None, :]
    place = row.to(tl.int64)[:, None] * channels + column[None, :]
    total = tl.load(current + place, mask=mask, other=0.0).to(tl.float32)
    for number in tl.static_range(MAPS):
        maps = a if number == 0 else (b if number == 1 else (c if number == 2 else (d if number == 3 else e)))
        scale = tl.load(scales + number * channels + column, mask=inside, other=0.0)[None, :]
        total += scale * tl.load(maps + place, mask=mask, other=0.0).to(tl.float32)
    tl.store(result + place, total.to(result.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows", "parts"])
def _sum_backward(
    gradient, scales, maps, to_maps, sums, rows, channels, parts, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Of one of the maps: its gradient, and sums [parts, C] of gradient * maps."""
    part = tl.program_id(0)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    scale = tl.load(scales + column, mask=inside, other=0.0)[None, :]
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    for start in range(part * ROWS, rows, parts * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * channels + column[None, :]
        arrived = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        total += arrived * tl.load(maps + place, mask=mask, other=0.0).to(tl.float32)
        tl.store(to_maps + place, (scale * arrived).to(to_maps.dtype.element_ty), mask=mask)
    tl.store(sums + part * channels + column, tl.sum(total, 0), mask=inside)


def max_pool(maps: Tensor, stride: int) -> Tensor:
    """[B, H, W, C] -> [B, H / stride, W / stride, C]: values and gradients of torch's 3x3 max-pool, padded."""
    return cast(Tensor, _MaxPool.apply(maps.contiguous(), stride))


def weighted_sum(current: Tensor, scales: Tensor, maps: list[Tensor]) -> Tensor:
    """current + sum over k of scales[k] * maps[k], of the type of the currents; scales [K, C], the others [..., C]."""
    return cast(Tensor, _WeightedSum.apply(current.contiguous(), scales, *maps))


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, stride: int) -> Tensor:
        images, rows, columns, channels = maps.shape
        result = maps.new_empty(images, ceil_div(rows, stride), ceil_div(columns, stride), channels)
        keys = torch.empty_like(result, dtype=torch.uint8)
        high, wide = tile(channels)
        ctx.sizes = rows, columns, *result.shape[1:]
        ctx.options = {"STRIDE": stride, "ROWS": high, "CHANNELS": wide}
        ctx.save_for_backward(keys)
        pixels = result.numel() // channels
        grid = ceil_div(pixels, high), ceil_div(channels, wide)
        _pool_forward[grid](maps, result, keys, pixels, *ctx.sizes, **ctx.options)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keys,) = ctx.saved_tensors
        rows, columns, *_, channels = ctx.sizes
        result = gradient.new_empty(len(keys), rows, columns, channels)
        pixels = result.numel() // channels
        grid = ceil_div(pixels, ctx.options["ROWS"]), ceil_div(channels, ctx.options["CHANNELS"])
        _pool_backward[grid](gradient.contiguous(), keys, result, pixels, *ctx.sizes, **ctx.options)
        return result, None


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, scales: Tensor, *maps: Tensor) -> Tensor:
        channels = current.shape[-1]
        rows = current.numel() // channels
        high, wide = tile(channels)
        maps = tuple(one.contiguous() for one in maps)
        scales = scales.detach().float().contiguous()
        result = torch.empty_like(current)
        _sum_forward[(ceil_div(rows, high), ceil_div(channels, wide))](
            *(current, scales, *maps, *[current] * (MOST_MAPS - len(maps)), result, rows, channels),
            MAPS=len(maps), ROWS=high, CHANNELS=wide,
        )  # fmt: skip
        ctx.save_for_backward(scales, *maps)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        scales, *maps = ctx.saved_tensors
        gradient = gradient.contiguous()
        channels = gradient.shape[-1]
        rows = gradient.numel() // channels
        high, wide = tile(channels)
        parts = min(PARTS, ceil_div(rows, high))
        sums = scales.new_empty(len(maps), parts, channels)
        to_maps = [torch.empty_like(one) for one in maps]
        for scale, one, to_one, sum_of_one in zip(scales, maps, to_maps, sums, strict=True):
            _sum_backward[(parts, ceil_div(channels, wide))](
                gradient, scale, one, to_one, sum_of_one, rows, channels, parts, ROWS=high, CHANNELS=wide
            )
        return gradient, sums.sum(1), *to_maps
