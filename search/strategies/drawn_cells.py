"""A space that is only drawn from: what random search needs where a genotype is more than two cells.

Paths over layers, a cell for every layer, gates and decays have no code yet, so that no strategy that changes cells can
search them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import InputError
from ..settings.network import NetworkSettings
from ..space.genotype import Genotype, random_genotype
from ..space.legality import legality_of
from ..space.network import NetworkConfig
from ..spaces.canonical import key_of
from ..spaces.space import Code
from ..supernet.trellis import random_path, trellis_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCells:
    """What the settings would search. given: the cells whose path is drawn, at the level macro."""

    settings: NetworkSettings
    config: NetworkConfig
    given: Genotype | None = None

    @property
    def name(self) -> str:
        return f"{self.settings.primitives}, drawn"

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Cells that the target takes, a path, or both."""
        settings = self.settings
        allowed = legality_of(settings.for_target).primitives
        kinds = [cell.kind for cell in self.config.plan()] if settings.cells_per_layer else None
        also = {"gates": settings.gates == "search", "decays": settings.decays == "search"}
        cells = self.given or random_genotype(rng, settings.primitives, allowed, **also, layers=kinds)
        return cells if settings.level == "micro" else replace(cells, layers=random_path(rng, trellis_of(self.config)))

    def key(self, candidate: Genotype) -> str:
        return key_of(candidate)

    @property
    def radices(self) -> Code:
        raise self._without_code()

    @property
    def motifs(self) -> tuple[Code, ...]:
        raise self._without_code()

    def mutate(self, candidate: Genotype, rng: np.random.Generator) -> Genotype:
        raise self._without_code()

    def cross(self, one: Genotype, other: Genotype, rng: np.random.Generator) -> Genotype:
        raise self._without_code()

    def neighbours(self, candidate: Genotype) -> list[Genotype]:
        raise self._without_code()

    def encode(self, candidate: Genotype) -> Code:
        raise self._without_code()

    def decode(self, code: Sequence[int]) -> Genotype:
        raise self._without_code()

    def _without_code(self) -> InputError:
        return InputError(
            "Paths, cells for every layer, gates and decays can only be drawn, not changed, so that --strategy random "
            "alone searches them without gradients; say that or darts."
        )
