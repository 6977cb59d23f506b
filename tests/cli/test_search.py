"""`spikeport search` given what it cannot use: one line, exit code 1, and no run folder; 3 for a missed target."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport import options
from spikeport.search import pipeline
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import TABLES, choose
from spikeport.search.space.genotype import random_genotype, to_json
from spikeport.setting import settings_of
from spikeport.tests.cli.invoking import invoke, objects

pytestmark = pytest.mark.slow

SMALL = ("--primitives", "plain", "--channels", 2, "--cells", 3, "--time-steps", 1, "--train-epochs", 1)
FLOATS = [name for kind in TABLES.values() for name, known in settings_of(kind).items() if known.kind is float]


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that an error is told in."""
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("spikeport: ")
    return err


@pytest.fixture(scope="module")
def genotype(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genotype") / "genotype.json"
    path.write_text(to_json(random_genotype(np.random.default_rng(0), "plain")))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, genotype: Path) -> Run:
    settings = choose(primitives="plain", channels=2, cells=3, time_steps=1, train_epochs=1)
    return run_search(settings, tmp_path_factory.mktemp("runs") / "trained", genotype=genotype)


@pytest.fixture
def copy(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.path, tmp_path / "copy")))


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e400"])
@pytest.mark.parametrize("name", FLOATS)
def test_every_number_must_be_finite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    known = next(found[name] for kind in TABLES.values() if name in (found := settings_of(kind)))
    option = (known.setting.spelled or name).replace("_", "-")
    assert invoke(monkeypatch, "search", f"--{option}={value}") == 1
    assert f"`{name}" in line_of(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "file"), "'file' cannot be a run folder, because 'file' is a file; name another --out."),
        (("--out", "file/deep/run"), "'file/deep/run' cannot be a run folder, because 'file' is a file"),
        (("--resume", "--out", "file"), "'file' cannot be a run folder"),
        (("--seed", 10**30), "`seed < 2 ** 63` must hold"),
        (("--channels", 10**30), "`channels < 2 ** 63` must hold"),
        (("--settings", "unknown.toml"), "Unknown setting 'chanels' in [network]; did you mean 'channels', 'cells' or"),
        (("--settings", "table.toml"), "Unknown setting or table 'netwrok'; did you mean 'network', 'nesterov' or"),
        (("--settings", "outside.toml"), "'lerning_rate'; did you mean 'learning_rate', 'train_learning_rate' or"),
        (("--settings", "outside.toml"), "'learning_rate' belongs to [supernet]"),
        (("--settings", "long.toml"), "'long.toml' must be TOML, but is not (Exceeds the limit"),
        (("--settings", "genotype.json"), "'genotype.json' is a genotype, but search --settings reads a settings file"),
        (("--settings", "."), "'.' is a folder that holds no run, but search --settings reads a settings file (TOML)"),
        (("--genotype", "unknown.toml"), "'unknown.toml' is a settings file, but search --genotype reads a genotype"),
        (("--genotype", "deep.json"), "'deep.json': A genotype must be JSON, but is not: maximum recursion"),
        (("--genotype", "wide.json"), "'wide.json': `0 < width <= 1` must hold"),
        (("--dataset", "npz:objects.npz,objects.npz"), "cannot be read (an array of it holds Python objects)"),
        (("--dataset", "npz:file,file"), "'file' is a text file, but search --dataset npz: reads an .npz file"),
        (("--dataset", "npz:.,file"), "'.' is a folder that holds no run, but search --dataset npz: reads"),
        (("--dataset", "npz:minus.npz,minus.npz"), "must be 2 integers from 0, but is int64 (2,) with -1"),
        (("--target-sops", 10), "`trials > 0 with target_sops` must hold"),
    ],
)
def test_wrong_words(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    genotype: Path,
    words: tuple[object, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = json.loads(genotype.read_text())
    for name, text in {
        "file": "x",
        "unknown.toml": "[network]\nchanels = 2\n",
        "table.toml": "[netwrok]\nchannels = 2\n",
        "outside.toml": "seed = 1\nlerning_rate = 0.1\nchannels = 2\n",
        "long.toml": f"[network]\nchannels = {'1' * 5000}\n",
        "genotype.json": genotype.read_text(),
        "deep.json": "[" * 100_000,
        "wide.json": json.dumps(data | {"layers": [{"kind": "normal", "width": 10**400}]}),
    }.items():
        Path(name).write_text(text)
    np.savez("objects.npz", labels=np.zeros(1))
    with zipfile.ZipFile("objects.npz", "a") as archive:
        archive.writestr("images.npy", objects())
    np.savez("minus.npz", images=np.zeros((2, 8, 8, 1), np.uint8), labels=np.array([-1, 0]))
    before = sorted(tmp_path.iterdir())
    assert invoke(monkeypatch, "search", *words) == 1
    assert said in line_of(capsys)
    assert sorted(tmp_path.iterdir()) == before, "something was written"


def test_a_target_that_is_missed_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, genotype: Path
) -> None:
    words: list[Any] = ["search", *SMALL, "--genotype", genotype, "--trials", 1, "--quiet"]
    targets = ["--target-sops", 1, "--target-parameters", 2]
    assert invoke(monkeypatch, *words, *targets, "--out", tmp_path / "missed", "--json") == options.FAILED
    found = json.loads(capsys.readouterr().out)
    sops, parameters = found["metrics"]["sops_per_inference"], found["metrics"]["parameters"]
    assert [line.split("; ")[0] for line in found["missed"]] == [
        f"missed: the network has {sops:,.0f} synaptic operations per inference, but --target-sops is 1",
        f"missed: the network has {parameters:,} parameters, but --target-parameters is 2",
    ]
    assert invoke(monkeypatch, "search", "--resume", "--quiet", "--out", tmp_path / "missed") == options.FAILED
    assert "but --target-sops is 1" in capsys.readouterr().out
    targets = ["--target-sops", 10**9, "--target-parameters", 10**9]
    assert invoke(monkeypatch, *words, *targets, "--out", tmp_path / "kept", "--json") == 0
    assert json.loads(capsys.readouterr().out)["missed"] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network": {"zzz": 1}}, "Unknown setting 'zzz'"),
        ({"network": {"channels": 2}, "strategy": "x"}, "`strategy` must be a table, but is 'x'"),
        ({"network": {"channels": 2}, "strategy": {"darts": 3}}, "`strategy.darts` must be a table, but is 3"),
        ({"network": {"channels": 2}, "data": []}, "`data` must be a table, but is []"),
        (3, "must hold `settings`"),
    ],
)
def test_damaged_settings_of_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: Run, settings: object, said: str
) -> None:
    manifest = json.loads(copy.manifest.read_text())
    copy.manifest.write_text(json.dumps(manifest | {"settings": settings}))
    assert invoke(monkeypatch, "search", "--resume", "--out", copy.path) == 1
    line = line_of(capsys)
    assert said in line and line.count("manifest.json") == 1 and "tart again with another --out" in line


def test_damaged_files_of_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: Run) -> None:
    resume = ("search", "--resume", "--out", copy.path)
    assert invoke(monkeypatch, *resume) == 0  # a finished one is shown again
    capsys.readouterr()
    copy.metrics.write_text('{"test_accuracy": 0.5, "parameters": null}')
    assert invoke(monkeypatch, *resume) == 1
    said = "metrics.json' must be the metrics of a run, but lacks spikes_per_inference, sops_per_inference, parameters;"
    assert said in line_of(capsys)
    genotype = copy.genotype.read_text()
    copy.genotype.write_text("{}")
    assert invoke(monkeypatch, *resume) == 1
    assert "search/genotype.json': A genotype must have exactly the keys" in line_of(capsys)
    copy.genotype.write_text(genotype)
    copy.metrics.unlink()
    copy.train_checkpoint.write_bytes(b"damaged")
    assert invoke(monkeypatch, *resume) == 1
    assert "checkpoint.safetensors' must be a safetensors file, but is damaged" in line_of(capsys)
    copy.train_checkpoint.unlink()
    manifest = json.loads(copy.manifest.read_text())
    copy.manifest.write_text(json.dumps(manifest | {"dataset": 3}))
    assert invoke(monkeypatch, *resume) == 1
    assert "'digits' has changed since" in line_of(capsys)


def test_a_command_that_is_stopped_says_that_it_can_be_given_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spikeport.deploy.doctor.examine", stop)
    assert invoke(monkeypatch, "doctor") == 1
    assert "Stopped; nothing is half written" in line_of(capsys)


def test_a_search_that_is_stopped_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def stop(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_search", stop)
    assert invoke(monkeypatch, "search", "--out", tmp_path / "a") == 1
    assert "Stopped; nothing had begun yet." in line_of(capsys)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_text("{}")
    assert invoke(monkeypatch, "search", "--out", tmp_path / "a") == 1
    assert f"Stopped; `spikeport search --resume --out {tmp_path / 'a'}` goes on" in line_of(capsys)
