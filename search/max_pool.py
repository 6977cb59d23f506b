"""The 3x3 max-pools of spikes, and their weighted sums at the nodes. Maps are [H, W, ...] and contiguous.

What is not float32 on the CPU goes through torch's own operations.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from .lif import takes_loops
from .loops import add_scaled, add_scaled_backward, pool_backward, pool_forward


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor, stride: int) -> Tensor:
        rows, columns, *rest = spikes.shape
        keys, largest = (spikes.new_empty(-(-rows // stride), -(-columns // stride), *rest) for _ in range(2))
        pool_forward(_array(spikes), stride, _array(keys), _array(largest))
        ctx.save_for_backward(keys)
        ctx.stride, ctx.shape = stride, spikes.shape
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keys,) = ctx.saved_tensors
        result = keys.new_zeros(ctx.shape)
        pool_backward(_array(keys), _array(gradient.contiguous()), ctx.stride, _array(result))
        return result, None


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, scales: Tensor, *maps: Tensor) -> Tensor:
        total = current.clone(memory_format=torch.contiguous_format)
        repeated = scales.repeat(1, current.shape[-2])  # for every image
        for scale, pixels in zip(repeated, maps, strict=True):
            add_scaled(_rows(pixels), scale.numpy(), _rows(total))
        ctx.save_for_backward(repeated, *maps)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        scales, *maps = ctx.saved_tensors
        arrived = _rows(gradient.contiguous())
        to_maps, to_scales = [torch.empty_like(pixels) for pixels in maps], torch.zeros_like(scales)
        for scale, pixels, to_pixels, to_scale in zip(scales, maps, to_maps, to_scales, strict=True):
            add_scaled_backward(arrived, _rows(pixels), scale.numpy(), _rows(to_pixels), to_scale.numpy())
        return gradient, to_scales.view(len(scales), -1, gradient.shape[-1]).sum(1), *to_maps


def max_pool(spikes: Tensor, stride: int) -> Tensor:
    """[H, W, ...] of 0 and 1 -> [H / stride, W / stride, ...]: values and gradients of torch's 3x3 max-pool, padded."""
    if takes_loops(spikes):
        return cast(Tensor, _MaxPool.apply(spikes, stride))
    maps = spikes.flatten(2).permute(2, 0, 1)  # [M, H, W]
    pooled = functional.max_pool2d(maps, 3, stride, padding=1).permute(1, 2, 0)
    return pooled.reshape(*pooled.shape[:2], *spikes.shape[2:])


def weighted_sum(current: Tensor, scales: Tensor, maps: list[Tensor]) -> Tensor:
    """current + sum over k of scales[k] * maps[k]; scales [K, C], the rest [..., N, C]."""
    if takes_loops(current):
        return cast(Tensor, _WeightedSum.apply(current, scales, *maps))
    for scale, pixels in zip(scales, maps, strict=True):
        current = current + scale * pixels
    return current


def _array(maps: Tensor) -> Any:
    """NumPy [H, W, M]."""
    return maps.detach().view(*maps.shape[:2], -1).numpy()


def _rows(maps: Tensor) -> Any:
    """NumPy [P, N * C]."""
    return maps.detach().view(-1, maps.shape[-2] * maps.shape[-1]).numpy()
