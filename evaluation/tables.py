"""Build, extend and check a table: every training by itself, appended when it is finished, skipped when it is there."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..deploy.cost.prices import price_lists
from ..deploy.settings import PriceSettings
from ..errors import InputError
from ..export.graph import neurons
from ..export.passes import lower
from ..export.passes.relays import levels
from ..export.targets import traced
from ..files import read_text
from ..search.data.datasets import Dataset, load_dataset
from ..search.frame.processes import Processes
from ..search.random_streams import generator
from ..search.runs import make_manifest
from ..search.settings.run import SearchSettings, settings_from_dict
from ..search.space.genotype import Genotype, from_dict
from ..search.space.network import SpikingNetwork, network_config
from ..search.spaces.canonical import key_of
from ..search.tables.file import Table, appending
from ..search.tables.row import Row, expanded
from ..setting import chosen
from .spaces import TABLE_SPACES, TableSpace
from .training import INITIAL_IMAGES, populations_of, row_of_training

SEED_RULE = (
    "a row with seed s is a training with the setting seed=s; the first row of a cell has seed 0. Cells of one seed "
    "share the split of the train images"
)
SIZED = 5  # cells
BEST = 0.1  # the share of cells whose neighbours are looked for
AHEAD = 2  # trainings that wait for each worker

Job = tuple[Genotype, int]
Tell = Callable[[str], None]
Measure = Callable[[Genotype, int, SearchSettings], Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build came to."""

    path: Path
    added: int
    there: int  # before
    seconds: float  # of the trainings that were added, one after the other


def build(path: Path, space: str, *, rows: int = 0, workers: int = 1, tell: Tell = lambda line: None) -> Built:
    """The first so many cells of a space, with seed 0; 0: all of a space that ends.

    Rows that the file has are skipped. Raises InputError where the file was begun with other settings, versions or
    images, and for a space that does not end without `rows`.
    """
    one = space_of(space)
    if rows == 0 and one.size is None:
        raise InputError(f"The space {space} has no end; say how many cells with --rows.")
    cells = islice(one.cells(), rows or one.size)
    return add(path, space, ((cell, 0) for cell in cells), workers=workers, tell=tell)


def space_of(name: str) -> TableSpace:
    """Raises InputError for one that is not known."""
    return TABLE_SPACES[chosen("space", name, TABLE_SPACES)]


def add(path: Path, space: str, jobs: Iterable[Job], *, workers: int = 1, tell: Tell = lambda line: None) -> Built:
    """Train what is not there yet, in any number of processes, and append each row when it is finished."""
    settings = space_of(space).settings
    added, seconds = 0, 0.0
    with appending(path, header_of(space), completed) as appender:
        there = len(appender.there)
        wanted = [job for job in dict.fromkeys(jobs) if (key_of(job[0]), job[1]) not in appender.there]
        for row in rows_of(wanted, settings, workers):
            appender.add(row)
            added, seconds = added + 1, seconds + row.seconds
            tell(told(row, added, len(wanted)))
    return Built(path=path, added=added, there=there, seconds=seconds)


def told(row: Row, number: int, whole: int) -> str:
    """One line of progress."""
    accuracy = "" if row.test_accuracy is None else f", test {row.test_accuracy:.1%}"
    return f"{number} of {whole}: cell {row.key}, seed {row.seed}: {row.status}{accuracy}, {row.seconds:.1f} s"


def header_of(space: str) -> dict[str, Any]:
    """What is the same for all rows of a table of a space."""
    settings = space_of(space).settings
    dataset = _dataset(settings)
    held_out = max(1, round(settings.training.validation_fraction * len(dataset.train_images)))
    manifest = make_manifest("", 0, {}, {})
    network = SpikingNetwork(next(space_of(space).cells()), network_config(settings.network, dataset))
    return {
        "space": space,
        "settings": _tables(settings),
        "dataset": {"name": dataset.name, "sha256": dataset.sha256},
        "splits": {
            "train": len(dataset.train_images) - held_out,
            "validation": held_out,
            "test": len(dataset.test_images),
        },
        "versions": manifest["versions"],
        "seed_rule": SEED_RULE,
        "populations": list(populations_of(network)),
        "initial_images": INITIAL_IMAGES,
        "neurons_and_levels": _sizes(space),
        "price_lists": [profile.name for profile in price_lists(PriceSettings())],
    }


def _sizes(space: str) -> list[list[int]]:
    """[neurons, levels] on the chip of the first cells, untrained: another way of placing relays is told by them, so
    that rows of before and after it do not come into one file."""
    one = space_of(space)
    config = network_config(one.settings.network, _dataset(one.settings))
    graphs = [lower(traced(SpikingNetwork(cell, config).eval()).graph) for cell in islice(one.cells(), SIZED)]
    return [[sum(neurons(p.shape) for p in graph.populations), max(levels(graph).values())] for graph in graphs]


def completed(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """A header with the settings that are younger than it: they had their defaults, for nobody could choose."""
    if "settings" not in header:
        return header
    known = settings_from_dict({**header["settings"], "seed": 0, "strategy": {"random": {}}})
    return {**header, "settings": _as_json(_tables(known))}


def _tables(settings: SearchSettings) -> dict[str, Any]:
    return {name: values for name, values in settings.to_dict().items() if name not in ("strategy", "seed", "asking")}


def rows_of(jobs: Sequence[Job], settings: SearchSettings, workers: int) -> Iterator[Row]:
    """In the order in which they are finished; with one worker in this process. One thread each."""
    if workers < 1:
        raise InputError(f"`workers >= 1` must hold, but got workers={workers}.")
    if workers == 1:
        yield from (measured(genotype, seed, settings) for genotype, seed in jobs)
        return
    with Processes(workers) as pool:
        left, running = iter(jobs), set[Future[Row]]()
        while True:
            for genotype, seed in islice(left, AHEAD * workers - len(running)):
                running.add(pool.submit(measured, genotype, seed, settings))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def measured(genotype: Genotype, seed: int, settings: SearchSettings) -> Row:
    """One row, on one thread, with every price list that comes with spikeport."""
    torch.set_num_threads(1)  # each time: compiled loops may have changed it
    return row_of_training(genotype, seed, settings, _dataset(settings), price_lists(PriceSettings()))


@cache
def _dataset(settings: SearchSettings) -> Dataset:
    return load_dataset(settings.data.dataset, settings.data.data_folder, time_steps=settings.network.time_steps)


def more_seeds(table: Table, *, seeds: int, spread: int, best: float) -> list[Job]:
    """Seeds 1 .. seeds - 1 of so many cells, evenly spread over the validation accuracy, and of the best share."""
    first = _best_first(table)
    evenly = np.linspace(0, len(first) - 1, min(spread, len(first))).round().astype(int).tolist()
    places = dict.fromkeys([*range(math.ceil(best * len(first))), *evenly])
    return [(from_dict(first[place].genotype), seed) for place in places for seed in range(1, seeds)]


def _best_first(table: Table) -> list[Row]:
    """By validation accuracy of seed 0, as a strategy would see them."""
    known = (row for row in table.rows if row.seed == 0 and row.val_accuracy is not None)
    return sorted(known, key=lambda row: (-(row.val_accuracy or 0.0), row.key))


def neighbours_of(table: Table, count: int) -> list[Job]:
    """So many cells that the table lacks, each a mutant of one of its best tenth, who are asked in turns.

    A second call climbs on from what the first found. Of a space that ends there may be fewer.
    """
    first = _best_first(table)
    coded, rng = space_of(str(table.header.get("space"))).coded, generator(0, "neighbours", len(table))
    parents = [from_dict(row.genotype) for row in first[: math.ceil(BEST * len(first))]]
    found, known = list[Job](), set(table.keys)
    for _ in range(count):
        for parent in parents:
            child = coded.mutate(parent, rng)
            if key_of(child) not in known and len(found) < count:
                known.add(key_of(child))
                found.append((child, 0))
    return found


def cells_of(path: Path) -> list[Genotype]:
    """Of a file with a genotype, or an object that holds one as `genotype`, in each line.

    Raises InputError that names the line.
    """
    found = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            data = json.loads(line)
            held = data.get("genotype", data) if isinstance(data, dict) else data
            short = isinstance(held, dict) and isinstance(held.get("normal"), str)
            found.append(from_dict(expanded(held) if short else held))
        except (ValueError, RecursionError, KeyError, InputError) as error:
            raise InputError(f"'{path}' line {number} must hold a genotype, but does not ({error}).") from error
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A number of a row that another training of the same cell and seed does not have."""

    name: str
    there: object
    now: object


def check(path: Path, *, key: str = "", seed: int = 0, measure: Measure = measured) -> tuple[Row, list[Difference]]:
    """Train a row again, at random or the one with a key and seed; what differs, beside the seconds.

    Random by the operating system: each check looks at another row. Raises InputError where the table has no such row,
    or was built with other settings or images than this version would.
    """
    table = Table.open(path)
    if not table.rows:
        raise InputError(f"'{path}' has no rows yet; build it with `spikeport table build`.")
    space = str(table.header.get("space"))
    settings = space_of(space).settings
    now, then = header_of(space), completed(table.header)
    for name in ("settings", "dataset", "splits"):
        if then.get(name) != _as_json(now[name]):
            raise InputError(
                f"'{path}' was built with {name}={then.get(name)!r}, but this version has {now[name]!r}; "
                "check it with the version that built it."
            )
    if key and (key, seed) not in table:
        raise InputError(f"'{path}' has no cell {key} with seed {seed}; leave --key out for a random row.")
    row = table[key, seed] if key else table.rows[int(np.random.default_rng().integers(len(table)))]
    again = measure(from_dict(row.genotype), row.seed, settings)
    one, other = _as_json(row.to_json()), _as_json(again.to_json())
    names = [name for name in dict.fromkeys((*one, *other)) if name != "seconds"]
    return row, [
        Difference(name=name, there=one.get(name), now=other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    ]


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
