"""Regularised evolution: a population in which not the worst dies, but the oldest.

Real, Aggarwal, Huang and Le (arXiv 1802.01548, algorithm 1): draw some of the population, mutate the best of them, add
the child, remove the oldest. Ours: a child that was evaluated before is drawn again, from other parents.
"""

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import EvolutionSettings
from ...spaces.space import G, Space
from .drawing_new import Asked


class Evolution(Archive[G]):
    """One objective."""

    name: ClassVar[str] = "evolution"
    many: ClassVar[bool] = False
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: EvolutionSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.settings, self.rng, self.asked = settings, generator(seed, "strategy"), Asked(space.key)
        self.population = deque[Told[G]](maxlen=settings.evolution_population)
        self.started = 0

    def ask(self, n: int) -> list[Proposal[G]]:
        found = []
        for _ in range(n):
            begins = self.started < self.settings.evolution_population or not self.population
            found.append(Proposal(self.asked.new(self._sample if begins else self._child)))
            self.started += 1
        return found

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        self.population.extend(told)  # the oldest fall out

    def _sample(self) -> G:
        return self.space.sample(self.rng)

    def _child(self) -> G:
        drawn = self.rng.integers(len(self.population), size=self.settings.evolution_sample)
        parent = min((self.population[place] for place in drawn), key=lambda one: self.goal.rank(one.measured))
        return self.space.mutate(parent.candidate, self.rng)
