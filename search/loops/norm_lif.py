"""Batch norm and LIF neurons in one, for the kernel-space supernet: half as many passes over memory.

    y = (I - mean) * weight / sqrt(variance + eps) + bias       mean and variance of each channel
    spikes = LIF(y)                                             window_lif.py

Nothing but the currents is kept for the backward pass. Sums are taken over parts of the pixels that do not depend on
the number of threads.
"""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from .arrays import bits, one
from .neurons import (
    DECAY,
    all_moments,
    moments,
    norm_backward,
    norm_gradients,
    norm_lanes,
    norm_lif_backward,
    norm_lif_forward,
)
from .threads import in_threads

MOST_PARTS = 16
PIXELS = 8  # in a part, at least


def norm_lif(current: Tensor, norm: nn.BatchNorm1d, dtype: torch.dtype, decay: float = float(DECAY)) -> Tensor:
    """Currents [H, W, T, N, C], float32 in the CPU's memory -> spikes of the type, as lif(norm(current)).

    The running averages of the norm move as its own forward pass would move them.
    """
    current = current.contiguous()
    if norm.training:
        mean, variance = _measured(current)
        _track(norm, mean, variance, current.numel() // norm.num_features)
    else:
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    return cast(Tensor, _NormLIF.apply(current, norm.weight, norm.bias, mean, variance, norm, dtype, np.float32(decay)))


def _parts(pixels: int) -> int:
    return max(1, min(MOST_PARTS, pixels // PIXELS))


@torch.no_grad()
def _measured(current: Tensor) -> tuple[Tensor, Tensor]:
    pixels = current.shape[0] * current.shape[1]
    flat = current.detach().view(pixels, -1)
    blocks = flat.new_empty(_parts(pixels), 2, flat.shape[1])
    mean, variance = flat.new_empty(2, current.shape[-1])
    in_threads(moments, blocks.numpy(), flat.numpy())
    all_moments(blocks.numpy(), pixels, mean.numpy(), variance.numpy())
    return mean, variance


@torch.no_grad()
def _track(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor, count: int) -> None:
    """With the variance of a sample, as torch has it."""
    share = cast(float, norm.momentum)
    cast(Tensor, norm.running_mean).lerp_(mean, share)
    cast(Tensor, norm.running_var).lerp_(variance * (count / (count - 1)), share)
    cast(Tensor, norm.num_batches_tracked).add_(1)


class _NormLIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        norm: nn.BatchNorm1d,
        dtype: torch.dtype,
        decay: Any,
    ) -> Tensor:
        rows, columns, steps, images, channels = current.shape
        shape = (rows * columns, steps, images * channels)
        spikes = torch.empty_like(current, dtype=dtype)
        fired = bits(spikes.view(shape))
        inverse, lanes = torch.empty_like(mean), current.new_empty(3, shape[-1])
        moment = (mean.numpy(), variance.numpy(), norm.eps)
        norm_lanes(*moment, weight.detach().numpy(), bias.detach().numpy(), inverse.numpy(), lanes.numpy())
        in_threads(norm_lif_forward, current.detach().view(shape).numpy(), *lanes.numpy(), decay, one(fired), fired)
        ctx.save_for_backward(current, inverse, lanes)
        ctx.shape, ctx.measured, ctx.decay = shape, norm.training, decay
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        current, inverse, lanes = ctx.saved_tensors
        mean, scale, bias = lanes.numpy()
        currents = current.detach().view(ctx.shape).numpy()
        arrived = bits(gradient.contiguous().view(ctx.shape))
        result = torch.empty_like(current)
        answer = result.view(ctx.shape).numpy()
        sums = result.new_empty(_parts(len(currents)), 2, lanes.shape[1])
        in_threads(norm_lif_backward, sums.numpy(), currents, arrived, mean, scale, bias, ctx.decay, answer)
        totals, corrections = result.new_empty(2, len(inverse)), result.new_empty(2, lanes.shape[1])
        count = current.numel() / len(inverse) if ctx.measured else math.inf  # of given moments nothing depends on I
        norm_gradients(sums.numpy(), inverse.numpy(), count, totals.numpy(), corrections.numpy())
        flat = (-1, len(mean))
        in_threads(norm_backward, answer.reshape(flat), currents.reshape(flat), mean, scale, *corrections.numpy())
        return result, *totals, None, None, None, None, None
