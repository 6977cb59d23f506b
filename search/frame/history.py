"""The history of a search: a header line, then a JSON line for each evaluation, so that a killed search goes on.

Nothing else is kept: a strategy is deterministic in its seed and what it was told, so a new one that is told the same
asks the same. A line that was half written when the process died is cut off.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import read_text, writable
from .protocol import Result, result_of

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """number: of the proposal, from 0, in the order of the asks. cost: whole trainings, 0 where it was known before."""

    number: int
    key: str
    budget: int
    cost: float
    result: Result
    candidate: Any  # JSON-ready: a genotype, or a code

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "key": self.key,
            "budget": self.budget,
            "cost": self.cost,
            **self.result.to_json(),
            "genotype": self.candidate,
        }


class History:
    """The file of a search, or none. Raises InputError where it is of another search or damaged."""

    def __init__(self, path: Path | None, header: Mapping[str, Any]) -> None:
        self.path = None if path is None else writable(path)
        self.entries: dict[int, Entry] = {}
        head = {"search": FORMAT, **header}
        if self.path is None:
            return
        if self.path.exists():
            self._read(self.path, json.loads(json.dumps(head)))
        if not self.path.exists() or self.path.stat().st_size == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(head)

    def add(self, entry: Entry) -> None:
        self.entries[entry.number] = entry
        if self.path is not None:
            self._append(entry.to_json())

    def _append(self, data: Mapping[str, Any]) -> None:
        assert self.path is not None
        with self.path.open("ab") as file:
            file.write((json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n").encode())

    def _read(self, path: Path, head: Mapping[str, Any]) -> None:
        text = read_text(path)
        whole = text.rfind("\n") + 1
        if whole < len(text):
            with path.open("r+b") as file:
                file.truncate(len(text[:whole].encode()))
        lines = text[:whole].splitlines()
        if not lines:
            return
        there = _parsed(path, 1, lines[0])
        for name in dict.fromkeys((*head, *there)):
            if there.get(name) != head.get(name):
                raise InputError(
                    f"A search goes on with what it was begun with, but '{path}' has {name}={there.get(name)!r} and "
                    f"now it is {head.get(name)!r}; leave it out or use another file."
                )
        for number, line in enumerate(lines[1:], 2):
            data = _parsed(path, number, line)
            try:
                entry = Entry(
                    number=data["number"],
                    key=data["key"],
                    budget=data["budget"],
                    cost=data["cost"],
                    result=result_of(data),
                    candidate=data["genotype"],
                )
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"'{path}' line {number} must be an evaluation, but lacks something ({error})."
                ) from error
            self.entries[entry.number] = entry


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' line {number} must be JSON, but is damaged ({error}); use another file.") from error
    if not isinstance(data, dict):
        raise InputError(f"'{path}' line {number} must be an object, but is not; use another file.")
    return data
