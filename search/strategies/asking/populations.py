"""Two populations with a surrogate that only says which of two cells is the better, as SMEM-NAS.

Xue et al. (arXiv 2407.15600): a surrogate predicts ranks instead of accuracies; a main population guides, a vice one
keeps diversity. Their repository has no code, so the rules are ours: the main population are the best cells known, the
vice one those of the better half that are farthest from them and from each other by the numbers in which their codes
differ. Children of the main one cross two of it and mutate once, those of the vice one cross one of each and mutate
once; every third cell that is trained is a child of the vice one. Of `offspring` children that is trained which the
comparator expects to win. What a training tells enters both: that is the migration.

Comparator, ours: logistic regression on the difference of one-hot codes, of all pairs that were told; the loss is that
of ReNAS (arXiv 1910.01523), linear in the code, with a ridge.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import PopulationsSettings
from ...spaces.space import G, Space
from .drawing_new import Asked, new_one

VICE = 3  # one of so many children is of the vice population
RIDGE = 0.1
STEPS = 4  # of Newton's method; it has converged then
NEWEST = 120  # cells of which pairs are made


class TwoPopulations(Archive[G]):
    """One objective."""

    name: ClassVar[str] = "populations"
    many: ClassVar[bool] = False
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: PopulationsSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.settings, self.rng, self.asked = settings, generator(seed, "strategy"), Asked(space.key)
        self.main: list[G] = []
        self.vice: list[G] = []
        self.weight: NDArray[np.float64] = np.zeros(sum(space.radices))
        self.started, self.learned = 0, True  # whether the comparator knows everything that was told

    def ask(self, n: int) -> list[Proposal[G]]:
        found = []
        for _ in range(n):
            begins = self.started < self.settings.main_population or len(self.main) < 2
            candidate = new_one(lambda: self.space.sample(self.rng), self.asked) if begins else self._child()
            self.started += 1
            self.asked.add(candidate)
            found.append(Proposal(candidate))
        return found

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        ranked = [one.candidate for one in self.ranked()]
        self.main = ranked[: self.settings.main_population]
        self.vice = self._different(ranked[: max(2, len(ranked) // 2)])
        self.learned = len(ranked) < self.settings.main_population

    def _child(self) -> G:
        """The winner of several, of one population."""
        if not self.learned:
            self.weight, self.learned = self._compared(), True
        of_vice = self.started % VICE == 0
        children = [new_one(lambda: self._bred(of_vice), self.asked) for _ in range(self.settings.offspring)]
        return max(children, key=lambda child: float(self._features(child) @ self.weight))

    def _bred(self, of_vice: bool) -> G:
        mother = self._drawn(self.main)
        return self.space.mutate(
            self.space.cross(mother, self._drawn(self.vice if of_vice else self.main), self.rng), self.rng
        )

    def _drawn(self, population: list[G]) -> G:
        return population[int(self.rng.integers(len(population)))]

    def _different(self, better: list[G]) -> list[G]:
        """Greedily the one that is farthest from all that were chosen, the best first."""
        codes = np.array([self.space.encode(one) for one in better])
        chosen, distance = [0], (codes != codes[0]).sum(1) if len(codes) else np.zeros(0)
        while len(chosen) < min(self.settings.vice_population, len(better)):
            chosen.append(int(distance.argmax()))
            distance = np.minimum(distance, (codes != codes[chosen[-1]]).sum(1))
        return [better[place] for place in chosen]

    def _features(self, candidate: G) -> NDArray[np.float64]:
        """One-hot."""
        starts = np.cumsum([0, *self.space.radices[:-1]])
        found = np.zeros(sum(self.space.radices))
        found[starts + np.array(self.space.encode(candidate))] = 1.0
        return found

    def _compared(self) -> NDArray[np.float64]:
        """Weights w with P(a better than b) = sigmoid(w (x_a - x_b)), by Newton's method."""
        ranked = self.ranked()[:NEWEST]
        x = np.array([self._features(one.candidate) for one in ranked])
        ranks = [self.goal.rank(one.measured) for one in ranked]
        better, worse = np.triu_indices(len(ranked), 1)
        differ = np.array([ranks[a] != ranks[b] for a, b in zip(better, worse, strict=True)], bool)
        d = x[better[differ]] - x[worse[differ]]
        w = np.zeros(x.shape[1])
        for _ in range(STEPS):
            p = 1 / (1 + np.exp(-d @ w))
            slope = d.T @ (1 - p) - RIDGE * len(ranked) * w
            curvature = (d * (p * (1 - p))[:, None]).T @ d + RIDGE * len(ranked) * np.eye(len(w))
            w = w + np.linalg.solve(curvature, slope)
        return w
