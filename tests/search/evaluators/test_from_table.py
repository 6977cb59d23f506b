"""A table answers as a training would, seed by seed, and says what it does not know."""

import math
from pathlib import Path
from typing import Any

import pytest

from spikeport.errors import InputError
from spikeport.search.evaluators.from_table import TableEvaluator
from spikeport.search.space.genotype import from_dict
from spikeport.search.spaces.canonical import key_of
from spikeport.search.tables.file import Table, append
from spikeport.tests.search.tables.test_row import row

NAMES = ("accuracy", "energy_j", "cores", "energy_j:speck")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    rows = []
    for number in range(3):
        for seed in range(2 if number == 0 else 1):
            found: dict[str, Any] = {
                "curve": {"val_accuracy": [0.25, 0.5 + seed / 10]},
                "val_accuracy": 0.5 + seed / 10,
                "test_accuracy": 0.4,
                "energy_j": {"loihi1-sanafe": 2e-6, "speck": 1e-6},
                "cores": {"loihi1": 3},
                "init_rates": [0.1, 0.2],
            }
            key = key_of(from_dict(row(number=number).genotype))
            status = "diverged" if number == 2 else "ok"
            rows.append(row(key, seed, number, status=status, **({} if number == 2 else found)))
    append(tmp_path / "t.jsonl", {"space": "toy", "price_lists": ["loihi1-sanafe", "speck"]}, rows)
    return Table.open(tmp_path / "t.jsonl")


def cell(number: int) -> Any:
    return from_dict(row(number=number).genotype)


def test_a_result_is_that_of_one_seed_or_their_mean(table: Table) -> None:
    evaluator = TableEvaluator.of(table, NAMES)
    drawn = {evaluator(cell(0), 0, seed).objectives["accuracy"] for seed in range(20)}
    assert drawn == {0.5, 0.6} and evaluator(cell(0), 0, 3) == evaluator(cell(0), 0, 3)
    mean = TableEvaluator.of(table, NAMES, "mean")(cell(0), 0, 0)
    assert mean.objectives == {
        "accuracy": pytest.approx(0.55),
        "energy_j": pytest.approx(2e-6),
        "cores": 3,
        "energy_j:speck": pytest.approx(1e-6),
    }
    assert mean.reported == {"test_accuracy": 0.4} and mean.features == (0.1, 0.2)


def test_short_trainings_and_those_that_diverged(table: Table) -> None:
    evaluator = TableEvaluator.of(table, NAMES)
    short = evaluator(cell(1), 1, 0)
    assert (short.objectives["accuracy"], short.curve, short.seconds) == (0.25, (0.25,), 0.75)
    failed = evaluator(cell(2), 0, 0)
    assert failed.status == "failed" and math.isnan(failed.objectives["accuracy"])


def test_what_a_table_does_not_know(table: Table, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not have cell [0-9a-f]{12}, so nobody knows what it is worth"):
        TableEvaluator.of(table, NAMES)(cell(7), 0, 0)
    with pytest.raises(InputError, match="Unknown noise 'most'; choose from seed, mean"):
        TableEvaluator.of(table, NAMES, "most")  # type: ignore[arg-type]
    append(tmp_path / "empty", {"space": "toy"}, [])
    with pytest.raises(InputError, match="has no rows yet"):
        TableEvaluator.of(Table.open(tmp_path / "empty"), NAMES)
