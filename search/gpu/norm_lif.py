"""Batch norm and LIF neurons over a whole window as one kernel: `loops/norm_lif.py` on a GPU.

    y = (I - mean) * weight / sqrt(variance + eps) + bias       mean and variance of each channel
    spikes = LIF(y)                                             loops/neurons.py

Currents are [A, T, R, C]: any axes before that of the time steps, those behind it, the channels last. Numbers are
float32 inside, whatever type they are read and written in. Forward and backward read the currents twice each and keep
nothing else; membranes are computed again in the backward pass.
"""

import math
from typing import Any, cast

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from .blocks import PARTS, ceil_div, power_of_two, tile

DECAY = 0.5  # of a membrane, as in loops/neurons.py
PI = tl.constexpr(math.pi)


@triton.jit(do_not_specialize=["rows", "parts"])
def _moments(current, lanes, sums, rows, channels, parts, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Sums [parts, 2, C] of I - shift and of its square, over rows [A * T * R]; the shift is the first row."""
    part = tl.program_id(0)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    shift = tl.load(current + column, mask=inside, other=0.0).to(tl.float32)
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    squares = tl.zeros([ROWS, CHANNELS], tl.float32)
    for start in range(part * ROWS, rows, parts * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * channels + column[None, :]
        now = tl.load(current + place, mask=mask, other=0.0).to(tl.float32)
        distance = tl.where(mask, now - shift[None, :], 0.0)
        total += distance
        squares += distance * distance
    tl.store(sums + (2 * part) * channels + column, tl.sum(total, 0), mask=inside)
    tl.store(sums + (2 * part + 1) * channels + column, tl.sum(squares, 0), mask=inside)
    tl.store(lanes + column, shift, mask=inside)


@triton.jit(do_not_specialize=["rows", "parts"])
def _normalise(
    sums, lanes, weight, bias, running_mean, running_variance, batches, rows, channels, parts, eps, momentum,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Sums [parts, 2, C] -> lanes [4, C]: mean, scale, bias, 1 / standard deviation; the running averages move."""
    column = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    part = tl.arange(0, PARTS)[:, None]
    mask = (part < parts) & inside[None, :]
    total = tl.sum(tl.load(sums + 2 * part * channels + column[None, :], mask=mask, other=0.0), 0)
    squares = tl.sum(tl.load(sums + (2 * part + 1) * channels + column[None, :], mask=mask, other=0.0), 0)
    offset = total / rows
    mean = tl.load(lanes + column, mask=inside, other=0.0) + offset
    variance = tl.maximum(squares / rows - offset * offset, 0.0)
    inverse = 1.0 / tl.sqrt(variance + eps)
    tl.store(lanes + column, mean, mask=inside)
    tl.store(lanes + channels + column, tl.load(weight + column, mask=inside, other=0.0) * inverse, mask=inside)
    tl.store(lanes + 2 * channels + column, tl.load(bias + column, mask=inside, other=0.0), mask=inside)
    tl.store(lanes + 3 * channels + column, inverse, mask=inside)
    before = tl.load(running_mean + column, mask=inside, other=0.0)
    tl.store(running_mean + column, before + momentum * (mean - before), mask=inside)
    before = tl.load(running_variance + column, mask=inside, other=0.0)
    sample = variance * (rows / (rows - 1.0))
    tl.store(running_variance + column, before + momentum * (sample - before), mask=inside)
    if tl.program_id(0) == 0:
        tl.store(batches, tl.load(batches) + 1)


@triton.jit
def _place(rows, after, steps, stride, t, column):
    """Of row [A * R] at step t, in [A, T, R, C] whose rows of channels begin `stride` numbers apart."""
    row = rows.to(tl.int64)
    return ((row // after * steps + t) * after + row % after)[:, None] * stride + column[None, :]


@triton.jit(do_not_specialize=["rows", "after", "steps"])
def _forward(
    current, lanes, spikes, rows, after, steps, channels, DECAY: tl.constexpr, ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    mask = (row < rows)[:, None] & inside[None, :]
    mean = tl.load(lanes + column, mask=inside, other=0.0)[None, :]
    scale = tl.load(lanes + channels + column, mask=inside, other=0.0)[None, :]
    bias = tl.load(lanes + 2 * channels + column, mask=inside, other=0.0)[None, :]
    membrane = tl.zeros([ROWS, CHANNELS], tl.float32)
    for t in range(steps):
        place = _place(row, after, steps, channels, t, column)
        now = tl.load(current + place, mask=mask, other=0.0).to(tl.float32)
        charge = membrane * DECAY + ((now - mean) * scale + bias)
        fires = charge >= 1.0
        tl.store(spikes + place, tl.where(fires, 1.0, 0.0).to(spikes.dtype.element_ty), mask=mask)
        membrane = tl.where(fires, 0.0, charge)


@triton.jit
def _charge(
    current, row, after, steps, channels, column, mask, mean, scale, bias, t, DECAY: tl.constexpr,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The membranes at step t before the reset, from the currents up to there; and the current of that step."""
    membrane = tl.zeros([ROWS, CHANNELS], tl.float32)
    for earlier in range(t):
        place = _place(row, after, steps, channels, earlier, column)
        now = tl.load(current + place, mask=mask, other=0.0).to(tl.float32)
        charge = membrane * DECAY + ((now - mean) * scale + bias)
        membrane = tl.where(charge >= 1.0, 0.0, charge)
    place = _place(row, after, steps, channels, t, column)
    now = tl.load(current + place, mask=mask, other=0.0).to(tl.float32)
    return membrane * DECAY + ((now - mean) * scale + bias), now - mean


@triton.jit
def _step_backward(charge, arrived, following, DECAY: tl.constexpr):
    """dL/dy[t] = dL/ds[t] / (1 + (pi * (h[t] - 1))^2) + decay * (1 - s[t]) * dL/dy[t + 1]."""
    x = PI * (charge - 1.0)
    return arrived / (1.0 + x * x) + tl.where(charge >= 1.0, 0.0, DECAY) * following


@triton.jit(do_not_specialize=["rows", "after", "steps", "parts"])
def _sums_backward(
    current, gradient, lanes, sums, rows, after, steps, channels, stride, parts, DECAY: tl.constexpr,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Sums [parts, 2, C] of dL/dy and of dL/dy * (I - mean)."""
    part = tl.program_id(0)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    mean = tl.load(lanes + column, mask=inside, other=0.0)[None, :]
    scale = tl.load(lanes + channels + column, mask=inside, other=0.0)[None, :]
    bias = tl.load(lanes + 2 * channels + column, mask=inside, other=0.0)[None, :]
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    products = tl.zeros([ROWS, CHANNELS], tl.float32)
    for start in range(part * ROWS, rows, parts * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & inside[None, :]
        following = tl.zeros([ROWS, CHANNELS], tl.float32)
        for back in range(steps):
            t = steps - 1 - back
            charge, distance = _charge(
                current, row, after, steps, channels, column, mask, mean, scale, bias, t, DECAY, ROWS, CHANNELS
            )
            place = _place(row, after, steps, stride, t, column)
            arrived = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
            following = _step_backward(charge, arrived, following, DECAY)
            total += following
            products += following * distance
    tl.store(sums + (2 * part) * channels + column, tl.sum(total, 0), mask=inside)
    tl.store(sums + (2 * part + 1) * channels + column, tl.sum(products, 0), mask=inside)


@triton.jit(do_not_specialize=["parts"])
def _totals(sums, lanes, totals, count, channels, parts, PARTS: tl.constexpr, CHANNELS: tl.constexpr):
    """Sums -> totals [4, C]: dL/dweight, dL/dbias, and what `_backward` takes off: offset and slope."""
    column = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    part = tl.arange(0, PARTS)[:, None]
    mask = (part < parts) & inside[None, :]
    total = tl.sum(tl.load(sums + 2 * part * channels + column[None, :], mask=mask, other=0.0), 0)
    products = tl.sum(tl.load(sums + (2 * part + 1) * channels + column[None, :], mask=mask, other=0.0), 0)
    inverse = tl.load(lanes + 3 * channels + column, mask=inside, other=0.0)
    tl.store(totals + column, products * inverse, mask=inside)
    tl.store(totals + channels + column, total, mask=inside)
    tl.store(totals + 2 * channels + column, total / count, mask=inside)
    tl.store(totals + 3 * channels + column, products * inverse * inverse / count, mask=inside)


@triton.jit(do_not_specialize=["rows", "after", "steps"])
def _backward(
    current, gradient, lanes, totals, result, rows, after, steps, channels, stride, DECAY: tl.constexpr,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """dL/dI = scale * (dL/dy - offset - slope * (I - mean))."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = column < channels
    mask = (row < rows)[:, None] & inside[None, :]
    mean = tl.load(lanes + column, mask=inside, other=0.0)[None, :]
    scale = tl.load(lanes + channels + column, mask=inside, other=0.0)[None, :]
    bias = tl.load(lanes + 2 * channels + column, mask=inside, other=0.0)[None, :]
    offset = tl.load(totals + 2 * channels + column, mask=inside, other=0.0)[None, :]
    slope = tl.load(totals + 3 * channels + column, mask=inside, other=0.0)[None, :]
    following = tl.zeros([ROWS, CHANNELS], tl.float32)
    for back in range(steps):
        t = steps - 1 - back
        charge, distance = _charge(
            current, row, after, steps, channels, column, mask, mean, scale, bias, t, DECAY, ROWS, CHANNELS
        )
        place = _place(row, after, steps, stride, t, column)
        arrived = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        following = _step_backward(charge, arrived, following, DECAY)
        place = _place(row, after, steps, channels, t, column)
        answer = scale * (following - offset - slope * distance)
        tl.store(result + place, answer.to(result.dtype.element_ty), mask=mask)


def norm_lif(current: Tensor, norm: nn.Module, dtype: torch.dtype, axis: int) -> Tensor:
    """Currents [..., T at `axis`, ..., C], contiguous -> spikes of the type, as lif(norm(current)).

    The running averages of the norm move as its own forward pass would move them.
    """
    return cast(Tensor, _NormLIF.apply(current.contiguous(), norm.weight, norm.bias, norm, dtype, axis))


def lif(current: Tensor, dtype: torch.dtype, axis: int) -> Tensor:
    """The same without a norm."""
    return cast(Tensor, _NormLIF.apply(current.contiguous(), None, None, None, dtype, axis))


def _in_rows(gradient: Tensor) -> tuple[Tensor, int]:
    """The tensor, and how far apart its rows of channels begin: a part of joined channels need not be copied."""
    stride = gradient.stride(-2)
    apart = [stride * math.prod(gradient.shape[axis + 1 : -1]) for axis in range(gradient.ndim - 1)]
    if gradient.stride() == (*apart, 1):
        return gradient, stride
    return gradient.contiguous(), gradient.shape[-1]


class _NormLIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        norm: Any,
        dtype: torch.dtype,
        axis: int,
    ) -> Tensor:
        channels = current.shape[-1]
        steps, after = current.shape[axis], math.prod(current.shape[axis + 1 : -1])
        rows = math.prod(current.shape[:axis]) * after
        high, wide = tile(channels)
        columns = ceil_div(channels, wide)
        lanes = torch.zeros(4, channels, device=current.device)
        if norm is None:
            lanes[1] = 1.0
        elif norm.training:
            count = rows * steps
            parts = min(PARTS, ceil_div(count, high))
            sums = torch.empty(parts, 2, channels, device=current.device)
            _moments[(parts, columns)](current, lanes, sums, count, channels, parts, ROWS=high, CHANNELS=wide)
            averages = norm.running_mean, norm.running_var, norm.num_batches_tracked
            _normalise[(ceil_div(channels, 8),)](
                *(sums, lanes, weight, bias, *averages, count, channels, parts, norm.eps, norm.momentum),
                PARTS=power_of_two(parts), CHANNELS=8,
            )  # fmt: skip
        else:
            inverse = (norm.running_var + norm.eps).rsqrt()
            lanes = torch.stack([norm.running_mean, norm.weight * inverse, norm.bias, inverse])
        spikes = torch.empty_like(current, dtype=dtype)
        _forward[(ceil_div(rows, high), columns)](
            current, lanes, spikes, rows, after, steps, channels, DECAY=DECAY, ROWS=high, CHANNELS=wide
        )
        ctx.save_for_backward(current, lanes)
        ctx.shape = rows, after, steps, channels
        ctx.has_norm, ctx.measured = norm is not None, norm is not None and norm.training
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        current, lanes = ctx.saved_tensors
        rows, after, steps, channels = ctx.shape
        gradient, stride = _in_rows(gradient)
        high, wide = tile(channels)
        columns = ceil_div(channels, wide)
        totals = torch.zeros(4, channels, device=current.device)
        if ctx.has_norm:
            parts = min(PARTS, ceil_div(rows, high))
            sums = torch.empty(parts, 2, channels, device=current.device)
            _sums_backward[(parts, columns)](
                *(current, gradient, lanes, sums, rows, after, steps, channels, stride, parts),
                DECAY=DECAY, ROWS=high, CHANNELS=wide,
            )  # fmt: skip
            count = float(rows * steps) if ctx.measured else math.inf  # of given moments nothing depends on I
            _totals[(ceil_div(channels, 8),)](
                sums, lanes, totals, count, channels, parts, PARTS=power_of_two(parts), CHANNELS=8
            )
        result = torch.empty_like(current)
        _backward[(ceil_div(rows, high), columns)](
            *(current, gradient, lanes, totals, result, rows, after, steps, channels, stride),
            DECAY=DECAY, ROWS=high, CHANNELS=wide,
        )  # fmt: skip
        return result, *(totals[:2] if ctx.has_norm else (None, None)), None, None, None
