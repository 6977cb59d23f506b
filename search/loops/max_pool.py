"""The 3x3 max-pools of spikes, and their weighted sums at the nodes. Maps are [H, W, ...] and contiguous.

On a GPU kernels do the same (gpu/max_pool.py). What is neither float32 nor bfloat16 goes through torch's own
operations.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from ..gpu.blocks import takes_kernels
from .arrays import SPIKES, bits, one, takes_loops
from .pools import pool_backward, pool_forward, weighted_sum_backward, weighted_sum_forward
from .threads import in_threads

BLOCKS = 16  # partial sums of a gradient, however many threads there are


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor, stride: int) -> Tensor:
        rows, columns, *rest = spikes.shape
        shape = (-(-rows // stride), -(-columns // stride), *rest)
        keys, largest = spikes.new_empty(shape, dtype=torch.uint8), spikes.new_empty(shape)
        fired = _array(largest)
        in_threads(pool_forward, _array(keys), _array(spikes), stride, one(fired), fired)
        ctx.save_for_backward(keys)
        ctx.stride, ctx.shape, ctx.dtype = stride, spikes.shape, spikes.dtype
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keys,) = ctx.saved_tensors
        result = torch.empty(ctx.shape, dtype=ctx.dtype)
        in_threads(pool_backward, _array(result), _array(keys), _array(gradient.float().contiguous()), ctx.stride)
        return result, None


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, scales: Tensor, *maps: Tensor) -> Tensor:
        total = torch.empty_like(current, dtype=torch.float32, memory_format=torch.contiguous_format)
        repeated = scales.repeat(1, current.shape[-2])  # for every image
        spikes = tuple(_rows(pixels) for pixels in maps)
        in_threads(weighted_sum_forward, _rows(total), _rows(current.contiguous()), repeated.numpy(), spikes)
        ctx.save_for_backward(repeated, *maps)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        scales, *maps = ctx.saved_tensors
        arrived, spikes = _rows(gradient.contiguous()), tuple(_rows(pixels) for pixels in maps)
        to_scales = scales.new_empty(min(BLOCKS, len(arrived)), *scales.shape)
        to_maps = [torch.empty_like(pixels) for pixels in maps]
        to_spikes = tuple(_rows(pixels) for pixels in to_maps)
        in_threads(weighted_sum_backward, to_scales.numpy(), arrived, scales.numpy(), spikes, to_spikes)
        return gradient, to_scales.sum(0).view(len(scales), -1, gradient.shape[-1]).sum(1), *to_maps


def max_pool(spikes: Tensor, stride: int, *, binary: bool = True) -> Tensor:
    """[H, W, ...] -> [H / stride, W / stride, ...]: values and gradients of torch's 3x3 max-pool, padded.

    binary: whether spikes are 0 and 1, which the compiled loops take for granted.
    """
    if binary and takes_loops(spikes, SPIKES):
        return cast(Tensor, _MaxPool.apply(spikes, stride))
    if takes_kernels(spikes):
        from ..gpu.max_pool import max_pool as max_pool_on_gpu  # imports Triton

        pooled = max_pool_on_gpu(spikes.flatten(2).unsqueeze(0), stride).squeeze(0)
        return pooled.view(*pooled.shape[:2], *spikes.shape[2:])
    maps = spikes.flatten(2).permute(2, 0, 1)  # [M, H, W]
    pooled = functional.max_pool2d(maps, 3, stride, padding=1).permute(1, 2, 0)
    return pooled.reshape(*pooled.shape[:2], *spikes.shape[2:])


def weighted_sum(current: Tensor, scales: Tensor, maps: list[Tensor], *, binary: bool = True) -> Tensor:
    """current + sum over k of scales[k] * maps[k]; scales [K, C], currents and spikes [..., N, C].

    float32; on a GPU of the type of the currents, for there the passes over memory are what takes the time. binary:
    whether the maps are 0 and 1, which the compiled loops take for granted.
    """
    if binary and takes_loops(current, SPIKES):
        return cast(Tensor, _WeightedSum.apply(current, scales, *maps))
    if takes_kernels(current):
        from ..gpu.max_pool import weighted_sum as weighted_sum_on_gpu  # imports Triton

        return weighted_sum_on_gpu(current, scales, maps)
    current = current.float()
    for scale, pixels in zip(scales, maps, strict=True):
        current = current + scale * pixels
    return current


def _array(maps: Tensor) -> Any:
    """NumPy [H, W, M]."""
    return bits(maps.view(*maps.shape[:2], -1))


def _rows(maps: Tensor) -> Any:
    """NumPy [P, N * C]."""
    return bits(maps.view(-1, maps.shape[-2] * maps.shape[-1]))
