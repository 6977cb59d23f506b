"""The numbers and words of a NetX file, which is HDF5 that anyone may have written: nothing is read unbounded.

Strings that HDF5 would search without end are refused before the file is opened, sizes above a limit before a number
is read, and so is whatever lies in another file. What the values mean for a layer stands in `file.py`.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UnsupportedError
from ...path_kind import NETX, expected
from ..graph import Array

Level = Literal["error", "warning"]

MAX_NUMBERS = 2**26  # weights, biases and delays of a file: half a GiB while it is read
HEAP = b"GCOL\x01\0\0\0"


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open to be read. Whatever fails on it inside the block names the file.

    Raises InputError for a file that is missing, no HDF5 or damaged.
    """
    expected(path, NETX)
    try:
        _check_heaps(path)
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path} is a damaged HDF5 file ({_line(error)}); export it again.") from error
    except (InputError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error}") from error
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({_line(error)}); export it again.") from error


def _check_heaps(path: Path) -> None:
    """Refuse damaged global heaps, which hold strings and in which the HDF5 library would search without end.

    Their layout: HDF5 File Format Specification 3.0, section III.E.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise InputError("is empty; export it again.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = data.find(HEAP)
            while start >= 0:
                size = int.from_bytes(data[start + 8 : start + 16], "little")
                end, at = start + size, start + 16
                while at + 16 <= end <= len(data):
                    index = int.from_bytes(data[at : at + 2], "little")
                    length = int.from_bytes(data[at + 8 : at + 16], "little")
                    at += length if index == 0 else 16 + -(-length // 8) * 8  # 0: free space, header included
                    if index == 0 and length < 16:
                        at = end + 1
                if at > end or end > len(data):
                    raise InputError("its strings are damaged; export it again.")
                start = data.find(HEAP, start + 8)


@dataclass(slots=True, kw_only=True)
class Values:
    """Reads the values of a group, and remarks on what lava-dl would make of how they are stored."""

    numbers_read: int = 0  # of this file, so far
    remarks: list[tuple[Level, str]] = field(default_factory=list)
    where: str = ""  # the layer, for messages

    def pair(self, group: h5py.Group, key: str) -> tuple[int, int]:
        numbers = self.integers(group, key)
        if len(numbers) == 1:
            if self.dataset(group, key).shape:
                self.warn(f"{key} is an array of one, on which lava-dl fails; write one number or two")
            return numbers[0], numbers[0]
        self.need(len(numbers) == 2, f"must have a {key} of one or two numbers, but has {list(numbers)}")
        return numbers[0], numbers[1]

    def one(self, group: h5py.Group, key: str, *, fails_as_array: bool = False, fails_as_float: bool = False) -> int:
        numbers = self.integers(group, key)
        self.need(len(numbers) == 1, f"must have one number as {key}, but has {len(numbers)}")
        data = self.dataset(group, key)
        if fails_as_array and data.shape:
            self.warn(f"{key} is an array of one, on which lava-dl fails; write one number")
        if fails_as_float and data.dtype.kind == "f":
            self.warn(f"{key} is stored as {data.dtype}, on which Lava fails; write an integer")
        return numbers[0]

    def integers(self, group: h5py.Group, key: str) -> tuple[int, ...]:
        """A few whole numbers."""
        data = self.dataset(group, key)
        self.need(1 <= data.size <= 16, f"must have few numbers as {key}, but has {data.size}")
        values = np.asarray(data[()], np.float64).reshape(-1)
        whole = np.isfinite(values).all() and bool((values == np.round(values)).all()) and np.abs(values).max() < 2**53
        self.need(whole, f"must have whole numbers as {key}, but has {values.tolist()}")
        return tuple(int(value) for value in values)

    def numbers(self, group: h5py.Group, key: str) -> Array:
        """An array of finite numbers. Its size is checked before it is read."""
        data = self.dataset(group, key)
        size = 1
        for number in data.shape:
            size *= number
        self.need(size >= 1, f"must have numbers as {key}, but has none")
        self.numbers_read += size
        self.need(
            self.numbers_read <= MAX_NUMBERS,
            f"declares {key} {list(data.shape)}; a file may have {MAX_NUMBERS} numbers in all",
        )
        values = np.asarray(data[()], np.float64)
        self.need(bool(np.isfinite(values).all()), f"must have finite numbers as {key}, but has NaN or infinity")
        return values

    def dataset(self, group: h5py.Group, key: str) -> Any:
        link = group.get(key, getlink=True) if key in group else None
        self.need(link is not None, f"must have `{key}`, but has none")
        self.need(not isinstance(link, h5py.ExternalLink), f"must hold `{key}` itself, not a link to another file")
        data = group[key]
        self.need(
            isinstance(data, h5py.Dataset) and data.shape is not None and data.dtype.kind in "biuf",
            f"must have numbers as `{key}`",
        )
        self.need(not data.is_virtual and not data.external, f"must hold `{key}` itself, not in another file")
        return data

    def text(self, group: h5py.Group, key: str) -> str:
        data = group.get(key)
        fits = isinstance(data, h5py.Dataset) and data.size == 1 and data.dtype.kind in "SO"
        self.need(fits and data.dtype.itemsize <= 256, f"must have one word as `{key}`")
        value = np.asarray(data[()]).reshape(-1)[0]
        word = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        return word[:40]

    def warn(self, text: str) -> None:
        self.remarks.append(("warning", text))

    def need(self, holds: object, text: str) -> None:
        if not holds:
            raise InputError(f"{self.where} {text}.")


def steps(data: h5py.Dataset) -> int | None:
    """A number of steps, or None where it is none."""
    if data.size != 1 or data.dtype.kind not in "iuf":
        return None
    value: NDArray[Any] = np.asarray(data[()]).reshape(-1)
    return int(value[0]) if np.isfinite(value[0]) and value[0] >= 1 else None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).strip("'\"").rstrip(".")
