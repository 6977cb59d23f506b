import json
import os
from pathlib import Path

import pytest
import torch

from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.runs import Run, create_run, make_manifest, newest_run, open_run
from spikeport.search.tensors import load_tensors, save_tensors


def test_create_then_open(tmp_path: Path) -> None:
    run = create_run(tmp_path / "a" / "b", {"seed": 4})
    assert open_run(tmp_path / "a" / "b") == run
    assert read_json(run.manifest) == {"seed": 4}
    with pytest.raises(InputError, match="use --resume or another --out"):
        create_run(run.path, {})


def test_open_what_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no run folder '.*x'; make one with `spikeport search --out .*x`"):
        open_run(tmp_path / "x")
    with pytest.raises(InputError, match=r"must hold manifest.json"):
        open_run(tmp_path)


def test_newest_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `spikeport search` first"):
        newest_run(tmp_path / "runs")
    for name, time in (("a", 200), ("b", 300), ("c", 100)):
        os.utime(create_run(tmp_path / "runs" / name, {}).manifest, (time, time))
    assert newest_run(tmp_path / "runs") == Run(tmp_path / "runs" / "b")


def test_paths_lie_in_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    names = [name for name, value in vars(Run).items() if isinstance(value, property)]
    assert len({getattr(run, name) for name in names}) == len(names) == 23
    assert run.export_folder("loihi") == tmp_path / "export" / "loihi"
    assert run.report == tmp_path / "deploy" / "report.html"


def test_manifest_says_what_it_takes_to_repeat_the_run() -> None:
    manifest = make_manifest("spikeport search", 7, {"name": "digits", "sha256": "0"}, {"cells": 3})
    assert list(manifest) == ["command", "seed", "versions", "git_commit", "dataset", "settings"]
    assert list(manifest["versions"]) == ["python", "numpy", "spikeport", "spikingjelly", "torch"]
    assert manifest["git_commit"] is None or len(manifest["git_commit"]) == 40
    json.dumps(manifest)


def test_tensors(tmp_path: Path) -> None:
    tensors = {"a": torch.tensor([[1.0, 2.0]]).T, "b": torch.tensor(3)}
    save_tensors(tmp_path / "t.safetensors", tensors, {"note": "x"})
    loaded, metadata = load_tensors(tmp_path / "t.safetensors")
    assert metadata == {"note": "x"}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    (tmp_path / "t.safetensors").write_bytes(b"PK\x03\x04")  # for instance a torch.save file: never opened as one
    with pytest.raises(InputError, match="must be a safetensors file, but is damaged"):
        load_tensors(tmp_path / "t.safetensors")
    with pytest.raises(InputError, match=r"There is no file '.*u\.safetensors'"):
        load_tensors(tmp_path / "u.safetensors")
