"""A space of three genes whose best is known, and an evaluator that looks it up."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spikeport.search.frame.protocol import Result
from spikeport.search.space.genotype import Genotype
from spikeport.search.spaces.genotypes import CLOSED
from spikeport.search.spaces.space import Code, CodedSpace

RADICES = (6, 6, 6)
BEST = (4, 1, 3)
SPACE: CodedSpace[Code] = CodedSpace(
    name="toy", radices=RADICES, decoder=lambda code: code, encoder=lambda code: code, namer=str
)


def worth(code: Code) -> float:
    """1 at the best, less by the distance in each gene, and by a ridge between the first two."""
    away = [abs(a - b) / 5 for a, b in zip(code, BEST, strict=True)]
    return 1.0 - 0.5 * away[0] - 0.3 * away[1] - 0.15 * away[2] - 0.05 * (away[0] > 0) * (away[1] > 0)


def nobody(candidate: object) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """accuracy: worth; sops: the sum of the genes; both grow with each epoch of four."""

    name: str = "toy"
    epochs: int = 4
    silent: Callable[[Code], bool] = nobody  # of whom nothing is known

    @property
    def offers(self) -> frozenset[str]:
        return frozenset({"accuracy", "sops"})

    def __call__(self, candidate: Code, budget: int, seed: int) -> Result:
        if self.silent(candidate):
            return Result(objectives={"accuracy": math.nan, "sops": math.nan}, status="failed", note="silent")
        share = (budget or self.epochs) / self.epochs
        curve = tuple(
            np.round(worth(candidate) * np.linspace(0.25, 1, self.epochs)[: budget or self.epochs], 6).tolist()
        )
        accuracy = worth(candidate) * (0.5 + 0.5 * share)
        return Result(objectives={"accuracy": accuracy, "sops": float(sum(candidate)) + 1}, curve=curve)


def cell_worth(cell: Genotype) -> float:
    """Of the closed space: 1 for the best of 768, less for each number of its code."""
    return 1.0 - sum(CLOSED.encode(cell)) / (2 * sum(radix - 1 for radix in CLOSED.radices))


@dataclass(frozen=True, slots=True, kw_only=True)
class CellToy:
    """The same on cells, for strategies that look at them."""

    name: str = "toy"
    epochs: int = 4
    silent: Callable[[Genotype], bool] = nobody

    @property
    def offers(self) -> frozenset[str]:
        return frozenset({"accuracy", "sops"})

    def __call__(self, candidate: Genotype, budget: int, seed: int) -> Result:
        if self.silent(candidate):
            return Result(objectives={"accuracy": math.nan, "sops": math.nan}, status="failed", note="silent")
        sops = 1.0 + sum(CLOSED.radices) - len(CLOSED.radices) - sum(CLOSED.encode(candidate))
        return Result(objectives={"accuracy": cell_worth(candidate), "sops": sops})
