"""Which networks a step of the supernet trains: the largest, the smallest and random ones (the sandwich rule of
slimmable networks, arXiv 1903.05134), of choices that open from the largest on (progressive shrinking, arXiv
1908.09791).

Primitives open first, by their number of weights, then widths. With P of them and W widths there are P + W - 1 states;
state s, from 1 on, has opened min(P, s) primitives and max(1, s - P + 1) widths. The choices that a space does not have
stay as it drew them: cells that it fixes, and what else it would refuse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import InputError
from ..settings.network import PrimitiveSet
from ..space.genotype import CELL_KINDS, Edge, Genotype
from ..space.primitives import PRIMITIVES, spiking_primitives
from ..spaces.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """primitives: by size, the largest first. widths: of cells, the widest first."""

    primitives: tuple[str, ...]
    widths: tuple[float, ...]

    def opened(self, share: float) -> "Choices":
        """When this share of the shrinking is over, 0..1 and more."""
        state = 1 + int(share * (len(self.primitives) + len(self.widths) - 1))
        widths = max(1, state - len(self.primitives) + 1)
        return Choices(primitives=self.primitives[:state], widths=self.widths[:widths])


def by_size(primitives: PrimitiveSet, allowed: frozenset[str]) -> tuple[str, ...]:
    """The largest first; of those of one size the later in the table."""

    def size(name: str) -> int:
        return sum(weights.numel() for weights in PRIMITIVES[primitives][name](1, 1).parameters())

    names = [name for name in spiking_primitives(primitives) if name in allowed]
    places = {name: place for place, name in enumerate(names)}
    return tuple(sorted(names, key=lambda name: (-size(name), -places[name])))


def sandwich(space: Space[Genotype], choices: Choices, count: int, rng: np.random.Generator) -> list[Genotype]:
    """The largest, the smallest, then so many random ones; none twice. All wirings are of one size."""
    wide, narrow = replaced(choices, 0), replaced(choices, -1)
    drawn = [wide(space, space.sample(rng), rng), narrow(space, space.sample(rng), rng)]
    drawn += [_within(space, space.sample(rng), choices, rng) for _ in range(count)]
    return list(dict.fromkeys(drawn))


Change = Callable[[Space[Genotype], Genotype, np.random.Generator], Genotype]


def replaced(choices: Choices, place: int) -> Change:
    """To the genotype with one primitive and one width, by their place in the choices."""
    one = Choices(primitives=(choices.primitives[place],), widths=(choices.widths[place],))
    return lambda space, genotype, rng: _within(space, genotype, one, rng)


def _within(space: Space[Genotype], genotype: Genotype, choices: Choices, rng: np.random.Generator) -> Genotype:
    """What is not among the choices is drawn anew from them, all alike, where the space has the result."""

    def edge(old: Edge) -> Edge:
        return old if old.primitive in choices.primitives else replace(old, primitive=_one(rng, choices.primitives))

    for kind in CELL_KINDS:
        cell = tuple(edge(old) for old in genotype.cell(kind))
        genotype = _if_there(space, replace(genotype, **{kind: cell}), genotype)  # type: ignore[arg-type]
    if genotype.layers is None:
        return genotype
    layers = tuple(
        layer if layer.width in choices.widths else replace(layer, width=_one(rng, choices.widths))
        for layer in genotype.layers
    )
    return _if_there(space, replace(genotype, layers=layers), genotype)


def _if_there(space: Space[Genotype], wanted: Genotype, otherwise: Genotype) -> Genotype:
    try:
        space.encode(wanted)
    except InputError:
        return otherwise
    return wanted


def _one(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]
