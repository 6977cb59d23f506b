"""`.npy` and `.npz` through the door."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.reading import arrays
from spikeport.reading.arrays import read_array, read_arrays

HEADER = "{'descr': '<u1', 'fortran_order': False, 'shape': (2, 6, 8), }\n"


@pytest.mark.parametrize("dtype", ["?", "u1", ">i4", "<f2", "f8"])
@pytest.mark.parametrize("shape", [(), (0, 4), (5,), (2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_saves_is_read(tmp_path: Path, dtype: str, shape: tuple[int, ...], order: Any) -> None:
    values = np.asarray(np.random.default_rng(0).integers(0, 2, shape).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", a=values, other=np.arange(3))
    found, (packed,) = read_array(tmp_path / "a.npy"), read_arrays(tmp_path / "a.npz", ["a"])
    for one in (found, packed):
        assert one.dtype == values.dtype and one.shape == shape
        np.testing.assert_array_equal(one, values)


def npy(path: Path, header: str, data: bytes = b"", version: int = 1) -> Path:
    text = header.encode("latin1")
    path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text)
    with path.open("ab") as file:
        file.write(data)
    return path


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HEADER[:-5], "damaged"),
        ("{'descr': '<u1", "damaged"),
        ("{[]: 1}", "damaged"),
        ("-" * 9000 + "1", "damaged"),
        ("-" * 20000, "header has 20000 bytes"),
        (HEADER.replace("<u1", "|O"), "Python objects"),
        (HEADER.replace("'<u1'", "[('a', '<u1')]"), "damaged"),
        (HEADER.replace("<u1", "<f3"), "must hold numbers, but holds <f3"),
        (HEADER.replace("2, 6, 8", "9" * 19 + ", 8"), "larger than any file"),
        (HEADER.replace("2, 6, 8", "2, 6, 9"), "108 bytes of numbers are declared, 96 are there"),
        (HEADER.replace("2, 6, 8", "2, -6, 8"), "damaged"),
    ],
)
def test_a_header_that_is_wrong(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_array(npy(tmp_path / "a.npy", header, bytes(96)))


def test_a_header_that_says_it_is_long(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{}")
    with pytest.raises(InputError, match="header has 4294967295 bytes"):
        read_array(path)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_header(tmp_path: Path, version: int) -> None:
    assert read_array(npy(tmp_path / "a.npy", HEADER, bytes(range(96)), version)).shape == (2, 6, 8)


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(100))
    whole = path.read_bytes()
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.npz"):
            read_arrays(path, ["a"])


def test_an_array_that_is_not_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", b=np.arange(3))
    with pytest.raises(InputError, match=r"must hold the arrays `a` and `c`, but holds b"):
        read_arrays(tmp_path / "a.npz", ["a", "c"])


def test_a_small_archive_cannot_unpack_to_a_large_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "FREE_BYTES", 2**16)
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(2**22, np.uint8))
    with pytest.raises(InputError, match="declares 4194304 bytes, more than"):
        read_arrays(tmp_path / "a.npz", ["a"])


def test_a_member_that_ends_before_its_numbers(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy(tmp_path / "a.npy", HEADER, bytes(90)).read_bytes())
    with pytest.raises(InputError, match="cut short: it has 90 of 96 bytes"):
        read_arrays(tmp_path / "a.npz", ["a"])
