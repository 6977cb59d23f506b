"""Batch norms that take mean and variance over the whole batch when several processes hold a share of it each.

    mean = sum(x) / n        var = sum((x - mean)^2) / n        sums and n over all processes, positions and time steps

torch's own SyncBatchNorm runs on GPUs only and takes [T, N, C, H, W] for [N, C, ...].
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from . import processes

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor) -> Tensor:
        sums = numbers.clone()
        distributed.all_reduce(sums)
        return sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        sums = gradient.contiguous().clone()
        distributed.all_reduce(sums)
        return sums


@contextmanager
def whole_batch_norms(network: nn.Module) -> Iterator[None]:
    """Inside the block the batch norms of the network see the whole batch; with one process they do anyway."""
    with ExitStack() as stack:
        for module in network.modules() if processes.world() > 1 else ():
            if isinstance(module, Norm):
                module.__dict__["forward"] = _forward(module)
                stack.callback(module.__dict__.pop, "forward")
        yield


def _forward(norm: Norm) -> Callable[[Tensor], Tensor]:
    def forward(values: Tensor) -> Tensor:
        """[N, C, H, W] or [T, N, C, H, W]; of a BatchNorm1d [M, C]."""
        if not norm.training:
            return type(norm).forward(norm, values)
        channels = 1 if isinstance(norm, nn.BatchNorm1d) else values.ndim - 3
        axes = [axis for axis in range(values.ndim) if axis != channels]
        wide = (-1, *(1 for _ in range(channels + 1, values.ndim)))  # [C] beside the values
        exact = values.float()
        count = exact.new_tensor([exact.numel() / norm.num_features])
        *sums, total = _Sum.apply(torch.cat([exact.sum(axes), count])).split([norm.num_features, 1])
        centred = exact - (mean := sums[0] / total).view(wide)
        variance = _Sum.apply(centred.square().sum(axes)) / total
        if norm.track_running_stats:
            _track(norm, mean.detach(), (variance * total / (total - 1)).detach())
        scale = torch.rsqrt(variance + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        result = centred * scale.view(wide)
        result = result if norm.bias is None else result + norm.bias.view(wide)
        return cast(Tensor, result.to(values.dtype))

    return forward


@torch.no_grad()
def _track(norm: Norm, mean: Tensor, variance: Tensor) -> None:
    """The running averages, with the variance of a sample as torch has it."""
    for running, now in ((norm.running_mean, mean), (norm.running_var, variance)):
        cast(Tensor, running).lerp_(now, cast(float, norm.momentum))
    cast(Tensor, norm.num_batches_tracked).add_(1)
