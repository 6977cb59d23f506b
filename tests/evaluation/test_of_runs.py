"""Objectives of chips are measured on the images by which a search may choose."""

from pathlib import Path
from typing import Any

import pytest

from spikeport.errors import InputError
from spikeport.evaluation.of_runs import on_chip
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import choose


@pytest.fixture(scope="module")
def run(blobs_npz: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    words: dict[str, Any] = {"dataset": blobs_npz, "primitives": "plain", "channels": 2, "cells": 3}
    found = run_search(
        choose(**words, train_epochs=1, batch_size=12, strategy="random", evaluations=1),
        tmp_path_factory.mktemp("chip") / "run",
    )
    assert isinstance(found, Run)
    return found


@pytest.mark.training
def test_numbers_of_a_run(run: Run, tmp_path: Path) -> None:
    found = on_chip(run, ("energy_j", "energy_j:truenorth", "cores", "cores:loihi2", "relays", "int8_accuracy"))
    assert found["energy_j"] > 0 and found["energy_j:truenorth"] > 0 and found["cores"] >= found["cores:loihi2"] > 0
    assert round(5 * found["int8_accuracy"], 2) in range(6)  # of the five images of validation
    with pytest.raises(InputError, match="`cores:akida` must be one of cores:loihi1, cores:loihi2; name one of these"):
        on_chip(run, ("cores:akida",))
