"""What a score is, and what it may need: the network's sizes, a seed, and a batch of training data.

A score of an untrained network builds it anew for every genotype, in canonical form (spaces/canonical.py), from the
seed alone: renamed nodes give the same number, and the global random numbers are neither read nor moved. A batch is a
set: its samples are put in an order by a hash of their content, so that the order in which they came does not matter
even to scores that halve it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ..data.datasets import Dataset
from ..random_streams import generator
from ..space.genotype import Genotype
from ..space.network import NetworkConfig

Needs = Literal["nothing", "data", "supernet", "training"]
LEAST = 4  # samples: two halves of two
SAMPLES = 64  # of a batch, unless somebody says otherwise


class Score(Protocol):
    """Genotype -> number, higher is better; minus infinity where a network is worth nothing by it."""

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def needs(self) -> Needs: ...

    def __call__(self, genotype: Genotype) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Training data. images [N, C, H, W], or frames of spikes [N, T, C, H, W], float64; labels [N], int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same number of samples in both; the last one of an odd batch is left out."""
        middle = len(self) // 2
        return self.part(0, middle), self.part(middle, 2 * middle)

    def part(self, start: int, stop: int) -> "Batch":
        return Batch(images=self.images[start:stop], labels=self.labels[start:stop])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """What scores are computed for. batch: None where only scores are wanted that need nothing."""

    config: NetworkConfig
    seed: int = 0
    batch: Batch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One entry of the table (table.py): what is known of a score before it has a context."""

    unit: str
    needs: Needs
    of: Callable[[Genotype, Context], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class InContext:
    """A score of the table with what it needs."""

    name: str
    kind: Kind
    context: Context

    @property
    def unit(self) -> str:
        return self.kind.unit

    @property
    def needs(self) -> Needs:
        return self.kind.needs

    def __call__(self, genotype: Genotype) -> float:
        return self.kind.of(genotype, self.context)


def batch_of(images: NDArray[np.generic], labels: NDArray[np.generic]) -> Batch:
    """A batch in the order of its contents' hashes. Raises InputError where it is too small, or labels do not fit."""
    if len(images) != len(labels) or len(images) < LEAST:
        raise InputError(
            f"A batch for scores must have at least {LEAST} samples and a label for each, but has {len(images)} "
            f"samples and {len(labels)} labels."
        )
    samples = np.ascontiguousarray(images, np.float64)
    hashes = [
        sha256(sample.tobytes() + bytes(str(label), "ascii")).digest()
        for sample, label in zip(samples, labels, strict=True)
    ]
    order = sorted(range(len(samples)), key=hashes.__getitem__)
    return Batch(images=torch.from_numpy(samples[order]), labels=torch.from_numpy(np.asarray(labels[order], np.int64)))


def context_of(dataset: Dataset, config: NetworkConfig, seed: int = 0, samples: int = SAMPLES) -> Context:
    """With so many samples of the train split, drawn by the seed; all of them where there are fewer."""
    count = len(dataset.train_images)
    chosen = generator(seed, "scores").choice(count, min(samples, count), replace=False)
    return Context(config=config, seed=seed, batch=batch_of(dataset.train_images[chosen], dataset.train_labels[chosen]))
