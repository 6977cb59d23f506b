"""Successive halving that never waits: many short trainings, of which the best go on.

Jamieson and Talwalkar (AISTATS 2016); the rule that needs no rounds is that of ASHA (Li et al., arXiv 1810.05934): a
cell goes to the next rung as soon as it is in the best 1 / factor of its own. With F the epochs of a whole training the
rungs have F, F // factor, F // factor^2 ... epochs. Ours: each rung trains from scratch, as `trials` does, and is paid
for in full.
"""

from collections.abc import Sequence
from typing import ClassVar

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import HalvingSettings
from ...spaces.space import G, Space
from .drawing_new import Asked


class SuccessiveHalving(Archive[G]):
    """One objective; it can only be told after fewer epochs."""

    name: ClassVar[str] = "halving"
    many: ClassVar[bool] = False
    budgets: ClassVar[bool] = True

    def __init__(self, space: Space[G], goal: Goal, settings: HalvingSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.factor, self.rng, self.asked = settings.halving_factor, generator(seed, "strategy"), Asked(space.key)
        self.rungs = [epochs]
        while self.rungs[0] // self.factor:
            self.rungs.insert(0, self.rungs[0] // self.factor)
        self.results: list[dict[str, Told[G]]] = [{} for _ in self.rungs]
        self.promoted: list[set[str]] = [set() for _ in self.rungs]

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._one() for _ in range(n)]

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        for one in told:
            self.results[self.rungs.index(one.proposal.budget)][self.space.key(one.candidate)] = one

    def best(self) -> list[G]:
        """Of the highest rung that anybody has reached."""
        reached = next((rung for rung in reversed(self.results) if rung), {})
        return [one.candidate for one in self._ranked(reached)[:1]]

    def _one(self) -> Proposal[G]:
        for number in reversed(range(len(self.rungs) - 1)):
            best = self._ranked(self.results[number])[: len(self.results[number]) // self.factor]
            for one in best:
                key = self.space.key(one.candidate)
                if key not in self.promoted[number]:
                    self.promoted[number].add(key)
                    return Proposal(one.candidate, self.rungs[number + 1])
        candidate = self.asked.new(lambda: self.space.sample(self.rng))
        return Proposal(candidate, self.rungs[0])

    def _ranked(self, rung: dict[str, Told[G]]) -> list[Told[G]]:
        return sorted(rung.values(), key=lambda one: self.goal.rank(one.measured))
