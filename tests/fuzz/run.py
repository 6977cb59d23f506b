"""`make fuzz N=100000`: mutated files through every reader, in a process of its own that may crash, hang or grow.

    python -m spikeport.tests.fuzz.run N [--seed S] [--kind netx] [--keep FOLDER] [--workers W]

Case i of seed S is the same on every machine; each of W processes takes its share of them. Prints how many came to
which end, for each kind of file; every defect is named with its number and kept in FOLDER. Ends with 1 if there was
one. What counts as one: a crash, a hang of more than 10 s, an exception that is no SpikeportError, a message that is no
printable line of at most 400 letters, two runners that do not agree, a file outside that was opened, and more than a
gibibyte of memory.
"""

import argparse
import ctypes
import itertools
import json
import os
import queue
import resource
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikeport.reading import hdf5

from .mutations import OUTSIDE, mutate
from .outcomes import MAX_SECONDS, SECRET, is_defect, outcome
from .seeds import SEEDS

MEMORY = 2**30
IN_OPEN = 0x20
MAKING = "making the file"


@dataclass(frozen=True, slots=True)
class Told:
    number: int
    kind: str
    changes: str
    found: str
    said: str


def make(folder: Path, seed: int, number: int, kind: str) -> tuple[Path, str]:
    """The file of a case, and the names of its changes."""
    random = np.random.default_rng([seed, number])
    name, write = SEEDS[kind]
    path = folder / name
    path.unlink(missing_ok=True)
    write(path, random)
    return path, mutate(path, kind, random)


def kind_of(number: int, only: str | None) -> str:
    """NetX twice as often as every other."""
    kinds = ("netx", *SEEDS)
    return only or kinds[number % len(kinds)]


def lay_out(folder: Path) -> None:
    """Files that nobody may read beside the case."""
    import h5py

    with h5py.File(folder / "other.h5", "w") as file:
        for name in ("layer", "spikeport"):
            file[f"{name}/1/type"], file[f"{name}/1/weight"] = np.array([SECRET.encode()]), np.full((5, 8), 42)
        file["a"] = np.array([SECRET.encode()])
    (folder / "words.txt").write_bytes(SECRET.encode() * 10_000)
    os.mkfifo(folder / "fifo")


class Watch:
    """Whether one of the files outside was opened, by inotify; without it (not Linux) nothing is seen."""

    def __init__(self, folder: Path) -> None:
        self.number = -1
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "inotify_init1"):
            self.number = libc.inotify_init1(os.O_NONBLOCK)
            for name in OUTSIDE:
                libc.inotify_add_watch(self.number, os.fsencode(folder / name), IN_OPEN)

    def opened(self) -> bool:
        try:
            return self.number >= 0 and bool(os.read(self.number, 4096))
        except BlockingIOError:
            return False


def _processes() -> list[int]:
    """This one and the one that reads HDF5."""
    return [os.getpid(), *(worker.process.pid for worker in hdf5._current)]


def _begin_peaks() -> None:
    """Peaks count from here on: what it took to make a file is no reader's. Not Linux: from the start."""
    for process in _processes():
        with suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes of the largest of the processes since `_begin_peaks`, those that have ended included."""
    peaks = [resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]
    for process in _processes():
        with suppress(OSError):
            status = Path(f"/proc/{process}/status").read_text()
            peaks += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
    return max(peaks)


def serve(folder: Path, seed: int, first: int, last: int, only: str | None) -> None:
    """The process that may fail: a line of JSON before and after each case."""
    lay_out(folder)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand between them
    for number in range(first, last):
        kind = kind_of(number, only)
        path, changes = make(folder, seed, number, kind)
        _begin_peaks()
        print(json.dumps({"number": number, "kind": kind, "changes": changes}), file=answers, flush=True)
        watch = Watch(folder)
        found, said = outcome(kind, path)
        if watch.opened():
            found = "outside read"
        os.close(watch.number)
        told = {"found": found, "said": said[-3000:], "memory": _peak()}
        print(json.dumps(told), file=answers, flush=True)


def cases(seed: int, first: int, last: int, only: str | None) -> Iterator[tuple[Told, int]]:
    """Every case with what came of it, and the largest memory so far; a worker that ends is followed by another."""
    while first < last:
        with tempfile.TemporaryDirectory(prefix="spikeport-fuzz-") as folder:
            words = ["--serve", folder, "--seed", str(seed), "--first", str(first), "--last", str(last)]
            process = subprocess.Popen(
                [sys.executable, "-m", "spikeport.tests.fuzz.run", "0", *words, *(["--kind", only] if only else [])],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert process.stdout is not None
            begun = {"number": first, "kind": "?", "changes": "start"}
            with process.stdout, selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while first < last:
                    limit = 120 if begun["kind"] == "?" else MAX_SECONDS + 50
                    line = process.stdout.readline() if selector.select(limit) else None
                    if not line:
                        found = "hang" if line is None else "crash"
                        process.kill()
                        if begun["changes"] == MAKING:  # h5py itself ends on some of what is done to a file
                            found, begun = "not made", {"kind": kind_of(first, only), "changes": MAKING}
                        if begun["changes"] == "start":
                            raise RuntimeError("the process that reads did not start; run a test of a reader first")
                        yield Told(first, str(begun["kind"]), str(begun["changes"]), found, ""), 0
                        first += 1
                        break
                    told = json.loads(line)
                    if "number" in told:
                        begun = told
                        continue
                    case = Told(first, str(begun["kind"]), str(begun["changes"]), told["found"], told["said"])
                    yield case, told["memory"]
                    first += 1
                    begun = {"number": first, "kind": "?", "changes": MAKING}
            process.kill()
            process.wait()


def side_by_side(seed: int, first: int, last: int, only: str | None, workers: int) -> Iterator[tuple[Told, int]]:
    """`cases`, a share for each of several workers, in the order in which they end."""
    bounds = [first + (last - first) * i // workers for i in range(workers + 1)]
    told: queue.SimpleQueue[tuple[Told, int] | BaseException | None] = queue.SimpleQueue()

    def work(begin: int, end: int) -> None:
        try:
            for case in cases(seed, begin, end, only):
                told.put(case)
            told.put(None)
        except BaseException as error:  # noqa: BLE001 (raised below, in the thread that counts)
            told.put(error)

    for begin, end in itertools.pairwise(bounds):
        threading.Thread(target=work, args=(begin, end), daemon=True).start()
    while workers:
        case = told.get()
        if isinstance(case, BaseException):
            raise case
        if case is None:
            workers -= 1
        else:
            yield case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=list(SEEDS))
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="[default: one for each core]")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help="the first case [default: 0]")
    parser.add_argument("--last", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.seed, given.first, given.last, given.kind)
        return
    started, counts, peak, defects = time.monotonic(), Counter[tuple[str, str]](), 0, 0
    last = given.first + given.number
    for case, memory in side_by_side(given.seed, given.first, last, given.kind, max(1, given.workers)):
        found = case.found if memory <= MEMORY or peak > MEMORY else "memory"
        peak = max(peak, memory)
        counts[case.kind, found] += 1
        done = sum(counts.values())
        if found in ("crash", "hang", "memory", "outside read") or is_defect(found):
            defects += 1
            given.keep.mkdir(parents=True, exist_ok=True)
            path, _ = make(given.keep, given.seed, case.number, case.kind)
            path.rename(path.with_stem(f"{case.number}-{case.kind}"))
            print(f"case {case.number} ({case.kind}: {case.changes}): {found}\n{case.said}", flush=True)
        if done % 1000 == 0:
            left = (time.monotonic() - started) / done * (given.number - done)
            print(f"{done}/{given.number} cases, {defects} defects, {left:.0f} s left", file=sys.stderr, flush=True)
    for (kind, found), number in sorted(counts.items()):
        print(f"{kind:10} {found:18} {number:8}")
    print(f"{sum(counts.values())} cases, {defects} defects, peak memory {peak / 2**20:.0f} MiB")
    sys.exit(defects > 0)


if __name__ == "__main__":
    main()
