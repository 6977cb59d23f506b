"""A number that needs no training, as an evaluator: a search for the best score."""

from collections.abc import Callable
from dataclasses import dataclass

from ..frame.protocol import Result
from ..space.genotype import Genotype


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEvaluator:
    """score: the higher the better, as those of search/scores/. It knows no budgets; the seed is the score's own."""

    score: Callable[[Genotype], float]
    name: str = "score"
    epochs: int = 0

    @property
    def offers(self) -> frozenset[str]:
        return frozenset({"score"})

    def __call__(self, candidate: Genotype, budget: int, seed: int) -> Result:
        return Result(objectives={"score": float(self.score(candidate))})
