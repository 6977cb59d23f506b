"""Local search: to the first neighbour that is better, and from a random cell again where none is.

White, Nolen and Savani (arXiv 2005.02960) find it as good as any other where a training tells much of a cell. Ours: the
neighbours come in random order and the first better one is taken, instead of the best of all.
"""

from collections.abc import Sequence
from typing import ClassVar

from ..frame.goal import Goal
from ..frame.protocol import Archive, Proposal, Told
from ..random_streams import generator
from ..settings.strategies import LocalSettings
from ..spaces.space import G, Space
from .drawing_new import Asked, new_one


class LocalSearch(Archive[G]):
    """One objective."""

    name: ClassVar[str] = "local"
    many: ClassVar[bool] = False
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: LocalSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.rng, self.asked = generator(seed, "strategy"), Asked(space.key)
        self.here: Told[G] | None = None  # None: a new start
        self.left: list[G] = []  # neighbours that were not asked for yet

    def ask(self, n: int) -> list[Proposal[G]]:
        found = []
        for _ in range(n):
            if not self.left:
                self.here = None
            candidate = self.left.pop() if self.left else new_one(lambda: self.space.sample(self.rng), self.asked)
            self.asked.add(candidate)
            found.append(Proposal(candidate))
        return found

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        if not told:
            return
        best = min(told, key=lambda one: self.goal.rank(one.measured))
        if self.here is None or self.goal.rank(best.measured) < self.goal.rank(self.here.measured):
            self.here = best
            around = [one for one in self.space.neighbours(best.candidate) if one not in self.asked]
            self.left = [around[place] for place in self.rng.permutation(len(around))]
