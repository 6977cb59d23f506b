"""The numbers and words of a NetX file, which `reading/hdf5.py` has read: checked, each for what it has to be.

What the values mean for a layer stands in `file.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UnsupportedError, one_line
from ...path_kind import NETX, expected
from ...reading.hdf5 import Dataset, Group, Pattern, read_tree
from ..graph import Array

Level = Literal["error", "warning"]


@contextmanager
def opened(path: Path, pattern: Pattern) -> Iterator[Group]:
    """What the file holds of the pattern. An error inside the block names the file.

    Raises InputError for a file that is missing, no HDF5 or damaged.
    """
    root = read_tree(expected(path, NETX), pattern)
    try:
        yield root
    except (InputError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error}") from error


@dataclass(slots=True, kw_only=True)
class Values:
    """Reads the values of a group, and remarks on what lava-dl would make of how they are stored."""

    remarks: list[tuple[Level, str]] = field(default_factory=list)
    where: str = ""  # the layer, for messages

    def pair(self, group: Group, key: str) -> tuple[int, int]:
        numbers = self.integers(group, key)
        if len(numbers) == 1:
            if self.dataset(group, key).shape:
                self.warn(f"{key} is an array of one, on which lava-dl fails; write one number or two")
            return numbers[0], numbers[0]
        self.need(len(numbers) == 2, f"must have a {key} of one or two numbers, but has {list(numbers)}")
        return numbers[0], numbers[1]

    def one(self, group: Group, key: str, *, fails_as_array: bool = False, fails_as_float: bool = False) -> int:
        numbers = self.integers(group, key)
        self.need(len(numbers) == 1, f"must have one number as {key}, but has {len(numbers)}")
        data = self.dataset(group, key)
        if fails_as_array and data.shape:
            self.warn(f"{key} is an array of one, on which lava-dl fails; write one number")
        if fails_as_float and data.dtype is not None and data.dtype.kind == "f":
            self.warn(f"{key} is stored as {data.dtype}, on which Lava fails; write an integer")
        return numbers[0]

    def integers(self, group: Group, key: str) -> tuple[int, ...]:
        """A few whole numbers."""
        data = self.dataset(group, key)
        self.need(1 <= data.size <= 16, f"must have few numbers as {key}, but has {data.size}")
        values = np.asarray(self.values(data, key), np.float64).reshape(-1)
        whole = np.isfinite(values).all() and bool((values == np.round(values)).all()) and np.abs(values).max() < 2**53
        self.need(whole, f"must have whole numbers as {key}, but has {values.tolist()}")
        return tuple(int(value) for value in values)

    def numbers(self, group: Group, key: str) -> Array:
        """An array of finite numbers."""
        data = self.dataset(group, key)
        self.need(data.size >= 1, f"must have numbers as {key}, but has none")
        values = np.asarray(self.values(data, key), np.float64)
        self.need(bool(np.isfinite(values).all()), f"must have finite numbers as {key}, but has NaN or infinity")
        return values

    def values(self, data: Dataset, key: str) -> NDArray[Any]:
        self.need(data.values is not None, f"must hold `{key}` itself, but it {data.refused}")
        assert data.values is not None
        return data.values

    def dataset(self, group: Group, key: str) -> Dataset:
        data = group.get(key)
        self.need(data is not None, f"must have `{key}`, but has none")
        refused = isinstance(data, Dataset) and data.dtype is None and data.refused
        self.need(not refused, f"must have numbers as `{key}`, but it {refused}")
        if not isinstance(data, Dataset) or data.dtype is None:
            raise InputError(f"{self.where} must have numbers as `{key}`.")
        return data

    def stored(self, data: Dataset) -> np.dtype[Any]:
        """The type in which its numbers are stored."""
        assert data.dtype is not None  # `dataset` gives those that have one
        return data.dtype

    def text(self, group: Group, key: str) -> str:
        data = group.get(key)
        if not isinstance(data, Dataset) or data.word is None:
            refused = f", but it {data.refused}" if isinstance(data, Dataset) and data.refused else ""
            raise InputError(f"{self.where} must have one word as `{key}`{refused}.")
        self.need(len(data.word) <= 256, f"must have one word as `{key}`")
        return data.word[:40]

    def group(self, found: Group | Dataset | None, what: str) -> Group:
        """Raises InputError where it is none."""
        if isinstance(found, Group):
            return found
        reason = "is not there" if found is None else found.refused or "is an array"
        raise InputError(f"{self.where} must be {what}, but it {reason}.")

    def warn(self, text: str) -> None:
        self.remarks.append(("warning", one_line(text)))

    def need(self, holds: object, text: str) -> None:
        if not holds:
            raise InputError(f"{self.where} {text}.")


def steps(data: Dataset) -> int | None:
    """A number of steps, or None where it is none."""
    if data.values is None or data.size != 1:
        return None
    value = data.values.reshape(-1)
    return int(value[0]) if np.isfinite(value[0]) and value[0] >= 1 else None
