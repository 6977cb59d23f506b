"""How much the spikes of a state vary, and what the pools make of them: what candidates are normalised by.

Measured on some of the steps and images of the whole batch, whichever process has them.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..loops.arrays import SPIKES, bits, takes_loops
from ..loops.pools import count_averages, count_spikes
from ..machine import processes

SAMPLED = 2048  # positions, images and steps


def moments_of(
    states: Sequence[Tensor], pooled: Sequence[Tensor], images: int, *, binary: bool = True
) -> tuple[Tensor, Tensor]:
    """Means and mean squares [3, states, C], float64, of spikes [H, W, T, N, C], their max-pools and avg-pools.

    binary: whether all are 0 and 1.
    """
    whole = processes.whole_batch(images)
    # The last channel is a number of pixels.
    sums = torch.zeros(2, 3, len(states), states[0].shape[-1] + 1, dtype=torch.float64, device=states[0].device)
    add = _add_by_loops if binary and takes_loops(states[0], SPIKES) else _add_by_torch
    for number, (spikes, largest) in enumerate(zip(states, pooled, strict=True)):
        device = spikes.device
        some, some_of_pool = _some(spikes.shape[:4], whole, device), _some(largest.shape[:4], whole, device)
        add(sums[:, :, number, :-1], spikes.detach().flatten(2, 3), largest.detach().flatten(2, 3), some, some_of_pool)
        sums[:, :, number, -1] = _pixels(spikes.shape[:4], largest.shape[:4], whole, device)
    together = processes.sum_over_all(sums)
    means, squares = together[..., :-1] / together[..., -1:]
    return means, squares


@functools.cache
def _some(shape: tuple[int, ...], whole: processes.Whole, device: torch.device) -> Tensor:
    """The numbers of those taken of T * N, of maps [H, W, T, N]."""
    rows, columns, steps, images = shape
    every = max(1, rows * columns * steps * whole.images // SAMPLED)
    number = torch.arange(steps).unsqueeze(1) * whole.images + whole.start + torch.arange(images)
    return (number.flatten() % every == 0).nonzero().squeeze(1).to(device)


@functools.cache
def _pixels(spikes: tuple[int, ...], largest: tuple[int, ...], whole: processes.Whole, device: torch.device) -> Tensor:
    """[3]: how many are taken of each."""
    of_spikes, of_pool = (shape[0] * shape[1] * len(_some(shape, whole, device)) for shape in (spikes, largest))
    return torch.tensor([of_spikes, of_pool, of_spikes], dtype=torch.float64, device=device)


def _add_by_loops(sums: Tensor, spikes: Tensor, pooled: Tensor, some: Tensor, some_of_pool: Tensor) -> None:
    total, squares = sums.numpy()
    fired, taken = bits(spikes), some.numpy()
    count_spikes(fired, taken, total[0])
    count_spikes(bits(pooled), some_of_pool.numpy(), total[1])
    squares[:2] = total[:2]
    count_averages(fired, taken, total[2], squares[2])


def _add_by_torch(sums: Tensor, spikes: Tensor, pooled: Tensor, some: Tensor, some_of_pool: Tensor) -> None:
    taken = spikes.index_select(2, some).double()
    for row, maps in enumerate((taken, pooled.index_select(2, some_of_pool).double(), _averaged(taken))):
        sums[0, row], sums[1, row] = maps.sum((0, 1, 2)), maps.square().sum((0, 1, 2))


def _averaged(maps: Tensor) -> Tensor:
    """The avg-pool of [H, W, B, C]: 3x3, stride 1, the padding counts."""
    padded = functional.pad(maps, (0, 0, 0, 0, 1, 1, 1, 1))
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
