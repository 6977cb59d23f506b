"""A strategy that asks, on real trainings: the best is the run, and a search that was stopped goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.space.genotype import from_file
from spikeport.search.spaces.canonical import key_of
from spikeport.search.strategies.trained_cells import check_asking
from spikeport.search.training.progress import ProgressEvent

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def settings(tiny: SearchSettings) -> SearchSettings:
    return changed(tiny, strategy="evolution", evaluations=4, evolution_population=2, train_epochs=1)


@pytest.fixture(scope="module")
def finished(settings: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(settings, tmp_path_factory.mktemp("evolution") / "whole")


def lines(run: Run) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in run.evaluations.read_text("utf-8").splitlines()]
    return [line | {"seconds": 0} for line in found]


def test_the_best_cell_is_the_run(finished: Run) -> None:
    header, *evaluations = lines(finished)
    assert (header["strategy"], header["evaluator"], len(evaluations)) == ("evolution", "train", 4)
    table = read_json(finished.candidates)
    assert {row["name"] for row in table["candidates"]} == {line["key"] for line in evaluations}
    best = max(evaluations, key=lambda line: line["objectives"]["accuracy"])["objectives"]
    chosen = Run(finished.path / "candidates" / table["best"])
    assert read_json(finished.front)["front"][0]["objectives"] == best
    assert finished.weights.read_bytes() == chosen.weights.read_bytes()
    assert key_of(from_file(finished.genotype)) == table["best"]


def test_stopped_in_the_third_candidate(finished: Run, settings: SearchSettings, tmp_path: Path) -> None:
    begun = list[ProgressEvent]()

    def stop(event: ProgressEvent) -> None:
        begun.append(event)
        if sum(one.step == 1 for one in begun) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(settings, tmp_path / "broken", progress=stop)
    run = run_search(settings, tmp_path / "broken", resume=True)
    assert lines(run) == lines(finished)
    assert read_json(run.front) == read_json(finished.front)
    assert run.weights.read_bytes() == finished.weights.read_bytes()


def test_a_front_within_limits(settings: SearchSettings, tmp_path: Path) -> None:
    words: dict[str, Any] = {"strategy": "nsga2", "objectives": "accuracy,introspectability", "limits": "sops=1000000"}
    run = run_search(changed(settings, **words, evaluations=3), tmp_path / "front")
    front = read_json(run.front)
    assert (front["objectives"], front["limits"]) == (
        {"accuracy": "most", "introspectability": "most"},
        {"sops": 1000000.0},
    )
    found = [row["objectives"]["introspectability"] for row in front["front"]]
    assert all(value is None or 0 <= value <= 1 for value in found)  # None: all images are answered alike
    assert ">introspectability<" in run.front_svg.read_text("utf-8")
    accuracies = [row["objectives"]["accuracy"] for row in front["front"]]
    assert accuracies == sorted(accuracies, reverse=True) and len(front["front"]) >= 1
    assert read_json(run.candidates)["best"] == front["front"][0]["name"]


def test_short_trainings_end_in_a_whole_one(settings: SearchSettings, tmp_path: Path) -> None:
    words: dict[str, Any] = {"strategy": "halving", "evaluations": 1, "train_epochs": 3}
    run = run_search(changed(settings, **words), tmp_path / "halving")
    assert [line["budget"] for line in lines(run)[1:]] == [1, 1, 1]  # nothing is left for a whole one
    assert len(run.history.read_text("utf-8").splitlines()) == 3  # it is trained all the same


def test_what_is_on_a_chip_is_asked_of_who_can_say_it(settings: SearchSettings, tmp_path: Path) -> None:
    wanted = changed(settings, objectives="cores", evaluations=2, train_epochs=1)
    with pytest.raises(
        InputError, match="the evaluator train does not measure cores; choose from accuracy, introspectability"
    ):
        run_search(wanted, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    run = run_search(wanted, tmp_path / "cores", on_chip=lambda run, names: dict.fromkeys(names, 7.0))
    assert read_json(run.front)["front"][0]["objectives"] == {"cores": 7.0}


@pytest.mark.slow  # processes of their own
def test_other_processes_train_the_same(settings: SearchSettings, tmp_path: Path) -> None:
    alike = changed(settings, strategy="shade", evaluations=2, at_once=2)
    here = run_search(alike, tmp_path / "here")
    there = run_search(changed(alike, executor="processes:2"), tmp_path / "there")
    assert read_json(here.front) == read_json(there.front)
    assert here.weights.read_bytes() == there.weights.read_bytes()


def test_nothing_could_be_measured(settings: SearchSettings, tmp_path: Path) -> None:
    wild = changed(settings, train_learning_rate=1e38, gradient_clip=1e30)
    with pytest.raises(InputError, match="None of 4 candidates could be measured: The loss must be finite"):
        run_search(wild, tmp_path / "wild")


def test_refused() -> None:
    with pytest.raises(
        InputError, match="The strategy local searches a normal and a reduction cell alone, but --level"
    ):
        check_asking(choose(strategy="local", level="both"))
    with pytest.raises(InputError, match="Unknown objective 'speed'"):
        check_asking(choose(strategy="nsga2", objectives="speed"))
    with pytest.raises(InputError, match="`evaluations` belongs to the strategy random or evolution or "):
        choose(strategy="darts", evaluations=3)
    with pytest.raises(InputError, match="`race_clusters <= race_cells` must hold"):
        choose(strategy="race", race_cells=4, race_clusters=5)
