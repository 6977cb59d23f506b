"""Gradient checkpointing: a cell keeps its inputs only, and is computed again in the backward pass.

Exact: the cell starts its second pass from rest as it did its first, and batch norms count a batch once.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import cast

from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed(cells: nn.ModuleList) -> Iterator[None]:
    """Inside the block each cell (s0, s1) -> spikes is computed twice while it trains."""
    with ExitStack() as stack:
        for cell in cells:
            cell.__dict__["forward"] = _forward(cell)
            stack.callback(cell.__dict__.pop, "forward")
        yield


def _forward(cell: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    def from_rest(s0: Tensor, s1: Tensor) -> Tensor:
        reset_net(cell)
        spikes: Tensor = type(cell).forward(cell, s0, s1)
        return spikes

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _norms_at_rest(cell)

    def forward(s0: Tensor, s1: Tensor) -> Tensor:
        if not cell.training:
            return from_rest(s0, s1)
        spikes: Tensor = checkpoint(
            from_rest, s0, s1, use_reentrant=False, context_fn=contexts, preserve_rng_state=False
        )
        return spikes

    return forward


@contextmanager
def _norms_at_rest(cell: nn.Module) -> Iterator[None]:
    """Batch norms leave their running averages as they are inside the block: they move by a share of 0."""
    norms = [module for module in cell.modules() if isinstance(module, nn.BatchNorm2d) and module.track_running_stats]
    before = [(norm.momentum, cast(Tensor, norm.num_batches_tracked).clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            cast(Tensor, norm.num_batches_tracked).copy_(batches)
