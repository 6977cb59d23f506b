"""The whole road of an event camera: recordings, search, export, deploy; the chip gets the events, with no encoder."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeport.deploy.cost.prices import price_lists
from spikeport.deploy.mapping.fit.source import read_source
from spikeport.deploy.measure import measure_run
from spikeport.deploy.pipeline import Deployment, deploy
from spikeport.deploy.run.netx import run_netx
from spikeport.deploy.settings import DeploySettings, PriceSettings
from spikeport.errors import InputError
from spikeport.export.netx.chain import chain_of
from spikeport.export.netx.writer import layer_indices, read_graph
from spikeport.export.targets import export
from spikeport.search.data.datasets import load_dataset
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run, read_metrics
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.space.network import load_network
from spikeport.tests.broken_onnx import break_weight

pytestmark = pytest.mark.training

STEPS = 3
SIDE = 7  # pixels; padded to 8


def silent(sentence: str) -> None:
    pass


def record(path: Path, recordings: int, seed: int) -> None:
    """The class is the quarter in which most events are, and in which order: steps differ."""
    random, labels = np.random.default_rng(seed), np.arange(recordings) % 4
    count = 60
    y, x = (random.integers(0, SIDE, (recordings, count)) for _ in range(2))
    half = np.arange(count) < 45
    y[:, half] = y[:, half] // 2 + (labels // 2 * 3)[:, None]
    x[:, half] = x[:, half] // 2 + (labels % 2 * 3)[:, None]
    events = {
        "t_us": np.sort(random.integers(0, 30_000, (recordings, count)), axis=1).astype(np.int32).ravel(),
        "x": x.astype(np.uint8).ravel(),
        "y": y.astype(np.uint8).ravel(),
        "p": random.integers(0, 2, recordings * count).astype(np.uint8),
    }
    np.savez(path, **events, offsets=np.arange(recordings + 1) * count, labels=labels)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("recordings")
    record(folder / "train.npz", 320, seed=0)
    record(folder / "test.npz", 80, seed=1)
    return f"events:{folder / 'train.npz'},{folder / 'test.npz'}"


@pytest.fixture(scope="module")
def settings(recordings: str) -> SearchSettings:
    return choose(
        dataset=recordings,
        primitives="plain",
        channels=2,
        cells=3,
        time_steps=STEPS,
        search_epochs=1,
        train_epochs=10,
        train_learning_rate=0.1,
        batch_size=32,
    )


@pytest.fixture(scope="module")
def run(settings: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    told = list[str]()
    run = run_search(settings, tmp_path_factory.mktemp("runs") / "tiny", tell=told.append)
    assert any("padded from 7x7 to 8x8" in sentence for sentence in told)
    export(run, "all", silent)
    return run


@pytest.fixture(scope="module")
def deployed(run: Run) -> Deployment:
    return deploy(run, DeploySettings(lava=False, accuracy_drop=0.2), silent)


def test_there_is_no_encoder(run: Run) -> None:
    loihi = run.export_folder("loihi")
    files = {path.name for path in loihi.iterdir()}
    assert files == {"network.net", "twin.onnx", "manifest.json"}
    written = json.loads((loihi / "manifest.json").read_text())
    assert written["input"] == {"name": "inputs", "shape": [2, 8, 8]}
    graph = read_graph(loihi / "network.net")
    assert {p.name for p in graph.populations if p.role == "neuron"} > {"stem", "cells.0.n1"}
    assert [p.target for p in graph.projections if p.source == "inputs"] == ["stem"]


def test_every_form_agrees(run: Run, deployed: Deployment) -> None:
    checks = {check["name"]: check for check in deployed.equivalence["checks"]}
    assert list(checks) == ["onnx", "step", "graph", "nir", "twin", "netx", "loihi", "accuracy"]
    assert deployed.equivalence["verdict"] == "pass", deployed.equivalence
    for name in ("onnx", "step", "graph", "twin", "netx"):
        assert (checks[name]["verdict"], checks[name]["spikes_differing"]) == ("pass", 0), checks[name]
        assert checks[name]["spikes_compared"] > 0
    assert checks["accuracy"]["candidate"] == "twin.onnx"
    assert read_metrics(run)["test_accuracy"] == checks["accuracy"]["accuracy_reference"] > 0.5


def test_the_stem_is_priced_on_the_chip_and_no_encoder_is(run: Run, deployed: Deployment) -> None:
    energy = deployed.energy
    assert energy is not None
    assert (energy["encoder"]["macs"], energy["encoder"]["energy_j"], energy["ann_baseline"]["encoder_macs"]) == (
        0,
        0,
        0,
    )
    assert "no encoder" in energy["encoder"]["note"]
    assert "No encoder on the host is counted" in run.report.read_text()
    metrics = read_metrics(run)
    dataset = load_dataset(load_network(run).config.dataset, time_steps=STEPS)
    events = dataset.test_images.sum(dtype=int) / len(dataset.test_images)
    assert 4 * 6 * events < metrics["sops_per_cell"]["stem"] < 9 * 6 * events  # a 3x3 kernel to 6 channels
    assert energy["counts"]["input_spikes"]["mean"] == pytest.approx(events, rel=1e-12)
    assert measure_run(run, price_lists(PriceSettings())) == energy


def test_it_fits_as_any_run_does(run: Run) -> None:
    found = read_source(run.path, {})
    assert found.graph.shapes()["stem"] == (6, 8, 8) and not found.on_chip_inputs


def test_a_broken_weight_is_seen(run: Run, tmp_path: Path) -> None:
    """The largest of the readout's weights from neurons that fire is turned round."""
    copy = Run(Path(shutil.copytree(run.path, tmp_path / "copy")))
    path = copy.export_folder("loihi") / "network.net"
    dataset = load_dataset(load_network(run).config.dataset, time_steps=STEPS)
    fired = [layer.sum((0, 1)).reshape(-1) for layer in run_netx(path, dataset.test_images).spikes.values()][-2]
    index = layer_indices(chain_of(read_graph(path)))["readout"]
    with h5py.File(path, "r+") as file:
        values = file[f"layer/{index}/weight"][()]
        place = np.unravel_index(np.abs(values * (fired > 0)).argmax(), values.shape)
        values[place] = -values[place]
        file[f"layer/{index}/weight"][...] = values
    found = deploy(copy, DeploySettings(lava=False, samples=16, lava_samples=16), silent)
    check = next(check for check in found.equivalence["checks"] if check["name"] == "netx")
    assert found.equivalence["verdict"] == check["verdict"] == "fail"
    assert check["first_divergence"]["population"] == "readout"


def test_a_weight_broken_in_the_stem_of_model_onnx_is_seen(run: Run, tmp_path: Path) -> None:

    copy = Run(Path(shutil.copytree(run.path, tmp_path / "copy")))
    break_weight(copy.export_folder("onnx") / "model.onnx", "stem.conv.weight")
    found = deploy(copy, DeploySettings(lava=False, samples=16, lava_samples=4), silent)
    check = next(check for check in found.equivalence["checks"] if check["name"] == "onnx")
    assert found.equivalence["verdict"] == check["verdict"] == "fail"
    assert check["first_divergence"]["population"] == "stem"


class Killed(Exception):
    pass


def test_a_killed_run_ends_as_it_would_have(settings: SearchSettings, tmp_path: Path) -> None:
    short = changed(settings, train_epochs=2, shift=1, flip=True)
    whole = run_search(short, tmp_path / "whole")

    def kill(event: Any) -> None:
        if (event.stage, event.epoch) == ("train", 2):
            raise Killed

    with pytest.raises(Killed):
        run_search(short, tmp_path / "killed", progress=kill)
    killed = run_search(short, tmp_path / "killed", resume=True)
    assert killed.weights.read_bytes() == whole.weights.read_bytes()
    assert killed.metrics.read_text() == whole.metrics.read_text()
    with pytest.raises(InputError, match="time_steps=3 and now it is 4"):
        run_search(changed(short, time_steps=4), tmp_path / "killed", resume=True)


@pytest.mark.parametrize(
    "options",
    [
        {"supernet": "plain"},
        {"level": "both", "channels": 4, "sop_weight": 0.1},
        {"trials": 2, "trial_epochs": 1, "target_sops": 200_000},
        {"stem_stride": 2, "attention": "eca", "crop": 1, "cutout": 3, "spike_weight": 0.1, "auxiliary_weight": 0.4},
        {"primitives": "darts", "gradient_checkpointing": True, "precision": "bfloat16", "attention": "tcs"},
        {"strategy": "random", "evaluations": 2},
        {"teacher_epochs": 1, "average_decay": 0.9, "crop": 1, "crop_filling": "reflect"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_way_to_search_takes_events(settings: SearchSettings, tmp_path: Path, options: dict[str, Any]) -> None:
    run = run_search(changed(settings, train_epochs=1, **options), tmp_path / "run")
    assert "stem" in read_metrics(run)["sops_per_cell"]
    export(run, "onnx", silent)
    found = deploy(run, DeploySettings(lava=False, samples=8), silent)
    assert found.equivalence["verdict"] == "pass", found.equivalence


def test_frames_are_not_made_smaller(settings: SearchSettings) -> None:
    with pytest.raises(InputError, match=r"Events are spikes, 0 or 1, .* so first_size=0.5 cannot make their frames"):
        changed(settings, first_size=0.5)


@pytest.mark.lava
def test_real_lava_agrees(run: Run, real_lava: None, tmp_path: Path) -> None:
    copy = Run(Path(shutil.copytree(run.path, tmp_path / "copy")))
    found = deploy(copy, DeploySettings(samples=4, lava_samples=4), silent)
    check = next(check for check in found.equivalence["checks"] if check["name"] == "loihi")
    assert (check["status"], check["verdict"], check["spikes_differing"]) == ("run", "pass", 0)
