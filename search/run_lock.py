"""One command at a time works on a run folder; who comes second is told at once who works on it.

The lock is one of the kernel's (flock) on the file `.lock` in the folder: it ends with its holder, however that ends,
and a killed run goes on at once. What the file says tells people who holds it, no more; it is removed with the lock,
and one that a killed process left is taken over. Commands that only read a run take no lock.
"""

import json
import logging
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError
from ..files import is_file_of, locked
from .launch import is_first

LOCK = ".lock"
LONGEST = 2**16  # bytes of it that are read

_held: set[tuple[int, int, Path]] = set()  # process, because a fork inherits this set; thread; folder


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder is this thread's inside the block; it is made where it is missing.

    Taken again by who has it, as the demo's stages do, it is taken once. Of torchrun's processes the first takes it for
    all. Raises InputError that says who has it, and where nothing can be written. A file system without locks is used
    without, with a warning.
    """
    if not is_first():
        yield
        return
    place = Path(os.path.realpath(folder))
    key = (os.getpid(), threading.get_ident(), place)
    if key in _held:
        yield
        return
    file = place / LOCK
    descriptor = _taken(folder, file)
    _held.add(key)
    try:
        yield
    finally:
        _held.discard(key)
        if is_file_of(descriptor, file):  # before the lock ends: whoever waits for this file sees that it is gone
            with suppress(OSError):
                file.unlink()
        os.close(descriptor)


def _taken(folder: Path, file: Path) -> int:
    """The lock file, open and locked."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise InputError(f"'{folder}' cannot be written ({error.strerror}); use another folder.") from error
        try:
            mine = locked(descriptor)
        except OSError as error:
            logging.getLogger(__name__).warning(
                "'%s' cannot be locked (%s); let no other command write there.", folder, error.strerror
            )
            mine = True
        if mine and is_file_of(descriptor, file):
            with suppress(OSError):  # on a full disk nobody is told who it is
                os.ftruncate(descriptor, 0)
                os.write(descriptor, _holder().encode())
            return descriptor
        said = "" if mine else _who(descriptor)
        os.close(descriptor)
        if not mine:
            raise InputError(f"'{folder}' is in use by {said}; wait for its end or stop it, then run this again.")


def _holder() -> str:
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return json.dumps(
        {
            "command": shlex.join(["spikeport" if name == "cli.py" else name, *sys.argv[1:]]),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
    )


def _who(descriptor: int) -> str:
    try:
        said = json.loads(os.pread(descriptor, LONGEST, 0))
        return f"`{said['command']}` (process {said['pid']} on {said['host']}, since {said['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or the disk is full
        return "another command"
