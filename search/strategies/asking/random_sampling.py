"""Random search: the one that any other has to beat.

Li and Talwalkar (arXiv 1902.07638): published searches often do not beat it at equal cost. Ours: no cell twice.
"""

from collections.abc import Sequence
from typing import ClassVar

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import RandomSettings
from ...spaces.space import G, Space
from .drawing_new import Asked


class RandomSampling(Archive[G]):
    """Uniform over the codes of the space."""

    name: ClassVar[str] = "random"
    many: ClassVar[bool] = True
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: RandomSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.rng, self.asked = generator(seed, "strategy"), Asked(space.key)

    def ask(self, n: int) -> list[Proposal[G]]:
        return [Proposal(self.asked.new(lambda: self.space.sample(self.rng))) for _ in range(n)]

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
