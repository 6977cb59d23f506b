"""Scores on a made-up table: what is said is what the table was made with, and nothing is computed twice."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from spikeport.benchmarks import scores
from spikeport.benchmarks.on_tables import kept
from spikeport.benchmarks.on_tables.agreement import interval, partial_tau, precision, tau
from spikeport.errors import InputError
from spikeport.evaluation.spaces import TABLE_SPACES
from spikeport.search.scores.score import Context
from spikeport.search.space.genotype import to_dict
from spikeport.search.spaces.canonical import key_of
from spikeport.search.spaces.closed import closed_cells
from spikeport.search.tables.file import Table, append
from spikeport.search.tables.row import Row

CELLS = 60


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Accuracy follows the number of convolutions; one cell diverged, one has two seeds."""
    rng = np.random.default_rng(0)
    cells = closed_cells()
    rows = []
    for number, place in enumerate(rng.permutation(len(cells))[:CELLS]):
        genotype = cells[place]
        convolutions = sum("conv" in edge.primitive for edge in genotype.normal)
        for seed in range(2 if number == 1 else 1):
            accuracy = None if number == 0 else 0.5 + 0.04 * convolutions + 0.02 * rng.random()
            rows.append(
                Row(
                    key=key_of(genotype),
                    genotype=to_dict(genotype),
                    seed=seed,
                    status="ok" if number else "diverged",
                    seconds=1.0,
                    curve={},
                    parameters=1,
                    val_accuracy=accuracy,
                    test_accuracy=accuracy,
                )
            )
    append(tmp_path / "made.jsonl", {"space": "closed"}, rows)
    return tmp_path / "made.jsonl"


@pytest.mark.slow
def test_it_finds_what_the_table_was_made_with(table: Path) -> None:
    found = scores.measured(table, ["parameters", "sops"], samples=8, resamples=20, sizes=[25, 300], draws=1)
    assert (found["cells"], found["failed"]) == (CELLS - 1, 1)
    by_name = {row["score"]: row for row in found["scores"]}
    for row in by_name.values():
        assert 0.3 < row["tau_low"] < row["tau"] < row["tau_high"]
        assert row["precision"] > 0.2
    names = {(row["predictor"], row["features"], row["cells"]) for row in found["predictors"]}
    assert names == {
        *((name, features, 25) for name in ("pairwise", "forest") for features in ("code and counts", "and scores")),
        ("graph", "graph", 25),  # and none at 300 cells, of which there are not so many
    }
    assert {row["predictor"]: row["tau"] for row in found["predictors"]}["forest"] > 0.4
    assert "59 cells of" in scores.told(found)
    json.dumps(found)


def test_scores_are_computed_once(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = scores.cells_of(Table.open(table)).genotypes
    few = dict(list(cells.items())[:4])
    context = Context(config=scores.context_for(Table.open(table), 8).config)
    path = kept.path_of(table)
    assert path.name == "made.scores.jsonl"
    told: list[str] = []
    first = kept.kept_scores(path, few, ["parameters"], context, told.append)
    assert len(told) == 4
    with path.open("a") as file:
        file.write('{"key":"half')  # as a killed process leaves it
    assert kept.kept_scores(path, few, ["parameters"], context, told.append) == first
    assert len(told) == 4
    kept.kept_scores(path, few, ["parameters", "sops"], context, told.append)  # what is new is added
    assert len(told) == 8
    assert kept.kept_scores(path, few, ["sops", "parameters"], context, told.append)
    assert len(told) == 8
    monkeypatch.setattr(kept, "VERSION", -1)  # another version of the formulas: all anew
    kept.kept_scores(path, few, ["parameters"], context, told.append)
    assert len(told) == 12


def test_minus_infinity_is_kept(tmp_path: Path) -> None:
    one = kept.Known(value=-math.inf, seconds=0.5)
    assert json.dumps(kept._short(one)) == "[null, 0.5]"
    header = {"seed": 0}
    kept._append(tmp_path / "s.jsonl", header)
    kept._append(tmp_path / "s.jsonl", {"key": "a", "version": kept.VERSION, "scores": {"sahd": kept._short(one)}})
    assert kept._read(tmp_path / "s.jsonl", header) == {"a": {"sahd": one}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"seed":1}\n', "holds scores of another seed, batch or network"),
        ("", "must hold scores as this version writes them"),
        ('{"seed":0}\n{"key":"a"}\n', "must hold scores as this version writes them"),
        ('{"seed":0}\nnonsense\n', "must hold scores as this version writes them"),
    ],
)
def test_a_damaged_file_of_scores_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        kept._read(tmp_path / "s.jsonl", {"seed": 0})


def test_a_table_of_few_cells_is_refused(tmp_path: Path) -> None:
    append(tmp_path / "few.jsonl", {"space": "closed"}, [])
    with pytest.raises(InputError, match="must have at least 20 cells to rank scores by, but has 0"):
        scores.cells_of(Table.open(tmp_path / "few.jsonl"))


def test_tau_counts_pairs() -> None:
    accuracy = np.array([1.0, 2.0, 3.0, 4.0])
    assert tau(np.array([1.0, 3.0, 2.0, 4.0]), accuracy) == pytest.approx((5 - 1) / 6)
    assert tau(np.array([-np.inf, 3.0, 2.0, 4.0]), accuracy) == pytest.approx((5 - 1) / 6)
    assert math.isnan(tau(np.ones(4), accuracy))


def test_the_interval_holds_tau() -> None:
    rng = np.random.default_rng(0)
    accuracy = rng.normal(size=200)
    score = accuracy + rng.normal(size=200)
    low, high = interval(score, accuracy, 100, rng)
    assert low < tau(score, accuracy) < high
    assert 0.08 < high - low < 0.25  # the standard error at tau .5 and 200 cells is about .04


def test_partial_tau_leaves_out_what_others_say() -> None:
    rng = np.random.default_rng(1)
    size, own = rng.normal(size=400), rng.normal(size=400)
    accuracy = size + own + 0.1 * rng.normal(size=400)
    copy = size + 0.1 * rng.normal(size=400)  # a score that is a size
    assert tau(copy, accuracy) > 0.4
    assert abs(partial_tau(copy, accuracy, [size])) < 0.2
    assert partial_tau(own, accuracy, [size]) > tau(own, accuracy)
    assert math.isnan(partial_tau(size, accuracy, [size.copy()]))


def test_precision_of_equal_scores_is_chance() -> None:
    accuracy = np.arange(100.0)
    assert precision(accuracy, accuracy) == 1.0
    assert precision(-accuracy, accuracy) == 0.0
    assert precision(np.zeros(100), accuracy) == pytest.approx(0.1)
    half = np.where(
        accuracy >= 95, 2.0, 0.0
    )  # five at the top, the other five places by chance of 95 of whom 5 are good
    assert precision(half, accuracy) == pytest.approx((5 + 5 * 5 / 95) / 10)


def test_a_kept_score_is_looked_up() -> None:
    genotype = next(TABLE_SPACES["closed"].cells())
    score = scores.Kept(name="sahd", values={key_of(genotype): 3.0})
    assert score(genotype) == 3.0


def test_a_score_that_is_the_same_everywhere_has_no_interval() -> None:
    low, high = interval(np.ones(9), np.arange(9.0), 5, np.random.default_rng(0))
    assert math.isnan(low) and math.isnan(high)
