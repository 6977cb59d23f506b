"""HDF5 through the door: nothing outside the file is read, and no file ends this process."""

import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.reading import hdf5
from spikeport.reading.hdf5 import Dataset, Group, read_tree

ALL = {"*": True}
SECRET = b"secretword"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With another file of numbers and words, and one of text, which nobody may read."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"], file["word"] = np.full(3, 4242), np.array([SECRET])
    (tmp_path / "words.txt").write_bytes(SECRET * 10)
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def written(folder: Path, edit: Callable[[h5py.File], None]) -> Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        edit(file)
    return path


def one(path: Path, name: str = "a") -> Dataset:
    found = read_tree(path, ALL)[name]
    assert isinstance(found, Dataset)
    return found


@pytest.mark.parametrize("dtype", ["i1", "u1", ">i4", "<i8", "f2", ">f4", "f8", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 1, 3)])
def test_numbers_of_every_kind_are_read(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)

    def edit(file: h5py.File) -> None:
        file["a"], file["b"] = values, "word"
        if values.size and values.ndim:
            file.create_dataset("packed", data=values, compression="gzip", shuffle=True, fletcher32=True)

    path = written(tmp_path, edit)
    found = one(path)
    np.testing.assert_array_equal(found.numbers(), values)
    assert found.shape == shape and found.dtype is not None and found.dtype.kind == values.dtype.kind
    assert one(path, "b").text() == "word"
    if values.size and values.ndim:
        np.testing.assert_array_equal(one(path, "packed").numbers(), values)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file["x/a"], file["x/b"], file["y/a"] = 1, 2, 3

    root = read_tree(written(tmp_path, edit), {"x": {"a": True}})
    assert set(root) == {"x", "y"} and root["y"] == Group() and root["x/b"] == Group()
    assert isinstance(root["x/a"], Dataset) and root["x/a"].numbers() == 1
    assert "x/a" in root and "x/c" not in root and "x/a/b" not in root


def virtual(file: h5py.File, source: str, name: str, dtype: str, length: int) -> None:
    layout = h5py.VirtualLayout((length,), dtype)
    layout[:] = h5py.VirtualSource(source, name, (length,), dtype=dtype)
    file.create_virtual_dataset("a", layout)


def external(file: h5py.File) -> None:
    file["a"] = h5py.ExternalLink("other.h5", "/a")


def behind_soft(file: h5py.File) -> None:
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.ExternalLink("other.h5", "/a")


def through_a_group(file: h5py.File) -> None:
    file["a"], file["b"] = h5py.SoftLink("/b/a"), h5py.ExternalLink("other.h5", "/")


def fifo(file: h5py.File) -> None:
    file["a"] = h5py.ExternalLink("fifo", "/a")


def fifo_behind_soft(file: h5py.File) -> None:
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.ExternalLink("fifo", "/a")


def raw(file: h5py.File) -> None:
    file.create_dataset("a", (3,), dtype="S10", external=[("words.txt", 0, 30)])


def raw_numbers(file: h5py.File) -> None:
    file.create_dataset("a", (3,), dtype="u1", external=[("words.txt", 0, 30)])


def virtual_numbers(file: h5py.File) -> None:
    virtual(file, "other.h5", "a", "i8", 3)


def virtual_word(file: h5py.File) -> None:
    virtual(file, "other.h5", "word", "S10", 1)


@pytest.mark.parametrize(
    "edit",
    [
        *(external, behind_soft, through_a_group, fifo, fifo_behind_soft),
        *(raw, raw_numbers, virtual_numbers, virtual_word),
    ],
)
def test_nothing_outside_the_file_is_read(folder: Path, edit: Callable[[h5py.File], None]) -> None:
    found = one(written(folder, edit))
    assert found.refused and found.values is None and found.word is None
    with pytest.raises(InputError, match=r"`a` .*(another file|opened)") as error:
        found.numbers()
    assert SECRET.decode() not in str(error.value) and "4242" not in str(error.value)


def test_links_within_the_file_are_followed(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file["b/c"] = 7
        file["a"] = h5py.SoftLink("/b/c")
        file["b/up"] = file["/"]

    assert one(written(tmp_path, edit)).numbers() == 7


def test_numbers_that_are_themselves_are_not_read(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        virtual(file, ".", "/a", "S10", 1)  # read, it would overflow the library's stack

    with pytest.raises(InputError, match="`a` lies in another file"):
        one(written(tmp_path, edit)).text()


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, lambda file: file.__setitem__("a", 5))
    one(path)
    process = hdf5._worker().process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert one(path).numbers() == 5


def test_a_worker_that_dies_of_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import os, sys\nsys.stdin.readline()\nos.abort()\n")
    path = written(tmp_path, lambda file: file.__setitem__("a", 5))
    monkeypatch.setattr(hdf5, "WORKER", worker)
    monkeypatch.setattr(hdf5, "_current", [])
    with pytest.raises(InputError, match=r"a\.h5' is damaged: the HDF5 library crashed \(SIGABRT\) on it"):
        one(path)


def test_a_worker_that_runs_for_ever_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import time\ntime.sleep(60)\n")
    path = written(tmp_path, lambda file: file.__setitem__("a", 5))
    for name, value in (("WORKER", worker), ("_current", []), ("LIMIT_S", 0.2), ("START_LIMIT_S", 0.2)):
        monkeypatch.setattr(hdf5, name, value)
    with pytest.raises(InputError, match=r"a\.h5' keeps the HDF5 library busy"):
        one(path)


@pytest.mark.parametrize(
    ("shape", "chunks", "said"),
    [((2**20, 2**20), (1, 1024), "declares 1099511627776 numbers"), ((2**27,), (2**27,), "has chunks of")],
)
def test_what_is_declared_is_bounded(tmp_path: Path, shape: Any, chunks: Any, said: str) -> None:
    path = written(
        tmp_path, lambda file: file.create_dataset("a", shape, dtype="u1", chunks=chunks, compression="gzip")
    )
    with pytest.raises(InputError, match=said):
        one(path).numbers()
    assert one(path).shape == shape


def zeros(file: h5py.File) -> None:
    for name in "abc":
        file.create_dataset(name, data=np.zeros(2**14, np.int16), compression="gzip")


def test_numbers_that_cost_the_file_few_bytes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are read as long as all together are no more than the file's size allows."""
    path = written(tmp_path, zeros)
    size = path.stat().st_size
    assert size < 2**14
    for allowed, read in ((2**14, "a"), (3 * 2**14 - 1, "ab"), (3 * 2**14, "abc")):
        monkeypatch.setattr(hdf5, "NUMBERS", ((allowed - size, 1), (0, 100)))
        found = read_tree(path, ALL)
        assert [name for name, node in found.items() if isinstance(node, Dataset) and not node.refused] == list(read)
    monkeypatch.setattr(hdf5, "NUMBERS", ((0, 1), (0, 100)))
    with pytest.raises(InputError, match=rf"`a` declares {2**14} numbers, but this file may have {size} in all"):
        one(path).numbers()


def test_the_machine_bounds_the_numbers_of_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "memory_bytes", lambda: 2**14 * 8 * hdf5.MEMORY_SHARE)
    found = read_tree(written(tmp_path, zeros), ALL)
    assert [isinstance(node, Dataset) and bool(node.refused) for node in found.values()] == [False, True, True]


@pytest.mark.parametrize("size", [0, 100, 10**5, 10**6, 10**7, 10**9])
def test_numbers_stored_as_they_are_are_never_too_many(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One costs a byte at least. A small file may not fill the memory of a small machine, however it is packed."""
    monkeypatch.setattr(hdf5, "memory_bytes", lambda: 2**40)
    assert hdf5.numbers_of(size) >= size and 8 * hdf5.numbers_of(10**6) <= 2**29 + 2**28
    assert hdf5.numbers_of(15 * 10**6) > 2 * 180 * 10**6  # 64 channels, 8 cells: 180 million in 15 MB


@pytest.mark.parametrize(
    ("length", "said"), [(1, "has a chunk of 8 bytes for which 20.* are stored"), (2**18, r"a\.h5' is .*damaged")]
)
def test_what_unpacks_to_more_than_it_declares_is_bounded(tmp_path: Path, length: int, said: str) -> None:
    """2 MiB that unpack to 2 GiB, before their checksum is found wrong, for a chunk of 8 bytes and for one of 2 MiB."""

    def edit(file: h5py.File) -> None:
        data = file.create_dataset("a", (length,), dtype="f8", chunks=(length,), compression="gzip")
        packer = zlib.compressobj(9)
        first, block = (packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
        data.id.write_direct_chunk((0,), first + 127 * block + packer.flush())

    with pytest.raises(InputError, match=said):
        one(written(tmp_path, edit)).numbers()


@pytest.mark.parametrize("packing", [{"compression": "gzip", "fletcher32": True}, {"compression": "lzf"}])
def test_what_packing_makes_no_smaller_is_read(tmp_path: Path, packing: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 2**16, np.uint8)
    path = written(tmp_path, lambda file: file.create_dataset("a", data=noise, chunks=(2**10,), **packing))
    np.testing.assert_array_equal(one(path).numbers(), noise)


def test_a_name_that_is_there_twice_leaves_the_next_file_as_it_is(tmp_path: Path) -> None:
    """Names are cut, so that two of them may become one; of two arrays only one is told then."""
    long = "a" * 1000

    def edit(file: h5py.File) -> None:
        file[long + "b"], file[long + "c"] = np.arange(5), np.arange(7)

    assert list(read_tree(written(tmp_path, edit), ALL)) == [long]
    assert one(written(tmp_path, lambda file: file.__setitem__("a", 5))).numbers() == 5


def test_what_is_packed_twice_is_refused(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((8,))
        made.set_deflate(9)
        made.set_deflate(9)
        h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((8,)), made)

    with pytest.raises(InputError, match="packed twice"):
        one(written(tmp_path, edit)).numbers()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros(2, np.complex128), "holds no numbers"),
        (np.zeros(2, [("x", "i4")]), "holds no numbers"),
        (h5py.Empty("f8"), "holds no numbers"),
        (np.array([b"a", b"b"]), "is not one word"),
        (np.zeros(2, np.longdouble), "holds no numbers"),
    ],
)
def test_what_is_no_number_and_no_word(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        one(written(tmp_path, lambda file: file.__setitem__("a", value))).numbers()


def test_an_array_of_words_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    for value in (np.array([[b"a", b"bc"], [b"d", b""]]), np.array([["a", "bc"], ["d", ""]], object)):
        path = written(tmp_path, lambda file, value=value: file.__setitem__("a", value))
        found = read_tree(path, {"a": "words"})["a"]
        assert (found.words, found.shape) == (("a", "bc", "d", ""), (2, 2))
    path = written(tmp_path, lambda file: file.create_dataset("a", (2**20,), h5py.string_dtype()))
    assert read_tree(path, {"a": "words"})["a"].refused == "has no words, or more than 262144"
    path = written(tmp_path, lambda file: file.__setitem__("a", np.arange(3)))
    assert read_tree(path, {"a": "words"})["a"].numbers().tolist() == [0, 1, 2]


def test_a_fork_has_a_worker_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, lambda file: file.__setitem__("a", 5))
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom spikeport.reading.hdf5 import read_tree\n"
        "def read(): return int(read_tree(Path(sys.argv[1]), {'*': True})['a'].numbers())\n"
        "first = read()\n"
        "if os.fork() == 0:\n    os._exit(read())\n"
        "_, status = os.wait()\nprint(first, os.waitstatus_to_exitcode(status), read())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["5", "5", "5"]
