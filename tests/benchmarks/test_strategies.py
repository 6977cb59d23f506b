"""Strategies are compared on a table whose accuracies are made up, so that it is known what beats what."""

import json
from pathlib import Path
from typing import Any

import pytest

from spikeport.benchmarks.on_tables.strategies import hypervolume, main, measure, shown
from spikeport.search.space.genotype import to_dict
from spikeport.search.spaces.canonical import key_of
from spikeport.search.spaces.genotypes import CLOSED
from spikeport.search.tables.file import append
from spikeport.search.tables.row import Row
from spikeport.tests.search.tables.test_row import row


def made_up(code: tuple[int, ...]) -> Row:
    genotype = CLOSED.decode(code)
    accuracy = 0.5 + 0.05 * sum(code)
    return Row(
        key=key_of(genotype),
        genotype=to_dict(genotype),
        seed=0,
        status="ok",
        seconds=1.0,
        parameters=1,
        curve={"val_accuracy": [accuracy / 2, accuracy - 0.01, accuracy]},
        val_accuracy=accuracy,
        test_accuracy=accuracy,
        init_rates=tuple(number / 4 for number in code),
        energy_j={"speck": 1e-6 * (1 + sum(code) ** 2)},
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "closed.jsonl"
    codes = [(a, b, c, d, e) for a in range(3) for b in range(4) for c in range(4) for d in range(4) for e in range(4)]
    append(path, {"space": "closed", "price_lists": ["speck"]}, map(made_up, codes))
    return path


def test_evolution_beats_random_where_steps_lead_up(table: Path) -> None:
    found = measure(table, 6, 40, 1, ("evolution", "local", "nsga2"))
    rows = found["strategies"]
    assert (
        rows["local"]["better_than_random_sigma"] > 3 and rows["local"]["regret_mean"] < rows["random"]["regret_mean"]
    )
    assert rows["random"]["better_than_random_sigma"] == 0
    assert found["cells_missing"] == 0 and len(rows["random"]["course"]) == 4
    assert rows["random"]["course"] == sorted(rows["random"]["course"], reverse=True)
    assert set(found["fronts"]) == {"random", "nsga2", "table"}
    assert found["fronts"]["nsga2"]["hypervolume_mean"] <= found["fronts"]["table"]["hypervolume_mean"]
    assert found["fronts"]["random"]["more_than_random"] == 0
    text = shown(found)
    assert "local" in text and "beats random" in text


def test_json_and_refusals(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--table", str(table), "--runs", "2", "--evaluations", "5", "--workers", "1"]
    main([*words, "--strategies", "shade", "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {"regret_mean", "regret_sd", "better_than_random_sigma"} <= set(found["strategies"]["shade"])
    append(tmp_path / "open", {"space": "open"}, [row()])
    with pytest.raises(SystemExit):
        main(["--table", str(tmp_path / "open"), "--runs", "2"])
    assert "must hold the closed space" in capsys.readouterr().err


def test_hypervolume() -> None:
    assert hypervolume([]) == 0
    assert hypervolume([(0.0, 0.0)]) == 1
    assert hypervolume([(0.5, 0.0), (0.0, 0.5)]) == pytest.approx(0.75)
    assert hypervolume([(0.5, 0.0), (0.0, 0.5), (0.6, 0.6), (2.0, 0.0)]) == pytest.approx(0.75)
