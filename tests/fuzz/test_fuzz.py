"""Every defect that was found in a reader as a named case, a few random ones, and that a defect is seen."""

import mmap
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.tests.fuzz import outcomes, run
from spikeport.tests.fuzz.mutations import _zeros
from spikeport.tests.fuzz.outcomes import is_defect, outcome
from spikeport.tests.fuzz.run import Watch, cases, kind_of, lay_out, make
from spikeport.tests.fuzz.seeds import SEEDS, exported

Edit = Callable[[h5py.File], None]


def network(path: Path, edit: Edit) -> Path:
    """One dense layer behind an input layer, edited."""
    with h5py.File(path, "w") as file:
        file["layer/0/type"], file["layer/0/shape"] = np.bytes_("input"), np.array([8])
        file["layer/1/type"], file["layer/1/shape"] = np.bytes_("dense"), np.array([5])
        file["layer/1/weight"] = np.random.default_rng(0).integers(-50, 50, (5, 8)) * 2
        for key, value in (("type", np.bytes_("CUBA")), ("iDecay", 4096), ("vDecay", 128), ("vThMant", 60)):
            file[f"layer/1/neuron/{key}"] = value
        edit(file)
    return path


def put(place: str, value: Any) -> Edit:
    def edit(file: h5py.File) -> None:
        if place in file:
            del file[place]
        if value is not None:
            file[place] = value

    return edit


def raw(file: h5py.File) -> None:
    del file["layer/1/type"]
    file.create_dataset("layer/1/type", (1,), "S10", external=[("words.txt", 0, 10)])


def of_itself(place: str, source: str = ".") -> Edit:
    def edit(file: h5py.File) -> None:
        del file[place]
        layout = h5py.VirtualLayout((1,), "S10")
        layout[:] = h5py.VirtualSource(source, "/a" if source != "." else "/" + place, (1,), dtype="S10")
        file.create_virtual_dataset(place, layout)

    return edit


def behind_a_soft_link(file: h5py.File) -> None:
    put("layer/1", h5py.SoftLink("/elsewhere"))(file)
    file["elsewhere"] = h5py.ExternalLink("other.h5", "/layer/1")


def chunk_of_2_gib(file: h5py.File) -> None:
    """One number of it is there; its bytes are packed twice."""
    del file["layer/1/neuron/vThMant"]
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((2**28,))
    made.set_deflate(9)
    made.set_deflate(9)
    space = h5py.h5s.create_simple((1,), (h5py.h5s.UNLIMITED,))
    data = h5py.h5d.create(file["layer/1/neuron"].id, b"vThMant", h5py.h5t.NATIVE_DOUBLE, space, made)
    data.write_direct_chunk((0,), zlib.compress(_zeros(), 9))


def chunk_that_grows(file: h5py.File) -> None:
    del file["layer/1/weight"]
    data = file.create_dataset("layer/1/weight", (5, 8), "f8", chunks=(5, 8), compression="gzip")
    data.id.write_direct_chunk((0, 0), _zeros())


def packed_zeros(file: h5py.File) -> None:
    """Declared, and there: 2 GiB of zeros in few bytes."""
    del file["layer/1/weight"]
    file.create_dataset("layer/1/weight", (5, 2**27), "i4", chunks=(5, 2**20), compression="gzip")


def layers_of_long_names(file: h5py.File) -> None:
    file.move("layer/1", "layer/a\nb\x1b[31m")
    file.create_group("layer/" + "1" * 60_000)


NETX: dict[str, Edit] = {
    "external layer": put("layer/1", h5py.ExternalLink("other.h5", "/layer/1")),
    "external layers": put("layer", h5py.ExternalLink("other.h5", "/layer")),
    "external neuron": put("layer/1/neuron", h5py.ExternalLink("other.h5", "/layer/1/neuron")),
    "external type": put("layer/1/type", h5py.ExternalLink("other.h5", "/layer/1/type")),
    "external behind soft": behind_a_soft_link,
    "external fifo": put("layer/1", h5py.ExternalLink("fifo", "/x")),
    "raw type": raw,
    "virtual type": of_itself("layer/1/type", "other.h5"),
    "virtual of itself": of_itself("layer/1/type"),
    "neuron virtual of itself": of_itself("layer/1/neuron/type"),
    "virtual fifo": of_itself("layer/1/type", "fifo"),
    "weight 1e300": put("layer/1/weight", np.full((5, 8), 1e300)),
    "name with escapes": put("layer/1/a\x1b[31mred\nnext line", 1),
    "type with escapes": put("layer/1/type", np.bytes_(b"a\x1b[31m\nb")),
    "type without UTF-8": put("layer/1/type", np.bytes_(b"\xff\xfe\xfd")),
    "type of 60,000 letters": put("layer/1/type", np.bytes_(b"x" * 60_000)),
    "layers of long names": layers_of_long_names,
    "chunk of 2 GiB": chunk_of_2_gib,
    "chunk that grows": chunk_that_grows,
    "packed zeros": packed_zeros,
    "a group that is itself": lambda file: file.__setitem__("layer/1/layer", file["layer"]),
    "no number": put("layer/1/neuron/vThMant", h5py.Empty("f8")),
    "step of infinity": put("simulation/tSample", np.inf),
}


@pytest.mark.parametrize("name", NETX)
def test_a_network_that_was_a_defect(tmp_path: Path, name: str) -> None:
    lay_out(tmp_path)
    path = network(tmp_path / "case.net", NETX[name])
    watch = Watch(tmp_path)
    found, said = outcome("netx", path)
    assert not is_defect(found), said
    assert not watch.opened()
    os.close(watch.number)
    runs = name in ("name with escapes", "a group that is itself", "step of infinity")
    assert (found == "runs") == runs, said
    if name == "weight 1e300":
        assert found == "read"  # and an error of the lint
    elif not runs:
        assert found == "refused" and str(path) in said


def test_a_file_outside_that_is_opened_is_seen(tmp_path: Path) -> None:
    """The twin of the test above: h5py itself follows the link."""
    lay_out(tmp_path)
    path = network(tmp_path / "case.net", NETX["external layer"])
    watch = Watch(tmp_path)
    with h5py.File(path) as file:
        assert file["layer/1/weight"][0, 0] == 42
    assert watch.opened()
    os.close(watch.number)


def huge(file: h5py.File) -> None:
    del file["spikeport/weight/0"]
    file.create_dataset("spikeport/weight/0", (2**20, 2**20), "i2", chunks=(1, 1024), compression="gzip")


@pytest.mark.parametrize("edit", [huge, put("spikeport", h5py.ExternalLink("other.h5", "/spikeport"))])
def test_a_graph_that_was_a_defect(tmp_path: Path, edit: Edit) -> None:
    lay_out(tmp_path)
    path = tmp_path / "case.net"
    exported(path, np.random.default_rng(0))
    with h5py.File(path, "r+") as file:
        edit(file)
    assert outcome("graph", path)[0] == "refused"


def of_header(text: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    ("kind", "name", "data"),
    [
        ("array", "case.npy", of_header(b"{'descr': '<u1', 'fortran_order': False, 'shape': (2, 6, 8")),
        ("array", "case.npy", of_header(b"{'descr': '<u1")),
        ("array", "case.npy", of_header(b"{[]: 1}")),
        ("array", "case.npy", of_header(b"-" * 9000 + b"1")),
        ("array", "case.npy", b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{}"),
        ("array", "case.npy", b"PK\x03\x04 cut off"),
        ("arrays", "case.npz", b"PK\x03\x04 cut off"),
        ("genotype", "case.json", b"[" * 200_000),
        ("genotype", "case.json", b'{"primitives": ' + b"1" * 10_000 + b"}"),
        ("genotype", "case.json", b'{"primitives": "\\ud800\\u2028"}'),
        ("settings", "case.toml", b"a = " + b"[" * 100_000),
        ("settings", "case.toml", b"seed = " + b"9" * 10_000),
        ("settings", "case.toml", b"\xff\xfe"),
        ("tensors", "case.safetensors", b"\xff" * 64),
        ("model", "case.onnx", b"\xff" * 64),
        *(
            (kind, name, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
            for kind, (name, _) in SEEDS.items()
        ),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, kind: str, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found, said = outcome(kind, tmp_path / name)
    assert found == "refused", said
    if data.startswith(b"version https"):
        assert "Git LFS pointer" in said and "git lfs pull" in said


@pytest.mark.slow
def test_random_files(tmp_path: Path) -> None:
    told = [case for case, _ in cases(seed=0, first=0, last=96, only=None)]
    assert len(told) == 96
    assert [case for case in told if case.found not in ("read", "runs", "refused")] == []
    assert {case.kind for case in told} == set(SEEDS)
    assert {case.found for case in told} == {"read", "runs", "refused"}


def test_a_case_is_the_same_each_time(tmp_path: Path) -> None:
    def made(number: int) -> tuple[str, bytes]:
        path, changes = make(tmp_path, 3, number, kind_of(number, None))
        return changes, path.read_bytes()

    numbers = (*range(0, 60, 7), 112, 216, 218, 1165)
    first = [made(number) for number in numbers]
    time.sleep(2.1)  # HDF5 and zip note the second, where nobody tells them not to
    assert [made(number) for number in numbers] == first


@pytest.mark.parametrize(
    ("reader", "found"),
    [
        (lambda path: 1 / 0, "foreign exception"),
        (lambda path: (_ for _ in ()).throw(InputError("")), "message"),
        (lambda path: (_ for _ in ()).throw(InputError(f"it says {outcomes.SECRET}")), "secret"),
        (lambda path: (_ for _ in ()).throw(outcomes.Differing), "runners differ"),
        (lambda path: "runs", "runs"),
    ],
)
def test_a_defect_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Any, found: str) -> None:
    monkeypatch.setitem(outcomes.READERS, "netx", reader)
    assert outcome("netx", tmp_path)[0] == found
    assert is_defect(found) == (found != "runs")


@pytest.mark.slow
def test_a_worker_that_dies_is_followed_by_another(tmp_path: Path) -> None:
    """Of three cases the second one ends the process."""
    program = (
        "import os, sys\nfrom spikeport.tests.fuzz import run\n"
        "answer = run.outcome\n"
        "def dies(kind, path):\n    return os.abort() if dies.calls else answer(kind, path)\n"
        "make = run.make\n"
        "def noted(folder, seed, number, kind):\n"
        "    dies.calls = number == 1\n    return make(folder, seed, number, kind)\n"
        "run.outcome, run.make = dies, noted\nrun.main()\n"
    )
    script = tmp_path / "worker.py"
    script.write_text(program)
    words = ["0", "--serve", str(tmp_path), "--first", "0", "--last", "3", "--kind", "genotype"]
    ended = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
    assert ended.returncode < 0 and len(ended.stdout.splitlines()) == 3  # before and after the first, before the second


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are forgotten on Linux only")
def test_memory_of_a_reader_is_seen_and_that_of_making_a_file_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=0))
    run._begin_peaks()
    before = run._peak()
    with mmap.mmap(-1, 2**28) as memory:  # not malloc's, which may keep what was freed
        for start in range(0, 2**28, 2**20):
            memory[start : start + 2**20] = bytes(2**20)
    assert run._peak() > before + 2**27
    run._begin_peaks()
    assert run._peak() < before + 2**27
