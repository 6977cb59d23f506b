"""The spaces that tables are built of: which cells in which order, and how a cell of theirs is trained."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from ..search.random_streams import generator
from ..search.settings.run import SearchSettings, choose
from ..search.space.genotype import Genotype, random_genotype
from ..search.spaces.canonical import key_of
from ..search.spaces.closed import LAYERS, closed_cells
from ..search.spaces.genotypes import CLOSED, genotype_space
from ..search.spaces.space import CodedSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpace:
    """cells: in the order in which a table takes them, so that any first part is a fair sample. size: None: endless.

    coded: the space as strategies know it.
    """

    settings: SearchSettings
    coded: CodedSpace[Genotype]
    cells: Callable[[], Iterator[Genotype]]
    size: int | None


def _settings(primitives: str) -> SearchSettings:
    """Small enough that a training takes seconds on one core, short enough that cells differ by more than seeds do."""
    return choose(
        strategy="random",
        dataset="digits",
        primitives=primitives,
        channels=6,
        cells=len(LAYERS),
        time_steps=2,
        train_epochs=4,
        batch_size=64,
        train_learning_rate=0.4,
        validation_fraction=0.25,  # as many as test images: a choice by 144 would be a choice by luck
        device="cpu",
    )


def _closed() -> Iterator[Genotype]:
    cells = closed_cells()
    for number in generator(0, "random cells").permutation(len(cells)):
        yield cells[number]


def _open() -> Iterator[Genotype]:
    """Uniform genotypes of the primitives of DARTS, on the path of the closed space; none twice."""
    seen, number = set[str](), 0
    while True:
        drawn = replace(random_genotype(generator(0, "random cells", number), "darts"), layers=LAYERS)
        number += 1
        if key_of(drawn) not in seen:
            seen.add(key_of(drawn))
            yield drawn


TABLE_SPACES: Mapping[str, TableSpace] = {
    "closed": TableSpace(settings=_settings("plain"), coded=CLOSED, cells=_closed, size=len(closed_cells())),
    "open": TableSpace(
        settings=_settings("darts"), coded=genotype_space("darts", layers=LAYERS), cells=_open, size=None
    ),
}
