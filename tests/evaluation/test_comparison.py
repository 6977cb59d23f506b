"""Strategies are compared on a table whose accuracies are made up, so that it is known what beats what."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spikeport.benchmarks.strategies import main
from spikeport.cli import cli
from spikeport.errors import InputError
from spikeport.evaluation.comparison.grounds import opened
from spikeport.evaluation.comparison.page import render_comparison
from spikeport.evaluation.comparison.searches import comparison, hypervolume
from spikeport.evaluation.comparison.words import headline, shown
from spikeport.search.space.genotype import to_dict
from spikeport.search.spaces.canonical import key_of
from spikeport.search.spaces.genotypes import CLOSED
from spikeport.search.tables.file import append
from spikeport.search.tables.row import Row
from spikeport.tests.search.tables.test_row import row
from spikeport.tests.search.tables.test_spikenas_bench import written


def made_up(code: tuple[int, ...]) -> Row:
    genotype = CLOSED.decode(code)
    accuracy = 0.5 + 0.03 * sum(code)
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
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tables") / "closed.jsonl"
    codes = [(a, b, c, d, e) for a in range(3) for b in range(4) for c in range(4) for d in range(4) for e in range(4)]
    append(path, {"space": "closed", "price_lists": ["speck"]}, map(made_up, codes))
    return str(path)


@pytest.fixture(scope="module")
def found(table: str) -> dict[str, Any]:
    return comparison(table, runs=6, evaluations=40, strategies=("evolution", "local", "nsga2", "guided"))


def test_steps_that_lead_up_are_found(found: dict[str, Any]) -> None:
    rows = found["strategies"]
    assert rows["local"]["better_than_random_sigma"] > 3
    assert rows["local"]["regret_mean"] < rows["random"]["regret_mean"]
    assert rows["random"]["better_than_random_sigma"] == 0
    assert found["cells_missing"] == 0 and len(rows["random"]["course"]) == len(rows["random"]["course_sd"]) == 4
    assert rows["random"]["course"] == sorted(rows["random"]["course"], reverse=True)
    assert set(found["fronts"]) == {"random", "local", "nsga2", "guided", "table"}
    assert found["fronts"]["nsga2"]["hypervolume_mean"] <= found["fronts"]["table"]["hypervolume_mean"]
    assert found["fronts"]["random"]["more_than_random"] == found["fronts"]["random"]["found_more_than_random"] == 0
    assert 0 < found["fronts"]["nsga2"]["found_hypervolume_mean"] <= found["fronts"]["table"]["found_hypervolume_mean"]
    better = [name for name, one in rows.items() if one["better_than_random_sigma"] > 3]
    assert headline(found) == f"{len(better)} of 4 strategies beat random search beyond 3 sigma: {', '.join(better)}"
    assert shown(found).count("beats random") == len(better)


def test_the_page_says_what_was_found(found: dict[str, Any]) -> None:
    scores = {
        "table": "made.jsonl",
        "cells": 60,
        "scores": [
            {
                "score": "<b>synflow</b>",
                "needs": "nothing",
                "tau": 0.5,
                "tau_low": 0.4,
                "tau_high": 0.6,
                "partial_tau": None,
                "precision": 0.2,
                "seconds": 0.01,
            }
        ],
        "predictors": [
            {"predictor": "forest", "features": "graph", "cells": 30, "tau": 0.4, "tau_sd": None, "precision": 0.3}
        ],
    }
    page = render_comparison(found, scores)
    for words in (
        headline(found),
        'id="courses"',
        'id="regrets"',
        'id="volumes"',
        'id="taus"',
        "all cells of the table",
    ):
        assert words in page
    for name, one in found["strategies"].items():
        assert f'<th scope="row">{name}</th>' in page and f"{one['regret_mean']:.3g}" in page
    assert "<b>synflow" not in page and "&lt;b&gt;synflow" in page
    assert "<script src" not in page and "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    alone = render_comparison(found | {"fronts": {}})
    assert 'id="volumes"' not in alone and 'id="taus"' not in alone


def test_json_page_and_refusals(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--table", table, "--runs", "2", "--evaluations", "5", "--workers", "1", "--strategies", "shade"]
    main([*words, "--json", "--page", str(tmp_path / "page.html")])
    shade = json.loads(capsys.readouterr().out)["strategies"]["shade"]
    assert {"regret_mean", "regret_sd", "better_than_random_sigma"} <= set(shade)
    assert "shade" in (tmp_path / "page.html").read_text()
    told = CliRunner().invoke(cli, ["table", "compare", *words[1:6], "--strategies", "shade", "--json"])
    again = json.loads(told.stdout)
    assert again["strategies"]["shade"] == shade
    with pytest.raises(SystemExit):
        main(["--table", table, "--runs", "1"])
    assert "there is no deviation of one run" in capsys.readouterr().err
    append(tmp_path / "open", {"space": "open"}, [row()])
    with pytest.raises(InputError, match="must hold the closed space"):
        comparison(str(tmp_path / "open"))
    with pytest.raises(InputError, match="Unknown strategy 'grid'"):
        comparison(table, strategies=("grid",))


def test_the_table_of_others(tmp_path: Path) -> None:
    for number in range(0, 15625, 25):
        written(tmp_path, number)
    ground = f"spikenas-bench:{tmp_path}"
    found = comparison(ground, runs=2, evaluations=20, strategies=("local", "halving"))
    assert set(found["strategies"]) == {"random", "local", "halving"} and not found["fronts"]
    assert found["cells_missing"] == 15000
    assert "15,000 cells of the space are missing" in shown(found)
    assert 'id="volumes"' not in render_comparison(found)
    with pytest.raises(InputError, match="guided looks at the networks of cells, which SpikeNAS-Bench"):
        comparison(ground, strategies=("guided",))


def test_hypervolume() -> None:
    assert hypervolume([]) == 0
    assert hypervolume([(0.0, 0.0)]) == 1
    assert hypervolume([(0.5, 0.0), (0.0, 0.5)]) == pytest.approx(0.75)
    assert hypervolume([(0.5, 0.0), (0.0, 0.5), (0.6, 0.6), (2.0, 0.0)]) == pytest.approx(0.75)


def test_a_choice_is_judged_by_all_trainings_of_its_cell(tmp_path: Path) -> None:
    first = made_up((0, 1, 0, 0, 0))
    second = replace(first, seed=1, test_accuracy=0.9, val_accuracy=0.7, energy_j={"speck": 4e-6})
    diverged = replace(made_up((1, 0, 0, 0, 0)), status="diverged", test_accuracy=None, val_accuracy=None)
    path = tmp_path / "closed.jsonl"
    append(path, {"space": "closed", "price_lists": ["speck"]}, [first, second, diverged])
    ground = opened(str(path))
    assert ground.worths.keys() == {first.key} and (ground.missing, ground.trainings) == (766, 3)
    worth = ground.worths[first.key]
    assert worth.test == pytest.approx((first.test_accuracy or 0) / 2 + 0.45)
    assert worth.validation == pytest.approx((first.val_accuracy or 0) / 2 + 0.35)
    assert worth.joules == pytest.approx((2e-6 + 4e-6) / 2)
