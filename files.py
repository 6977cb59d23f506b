"""Files that are written whole or not at all, and JSON that is read with an error that names the file."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its place at the end; on an error `path` stays as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def existing(path: Path, what: str) -> Path:
    """The path. Raises InputError that says what was expected where nothing is there."""
    if not path.exists():
        raise InputError(f"There is no '{path}'; give {what}.")
    return path


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """Raises InputError naming the file when it is missing or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"There is no file '{path}'; run the stage that writes it.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' must be a text file, but cannot be read ({error}).") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises InputError naming the file when it is missing or damaged."""
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"'{path}' must be JSON, but is damaged ({error}); write it again.") from error
    if not isinstance(data, dict):
        raise InputError(f"'{path}' must hold a JSON object, but holds {type(data).__name__}; write it again.")
    return data
