"""A genotype as a row of numbers: canonical code, counts and scores.

    code     for both cells, or that of each layer, each of the 14 places for an edge and each primitive: 0 or 1, in
             canonical form; gates and decays of nodes where the genotype has them
    counts   for the same, how many edges have each primitive, read s0, read s1; the longest path; parameters; SOPs
    path     for every cell of the network whether it reduces, and log2 of its channels
    scores   of the context, as they are

Canonical form and counts about double what few trained cells teach (SpikeNAS-Bench's rows; a forest of 30 cells ranks
others with tau .47 instead of .36).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..scores.counts import parameters, sops
from ..scores.score import Context
from ..space.genotype import INPUTS, NODES, Edge, Genotype
from ..space.network import NetworkConfig
from ..space.primitives import spiking_primitives
from ..spaces.canonical import canonical
from ..supernet.supernet import EDGES
from .predictor import PredictorContext

CELLS_KEPT = 10_000

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Genotypes -> rows. What was asked for once is kept, by canonical form."""

    context: PredictorContext
    _known: dict[Genotype, Rows] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, genotypes: Sequence[Genotype]) -> Rows:
        """[genotypes, features], float64; a score may be minus infinity."""
        return np.stack([self._row(canonical(genotype)) for genotype in genotypes])

    def _row(self, form: Genotype) -> Rows:
        if form not in self._known:
            scores = [score(form) for score in self.context.scores]
            self._known[form] = np.array([*_own(form, self.context.config), *scores], np.float64)
        return self._known[form]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Standardises rows by those that a predictor was fitted to."""

    lowest: Rows
    mean: Rows
    deviation: Rows

    @classmethod
    def of(cls, rows: Rows) -> "Scale":
        """lowest: the least finite value of a feature, which stands for minus infinity."""
        finite = np.isfinite(rows)
        lowest = np.where(finite.any(0), np.where(finite, rows, np.inf).min(0), 0.0)
        filled = np.where(finite, rows, lowest)
        deviation = filled.std(0)
        return cls(lowest=lowest, mean=filled.mean(0), deviation=np.where(deviation > 0, deviation, 1.0))

    def __call__(self, rows: Rows) -> Rows:
        return np.asarray((np.where(np.isfinite(rows), rows, self.lowest) - self.mean) / self.deviation, np.float64)


@lru_cache(maxsize=CELLS_KEPT)
def _own(form: Genotype, config: NetworkConfig) -> tuple[float, ...]:
    """All but the scores. Kept for every search of a process, for a comparison of strategies asks for it each time."""
    return (*_code(form), *_counts(form, config), *_path(form, config))


def longest_path(edges: Sequence[Edge]) -> int:
    """Nodes on the longest path of a cell from its inputs."""
    depth = dict.fromkeys(range(INPUTS), 0)
    for node in range(NODES):
        depth[INPUTS + node] = 1 + max(depth[edge.source] for edge in edges if edge.node == node)
    return max(depth.values())


def _cells(form: Genotype) -> tuple[tuple[Edge, ...], ...]:
    return form.cells or (form.normal, form.reduce)


def _code(form: Genotype) -> list[float]:
    names = spiking_primitives(form.primitives)
    found = []
    for edges in _cells(form):
        there = {((edge.node, edge.source), edge.primitive) for edge in edges}
        found += [float((place, name) in there) for place in EDGES for name in names]
    return [*found, *(float(value) for rows in (form.gates, form.decays) for row in rows or () for value in row)]


def _counts(form: Genotype, config: NetworkConfig) -> list[float]:
    found = []
    for edges in _cells(form):
        found += [sum(edge.primitive == name for edge in edges) for name in spiking_primitives(form.primitives)]
        found += [sum(edge.source == source for edge in edges) for source in range(INPUTS)]
        found.append(longest_path(edges))
    sizes = Context(config=config)
    return [*map(float, found), parameters(form, sizes), sops(form, sizes)]


def _path(form: Genotype, config: NetworkConfig) -> list[float]:
    plan = config.plan(form.layers)
    return [number for cell in plan for number in (float(cell.kind == "reduce"), float(np.log2(cell.channels)))]
