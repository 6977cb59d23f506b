"""Cluster and race, as DC-NAS: train many cells shortly, group those that behave alike, let the best of each go on.

Wang et al. (arXiv 2005.14456): evaluation by short training is fair among architectures that are alike, so cells are
clustered by what training changes in them, compared within clusters, and the winners merged. No code is public. Ours:
what describes a cell are its rates before the training and the validation accuracies of the short one (`features` and
`curve` of a result), or its code where there are none; k-means with the farthest cells as its start; each cluster's
best by the short training is trained whole; then the next round begins, with cells that are new.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import RaceSettings
from ...spaces.space import G, Space
from .drawing_new import Asked

ROUNDS = 20  # of k-means


class ClusterRace(Archive[G]):
    """One objective."""

    name: ClassVar[str] = "race"
    many: ClassVar[bool] = False
    budgets: ClassVar[bool] = True

    def __init__(self, space: Space[G], goal: Goal, settings: RaceSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.settings, self.rng, self.asked = settings, generator(seed, "strategy"), Asked(space.key)
        self.whole_budget, self.short = epochs, max(1, min(settings.race_epochs, epochs - 1))
        self.round: list[Told[G]] = []
        self.finals: list[G] = []
        self.last: list[Told[G]] = []  # of short trainings, while no whole one is known

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal[G]:
        if self.finals:
            return Proposal(self.finals.pop(0), self.whole_budget)
        candidate = self.asked.new(lambda: self.space.sample(self.rng))
        return Proposal(candidate, self.short)

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        self.round += [one for one in told if one.proposal.budget == self.short]
        if len(self.round) >= self.settings.race_cells:
            self.finals += self._winners()
            self.last, self.round = self.round, []

    def best(self) -> list[G]:
        """Of the whole trainings; before there is one, of the short ones."""
        short = sorted((*self.last, *self.round), key=lambda one: self.goal.rank(one.measured))
        return super().best() or [one.candidate for one in short[:1]]

    def _winners(self) -> list[G]:
        """The best of each cluster, the best of all first."""
        of = clusters(self._described(), self.settings.race_clusters)
        ranked = sorted(zip(self.round, of, strict=True), key=lambda pair: self.goal.rank(pair[0].measured))
        first: dict[int, G] = {}
        for one, cluster in ranked:
            first.setdefault(cluster, one.candidate)
        return list(first.values())

    def _described(self) -> NDArray[np.float64]:
        rows = [(*one.result.features, *one.result.curve) for one in self.round]
        if len(set(map(len, rows))) != 1 or not rows[0]:
            rows = [tuple(map(float, self.space.encode(one.candidate))) for one in self.round]
        return np.asarray(np.nan_to_num(np.array(rows, float)), np.float64)


def clusters(rows: NDArray[np.float64], count: int) -> list[int]:
    """The cluster of each row, by k-means on standardised columns; no random numbers are drawn."""
    x = (rows - rows.mean(0)) / np.where(rows.std(0) > 0, rows.std(0), 1)
    centres = [x[0]]
    while len(centres) < min(count, len(x)):
        centres.append(x[int(_distances(x, np.array(centres)).min(1).argmax())])
    middle = np.array(centres)
    for _ in range(ROUNDS):
        of = _distances(x, middle).argmin(1)
        middle = np.array([x[of == k].mean(0) if (of == k).any() else middle[k] for k in range(len(middle))])
    return [int(number) for number in of]


def _distances(x: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(((x[:, None] - centres[None]) ** 2).sum(2))
