"""Attention folded into constants by the loihi export, and what its manifest says of that."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.folded import KEY, as_exported
from spikeport.export.netx.writer import read_graph
from spikeport.export.settings import ExportSettings
from spikeport.export.simulate import simulate
from spikeport.export.targets import encoder_macs, export, traced
from spikeport.files import write_json
from spikeport.search.data.datasets import load_dataset
from spikeport.search.runs import Run, create_run
from spikeport.search.space.folding import fold_attention
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import load_network, save_network
from spikeport.search.space.predict import predict
from spikeport.tests.export.trace.test_walk import encoded

FOLD = ExportSettings(fold_attention=True)


def run_of(path: Path, lively: Any, attention: str, **settings: Any) -> Run:
    """A run whose model is there, of digits, untrained."""
    run = create_run(path, {"settings": {}})
    genotype = random_genotype(np.random.default_rng(1), "plain")
    network = lively(genotype, seed=1, classes=10, time_steps=2, cells=2, dataset="digits", attention=attention)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, 0.2, 0.6)
    save_network(run, network)
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder: Path, lively: Any) -> Run:
    """With ECA, exported folded."""
    run = run_of(folder / "eca", lively, "eca")
    export(run, "loihi", lambda stage: None, FOLD)
    return run


def manifest(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.export_folder("loihi") / "manifest.json").read_text())
    return found


def test_the_manifest_says_what_folding_cost(run: Run) -> None:
    record = manifest(run)[KEY]
    assert record["images"] == 512 and len(record["modules"]) == 8
    assert {"test_accuracy_live", "test_accuracy_folded", "images", "modules"} == record.keys()
    assert all(0 <= record[f"test_accuracy_{kind}"] <= 1 for kind in ("live", "folded"))
    for module in record["modules"].values():
        assert 0 < module["missed"] < 0.2 and module["gates"].keys() == {"channel"}
        assert module["gates"]["channel"]["over_images"] > 0
        assert min(module["factor"]) > 0


def test_the_chip_has_the_network_with_constant_gates(run: Run, lively: Any, same_spikes: Any) -> None:
    live = load_network(run)
    constant = as_exported(run, live)
    images = load_dataset("digits", time_steps=2).train_images[:512]
    folded, _ = fold_attention(live, images)
    assert torch.equal(predict(constant, images[:64]), predict(folded, images[:64]))
    found = traced(constant)
    spikes = encoded(found, torch.from_numpy(images[:16]))
    exact = simulate(found.graph, spikes)
    np.testing.assert_allclose(exact.readout[-1], predict(folded, images[:16]).numpy(), atol=1e-5)
    chip = simulate(read_graph(run.export_folder("loihi") / "network.net"), spikes)
    agree = np.mean(
        [(fired == chip.spikes[name]).mean() for name, fired in exact.spikes.items() if name in chip.spikes]
    )
    assert agree > 0.9
    assert encoder_macs(constant) > 0
    with pytest.raises(UnsupportedError, match="export with --fold-attention"):
        traced(live)


def test_other_factors_are_another_network(run: Run, tmp_path: Path) -> None:
    live, data = load_network(run), manifest(run)
    path = next(iter(data[KEY]["modules"]))
    images = np.random.default_rng(0).random((32, 1, 8, 8), np.float32)
    before = predict(as_exported(run, live), images)
    original = (run.export_folder("loihi") / "manifest.json").read_bytes()
    try:
        data[KEY]["modules"][path]["factor"][0] *= -1
        write_json(run.export_folder("loihi") / "manifest.json", data)
        assert not torch.equal(predict(as_exported(run, live), images), before)
        data[KEY]["modules"][path]["factor"] = "much"
        write_json(run.export_folder("loihi") / "manifest.json", data)
        with pytest.raises(InputError, match=r"manifest.json': `folded_attention` is damaged; export the run again\.$"):
            as_exported(run, live)
    finally:
        (run.export_folder("loihi") / "manifest.json").write_bytes(original)


def test_without_the_wish_nothing_is_folded(folder: Path, lively: Any) -> None:
    run = run_of(folder / "spike", lively, "spike")
    export(run, "loihi", lambda stage: None)
    assert KEY not in manifest(run)
    live = load_network(run)
    assert as_exported(run, live) is live


@pytest.mark.parametrize(
    ("attention", "target", "error", "message"),
    [
        (
            "eca",
            "loihi",
            UnsupportedError,
            r"Layer 'cells.0.n1.attention': ECA cannot be a synapse: .*--fold-attention",
        ),
        ("spike", "loihi", InputError, r"^The network has no attention that depends on its input"),
        (
            "eca",
            "onnx",
            InputError,
            r"gates fold for it, but the target is onnx; say --target loihi, or leave them out",
        ),
        ("eca", "nir", InputError, r"but the target is nir"),
    ],
)
def test_what_is_refused_leaves_no_export(
    tmp_path: Path, lively: Any, attention: str, target: str, error: type[Exception], message: str
) -> None:
    run = run_of(tmp_path / "run", lively, attention)
    with pytest.raises(error, match=message):
        export(run, target, lambda stage: None, ExportSettings() if error is UnsupportedError else FOLD)
    assert not run.export_folder(target).exists()
