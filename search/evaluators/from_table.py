"""Looked up in a table of trained cells: what a search would have found, in no time."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

import numpy as np

from ...errors import InputError
from ...setting import chosen
from ..frame.protocol import Result
from ..space.genotype import Genotype
from ..spaces.canonical import key_of
from ..tables.file import Table
from ..tables.row import Row

Noise = Literal["seed", "mean"]

# kind of objective -> number of a row
NUMBERS: Mapping[str, str] = {
    "accuracy": "val_accuracy",
    **{name: name for name in ("sops", "spikes", "parameters", "neurons", "synapses", "cores", "levels", "relays")},
    **{name: name for name in ("energy_j", "latency_s")},  # int8_accuracy is one of test images
}
FIRST_CHIP = "loihi1"


def measured_of(row: Row, names: tuple[str, ...], price_list: str) -> dict[str, float]:
    """The objectives of a row. price_list: of energy and latency where the name has none."""
    parts = {"energy_j": price_list, "latency_s": price_list, "cores": FIRST_CHIP}
    found = {}
    for name in names:
        kind, _, part = name.partition(":")
        number, part = NUMBERS[kind], part or parts.get(kind, "")
        found[name] = row.value(f"{number}:{part}" if part else number)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEvaluator:
    """A whole table of a space, as an evaluator.

    names: of the objectives that are wanted. noise: `seed`, one training of those that the table has, which depends on
    the cell and the seed that is asked with; `mean`, the mean of all of them. A short budget gives the accuracy after
    so many epochs of the whole training: its learning rate has not fallen yet.
    """

    table: Table
    rows: Mapping[str, list[Row]]
    names: tuple[str, ...]
    noise: Noise = "seed"
    name: str = "table"

    @classmethod
    def of(cls, table: Table, names: tuple[str, ...], noise: Noise = "seed") -> "TableEvaluator":
        """Raises InputError for an unknown noise and for a table without rows."""
        if not table.rows:
            raise InputError(f"'{table.path}' has no rows yet; build it with `spikeport table build`.")
        return cls(table=table, rows=table.by_key(), names=names, noise=_noise(noise))

    @property
    def offers(self) -> frozenset[str]:
        return frozenset(NUMBERS)

    @property
    def epochs(self) -> int:
        return max(row.epochs for row in self.table.rows)

    @property
    def price_list(self) -> str:
        return str(self.table.header.get("price_lists", [""])[0])

    def __call__(self, candidate: Genotype, budget: int, seed: int) -> Result:
        """Raises InputError for a cell that the table does not have."""
        key = key_of(candidate)
        rows = self.rows.get(key)
        if not rows:
            raise InputError(
                f"'{self.table.path}' does not have cell {key}, so nobody knows what it is worth; search a space that "
                "the table holds whole, or train the cells."
            )
        chosen = [rows[_drawn(key, seed, len(rows))]] if self.noise == "seed" else rows
        each = [self._one(row, budget) for row in chosen]
        return Result(
            objectives=_mean([one.objectives for one in each]),
            curve=each[0].curve,
            seconds=sum(one.seconds for one in each) / len(each),
            status=each[0].status,
            note=each[0].note,
            features=each[0].features,
            reported=_mean([one.reported for one in each]),
        )

    def _one(self, row: Row, budget: int) -> Result:
        objectives = measured_of(row, self.names, self.price_list)
        curve = tuple(row.curve.get("val_accuracy", ()))
        share = 1.0
        if 0 < budget < self.epochs and row.status == "ok":
            curve, share = curve[:budget], budget / self.epochs
            if "accuracy" in objectives:
                objectives["accuracy"] = curve[-1]
        return Result(
            objectives=objectives,
            curve=curve,
            seconds=row.seconds * share,
            status="failed" if row.status == "diverged" else "ok",
            note=row.reason,
            features=tuple(row.init_rates),
            reported={"test_accuracy": row.value("test_accuracy")},
        )


def _noise(name: str) -> Noise:
    return "mean" if chosen("noise", name, get_args(Noise)) == "mean" else "seed"


def _drawn(key: str, seed: int, count: int) -> int:
    """Which of so many trainings: always the same for a cell and a seed."""
    return int.from_bytes(sha256(f"{key} {seed}".encode()).digest()[:4], "big") % count


def _mean(values: list[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in values])) for name in values[0]}
