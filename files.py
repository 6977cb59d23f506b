"""Files that are written whole or not at all, and JSON that is read with an error that names the file."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError
from .path_kind import itself


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its place at the end; on an error `path` stays as it was.

    Raises InputError where nothing can be written there.
    """
    temporary = writable(path).with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"'{path}' cannot be written ({error.strerror or error}); name another place.") from error
    finally:
        with suppress(OSError):  # of a place in which nothing can be
            temporary.unlink(missing_ok=True)


def writable(path: Path) -> Path:
    """The path of a file to be. Raises InputError where none can be written, before work is done for it."""
    if path.is_dir():
        raise InputError(f"'{path}' is a folder, but a file is to be written; name one in it.")
    if path.exists() and not path.is_file():  # a device would be replaced
        raise InputError(f"'{path}' is no regular file, so it is not written over; name another place.")
    for place in path.parents:
        if place.exists():
            if not place.is_dir():
                raise InputError(f"'{path}' cannot be written, because '{place}' is a file; name another place.")
            if not os.access(place, os.W_OK):
                raise InputError(f"'{path}' cannot be written, because '{place}' is closed to you; name another place.")
            break
    return path


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """Raises InputError naming the file when it is missing or not text."""
    try:
        return itself(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"There is no file '{path}'; run the stage that writes it.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' must be a text file, but cannot be read ({error}).") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises InputError naming the file when it is missing or damaged."""
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # of its syntax, of a number too long, of a nesting too deep
        raise InputError(f"'{path}' must be JSON, but is damaged ({error}); correct it or make it again.") from error
    if not isinstance(data, dict):
        raise InputError(f"'{path}' must hold a JSON object, but holds {type(data).__name__}; make it again.")
    return data
