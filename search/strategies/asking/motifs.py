"""The genetic algorithm of MSE-NAS, over motifs: what is inherited and drawn anew are whole nodes.

Pan, Zhao, Shen, Zhang and Zeng (arXiv 2304.10749): micro scale neurons, meso scale motifs, macro scale wiring; a genome
says for each layer which motif it has. Ours: a motif of our cell is a node with its sources and primitives (`motifs` of
the space); parents are the winners of two of the best `motif_population` cells known; their public code wraps NSGA-II
of pymoo with a single objective filled, which this is without the library.
"""

from collections.abc import Sequence
from typing import ClassVar

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import MotifSettings
from ...spaces.space import G, Space
from .drawing_new import Asked


class MotifEvolution(Archive[G]):
    """One objective."""

    name: ClassVar[str] = "motifs"
    many: ClassVar[bool] = False
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: MotifSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.settings, self.rng, self.asked = settings, generator(seed, "strategy"), Asked(space.key)
        self.parents: list[Told[G]] = []
        self.started = 0

    def ask(self, n: int) -> list[Proposal[G]]:
        found = []
        for _ in range(n):
            begins = self.started < self.settings.motif_population or not self.parents
            found.append(Proposal(self.asked.new(self._sample if begins else self._child)))
            self.started += 1
        return found

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        self.parents = self.ranked()[: self.settings.motif_population]

    def _sample(self) -> G:
        return self.space.sample(self.rng)

    def _child(self) -> G:
        """Each motif from either parent, then perhaps drawn anew."""
        mother, father = (self.space.encode(self._winner().candidate) for _ in range(2))
        fresh, child = self.space.encode(self._sample()), list(mother)
        for motif in self.space.motifs:
            inherited = mother if self.rng.random() < 0.5 else father
            source = fresh if self.rng.random() < self.settings.motif_mutation else inherited
            for place in motif:
                child[place] = source[place]
        return self.space.decode(child)

    def _winner(self) -> Told[G]:
        return self.parents[int(self.rng.integers(len(self.parents), size=2).min())]  # they are ranked
