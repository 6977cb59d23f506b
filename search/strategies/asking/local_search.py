"""Local search: to the first neighbour that is better, and from a random cell again where none is.

White, Nolen and Savani (arXiv 2005.02960) find it as good as any other where a training tells much of a cell. Ours: the
neighbours come in random order and the first better one is taken, instead of the best of all. With several objectives
it is Pareto local search (Paquete, Chiarandini and Stützle, 2004): better is what nobody dominates so far, and where no
neighbour is, the search goes on around another cell of the front.
"""

from collections.abc import Sequence
from typing import ClassVar

from ...frame.goal import Goal, front_of
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import LocalSettings
from ...spaces.space import G, Space
from .drawing_new import Asked, new_one


class LocalSearch(Archive[G]):
    """Any number of objectives."""

    name: ClassVar[str] = "local"
    many: ClassVar[bool] = True
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: LocalSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.rng, self.asked = generator(seed, "strategy"), Asked(space.key)
        self.here: Told[G] | None = None  # None: a new start
        self.left: list[G] = []  # neighbours that were not asked for yet
        self.around: set[str] = set()  # cells whose neighbours were looked at

    def ask(self, n: int) -> list[Proposal[G]]:
        found = []
        for _ in range(n):
            if not self.left:
                self._elsewhere()
            candidate = self.left.pop() if self.left else new_one(lambda: self.space.sample(self.rng), self.asked)
            self.asked.add(candidate)
            found.append(Proposal(candidate))
        return found

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        if not told:
            return
        best = min(told, key=lambda one: self.goal.rank(one.measured))
        if self.here is None or self._better(best):
            self._look_around(best)

    def _better(self, one: Told[G]) -> bool:
        assert self.here is not None
        if len(self.goal.objectives) == 1:
            return self.goal.rank(one.measured) < self.goal.rank(self.here.measured)
        return self.space.key(one.candidate) in self._front()

    def _front(self) -> dict[str, Told[G]]:
        everything = list(self.told.values())
        return {
            self.space.key(everything[place].candidate): everything[place]
            for place in front_of([one.measured for one in everything], self.goal)
        }

    def _elsewhere(self) -> None:
        """Around another cell of the front; with one objective, or where all were looked at, from a new start."""
        self.here = None
        if len(self.goal.objectives) > 1:
            front = [one for key, one in self._front().items() if key not in self.around]
            if front:
                self._look_around(front[int(self.rng.integers(len(front)))])

    def _look_around(self, one: Told[G]) -> None:
        self.here = one
        self.around.add(self.space.key(one.candidate))
        around = [near for near in self.space.neighbours(one.candidate) if near not in self.asked]
        self.left = [around[place] for place in self.rng.permutation(len(around))]
