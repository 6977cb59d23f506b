"""Files that are written whole or not at all, and JSON that is read with an error that names the file.

What is half written lies beside its place under a name of ours, `.NAME.spikeport-xxxxxxxx.END`, locked by the process
that writes it. A process that was killed holds no lock, so the next one that writes there removes what it left.
"""

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import FULL, InputError
from .path_kind import itself

if sys.platform != "win32":
    import fcntl

MAX_TEXT = 2**27  # letters of a text that is read: the history of a search of years is a hundredth of it
OURS = re.compile(r"\..+\.spikeport-[0-9a-f]{8}(\.[^.]+)?")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its place at the end; on an error `path` stays as it was.

    Its bytes are on the disk before it does, so that a power cut leaves the old file or the new one: a sync per file,
    milliseconds each, and none of the folder, which decides only which of the two it is. A link is written through, as
    `writable` says. Raises InputError where nothing can be written there.
    """
    path = writable(path)
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        temporary, held = _fresh(path)
        try:
            with suppress(OSError):  # a file that is private stays private
                os.fchmod(held, path.stat().st_mode & 0o777)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):  # of a place in which nothing can be
                temporary.unlink(missing_ok=True)
            os.close(held)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` at the end; on an error `folder` stays as it was.

    Whoever is killed leaves the old folder, the new one or, between two renames, none; never a mixture. Raises
    InputError where nothing can be written there.
    """
    folder = writable(folder / "any").parent.resolve()  # a link is written through
    with _told(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        fresh, held = _fresh(folder, is_folder=True)
        old = _name(folder)
        try:
            yield fresh
            if folder.exists():
                folder.rename(old)
            try:
                fresh.rename(folder)
            except OSError:
                old.rename(folder)
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(fresh, ignore_errors=True)
            os.close(held)


def writable(path: Path) -> Path:
    """The path of a file to be. Raises InputError where none can be written, before work is done for it.

    Of a link it is the path it leads to: who made `newest.json` a link wants what it leads to written, as a shell's `>`
    does, and the link to stay. Pipes, devices and sockets are refused, because they would be replaced by a file.
    """
    with _told(path):
        place = _behind_link(path) if path.is_symlink() else path
        if place.is_dir():
            raise InputError(f"'{path}' is a folder, but a file is to be written; name one in it.")
        if place.exists() and not place.is_file():  # a device would be replaced
            raise InputError(f"'{path}' is no regular file, so it is not written over; name another place.")
        if place.exists() and not os.access(place, os.W_OK):
            raise InputError(f"'{path}' cannot be written, because it is closed to you; name another place.")
        for above in place.parents:
            if above.is_symlink() and not above.exists():
                raise InputError(f"'{path}' cannot be written, because '{above}' is a link that leads nowhere.")
            if above.exists():
                if not above.is_dir():
                    raise InputError(f"'{path}' cannot be written, because '{above}' is a file; name another place.")
                if not os.access(above, os.W_OK | os.X_OK):
                    raise InputError(
                        f"'{path}' cannot be written, because '{above}' is closed to you; name another place."
                    )
                break
        return place


def locked(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed or the process dies; False: another process holds it.

    Raises OSError where the file system knows no locks.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_file_of(descriptor: int, path: Path) -> bool:
    """Whether a path still names the file that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the system as an InputError that names the path and the next step."""
    try:
        yield
    except OSError as error:
        step = "make room and run the command again" if error.errno in FULL else "name another place"
        raise InputError(f"'{path}' cannot be written ({error.strerror or error}); {step}.") from error


def _behind_link(link: Path) -> Path:
    try:
        place = link.resolve()
    except RuntimeError:  # a link in a circle; later Pythons say OSError
        place = link
    if place.is_symlink() or not place.parent.exists():
        raise InputError(f"'{link}' is a link that leads nowhere; name another place.")
    return place


def _name(path: Path) -> Path:
    return path.with_name(f".{path.stem}.spikeport-{os.urandom(4).hex()}{path.suffix}")


def _fresh(path: Path, is_folder: bool = False) -> tuple[Path, int]:
    """A new file or folder for what becomes `path`, opened and locked. No locks here: nobody removes it, then."""
    while True:
        temporary = _name(path)
        if is_folder:
            temporary.mkdir()
            held = os.open(temporary, os.O_RDONLY)
        else:
            held = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):
            locked(held, wait=True)
        if is_file_of(held, temporary):
            return temporary, held
        os.close(held)  # taken for abandoned before it was locked


def _remove_abandoned(folder: Path) -> None:
    """What killed processes left in a folder: named as `_name` does, and locked by nobody."""
    with os.scandir(folder) as entries:
        ours = [Path(entry.path) for entry in entries if OURS.fullmatch(entry.name) and not entry.is_symlink()]
    for path in ours:
        with suppress(OSError):  # gone, closed to us, or on a disk without locks, where nobody knows
            if path.is_dir() or path.is_file():
                held = os.open(path, os.O_RDONLY)
                try:
                    if locked(held):
                        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
                finally:
                    os.close(held)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """Raises InputError naming the file when it is missing, too long or not text."""
    try:
        with itself(path).open(encoding="utf-8") as file:
            text = file.read(MAX_TEXT + 1)
        if len(text) > MAX_TEXT:
            raise InputError(f"'{path}' has more than {MAX_TEXT} letters, more than is read; name another file.")
        return text
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
