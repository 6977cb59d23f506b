"""Random search, and several searches by gradients, as what they are: strategies whose proposals are trained."""

from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.pipeline import find_cell, run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import from_dict, from_json
from spikeport.search.spaces.canonical import key_of
from spikeport.search.training.history import read_history
from spikeport.search.training.progress import ProgressEvent

pytestmark = pytest.mark.training

FILES = ("history", "history_svg", "cells_svg", "genotype", "weights", "config", "metrics")


@pytest.fixture(scope="module")
def settings(tiny: SearchSettings) -> SearchSettings:
    return changed(tiny, strategy="random", evaluations=3, train_epochs=4)


@pytest.fixture(scope="module")
def finished(settings: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(settings, tmp_path_factory.mktemp("random") / "whole")


def names(run: Run) -> list[str]:
    return [row["name"] for row in read_json(run.candidates)["candidates"]]


def results(run: Run) -> dict[str, bytes]:
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in sorted(run.path.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "evaluations.jsonl")  # times stand in both
    }


def test_the_best_on_validation_images_is_the_result(finished: Run) -> None:
    table = read_json(finished.candidates)
    rows = table["candidates"]
    keys = [row["name"] for row in rows]
    assert keys == [key_of(from_dict(row["genotype"])) for row in rows] and len(set(keys)) == 3
    assert len({str(row["genotype"]) for row in rows}) == 3
    for row in rows:
        run = Run(finished.path / "candidates" / row["name"])
        metrics = read_json(run.metrics)
        assert from_dict(row["genotype"]) == from_json(run.genotype.read_text())
        assert row["validation_accuracy"] == read_history(run)[-1]["validation"]["accuracy"]
        assert [row[key] for key in ("test_accuracy", "parameters", "sops_per_inference")] == [
            metrics[key] for key in ("test_accuracy", "parameters", "sops_per_inference")
        ]
    best = max(rows, key=lambda row: row["validation_accuracy"])  # of equals the first
    assert table["best"] == best["name"]
    chosen = Run(finished.path / "candidates" / best["name"])
    for name in FILES:
        assert getattr(finished, name).read_bytes() == getattr(chosen, name).read_bytes()


def test_candidates_are_trained_alike(finished: Run, tiny: SearchSettings) -> None:
    settings = [read_json(finished.candidate(name).manifest)["settings"] for name in names(finished)]
    genotypes = [one.pop("genotype") for one in settings]
    assert settings[0] == settings[1] == settings[2]
    assert list(settings[0]["strategy"]) == ["darts"]
    assert genotypes[0] != genotypes[1]


def test_resumed_in_the_second_candidate_ends_the_same(finished: Run, settings: SearchSettings, tmp_path: Path) -> None:
    batches = []

    def stop(event: ProgressEvent) -> None:
        batches.append(event)
        if len(batches) == 4 * event.steps + 2 * event.steps + 1:  # the third epoch of the second
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(settings, tmp_path / "broken", progress=stop)
    assert Run(tmp_path / "broken").candidate(names(finished)[0]).metrics.exists()
    again: list[ProgressEvent] = []
    run = run_search(settings, tmp_path / "broken", resume=True, progress=again.append)
    assert [event.epoch for event in again if event.step == event.steps] == [3, 4, 1, 2, 3, 4]
    assert results(run) == results(finished)
    assert run_search(settings, tmp_path / "broken", resume=True, progress=again.append).path == run.path


def test_another_seed_draws_other_cells(finished: Run, settings: SearchSettings, tmp_path: Path) -> None:
    short = changed(settings, seed=4, evaluations=1, train_epochs=1)
    run = run_search(short, tmp_path / "other")
    assert not set(names(run)) & set(names(finished))


def test_refused(settings: SearchSettings, finished: Run) -> None:
    with pytest.raises(InputError, match="evaluations=3 and now it is 4"):
        run_search(changed(settings, evaluations=4), finished.path, resume=True)


def test_of_several_searches_by_gradients_the_best_is_kept(tiny: SearchSettings, tmp_path: Path) -> None:
    settings = changed(tiny, searches=2, search_epochs=1, train_epochs=1)
    begun = list[ProgressEvent]()

    def stop(event: ProgressEvent) -> None:
        begun.append(event)
        if event.stage == "search" and sum(one.stage == "train" for one in begun):  # in the second search
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(settings, tmp_path / "run", progress=stop)
    again: list[ProgressEvent] = []
    run = run_search(settings, tmp_path / "run", resume=True, progress=again.append)
    assert [one.stage for one in again if one.step == one.steps] == ["search", "train"]
    first, second = (from_json(run.searched(number).genotype.read_text()) for number in (0, 1))
    assert first == find_cell(changed(tiny, search_epochs=1))
    assert second == find_cell(changed(tiny, search_epochs=1, seed=tiny.seed + 1))
    assert {row["name"] for row in read_json(run.candidates)["candidates"]} == {key_of(first), key_of(second)}
    best = max(read_json(run.candidates)["candidates"], key=lambda row: row["validation_accuracy"])
    assert from_json(run.genotype.read_text()) == from_dict(best["genotype"])
