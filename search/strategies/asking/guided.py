"""A strategy that asks another one for many proposals and passes on those that a predictor likes best.

The predictors are those of search/predictors/: pairs of cells (ReNAS, arXiv 1910.01523), a random forest, an encoder of
the network's graph.

Like any strategy it depends on its seed and its history alone, so that a search goes on by replaying both. The inner
strategy is told of what was passed on, and of nothing else that it proposed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ....errors import InputError
from ...frame.goal import Goal
from ...frame.protocol import Proposal, Result, Strategy, Told
from ...predictors.predictor import LEAST, Predictor, PredictorContext
from ...predictors.table import predictor_for
from ...random_streams import generator
from ...settings.strategies import EvolutionSettings, GuidedSettings, RandomSettings
from ...space.genotype import Genotype
from ...space.network import NetworkConfig
from ...spaces.canonical import canonical
from ...spaces.space import G, Space
from .evolution import Evolution
from .random_sampling import RandomSampling

POOL = 100  # proposals of the inner strategy for each ask
FIRST = 20  # results before the predictor has a say
SUM = 0.05  # how much the sum of weighted objectives counts beside the worst of them


class Drawing(RandomSampling[G]):
    """Random cells, also those that were proposed before: what was not passed on may be liked later."""

    def ask(self, n: int) -> list[Proposal[G]]:
        return [Proposal(self.space.sample(self.rng)) for _ in range(n)]


# who proposes -> (strategy, its settings)
INNER: Mapping[str, tuple[type[Any], type[Any]]] = {
    "random": (Drawing, RandomSettings),
    "evolution": (Evolution, EvolutionSettings),
}

Values = NDArray[np.float64]


class Guided:
    """predictors: one for each objective. worths: of a result, one for each, higher is better, NaN where it failed.

    With several objectives each proposal is the best by weights that are drawn for it, as in ParEGO (Knowles, IEEE TEVC
    10(1), 2006), so that a batch spreads over the front. What was told already is proposed last. Raises InputError for
    an inner strategy that asks for short trainings: whom those leave is chosen already.
    """

    name: ClassVar[str] = "guided"
    many: ClassVar[bool] = True
    budgets: ClassVar[bool] = False

    def __init__(
        self,
        inner: Strategy[Genotype],
        predictors: Sequence[Predictor],
        worths: Callable[[Result], Sequence[float]],
        *,
        pool: int = POOL,
        first: int = FIRST,
        seed: int = 0,
    ) -> None:
        if inner.budgets:
            raise InputError(f"A guided strategy must ask for whole trainings, but '{inner.name}' asks for short ones.")
        self.inner, self.predictors, self.worths = inner, predictors, worths
        self.pool, self.first, self.rng = pool, first, generator(seed, "predictors")
        self._told: dict[Genotype, list[Sequence[float]]] = {}  # canonical form -> worths
        self._fitted_to = 0  # results

    def ask(self, n: int) -> list[Proposal[Genotype]]:
        """n proposals: of the inner strategy alone until there are results enough."""
        if not self._fit():
            return self.inner.ask(n)
        proposals = self.inner.ask(max(n, self.pool))
        candidates = [proposal.candidate for proposal in proposals]
        predicted = np.stack([one.predict(candidates) for one in self.predictors], axis=1)
        again, left, found = self._again(candidates), list(range(len(proposals))), []
        for _ in range(n):
            worth = self._weighed(predicted)
            best = min(left, key=lambda i: (again[i], -worth[i]))
            left.remove(best)
            found.append(proposals[best])
        return found

    def _weighed(self, predicted: Values) -> Values:
        """[proposals], higher is better: the worst of the weighted objectives, and a little of their sum."""
        if predicted.shape[1] == 1:
            return predicted[:, 0]
        low, high = predicted.min(0), predicted.max(0)
        scaled = (predicted - high) / np.where(high > low, high - low, 1.0)
        weighted = scaled * self.rng.dirichlet(np.ones(predicted.shape[1]))
        return np.asarray(weighted.min(1) + SUM * weighted.sum(1))

    def tell(self, told: Sequence[Told[Genotype]]) -> None:
        for one in told:
            self._told.setdefault(canonical(one.candidate), []).append(self.worths(one.result))
        self.inner.tell(told)

    def best(self) -> list[Genotype]:
        return self.inner.best()

    def _fit(self) -> bool:
        """Whether the predictors know what was told."""
        number = sum(map(len, self._told.values()))
        columns = [[_mean(each) for each in zip(*rows, strict=True)] for rows in self._told.values()]
        worths = [list(column) for column in zip(*columns, strict=True)]
        if number < self.first or any(len({v for v in one if math.isfinite(v)}) < LEAST for one in worths):
            return False
        if number != self._fitted_to:
            for predictor, values in zip(self.predictors, worths, strict=True):
                predictor.fit(list(self._told), values)
            self._fitted_to = number
        return True

    def _again(self, candidates: Sequence[Genotype]) -> list[bool]:
        """Of each whether it was told already, or proposed before in the same answer."""
        seen, found = set(self._told), []
        for form in map(canonical, candidates):
            found.append(form in seen)
            seen.add(form)
        return found


def _mean(values: Sequence[float]) -> float:
    """Of the trainings of one cell that did not fail; NaN where all did."""
    there = [value for value in values if math.isfinite(value)]
    return sum(there) / len(there) if there else math.nan


class GuidedSearch(Guided):
    """As a strategy that is chosen by its name: who proposes and what predicts are settings.

    Of one pool the best `guided_batch` are passed on before the predictor learns again. What breaks a limit has failed
    for it. Raises InputError without the network that cells are put into: sizes of cells are features.
    """

    def __init__(
        self,
        space: Space[Genotype],
        goal: Goal,
        settings: GuidedSettings,
        seed: int,
        epochs: int = 0,
        network: NetworkConfig | None = None,
    ) -> None:
        if network is None:
            raise InputError("A guided search must know the network of its cells, whose sizes are features; name it.")
        kind, of_it = INNER[settings.guided_by]
        context = PredictorContext(config=network, seed=seed)
        super().__init__(
            kind(space, goal, of_it(), seed, epochs),
            [predictor_for(settings.predictor, context) for _ in goal.objectives],
            lambda result: goal.worths(result.objectives),
            pool=settings.guided_pool,
            first=settings.guided_first,
            seed=seed,
        )
        self.batch = settings.guided_batch
        self.waiting: list[Proposal[Genotype]] = []

    def ask(self, n: int) -> list[Proposal[Genotype]]:
        if not self.waiting and not self._fit():
            return self.inner.ask(n)
        while len(self.waiting) < n:
            self.waiting += super().ask(max(self.batch, n))
        found, self.waiting = self.waiting[:n], self.waiting[n:]
        return found
