"""Bad input ends with exit code 1 and one line that names the file or value and the next step."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spikeport import cli
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import choose
from spikeport.search.space.genotype import random_genotype, to_json
from spikeport.tests.cli.invoking import invoke


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One epoch of training of a given genotype with attention, so that no search is needed."""
    folder = tmp_path_factory.mktemp("runs")
    genotype = folder / "genotype.json"
    genotype.write_text(to_json(random_genotype(np.random.default_rng(0), "plain")))
    settings = choose(primitives="plain", attention="eca", channels=2, cells=3, time_steps=1, train_epochs=1)
    return run_search(settings, folder / "eca", genotype=genotype)


@pytest.fixture
def copy(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.path, tmp_path / "copy")))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("search", "--dataset", "mnost"), "Unknown dataset 'mnost'; choose from"),
        (("search", "--time-steps", 0), "`time_steps >= 1` must hold"),
        (("search", "--dataset", "npz:a.npz,b.npz"), "a.npz"),
        (("search", "--genotype", "nowhere.json"), "nowhere.json"),
        (("search", "--resume", "--out", "nowhere"), "nowhere"),
        (("export",), "spikeport search"),
        (("export", "--run", "nowhere"), "nowhere"),
        (("deploy", "--run", "nowhere"), "nowhere"),
        (("deploy", "--run", "nowhere", "--samples", 0), "`samples > 0` must hold"),
        (("report", "nowhere", "nowhere"), "nowhere"),
        (("energy", "nowhere.net", "--spikes", "nowhere.npy"), "nowhere.npy"),
        (("energy", "nowhere.net", "--spikes", "nowhere.npy", "--profiles", "loihi3"), "Unknown profile 'loihi3'"),
    ],
)
def test_bad_words(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[object, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("spikeport: ")
    assert said in err
    assert list(tmp_path.iterdir()) == [], "something was written"


def test_unknown_target(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: Run) -> None:
    assert invoke(monkeypatch, "export", "--run", copy.path, "--target", "akida") == 1
    assert "Unknown target 'akida'; choose from onnx, loihi, nir, all." in capsys.readouterr().err


def test_attention_is_refused_by_loihi(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: Run
) -> None:
    assert invoke(monkeypatch, "export", "--run", copy.path, "--target", "loihi", "--quiet") == 1
    assert "Layer 'cells.0.n1.attention'" in capsys.readouterr().err
    assert not copy.export_folder("loihi").exists()
    assert not list(copy.path.rglob(".*")), "a temporary folder was left behind"


def test_genotype_with_an_unknown_primitive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    genotype = Path("genotype.json")
    text = to_json(random_genotype(np.random.default_rng(0), "plain")).replace("conv_3x3", "conv_9x9")
    genotype.write_text(text)
    assert invoke(monkeypatch, "search", "--genotype", genotype, "--primitives", "plain") == 1
    assert "conv_9x9" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_run_without_a_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: Run) -> None:
    copy.weights.unlink()
    assert invoke(monkeypatch, "export", "--run", copy.path) == 1
    assert "has no trained network" in capsys.readouterr().err


def test_weights_that_are_not_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: Run
) -> None:
    tensors = load_file(copy.weights)
    tensors["readout.weight"][0, 0] = torch.nan
    save_file(tensors, copy.weights)
    assert invoke(monkeypatch, "export", "--run", copy.path) == 1
    assert "readout.weight" in capsys.readouterr().err


def test_weights_of_another_shape(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: Run
) -> None:
    tensors = load_file(copy.weights)
    tensors["readout.weight"] = tensors["readout.weight"][:, :-1].contiguous()
    save_file(tensors, copy.weights)
    assert invoke(monkeypatch, "deploy", "--run", copy.path) == 1
    assert "readout.weight" in capsys.readouterr().err


def test_deploy_without_an_export(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: Run
) -> None:
    assert invoke(monkeypatch, "deploy", "--run", copy.path) == 1
    assert "has no export; run `spikeport export" in capsys.readouterr().err


def test_json_prints_one_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trained: Run
) -> None:
    monkeypatch.setattr(sys, "argv", ["spikeport", "doctor", "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    assert {"name", "ok", "found", "mend"} == set(json.loads(capsys.readouterr().out)["findings"][0])


def test_every_option_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("search", "export", "deploy", "demo", "energy", "fit", "report", "doctor"):
        assert invoke(monkeypatch, command, "--help") == 0
        assert "--json" in capsys.readouterr().out
