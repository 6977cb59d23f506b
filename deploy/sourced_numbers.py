"""Numbers from TOML files, each with its unit, its source and its grade of evidence. Every error names file and key."""

import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import InputError
from ..files import read_text

Grade = Literal["P", "S", "D"]  # primary text seen; quoted in a secondary source; derived or measured from P
GRADES: tuple[Grade, ...] = get_args(Grade)
FROM_MEMORY = "M"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of a TOML file. key: where it stands, "energy.spikes"; "" is the whole file."""

    file: Path
    key: str
    values: Mapping[str, Any]

    def path_to(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    def wrong(self, name: str, must: str, then: str) -> InputError:
        """The error that the value of `name` is not what it must be."""
        found = f"is {self.values[name]!r}" if name in self.values else "is missing"
        return InputError(f"'{self.file}': `{self.path_to(name)}` must be {must}, but {found}; {then}.")

    def only(self, known: Iterable[str]) -> None:
        """Raises InputError for a key that is not known here."""
        choices = list(known)
        for name in self.values:
            if name not in choices:
                raise InputError(
                    f"'{self.file}': unknown key `{self.path_to(name)}`; choose from {', '.join(choices)}."
                )

    def table(self, name: str) -> "Table":
        """An inner table; an empty one where the file has none."""
        values = self.values.get(name, {})
        if not isinstance(values, dict):
            raise self.wrong(name, "a table", f"write it as [{self.path_to(name)}]")
        return Table(file=self.file, key=self.path_to(name), values=values)

    def text(self, name: str, then: str) -> str:
        """A text that says something. then: the next step where it is missing."""
        value = self.values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, "a text", then)
        return value

    def optional_text(self, name: str, then: str) -> str | None:
        return self.text(name, then) if name in self.values else None

    def texts(self, name: str, then: str) -> tuple[str, ...]:
        values = self.values.get(name)
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise self.wrong(name, "a list of texts", then)
        return tuple(values)

    def number(self, name: str) -> float:
        """A finite number that is not negative."""
        return not_negative(self, name, self.values.get(name))

    def grade(self) -> Grade:
        found = self.text("grade", f"grade the evidence with {', '.join(GRADES)}")
        for grade in GRADES:
            if grade == found:
                return grade
        then = "M is from memory: find the source" if found == FROM_MEMORY else "grade the evidence"
        raise self.wrong("grade", f"one of {', '.join(GRADES)}", then)

    def source(self) -> str:
        return self.text("source", "name the publication and the table the number stands in")

    def unit(self, units: Iterable[str]) -> str:
        choices = list(units)
        found = self.values.get("unit")
        if found not in choices:
            raise self.wrong("unit", f"one of {', '.join(choices)}", "convert the value")
        return str(found)


def read_table(path: Path) -> Table:
    """A whole TOML file. Raises InputError naming the file when it is missing or damaged."""
    try:
        return Table(file=path, key="", values=tomllib.loads(read_text(path)))
    except (ValueError, RecursionError) as error:  # of its syntax, of a number too long, of a nesting too deep
        raise InputError(f"'{path}' must be TOML, but is not ({error}); correct it there.") from error


def not_negative(table: Table, name: str, value: object) -> float:
    """`value`, which stands at or under `name` in the table, as a number; InputError unless 0 <= value < infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise table.wrong(name, "a finite number >= 0", "correct it in its source's units")  # NaN fails, too
    return float(value)
