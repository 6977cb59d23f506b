"""Several searches by gradients, of one seed after the other, as a strategy that asks: each proposes what it found.

DARTS searches four times and keeps the cell that is best on validation images after a short training (arXiv 1806.09055,
section 3.1). Here each is trained whole.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...settings.darts import DartsSettings
from ...space.genotype import Genotype
from ...spaces.space import Space


class GradientSearches(Archive[Genotype]):
    """found: of the n-th search, from 0, what it came to; the same each time it is asked."""

    name: ClassVar[str] = DartsSettings.name
    many: ClassVar[bool] = True
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[Genotype], goal: Goal, epochs: int, found: Callable[[int], Genotype]) -> None:
        super().__init__(space, goal, epochs)
        self.found, self.searched = found, 0

    def ask(self, n: int) -> list[Proposal[Genotype]]:
        first, self.searched = self.searched, self.searched + n
        return [Proposal(self.found(number)) for number in range(first, self.searched)]

    def tell(self, told: Sequence[Told[Genotype]]) -> None:
        self.add(told)
