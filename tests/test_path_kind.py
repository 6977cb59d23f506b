"""What a path is, told from its first bytes and keys; and the sentence that says which command wants it."""

import gzip
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest
import torch

from spikeport.deploy.cost.profiles import FOLDER
from spikeport.deploy.mapping.capacity import CHIPS
from spikeport.errors import InputError
from spikeport.path_kind import ARRAY, GENOTYPE, KINDS, NETX, RUN, SETTINGS, Kind, expected, kind_of, run_around
from spikeport.search.space.genotype import random_genotype, to_json

EXAMPLES = Path(__file__).parents[1] / "examples"
GIF = b"GIF89a\x01\0\x01\0"
SAFETENSORS = (2).to_bytes(8, "little") + b"{}"
ONNX = bytes([8, 10, 0x12, 7]) + b"pytorch"


def made(text: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text.encode() if isinstance(text, str) else text)


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1


def zipped(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "")

    return write


def a_run(path: Path) -> None:
    (path / "export" / "loihi").mkdir(parents=True)
    (path / "search").mkdir()
    (path / "manifest.json").write_text("{}")
    (path / "export" / "loihi" / "manifest.json").write_text("{}")
    hdf5(path / "export" / "loihi" / "network.net")
    (path / "search" / "genotype.json").write_text(to_json(random_genotype(np.random.default_rng(0), "plain")))


FILES: list[tuple[str, Callable[[Path], object], Kind]] = [
    ("a.net", hdf5, "netx"),
    ("a.h5", hdf5, "netx"),
    ("a.net", made(b""), "empty"),
    ("a.net", made("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), "pointer"),
    ("a.net", made(bytes(range(200, 256)) * 4 + b"\0"), "unknown"),
    ("a.onnx", made(ONNX), "onnx"),
    ("a.safetensors", made(SAFETENSORS), "safetensors"),
    ("a.npy", lambda path: np.save(path, np.zeros(2)), "array"),
    ("a.npz", lambda path: np.savez(path, x=np.zeros(2)), "arrays"),
    ("a.npz", made(b"PK\x03\x04 cut short"), "arrays"),
    ("a.zip", zipped("notes.txt"), "archive"),
    ("a.zip", made(b"PK\x03\x04 cut short"), "archive"),
    ("a.gz", lambda path: path.write_bytes(gzip.compress(b"x")), "archive"),
    ("a.pt", lambda path: torch.save({"a": 1}, path), "checkpoint"),
    ("a.pkl", lambda path: path.write_bytes(pickle.dumps({})), "pickle"),
    ("a.png", made(b"\x89PNG\r\n\x1a\n"), "image"),
    ("a.gif", made(GIF), "image"),
    ("a.jpg", made(b"\xff\xd8\xff\xe0"), "image"),
    ("a.webp", made(b"RIFF\0\0\0\0WEBP"), "image"),
    ("a.avif", made(b"\0\0\0\x1cftypavif"), "image"),
    ("a.html", made("<!DOCTYPE html><p>"), "page"),
    ("a.svg", made('<?xml version="1.0"?><svg/>'), "page"),
    ("a.pdf", made("%PDF-1.7"), "page"),
    ("a.json", made(to_json(random_genotype(np.random.default_rng(0), "plain"))), "genotype"),
    ("a.json", made('{"profiles": {}, "per_population": []}'), "energy"),
    ("a.json", made('{"verdict": "pass", "checks": []}'), "equivalence"),
    ("a.json", made('{"populations": [], "sample": 0}'), "activity"),
    ("a.json", made('{"test_accuracy": 1, "parameters": 2}'), "metrics"),
    ("a.json", made('{"command": "", "settings": {}}'), "manifest"),
    ("a.json", made('{"genotype": {}, "network": {}}'), "config"),
    ("a.json", made("{}"), "json"),
    ("a.json", made("{,"), "json"),
    ("a.json", made("[" * 100_000), "json"),
    ("a.toml", made("[network]\nchannels = 2\n"), "settings"),
    ("a.toml", made("channels = 2\n"), "settings"),
    ("a.toml", made("[other]\n"), "toml"),
    ("a.toml", made("[network\n"), "toml"),
    ("a.toml", made(f"x = {'1' * 5000}"), "toml"),
    ("a.toml", lambda path: path.write_bytes((CHIPS / "loihi1.toml").read_bytes()), "chip"),
    ("a.toml", lambda path: path.write_bytes((FOLDER / "truenorth.toml").read_bytes()), "prices"),
    ("a.md", made("# notes\n"), "text"),
    ("a.jsonl", made('{"a": 1}\n{"a": 2}\n'), "text"),
    ("a.txt", made("Grüße".encode("latin-1")), "encoded"),
    ("a", lambda path: path.mkdir(), "folder"),
    ("a", a_run, "run"),
    ("a", lambda path: a_run(path / "inside"), "runs"),
    ("a", os.mkfifo, "pipe"),
    ("a", lambda path: None, "nothing"),
    ("a", lambda path: path.symlink_to("nowhere"), "nothing"),
    ("a", lambda path: path.symlink_to("a"), "nothing"),
]


@pytest.mark.parametrize(("name", "make", "kind"), FILES, ids=[f"{i}-{row[2]}" for i, row in enumerate(FILES)])
def test_kinds(tmp_path: Path, name: str, make: Callable[[Path], object], kind: Kind) -> None:
    make(tmp_path / name)
    assert kind_of(tmp_path / name) == kind


def test_every_kind_is_told_and_tried(tmp_path: Path) -> None:
    assert set(KINDS) == set(get_args(Kind))
    assert set(KINDS) - {kind for _, _, kind in FILES} == {"export", "closed"}


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_are_settings(example: Path) -> None:
    assert kind_of(example) == "settings"


@pytest.mark.parametrize("file", [*sorted(CHIPS.glob("*.toml")), *sorted(FOLDER.glob("*.toml"))])
def test_what_comes_with_spikeport_is_told(file: Path) -> None:
    assert kind_of(file) == ("chip" if file.parent == CHIPS else "prices")


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["x"] * 3000), "a\0b"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    assert kind_of(Path(name)) == "nothing"


def test_a_closed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.net").write_text("x")

    def refuse(*words: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.net' is closed to you, but .*; change its permissions"):
        expected(tmp_path / "a.net", NETX, "inspect")


def test_what_is_wanted_goes_through(tmp_path: Path) -> None:
    a_run(tmp_path / "a")
    assert expected(tmp_path / "a", RUN) == tmp_path / "a"
    assert expected(tmp_path / "a/export/loihi/network.net", NETX).suffix == ".net"
    (tmp_path / "empty.toml").write_text("")  # all settings have defaults
    assert expected(tmp_path / "empty.toml", SETTINGS)


def test_a_run_is_found_from_what_lies_in_it(tmp_path: Path) -> None:
    a_run(tmp_path / "a")
    assert run_around(tmp_path / "a/export/loihi/network.net") == tmp_path / "a"
    assert run_around(tmp_path / "a") is None
    assert kind_of(tmp_path / "a/export/loihi") == "export"


def test_of_a_run_what_is_wanted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a_run(Path("runs/a b"))
    net, genotype = "runs/a b/export/loihi/network.net", "runs/a b/search/genotype.json"
    for path, wanted, by, said in (
        ("runs/a b", NETX, "inspect", "'runs/a b' is a run folder, but inspect reads a NetX file (HDF5); its NetX "
         f"file is '{net}' (`spikeport inspect '{net}'`)."),
        ("runs/a b", NETX, "run", f"(`spikeport run '{net}' --input ARRAY.npy`)."),
        ("runs/a b", NETX, "", f"but a NetX file (HDF5) is needed here; its NetX file is '{net}'."),
        ("runs/a b/export/loihi", NETX, "inspect", "is an export folder of a run, but inspect reads a NetX file (HDF5)"
         "; "
         f"its NetX file is '{net}'"),
        ("runs/a b", GENOTYPE, "search --genotype", f"its genotype is '{genotype}' (`spikeport search --genotype "
         f"'{genotype}'`)."),
        (genotype, RUN, "", "is a genotype, but a run folder is needed here; it belongs to the run 'runs/a b'."),
        ("runs/a b/export/loihi", RUN, "", "it belongs to the run 'runs/a b'."),
        ("runs", RUN, "", "is a folder of runs, but a run folder is needed here; name one of them, as 'runs/a b'."),
        ("runs/a b", ARRAY, "run --input", "`spikeport export 'runs/a b'`, deploy, energy, fit and report read it."),
    ):  # fmt: skip
        with pytest.raises(InputError) as error:
            expected(Path(path), wanted, by)
        assert said in str(error.value)
    Path(net).unlink()
    with pytest.raises(
        InputError, match="it was not exported for a chip: `spikeport export 'runs/a b' --target loihi`"
    ):
        expected(Path("runs/a b"), NETX, "inspect")


def test_telling_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"profiles": {}, "per_population": []}))
    code = (
        "import sys; from pathlib import Path; from spikeport.path_kind import kind_of; "
        f"kind_of(Path({str(tmp_path / 'a.json')!r})); "
        "print([name for name in ('torch', 'onnx', 'h5py', 'numpy', 'spikingjelly') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
