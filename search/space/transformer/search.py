"""The transformer with the highest score, without training, after AutoST (arXiv 2307.00293): as its public code has it,
that with the most operations at a given size. Here these are synaptic operations at a reference rate.

    score = reference SOPs, where the parameters lie within the window; else none

Evolution: of each round the best fifth stays; half of the next round are mutants of these, half their children.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ....errors import InputError
from .cost import parameters, reference_sops
from .genotype import Transformer, to_json
from .network import TransformerConfig
from .settings import TransformerSettings
from .space import Space

MOST_DRAWS = 100  # for each that is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """score: reference SOPs of an inference."""

    genotype: Transformer
    parameters: int
    score: float


def find_transformer(
    settings: TransformerSettings, config: TransformerConfig, rng: np.random.Generator
) -> tuple[Scored, int]:
    """(the best, how many were scored). Of equals the first.

    Raises InputError where the choices have none within the window of parameters, or none was met.
    """
    return SEARCHES[settings.search](settings, _Judge(settings, config), rng)


class _Judge:
    """Scores each transformer once."""

    def __init__(self, settings: TransformerSettings, config: TransformerConfig) -> None:
        self.settings, self.config, self.space = settings, config, Space(settings)
        self.known: dict[str, Scored | None] = {}

    def __call__(self, genotype: Transformer) -> Scored | None:
        """None: outside the window."""
        key = to_json(genotype)
        if key not in self.known:
            count = parameters(genotype, self.config)
            within = self.settings.least_parameters <= count <= self.settings.most_parameters
            score = reference_sops(genotype, self.config) if within else 0.0
            self.known[key] = Scored(genotype=genotype, parameters=count, score=score) if within else None
        return self.known[key]

    def some(self, draw: Callable[[], Transformer], wanted: int) -> list[Scored]:
        """So many within the window, or as many as MOST_DRAWS tries for each find; equal ones once."""
        found: dict[str, Scored] = {}
        for _ in range(MOST_DRAWS * wanted):
            if len(found) == wanted:
                break
            one = self(draw())
            if one is not None:
                found.setdefault(to_json(one.genotype), one)
        return list(found.values())

    @property
    def best(self) -> Scored:
        within = [one for one in self.known.values() if one is not None]
        if not within:
            raise InputError(
                f"No transformer of these choices was met that has {self.settings.least_parameters} to "
                f"{self.settings.most_parameters} parameters, of {len(self.known)} that were drawn; widen the window, "
                "or choose other depths and widths."
            )
        return max(within, key=lambda one: one.score)


def _random(settings: TransformerSettings, judge: _Judge, rng: np.random.Generator) -> tuple[Scored, int]:
    for _ in range(settings.population * settings.rounds):
        judge(judge.space.sample(rng))
    return judge.best, len(judge.known)


def _evolution(settings: TransformerSettings, judge: _Judge, rng: np.random.Generator) -> tuple[Scored, int]:
    half, space = settings.population // 2, judge.space
    population = judge.some(lambda: space.sample(rng), settings.population)
    for _ in range(settings.rounds - 1):
        best = sorted(population, key=lambda one: -one.score)[: max(2, settings.population // 5)]
        if len(best) < 2:
            break

        def parent(best: list[Scored] = best) -> Transformer:
            return best[int(rng.integers(len(best)))].genotype

        mutants = judge.some(lambda parent=parent: space.mutate(parent(), rng), half)  # type: ignore[misc]
        children = judge.some(lambda parent=parent: space.cross(parent(), parent(), rng), half)  # type: ignore[misc]
        population = [*best, *mutants, *children]
    return judge.best, len(judge.known)


SEARCHES: dict[str, Callable[..., tuple[Scored, int]]] = {"evolution": _evolution, "random": _random}
