"""Generations of which the best fifth stays, half of the next are mutants of these and half their children.

The loop of single-path one-shot search (arXiv 1904.00420), which AutoST (2307.00293) and GeNAS (2305.08611) run with
scores of their own. Of a generation nobody is in it twice, and whoever breaks a limit, or has no number, is not in it;
for a place in it there are MOST_DRAWS draws at most. Equals: the first wins.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic

import numpy as np

from ...frame.goal import Goal, Losses
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import GenerationsSettings
from ...spaces.space import G, Space

MOST_DRAWS = 100  # for each that is wanted
SHARE = 5  # one of so many stays


@dataclass(slots=True, eq=False)
class _Part(Generic[G]):
    """A part of a generation that is being filled: so many, drawn so, none twice."""

    draw: Callable[[], G]
    wanted: int
    draws: int = 0
    found: dict[str, tuple[Losses, G]] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return len(self.found) == self.wanted or self.draws >= MOST_DRAWS * self.wanted


class Generations(Archive[G]):
    """One objective. With rounds in its settings it comes to an end, and then proposes nothing more."""

    name: ClassVar[str] = "generations"
    many: ClassVar[bool] = False
    budgets: ClassVar[bool] = False

    def __init__(
        self,
        space: Space[G],
        goal: Goal,
        settings: GenerationsSettings,
        seed: int,
        epochs: int = 0,
        rng: np.random.Generator | None = None,
    ) -> None:
        """rng: of its draws, where they are to be others than the seed's."""
        super().__init__(space, goal, epochs)
        self.population, self.rounds = settings.generations_population, settings.generations_rounds
        self.rng = generator(seed, "strategy") if rng is None else rng
        self.waiting = deque[_Part[G]]()  # the part that each proposal is of
        self.parts = [self._first()]
        self.best_so_far: list[tuple[Losses, G]] = []
        self.round, self.is_over = 1, False

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._one() for _ in range(n)] if not self.is_over else []

    def _one(self) -> Proposal[G]:
        part = next(part for part in self.parts if not part.is_over or part is self.parts[-1])
        part.draws += 1
        self.waiting.append(part)
        return Proposal(part.draw())

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        for one in told:
            part, rank = self.waiting.popleft(), self.goal.rank(one.measured)
            if rank[0] == 0 and np.isfinite(rank).all() and len(part.found) < part.wanted:
                part.found.setdefault(self.space.key(one.candidate), (rank, one.candidate))
        if all(part.is_over for part in self.parts) and not self.waiting:
            self._next()

    def _first(self) -> _Part[G]:
        return _Part(draw=lambda: self.space.sample(self.rng), wanted=self.population)

    def _next(self) -> None:
        """The generation is full: its best become parents; where there are not two, another is drawn."""
        everybody = [*self.best_so_far, *(one for part in self.parts for one in part.found.values())]
        best = sorted(everybody, key=lambda one: one[0])[: max(2, self.population // SHARE)]
        self.is_over = bool(self.rounds) and (self.round == self.rounds or len(best) < 2)
        self.round += 1
        if len(best) < 2:
            self.best_so_far, self.parts = [], [self._first()]
            return
        self.best_so_far, half = best, self.population // 2

        def parent() -> G:
            return best[int(self.rng.integers(len(best)))][1]

        self.parts = [
            _Part(draw=lambda: self.space.mutate(parent(), self.rng), wanted=half),
            _Part(draw=lambda: self.space.cross(parent(), parent(), self.rng), wanted=half),
        ]
