"""A strategy that asks another one for many proposals and passes on those that a predictor likes best.

Like any strategy it depends on its seed and its history alone, so that a search goes on by replaying both.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..space.genotype import Genotype
from ..spaces.canonical import canonical
from .predictor import LEAST, Predictor

POOL = 100  # proposals of the inner strategy for each ask
FIRST = 20  # results before the predictor has a say


class Asked(Protocol):
    """What is needed of a strategy."""

    def ask(self, n: int) -> Sequence[Genotype]: ...

    def tell(self, pairs: Sequence[tuple[Genotype, Any]]) -> None: ...

    def best(self) -> Sequence[Genotype]: ...


class Guided:
    """value: of a result, higher is better, NaN where it failed. What was told already is proposed last."""

    def __init__(
        self,
        inner: Asked,
        predictor: Predictor,
        value: Callable[[Any], float],
        *,
        pool: int = POOL,
        first: int = FIRST,
    ) -> None:
        self.inner, self.predictor, self.value = inner, predictor, value
        self.pool, self.first = pool, first
        self._told: dict[Genotype, list[float]] = {}  # canonical form -> values
        self._fitted_to = 0  # results

    def ask(self, n: int) -> list[Genotype]:
        """n genotypes: of the inner strategy alone until there are results enough."""
        if not self._fit():
            return list(self.inner.ask(n))
        proposals = list(self.inner.ask(max(n, self.pool)))
        predicted = self.predictor.predict(proposals)
        again = self._again(proposals)
        order = sorted(range(len(proposals)), key=lambda i: (again[i], -predicted[i]))
        return [proposals[i] for i in order[:n]]

    def tell(self, pairs: Sequence[tuple[Genotype, Any]]) -> None:
        for genotype, result in pairs:
            self._told.setdefault(canonical(genotype), []).append(self.value(result))
        self.inner.tell(pairs)

    def best(self) -> list[Genotype]:
        return list(self.inner.best())

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

    def _again(self, proposals: Sequence[Genotype]) -> list[bool]:
        """Of each whether it was told already, or proposed before in the same answer."""
        seen, found = set(self._told), []
        for form in map(canonical, proposals):
            found.append(form in seen)
            seen.add(form)
        return found


def _mean(values: Sequence[float]) -> float:
    """Of the trainings of one cell that did not fail; NaN where all did."""
    there = [value for value in values if math.isfinite(value)]
    return sum(there) / len(there) if there else math.nan
