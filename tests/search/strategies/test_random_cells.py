from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import from_dict, from_json
from spikeport.search.training.history import read_history
from spikeport.search.training.progress import ProgressEvent

pytestmark = pytest.mark.training

FILES = ("history", "history_svg", "cells_svg", "genotype", "weights", "config", "metrics")


@pytest.fixture(scope="module")
def settings(tiny: SearchSettings) -> SearchSettings:
    return changed(tiny, strategy="random", candidates=3, train_epochs=4)


@pytest.fixture(scope="module")
def finished(settings: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(settings, tmp_path_factory.mktemp("random") / "whole")


def results(run: Run) -> dict[str, bytes]:
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in sorted(run.path.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_the_best_on_validation_images_is_the_result(finished: Run) -> None:
    table = read_json(finished.candidates)
    rows = table["candidates"]
    assert [row["name"] for row in rows] == ["001", "002", "003"]
    assert len({str(row["genotype"]) for row in rows}) == 3
    for row in rows:
        run = Run(finished.path / "candidates" / row["name"])
        metrics = read_json(run.metrics)
        assert from_dict(row["genotype"]) == from_json(run.genotype.read_text())
        assert row["validation_accuracy"] == read_history(run)[-1]["validation"]["accuracy"]
        assert [row[key] for key in ("test_accuracy", "parameters", "sops_per_inference")] == [
            metrics[key] for key in ("test_accuracy", "parameters", "sops_per_inference")
        ]
    best = max(rows, key=lambda row: (row["validation_accuracy"], -row["sops_per_inference"]))
    assert table["best"] == best["name"]
    chosen = Run(finished.path / "candidates" / best["name"])
    for name in FILES:
        assert getattr(finished, name).read_bytes() == getattr(chosen, name).read_bytes()


def test_candidates_are_trained_alike(finished: Run, tiny: SearchSettings) -> None:
    settings = [read_json(finished.candidate(number).manifest)["settings"] for number in (1, 2, 3)]
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
    assert Run(tmp_path / "broken" / "candidates" / "001").metrics.exists()
    again: list[ProgressEvent] = []
    run = run_search(settings, tmp_path / "broken", resume=True, progress=again.append)
    assert [event.epoch for event in again if event.step == event.steps] == [3, 4, 1, 2, 3, 4]
    assert results(run) == results(finished)
    assert run_search(settings, tmp_path / "broken", resume=True, progress=again.append).path == run.path


def test_another_seed_draws_other_cells(finished: Run, settings: SearchSettings, tmp_path: Path) -> None:
    short = changed(settings, seed=4, candidates=1, train_epochs=1)
    run = run_search(short, tmp_path / "other")
    assert run.genotype.read_bytes() not in [finished.candidate(number).genotype.read_bytes() for number in (1, 2, 3)]


def test_refused(settings: SearchSettings, finished: Run) -> None:
    with pytest.raises(InputError, match="`candidates >= 1` must hold"):
        changed(settings, candidates=0)
    with pytest.raises(InputError, match="candidates=3 and now it is 4"):
        run_search(changed(settings, candidates=4), finished.path, resume=True)
