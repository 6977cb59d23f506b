"""The file of a table: a header line, then a JSON line for each training, appended whole.

Whoever appends holds a lock on the file, and each line is on the disk before the next is begun. A line that a killed
process left half written has no end; readers leave it out, and the next to append cuts it off.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import locked, read_text, writable
from .row import Row, row_of

FORMAT = 1
Complete = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """header: what is the same for all rows. rows: in the order of the file; a training stands in it once."""

    path: Path
    header: Mapping[str, Any]
    rows: tuple[Row, ...]
    places: Mapping[tuple[str, int], int]

    @classmethod
    def open(cls, path: Path | str) -> "Table":
        """Raises InputError that names the file and the line where it is damaged or not a table."""
        path = Path(path)
        header, lines = _read(path)
        rows = tuple(_row(path, number, line) for number, line in enumerate(lines, 2))
        places: dict[tuple[str, int], int] = {}
        for number, row in enumerate(rows):
            if places.setdefault((row.key, row.seed), number) != number:
                raise InputError(f"'{path}' line {number + 2}: cell {row.key} with seed {row.seed} stands in it twice.")
        return cls(path=path, header=header, rows=rows, places=places)

    def __getitem__(self, training: tuple[str, int]) -> Row:
        """Of a cell's key and a seed. Raises KeyError."""
        return self.rows[self.places[training]]

    def __contains__(self, training: object) -> bool:
        return training in self.places

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the cells, in the order of the file."""
        return tuple(dict.fromkeys(row.key for row in self.rows))

    def of(self, key: str) -> tuple[Row, ...]:
        """The trainings of a cell, by seed."""
        return tuple(sorted((row for row in self.rows if row.key == key), key=lambda row: row.seed))

    def by_key(self) -> dict[str, list[Row]]:
        """Key -> the trainings of the cell, by seed."""
        found: dict[str, list[Row]] = {}
        for row in sorted(self.rows, key=lambda row: row.seed):
            found.setdefault(row.key, []).append(row)
        return found

    def curve(self, key: str, seed: int, name: str = "val_accuracy") -> tuple[float, ...]:
        """A value for each epoch. Raises KeyError."""
        return tuple(self[key, seed].curve[name])


def _row(path: Path, number: int, line: str) -> Row:
    try:
        return row_of(json.loads(line))
    except (ValueError, RecursionError, InputError) as error:
        raise InputError(f"'{path}' line {number} must be a row of a table, but is damaged ({error}).") from error


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The header and the lines of the rows, without one that has no end."""
    lines = read_text(path).split("\n")[:-1]
    try:
        header = json.loads(lines[0]) if lines else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or "table" not in header:
        raise InputError(f"'{path}' must begin with the header of a table, but does not; name a table's file.")
    if header["table"] != FORMAT:
        raise InputError(f"'{path}' is a table of format {header['table']!r}, but this version reads {FORMAT}.")
    return header, lines[1:]


@contextmanager
def appending(path: Path, header: Mapping[str, Any], complete: Complete = dict) -> Iterator["Appender"]:
    """The file, locked, with this header: made where it is missing.

    complete: fills in what the header of an older version does not say.

    Raises InputError where another process appends to it, or where it has another header: its rows then were made
    otherwise, and are not to be compared with new ones.
    """
    path = writable(Path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if not locked(file.fileno()):
            raise InputError(f"Another process appends to the table '{path}'; wait for its end.")
        _cut_tail(file)
        if os.fstat(file.fileno()).st_size == 0:
            _write(file, {"table": FORMAT, **header})
        _check_header(path, {"table": FORMAT, **header}, complete)
        yield Appender(path, file)


class Appender:
    """Adds rows to a file that is locked."""

    def __init__(self, path: Path, file: Any) -> None:
        self._file = file
        self.there = set(Table.open(path).places)

    def add(self, row: Row) -> None:
        """Raises InputError for a training that is there already."""
        training = row.key, row.seed
        if training in self.there:
            raise InputError(
                f"The table has cell {row.key} with seed {row.seed} already; a training stands in it once."
            )
        _write(self._file, row.to_json())
        self.there.add(training)


def append(path: Path | str, header: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Rows to a table, which is made where it is missing. Raises what `appending` raises."""
    with appending(Path(path), header) as appender:
        for row in rows:
            appender.add(row)


def _cut_tail(file: Any) -> None:
    """What stands behind the last end of a line."""
    file.seek(0)
    text = file.read()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        file.truncate(whole)
    file.seek(0, os.SEEK_END)


def _write(file: Any, data: Mapping[str, Any]) -> None:
    line = json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"
    file.write(line.encode())
    file.flush()
    os.fsync(file.fileno())


def _check_header(path: Path, header: Mapping[str, Any], complete: Complete) -> None:
    there = complete(_read(path)[0])
    wanted = json.loads(json.dumps(header))
    for name in (*wanted, *(name for name in there if name not in wanted)):
        if not _same(there.get(name), wanted.get(name)):
            raise InputError(
                f"Rows are added to a table by the settings it was begun with, but '{path}' has {name}="
                f"{there.get(name)!r} and now it is {wanted.get(name)!r}; begin another file."
            )


def _same(one: object, other: object) -> bool:
    return one == other or (
        isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    )
