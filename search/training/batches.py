"""The batches of an epoch: in random order, augmented, cut into shares where several processes train one network.

A thread makes the next batches while the network works on this one; what a batch holds does not depend on it. Images
that are on a GPU are made into batches there, when they are asked for (`resident.py`).
"""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ..data.augmentation import Augmentation, Draws
from ..data.datasets import Images, Labels
from ..machine import processes
from .resident import augmented, rows_of

Batch = tuple[Tensor, Tensor]  # images float32 [N, C, H, W] or [N, T, C, H, W], labels int64 [N]
Indices = NDArray[np.int64]

AHEAD = 2  # batches that are made before they are asked for


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Batch number `step` is `batches[step]`; iterating makes them ahead of time. In torchrun: this process's share."""

    images: Images | Tensor
    labels: Labels | Tensor
    order: Indices
    draws: Draws
    augmentation: Augmentation
    cuts: tuple[int, ...]  # batch `step` is order[cuts[step] : cuts[step + 1]]
    waiting: "Waiting" = field(default_factory=lambda: Waiting())

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def __getitem__(self, step: int) -> Batch:
        part = processes.share(self.cuts[step], self.cuts[step + 1])
        rows = self.order[part]
        images, labels = rows_of(self.images, rows), rows_of(self.labels, rows)
        draws = {name: draw[:, part] for name, draw in self.draws.items()}
        if isinstance(images, Tensor):
            return augmented(self.augmentation, images, draws), labels
        return torch.from_numpy(self.augmentation.apply(images, draws)).float(), torch.from_numpy(labels)

    def __iter__(self) -> Iterator[Batch]:
        if isinstance(self.images, Tensor):
            yield from map(self.__getitem__, range(len(self)))
            return
        with ThreadPoolExecutor(max_workers=1) as thread:
            coming: deque[Future[Batch]] = deque()
            for step in range(len(self)):
                while len(coming) <= AHEAD and step + len(coming) < len(self):
                    coming.append(thread.submit(self.__getitem__, step + len(coming)))
                with self.waiting:
                    batch = coming.popleft().result()
                yield batch


@dataclass(slots=True)
class Waiting:
    """Which share of the time since it was made was spent in the blocks: steps that wait for their images."""

    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def __enter__(self) -> None:
        self.seconds -= time.monotonic()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.monotonic()

    @property
    def share(self) -> float:
        return self.seconds / max(time.monotonic() - self.started, 1e-9)


def epoch_batches(
    images: Images | Tensor,
    labels: Labels | Tensor,
    batch_size: int,
    rng: np.random.Generator,
    *,
    rows: Indices | None = None,
    augmentation: Augmentation | None = None,
) -> Batches:
    """All samples, or those of `rows`, once in random order; the last batch may be smaller.

    A last batch of one image, which no batch norm can use, or with none for some process is added to the one before it.
    """
    augmentation = augmentation or Augmentation()
    count = len(images) if rows is None else len(rows)
    order = rng.permutation(count)
    draws = augmentation.draw(rng, count, *images.shape[-2:])
    cuts = [*range(0, count, batch_size), count]
    if len(cuts) > 2 and cuts[-1] - cuts[-2] < max(min(2, batch_size), processes.world()):
        del cuts[-2]
    if cuts[-1] - cuts[-2] < processes.world():
        raise InputError(
            f"Every process needs an image of each batch, but {count} images make batches of {batch_size} for "
            f"{processes.world()} processes; start fewer."
        )
    return Batches(images, labels, order if rows is None else rows[order], draws, augmentation, tuple(cuts))
