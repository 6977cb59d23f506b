"""Arrays that anyone may have saved with NumPy; see `reading/__init__.py` for what is promised.

An array is a header of a few words and its numbers. The header is read here, for NumPy's reader evaluates it as Python
and sets memory aside by what it says; the numbers are mapped from the file, or unpacked up to a limit.
"""

import math
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..path_kind import ARRAY, ARRAYS, expected

FREE_BYTES, TIMES_LARGER = 2**28, 64  # of an archive's arrays, unpacked: so many bytes, and so many times its own
MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000
MAX_AXES = 32
NUMBERS = re.compile("[<>|=][biuf][0-9]{1,2}")
HEADER = re.compile(
    r"\{'descr': '(?P<descr>[^'\\]{1,20})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:[0-9]{1,19}(?:, ?[0-9]{1,19})*,?)?)\),? ?\} *\n"
)


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    length: int  # of all before the numbers

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_array(path: Path) -> NDArray[np.generic]:
    """The numbers of an `.npy` file, not yet read into memory. Raises InputError for anything else."""
    expected(path, ARRAY)
    try:
        with path.open("rb") as file:
            header = _header(file)
        room = path.stat().st_size - header.length
        if room < header.bytes:
            raise ValueError(f"it is cut short: {header.bytes} bytes of numbers are declared, {room} are there")
        order: Any = "F" if header.fortran else "C"
        if not header.bytes:
            return np.zeros(header.shape, header.dtype)
        return np.memmap(path, header.dtype, "r", header.length, header.shape, order)
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{path}' is an array (.npy), but damaged, cut short or of Python objects ({error}); save numbers with "
            "numpy.save."
        ) from error


def read_arrays(path: Path, names: Sequence[str]) -> list[NDArray[np.generic]]:
    """The named arrays of an `.npz` file. Raises InputError for an archive that is damaged, too large or lacks one."""
    expected(path, ARRAYS)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if not set(names) <= set(members):
                wanted, found = " and ".join(f"`{name}`" for name in names), ", ".join(list(members)[:5]) or "none"
                raise InputError(f"'{path}' must hold the arrays {wanted}, but holds {found}.")
            arrays, room = [], FREE_BYTES + TIMES_LARGER * path.stat().st_size
            for name in names:
                if members[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{name} is packed in a way that NumPy does not use")
                with archive.open(members[name]) as file:
                    arrays.append(_unpacked(file, name, room))
                room -= arrays[-1].nbytes
        return arrays
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        # NotImplementedError: packed in a way that zipfile does not know; RuntimeError: by a password
        raise InputError(
            f"'{path}' must be an .npz file of plain arrays, but cannot be read ({error}); write it with numpy.savez."
        ) from error


def names_of(path: Path) -> list[str]:
    """The names of the arrays of an `.npz` file, in its order. Raises InputError for an archive that is damaged."""
    expected(path, ARRAYS)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(
            f"'{path}' must be an .npz file, but cannot be read ({error}); write it with numpy.savez."
        ) from error


def _unpacked(file: IO[bytes], name: str, room: int) -> NDArray[np.generic]:
    header = _header(file)
    if header.bytes > room:
        raise ValueError(f"{name} declares {header.bytes} bytes, more than {room} in an archive of this size")
    data = bytearray()
    while len(data) < header.bytes:  # as it comes: what is declared need not be there
        part = file.read(min(2**24, header.bytes - len(data)))
        if not part:
            raise ValueError(f"{name} is cut short: it has {len(data)} of {header.bytes} bytes")
        data += part
    return np.frombuffer(data, header.dtype).reshape(header.shape, order="F" if header.fortran else "C")


def _header(file: IO[bytes]) -> _Header:
    """Format: numpy.lib.format, versions 1.0 to 3.0. Raises ValueError."""
    start = file.read(8)
    if start[:6] != MAGIC or len(start) < 8:
        raise ValueError("it does not begin like one")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header has {length} bytes, more than {MAX_HEADER}")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it is cut short in its header")
    found = HEADER.fullmatch(text.decode("latin1"))
    if b"'|O" in text:
        raise ValueError("an array of it holds Python objects")
    if found is None:
        raise ValueError("it is damaged, or holds something else than numbers")
    try:
        dtype = np.dtype(found["descr"]) if NUMBERS.fullmatch(found["descr"]) else None
    except TypeError:
        dtype = None
    if dtype is None:
        raise ValueError(f"it must hold numbers, but holds {found['descr']}")
    shape = tuple(int(number) for number in re.findall(r"[0-9]+", found["shape"]))
    if len(shape) > MAX_AXES or math.prod(shape) * dtype.itemsize >= 2**63:
        raise ValueError("its shape is larger than any file")
    return _Header(dtype, shape, found["fortran"] == "True", 8 + width + length)
