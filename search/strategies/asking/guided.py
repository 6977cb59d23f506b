"""A strategy that asks another one for many proposals and passes on those that a predictor likes best.

The predictors are those of search/predictors/: pairs of cells (ReNAS, arXiv 1910.01523), a random forest, an encoder of
the network's graph.

Like any strategy it depends on its seed and its history alone, so that a search goes on by replaying both. The inner
strategy is told of what was passed on, and of nothing else that it proposed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ....errors import InputError
from ...frame.goal import Goal
from ...frame.protocol import Proposal, Result, Strategy, Told
from ...predictors.predictor import LEAST, Predictor, PredictorContext
from ...predictors.table import predictor_for
from ...settings.strategies import EvolutionSettings, GuidedSettings, RandomSettings
from ...space.genotype import Genotype
from ...space.network import NetworkConfig
from ...spaces.canonical import canonical
from ...spaces.space import Space
from .evolution import Evolution
from .random_sampling import RandomSampling

POOL = 100  # proposals of the inner strategy for each ask
FIRST = 20  # results before the predictor has a say
# who proposes -> (strategy, its settings)
INNER: Mapping[str, tuple[type[Any], type[Any]]] = {
    "random": (RandomSampling, RandomSettings),
    "evolution": (Evolution, EvolutionSettings),
}


class Guided:
    """value: of a result, higher is better, NaN where it failed. What was told already is proposed last.

    Raises InputError for an inner strategy that asks for short trainings: whom those leave is chosen already.
    """

    name: ClassVar[str] = "guided"
    many: ClassVar[bool] = False  # a predictor ranks by one number
    budgets: ClassVar[bool] = False

    def __init__(
        self,
        inner: Strategy[Genotype],
        predictor: Predictor,
        value: Callable[[Result], float],
        *,
        pool: int = POOL,
        first: int = FIRST,
    ) -> None:
        if inner.budgets:
            raise InputError(f"A guided strategy must ask for whole trainings, but '{inner.name}' asks for short ones.")
        self.inner, self.predictor, self.value = inner, predictor, value
        self.pool, self.first = pool, first
        self._told: dict[Genotype, list[float]] = {}  # canonical form -> values
        self._fitted_to = 0  # results

    def ask(self, n: int) -> list[Proposal[Genotype]]:
        """n proposals: of the inner strategy alone until there are results enough."""
        if not self._fit():
            return self.inner.ask(n)
        proposals = self.inner.ask(max(n, self.pool))
        candidates = [proposal.candidate for proposal in proposals]
        predicted = self.predictor.predict(candidates)
        again = self._again(candidates)
        order = sorted(range(len(proposals)), key=lambda i: (again[i], -predicted[i]))
        return [proposals[i] for i in order[:n]]

    def tell(self, told: Sequence[Told[Genotype]]) -> None:
        for one in told:
            self._told.setdefault(canonical(one.candidate), []).append(self.value(one.result))
        self.inner.tell(told)

    def best(self) -> list[Genotype]:
        return self.inner.best()

    def _fit(self) -> bool:
        """Whether the predictor knows what was told."""
        number = sum(map(len, self._told.values()))
        values = [_mean(each) for each in self._told.values()]
        if number < self.first or len({value for value in values if math.isfinite(value)}) < LEAST:
            return False
        if number != self._fitted_to:
            self.predictor.fit(list(self._told), values)
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
        predictor = predictor_for(settings.predictor, PredictorContext(config=network, seed=seed))
        super().__init__(
            kind(space, goal, of_it(), seed, epochs),
            predictor,
            lambda result: goal.worth(result.objectives),
            pool=settings.guided_pool,
            first=settings.guided_first,
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
