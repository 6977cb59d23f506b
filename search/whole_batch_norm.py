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
            if isinstance(module, nn.BatchNorm2d):
                module.__dict__["forward"] = _forward(module)
                stack.callback(module.__dict__.pop, "forward")
        yield


def _forward(norm: nn.BatchNorm2d) -> Callable[[Tensor], Tensor]:
    def forward(values: Tensor) -> Tensor:
        """[N, C, H, W] or [T, N, C, H, W]."""
        if not norm.training:
            return type(norm).forward(norm, values)
        axes = [axis for axis in range(values.ndim) if axis != values.ndim - 3]
        exact = values.float()
        count = exact.new_tensor([exact.numel() / norm.num_features])
        *sums, total = _Sum.apply(torch.cat([exact.sum(axes), count])).split([norm.num_features, 1])
        centred = exact - (mean := sums[0] / total)[:, None, None]
        variance = _Sum.apply(centred.square().sum(axes)) / total
        if norm.track_running_stats:
            _track(norm, mean.detach(), (variance * total / (total - 1)).detach())
        scale = torch.rsqrt(variance + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        result = centred * scale[:, None, None]
        result = result if norm.bias is None else result + norm.bias[:, None, None]
        return cast(Tensor, result.to(values.dtype))

    return forward


@torch.no_grad()
def _track(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """The running averages, with the variance of a sample as torch has it."""
    for running, now in ((norm.running_mean, mean), (norm.running_var, variance)):
        cast(Tensor, running).lerp_(now, cast(float, norm.momentum))
    cast(Tensor, norm.num_batches_tracked).add_(1)
