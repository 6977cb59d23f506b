"""What strategies are compared on: a table that holds a space whole, so that any proposal can be looked up."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...search.data.datasets import load_dataset
from ...search.evaluators.from_spikenas_bench import BENCH_SPACE, BenchEvaluator
from ...search.evaluators.from_table import TableEvaluator
from ...search.space.network import NetworkConfig, network_config
from ...search.spaces.genotypes import CLOSED
from ...search.spaces.space import Space
from ...search.tables.file import Table
from ...search.tables.spikenas_bench import read_bench
from ..spaces import TABLE_SPACES

BENCH = "spikenas-bench:"  # before the folder of a data set
FRONT = ("accuracy", "energy_j")  # what fronts are of, where a table has both


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What is known of a cell, means over its trainings. Accuracies 0..1; joules of an inference, NaN: not known."""

    test: float
    validation: float
    joules: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """worths: of the cells whose training did not fail, by key. network: that cells are put into; None: of others."""

    name: str
    space: Space[Any]
    worths: Mapping[str, Worth]
    missing: int  # cells of the space
    trainings: int
    evaluator: Any  # of objectives -> the evaluator
    network: NetworkConfig | None
    priced: bool  # whether a front of accuracy and energy can be searched


@cache
def opened(name: str) -> Ground:
    """Of a table's file, or of `spikenas-bench:FOLDER`; kept, for each process opens it once.

    Raises InputError for a table that does not hold the closed space, and what reading it raises.
    """
    return _bench(Path(name.removeprefix(BENCH))) if name.startswith(BENCH) else _table(Path(name))


def _table(path: Path) -> Ground:
    table = Table.open(path)
    if table.header.get("space") != CLOSED.name:
        raise InputError(f"'{path}' must hold the closed space, for strategies ask for any cell of theirs; build that.")
    if not table.rows:
        raise InputError(f"'{path}' has no rows yet; build it with `spikeport table build`.")
    energy = f"energy_j:{table.header['price_lists'][0]}"
    worths = {}
    for key, rows in table.by_key().items():
        values = [[row.value(name) for name in ("test_accuracy", "val_accuracy", energy)] for row in rows]
        test, validation, joules = np.mean(values, axis=0).tolist()
        if np.isfinite((test, validation, joules)).all():
            worths[key] = Worth(test=test, validation=validation, joules=joules)
    return Ground(
        name=str(path),
        space=CLOSED,
        worths=worths,
        missing=int(np.prod(CLOSED.radices)) - len(table.keys),
        trainings=len(table),
        evaluator=lambda names: TableEvaluator.of(table, names),
        network=_network(),
        priced=True,
    )


def _network() -> NetworkConfig:
    """That the cells of the closed space were trained in."""
    settings = TABLE_SPACES[CLOSED.name].settings
    dataset = load_dataset(settings.data.dataset, settings.data.data_folder, time_steps=settings.network.time_steps)
    return network_config(settings.network, dataset)


def _bench(folder: Path) -> Ground:
    rows = read_bench(folder)
    evaluator = BenchEvaluator(rows=rows)
    return Ground(
        name=f"SpikeNAS-Bench, {folder.name}",
        space=BENCH_SPACE,
        worths={
            str(number): Worth(test=row.test_accuracy, validation=row.val_accuracy[-1], joules=float("nan"))
            for number, row in rows.items()
        },
        missing=evaluator.missing,
        trainings=len(rows),
        evaluator=lambda names: BenchEvaluator(rows=rows, names=names),
        network=None,
        priced=False,
    )
