import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.demo import SETTINGS as DEMO
from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.data.datasets import load_dataset
from spikeport.search.objective.priced_loss import Price, mean_sops
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.file import recorded_settings
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import from_json, random_genotype, to_json
from spikeport.search.space.network import load_network, network_config
from spikeport.search.training.history import read_history
from spikeport.search.training.loop import evaluate
from spikeport.search.training.progress import ProgressEvent, Stage

pytestmark = pytest.mark.training

KILLED = """
import json, os, signal, sys
import torch
from pathlib import Path
from spikeport.search.pipeline import run_search
from spikeport.search.settings.run import settings_from_dict

settings, out, stage, epoch, step = json.loads(sys.argv[1])

def kill(event):
    if (event.stage, event.epoch, event.step) == (stage, epoch, step):
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
run_search(settings_from_dict(settings), Path(out), progress=kill)
"""


@pytest.fixture(scope="module")
def finished(tiny: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(tiny, tmp_path_factory.mktemp("runs") / "whole")


def results(run: Run) -> dict[str, bytes]:
    """Everything but the manifest, byte for byte."""
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in sorted(run.path.rglob("*"))
        if path.is_file() and path != run.manifest
    }


def test_run_folder(finished: Run) -> None:
    assert list(results(finished)) == [
        "model/config.json",
        "model/metrics.json",
        "model/model.safetensors",
        "search/cells.svg",
        "search/genotype.json",
        "search/history.jsonl",
        "search/history.svg",
    ]


def test_manifest(finished: Run, tiny: SearchSettings) -> None:
    manifest = read_json(finished.manifest)
    assert manifest["seed"] == 3
    images = {
        "name": tiny.data.dataset,
        "sha256": load_dataset(tiny.data.dataset).sha256,
        "normalisation": None,
        "notes": [],
    }
    assert manifest["dataset"] == images
    assert manifest["processes"] == 1
    assert manifest["settings"] == tiny.to_dict() | {"genotype": None}
    assert recorded_settings(finished) == tiny


def test_metrics_are_those_of_the_saved_network_on_the_test_split(finished: Run, tiny: SearchSettings) -> None:
    network, dataset = load_network(finished), load_dataset(tiny.data.dataset)
    assert network.genotype == from_json(finished.genotype.read_text())
    score = evaluate(network, dataset.test_images, dataset.test_labels)
    sops = mean_sops(Price(network, tiny.objective), dataset.test_images)
    assert list(sops) == ["cells.0", "cells.1", "cells.2", "readout"]
    assert read_json(finished.metrics) == {
        "test_accuracy": score.accuracy,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "time_steps": 2,
        "spikes_per_inference": score.spikes,
        "spikes_per_cell": score.spikes_per_cell,
        "sops_per_inference": sum(sops.values()),
        "sops_per_cell": sops,
    }
    assert score.spikes > 0


def test_history_has_both_stages(finished: Run) -> None:
    rows = read_history(finished)
    assert [(row["stage"], row["epoch"]) for row in rows] == [(s, e) for s in ("search", "train") for e in (1, 2)]


def test_same_seed_same_bytes(finished: Run, tiny: SearchSettings, tmp_path: Path) -> None:
    assert results(run_search(tiny, tmp_path / "again")) == results(finished)


@pytest.mark.parametrize(("stage", "epoch", "step"), [("search", 2, 2), ("train", 2, 1)])
def test_killed_and_resumed_ends_as_if_nothing_had_happened(
    finished: Run, tiny: SearchSettings, tmp_path: Path, stage: Stage, epoch: int, step: int
) -> None:
    out = tmp_path / "killed"
    argument = json.dumps([tiny.to_dict(), str(out), stage, epoch, step])
    ended = subprocess.run([sys.executable, "-c", KILLED, argument], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not (out / "model" / "metrics.json").exists()
    events: list[ProgressEvent] = []
    run = run_search(tiny, out, resume=True, progress=events.append)
    assert results(run) == results(finished)
    assert (events[0].stage, events[0].epoch, events[0].step) == (stage, epoch, 1)


def test_resume_of_a_finished_run_does_nothing(finished: Run, tiny: SearchSettings) -> None:
    before = results(finished)
    events: list[ProgressEvent] = []
    assert run_search(tiny, finished.path, resume=True, progress=events.append) == finished
    assert events == []
    assert results(finished) == before


def test_a_folder_is_not_overwritten(finished: Run, tiny: SearchSettings) -> None:
    with pytest.raises(InputError, match="holds one; use --resume or another --out"):
        run_search(tiny, finished.path)


def test_resume_with_other_settings(finished: Run, tiny: SearchSettings) -> None:
    with pytest.raises(InputError, match=r"has channels=2 and now it is 4; leave it out or use another --out"):
        run_search(changed(tiny, channels=4), finished.path, resume=True)


def test_resume_with_other_images(tiny: SearchSettings, finished: Run, tmp_path: Path) -> None:
    manifest = read_json(finished.manifest)
    manifest["dataset"]["sha256"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="has changed since"):
        run_search(tiny, tmp_path, resume=True)


def test_nothing_to_resume(tiny: SearchSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no run folder"):
        run_search(tiny, tmp_path / "x", resume=True)


def test_a_given_genotype_is_trained_without_a_search(tiny: SearchSettings, tmp_path: Path) -> None:
    genotype = random_genotype(np.random.default_rng(4), "darts")
    (tmp_path / "g.json").write_text(to_json(genotype))
    stages: list[str] = []
    settings = changed(tiny, train_epochs=1, attention="eca")
    run = run_search(
        settings, tmp_path / "run", genotype=tmp_path / "g.json", progress=lambda event: stages.append(event.stage)
    )
    assert set(stages) == {"train"}
    assert load_network(run).genotype == genotype
    assert run_search(settings, run.path, resume=True) == run  # the genotype is remembered
    with pytest.raises(InputError, match="There is no file"):
        run_search(settings, tmp_path / "other", genotype=tmp_path / "missing.json")


@pytest.mark.parametrize("change", [{"dataset": "mnist"}, {"dataset": "npz:a.npz,b.npz"}])
def test_bad_data_leaves_no_folder(tiny: SearchSettings, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        run_search(changed(tiny, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_odd_images_are_refused_before_a_folder_is_made(tiny: SearchSettings, tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    np.savez(path, images=np.zeros((4, 6, 8, 1), np.uint8), labels=np.array([0, 1, 0, 1]))
    with pytest.raises(InputError, match="pad them to 8"):
        run_search(changed(tiny, dataset=f"npz:{path},{path}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_demo_settings_can_be_used_on_digits() -> None:
    assert network_config(DEMO.network, load_dataset("digits")).plan()[-1].halvings == 2
    assert DEMO.network.time_steps <= 4
    assert DEMO.network.channels <= 16
