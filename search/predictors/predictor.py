"""What a predictor is: it is fitted to genotypes and what became of them, and then ranks others.

What it predicts has no unit: only the order counts. A training that failed, NaN, is worse than every other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..scores.score import Score
from ..space.genotype import Genotype
from ..space.network import NetworkConfig

Values = NDArray[np.float64]
LEAST = 3  # genotypes with different values: two pairs


class Predictor(Protocol):
    """Deterministic by its context's seed and what it was fitted to."""

    @property
    def name(self) -> str: ...

    def fit(self, genotypes: Sequence[Genotype], values: Sequence[float]) -> None:
        """values: higher is better, NaN where it failed. What was fitted before is forgotten. Raises InputError."""

    def predict(self, genotypes: Sequence[Genotype]) -> Values:
        """[genotypes], higher is better. Raises InputError before the first `fit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorContext:
    """What predictors are made for. scores: their values are features, beside code and counts."""

    config: NetworkConfig
    seed: int = 0
    scores: tuple[Score, ...] = ()


Factory = Callable[[PredictorContext], Predictor]


def targets(genotypes: Sequence[Genotype], values: Sequence[float]) -> Values:
    """[genotypes], finite: a failure is one standard deviation below the worst.

    Raises InputError where the numbers differ, or nothing can be learned.
    """
    found = np.asarray(values, np.float64)
    finite = found[np.isfinite(found)]
    if len(found) != len(genotypes) or len(np.unique(finite)) < LEAST:
        raise InputError(
            f"A predictor needs a value for each genotype, and at least {LEAST} different ones, but got "
            f"{len(genotypes)} genotypes and {len(found)} values, {len(np.unique(finite))} of them different."
        )
    return np.where(np.isfinite(found), found, finite.min() - finite.std())


def not_fitted(name: str) -> InputError:
    return InputError(f"The predictor '{name}' must be fitted before it predicts; call fit with trained cells.")


def pair_share(predicted: Sequence[float], values: Sequence[float]) -> float:
    """Of all pairs with different values the share that is in the right order; 1/2 is chance."""
    p, v = (np.asarray(one, np.float64) for one in (predicted, values))
    above = np.sign(v[:, None] - v[None, :])
    differ = above > 0
    if not differ.any():
        return math.nan
    right = np.sign(p[:, None] - p[None, :])[differ]
    return float((right > 0).mean() + 0.5 * (right == 0).mean())
