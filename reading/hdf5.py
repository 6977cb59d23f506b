"""HDF5 that anyone may have written, as a tree of plain arrays and words; `reading/__init__.py` says what is promised.

The HDF5 library crashes on some files, runs for ever on others, and follows links into further ones. So a process of
its own reads (`hdf5_worker.py`), within limits, and a file that ends it ends in an InputError. It is started at the
first file and serves all of them; a new one takes its place where it has died.

Limits: numbers by the size of the file (`numbers_of`); chunks of 64 MiB; 640 MiB of memory, in which one array after
the other is read and handed over; and time by the size of the file, some seconds for a small one.
"""

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

WORKER = Path(__file__).with_name("hdf5_worker.py")
# of a file that is packed, in which weights of which few are not 0 take few bits: (free, and for each byte); the fewer
# count. Where the layers of a network carry many channels on, it has 12 numbers to a byte.
NUMBERS = ((2**22, 64), (2**26, 32))
MEMORY_SHARE = 4  # one part of so many of the machine's memory holds the numbers of any file, as float64
START_LIMIT_S = 60.0
LIMIT_S, BYTES_PER_S = 5.0, 2**20
MAX_TEXT = 2**28  # bytes of what the process says of the tree, words included

Pattern = Mapping[str, Any]  # name or "*" -> True, "words" for an array of words, or the pattern of a group


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """An array, a word, or an array of words in C-order. refused: why its value was not read."""

    where: str
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None  # as it is stored; None: a word, or nothing that could be read
    values: NDArray[Any] | None = None
    word: str | None = None
    words: tuple[str, ...] | None = None
    refused: str = ""

    @property
    def size(self) -> int:
        size = 1
        for number in self.shape:  # in Python's integers, which do not wrap
            size *= number
        return size

    def numbers(self) -> NDArray[Any]:
        """Raises InputError where it has none that may be read."""
        if self.values is None:
            raise InputError(f"`{self.where}` {self.refused or 'must hold numbers, but is a word'}.")
        return self.values

    def text(self) -> str:
        """Raises InputError where it is no word."""
        if self.word is None:
            raise InputError(f"`{self.where}` {self.refused or 'must be a word, but holds numbers'}.")
        return self.word


@dataclass(frozen=True, slots=True)
class Group(Mapping[str, "Group | Dataset"]):
    """Names -> what they are, by path (`"neuron/type"`) as well. What the pattern did not ask for is an empty group."""

    nodes: dict[str, "Group | Dataset"] = field(default_factory=dict)

    def __getitem__(self, path: str) -> "Group | Dataset":
        name, _, rest = path.partition("/")
        found = self.nodes[name]
        if not rest:
            return found
        if not isinstance(found, Group):
            raise KeyError(path)
        return found[rest]

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)


def read_tree(path: Path, pattern: Pattern) -> Group:
    """What an HDF5 file holds of a pattern: {"layer": {"*": {"weight": True}}} reads every `layer/<i>/weight`.

    Raises InputError for a file that is missing, damaged, or past a limit; what is wrong with one array is told when it
    is asked for its numbers.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}); name another file.") from error
    with _lock:
        worker = _worker()
        text, arrays = worker.ask(path, pattern, size)
        told = json.loads(text)
        if told.get("spent"):
            worker.end()  # memory that was asked for and refused may still be in use
    if "error" in told:
        raise InputError(f"'{path}' is a damaged HDF5 file ({told['error']}); export it again.")
    root = _node(told["root"], "", iter(arrays))
    if not isinstance(root, Group):
        raise InputError(f"'{path}' is a damaged HDF5 file (it {root.refused}); export it again.")
    return root


def numbers_of(size: int) -> int:
    """How many numbers a file of so many bytes may have: numbers that are stored as they are cost it bytes."""
    by_memory = memory_bytes() // (8 * MEMORY_SHARE)
    return min(by_memory, *(free + each * size for free, each in NUMBERS))


def memory_bytes() -> int:
    """Of this machine; where the system does not tell, of a small one."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**32


def _node(told: Mapping[str, Any], where: str, arrays: Iterator[bytearray]) -> Group | Dataset:
    """arrays: the bytes of this node's and of those after it, in the order of the tree."""
    if "group" in told or not told:
        inside = told.get("group", {}).items()
        return Group({name: _node(inner, f"{where}/{name}".lstrip("/"), arrays) for name, inner in inside})
    if "word" in told:
        return Dataset(where=where, word=told["word"])
    shape = tuple(told.get("shape", ()))
    if "words" in told:
        return Dataset(where=where, shape=shape, words=tuple(told["words"]))
    dtype = np.dtype(told["dtype"]) if "dtype" in told else None
    if "refused" in told:
        return Dataset(where=where, shape=shape, dtype=dtype, refused=told["refused"])
    assert dtype is not None
    values = np.frombuffer(next(arrays), dtype).reshape(shape)
    return Dataset(where=where, shape=shape, dtype=dtype, values=values)


class _Worker:
    """The process that reads."""

    def __init__(self) -> None:
        self.owner, self.started = os.getpid(), False
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends it by closing its input, without its traceback
        )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, path: Path, pattern: Pattern, size: int) -> tuple[bytes, list[bytearray]]:
        """What it says of the tree, and the bytes of each array."""
        numbers = numbers_of(size)
        question = {"path": str(path.resolve()), "pattern": pattern, "numbers": numbers}
        limit = LIMIT_S + size / BYTES_PER_S
        ends = time.monotonic() + limit + (0 if self.started else START_LIMIT_S)
        try:
            stdin = self.process.stdin
            assert stdin is not None
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
            arrays, left = list[bytearray](), 8 * numbers
            while True:
                length, data_length = (int.from_bytes(self._read(8, ends), "little") for _ in range(2))
                left -= data_length
                if length > MAX_TEXT or left < 0:
                    raise InputError(f"'{path}' has more names and words than can be read; export it again.")
                if length:
                    break
                arrays.append(self._read(data_length, ends))
            text = bytes(self._read(length, ends))
            self.started = True
        except TimeoutError as error:
            self.end()
            raise InputError(f"'{path}' keeps the HDF5 library busy for {limit:.0f} s; export it again.") from error
        except (EOFError, BrokenPipeError) as error:
            raise InputError(
                f"'{path}' is damaged: the HDF5 library {self._ended()} on it; export it again."
            ) from error
        except BaseException:  # half an answer may stand in the pipe
            self.end()
            raise
        return text, arrays

    def _read(self, size: int, ends: float) -> bytearray:
        """So many bytes of its answer. Raises TimeoutError or EOFError."""
        found = bytearray(size)
        view, at = memoryview(found), 0
        assert self.process.stdout is not None
        number = self.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(number, selectors.EVENT_READ)
            while at < size:
                left = ends - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise TimeoutError
                got = os.readv(number, [view[at:]])
                if not got:
                    raise EOFError
                at += got
        return found

    def _ended(self) -> str:
        """How it came to its end, in words."""
        self.end()
        code = self.process.returncode
        return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"

    def end(self) -> None:
        """Closes its input, by which it ends, waits a moment for that, and kills it."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        with suppress(BrokenPipeError):
            stdin.close()
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        stdout.close()


_lock = threading.Lock()
_current: list[_Worker] = []
_inherited: list[_Worker] = []  # the parent's, which is not to be ended here


def _worker() -> _Worker:
    """The one of this process: a fork must not ask its parent's."""
    if _current and _current[0].owner != os.getpid():
        _inherited.append(_current.pop())
    elif _current and not _current[0].alive:
        _current.pop().end()
    if not _current:
        _current.append(_Worker())
    return _current[0]


@atexit.register
def _stop() -> None:
    if _current and _current[0].owner == os.getpid() and _current[0].alive:
        _current.pop().end()
