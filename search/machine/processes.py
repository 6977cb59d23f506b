"""Several processes that train one network, each on its share of every batch; `torchrun` starts them.

    torchrun --nproc-per-node 2 -m spikeport.cli search --out runs/mine ...

Everything here is exact for any sizes of the shares: gradients are those of the mean over the whole batch, batch norms
see the whole batch (whole_batch_norm.py), scores are sums over all processes. What remains is the order in which
numbers are added; where a search calculates in bfloat16 that is enough for another path, not a worse one. Without
torchrun there is one process, and nothing here does anything.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..launch import is_first as is_first
from ..launch import launched as launched
from ..launch import local_rank as local_rank

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """The processes of torchrun can talk to each other inside the block."""
    if launched() == 1 or distributed.is_initialized():
        yield
        return
    distributed.init_process_group(BACKENDS[device.type])
    try:
        yield
    finally:
        distributed.destroy_process_group()


def world() -> int:
    """Processes that have joined."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def wait() -> None:
    """Until all processes are here."""
    if world() > 1:
        distributed.barrier()


def share(start: int, stop: int) -> slice:
    """This process's part of the samples from start to stop: consecutive, all parts equal to within one."""
    samples, this, all_ = stop - start, rank(), world()
    return slice(start + samples * this // all_, start + samples * (this + 1) // all_)


def share_weight(samples: int) -> float:
    """By which a mean over this process's samples is multiplied, so that the mean over processes is that of all."""
    if world() == 1:
        return 1.0
    return samples * world() / totals([samples], torch.device("cpu"))[0]


def totals(numbers: Sequence[float], device: torch.device) -> list[float]:
    """The sums over all processes."""
    if world() == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64, device=_meeting_place(device))
    distributed.all_reduce(sums)
    return cast(list[float], sums.tolist())


@dataclass(frozen=True, slots=True)
class Whole:
    """A batch of all processes: how many images it has, and the first of them that is this process's."""

    images: int
    start: int


def whole_batch(images: int) -> Whole:
    """Of this process's share of a batch."""
    if world() == 1:
        return Whole(images, 0)
    together = int(totals([images], torch.device("cpu"))[0])
    return Whole(together, share(0, together).start)


def sum_over_all(values: torch.Tensor) -> torch.Tensor:
    """The sum of the processes' values; in a single process its values."""
    if world() == 1:
        return values
    sums = values.clone()
    distributed.all_reduce(sums)
    return sums


def _meeting_place(device: torch.device) -> torch.device:
    """NCCL carries numbers on GPUs only."""
    on_gpu = distributed.get_backend() == "nccl" and device.type == "cpu"
    return torch.device("cuda", local_rank()) if on_gpu else device


def averaged(module: nn.Module, parameters: Sequence[nn.Parameter]) -> nn.Module:
    """The module, called by which the backward pass averages the gradients of these parameters over all processes.

    Others get none: two such wrappers let weights and architecture weights learn in turns.
    """
    if world() == 1:
        return module
    chosen = {id(parameter) for parameter in parameters}
    resting = [other for other in module.parameters() if id(other) not in chosen and other.requires_grad]
    for parameter in resting:
        parameter.requires_grad_(False)
    wrapped = DistributedDataParallel(module)
    for parameter in resting:
        parameter.requires_grad_(True)
    return wrapped
