"""A search that trains once: its front is trained alone, the best is the run, and one that was stopped goes on."""

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
from spikeport.search.training.progress import ProgressEvent

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def settings(blobs_npz: str) -> SearchSettings:
    words: dict[str, Any] = {"dataset": blobs_npz, "primitives": "plain", "channels": 2, "cells": 3, "seed": 3}
    words |= {"batch_size": 22, "train_epochs": 1, "train_learning_rate": 0.1}
    words |= {"elastic_epochs": 2, "elastic_paths": 0, "elastic_widths": "0.5,1", "elastic_finalists": 2}
    words |= {"objectives": "accuracy,sops,flatness", "limits": "parameters=100000", "evaluations": 3}
    return choose(strategy="nsga2", evaluator="supernet", **words)


@pytest.fixture(scope="module")
def finished(settings: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(settings, tmp_path_factory.mktemp("elastic") / "whole")


def lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) | {"seconds": 0} for line in run.evaluations.read_text("utf-8").splitlines()]


def test_the_best_of_the_front_is_the_run(finished: Run) -> None:
    header, *evaluations = lines(finished)
    assert (header["evaluator"], header["space"], len(evaluations)) == ("supernet", "plain, widths", 3)
    archive = read_json(finished.archive)["networks"]
    assert {one["key"] for one in archive} == {line["key"] for line in evaluations}
    assert all({"accuracy", "sops", "flatness", "parameters", "genotype"} <= one.keys() for one in archive)
    front, table = read_json(finished.front)["front"], read_json(finished.candidates)
    assert 1 <= len(front) <= 2 and front[0]["name"] == table["best"]
    trained = finished.path / "candidates" / table["best"]
    assert finished.weights.read_bytes() == Run(trained).weights.read_bytes()
    assert key_of(from_file(finished.genotype)) == table["best"]
    assert front[0]["one_shot"] in [line["objectives"] for line in evaluations]
    assert front[0]["objectives"].keys() == {"accuracy", "sops", "parameters"}  # flatness is the supernet's
    assert front[0]["objectives"]["accuracy"] == max(row["objectives"]["accuracy"] for row in front)
    epochs = [json.loads(line)["epoch"] for line in finished.supernet_history.read_text("utf-8").splitlines()]
    assert epochs == [1, 2]


@pytest.mark.parametrize(("stage", "epoch"), [("supernet", 2), ("train", 1)])
def test_stopped(finished: Run, settings: SearchSettings, tmp_path: Path, stage: str, epoch: int) -> None:
    def stop(event: ProgressEvent) -> None:
        if (event.stage, event.epoch) == (stage, epoch):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(settings, tmp_path / "broken", progress=stop)
    run = run_search(settings, tmp_path / "broken", resume=True)
    assert lines(run) == lines(finished)
    assert read_json(run.front) == read_json(finished.front)
    assert run.weights.read_bytes() == finished.weights.read_bytes()


def test_a_supernet_that_diverges(settings: SearchSettings, tmp_path: Path) -> None:
    wild = changed(settings, elastic_learning_rate=1e38, gradient_clip=1e30)
    with pytest.raises(InputError, match="The loss must be finite"):
        run_search(wild, tmp_path / "wild")
