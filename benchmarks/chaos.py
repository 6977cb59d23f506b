"""Whatever is done to a run, it ends with the bytes of an undisturbed one, or is refused in one line.

    python benchmarks/chaos.py [KILLS] [--others 20] [--stages search,export,deploy] [--seed 0]

KILLS (default 200) times a search with trials and training, an export or a deploy is stopped at a random moment, by
SIGKILL or SIGTERM, started again, perhaps stopped again, and in the end left alone. --others says how often each of
these is done: `limit`, files may not grow above a random size (RLIMIT_FSIZE; a disk that is full says the same in other
words); `tmpfs`, the disk is full (where this process may mount one, else that is told); `read-only`, the folders are
closed; `two`, while a command works on the run, and stands still, others want to write there.

After each blow every file must be whole or absent, what was said must be no traceback and end in one line; after the
last start all files must be those of the undisturbed run, byte for byte but for the seconds that a check took, and
nothing may lie beside them. A row per blow, then totals; exit code 1 if anything was wrong.

Children are forked from this process, which has imported and tried everything: a Python with torch takes seconds to
start, a fork milliseconds. It uses one thread, for threads do not survive a fork, and trains and compiles nothing.
"""

import argparse
import ctypes
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numba  # noqa: F401 (it and the next are what a search imports when it needs it)
import numpy as np
import onnx
import torch
import torch._dynamo

from spikeport import cli
from spikeport.deploy import pipeline as deploying  # noqa: F401 (so that no child has to import it)
from spikeport.export import targets as exporting
from spikeport.export.netx.writer import read_graph
from spikeport.search import pipeline as searching
from spikeport.search.run_lock import LOCK
from spikeport.search.tensors import load_tensors

SETTINGS = (
    *("--primitives", "plain", "--channels", "2", "--cells", "3", "--time-steps", "2", "--shift", "1", "--device"),
    *("cpu", "--batch-size", "12", "--search-epochs", "2", "--trials", "2", "--trial-epochs", "1", "--train-epochs"),
    *("2", "--alpha-learning-rate", "0.1", "--learning-rate", "0.1", "--train-learning-rate", "0.1", "--seed", "3"),
)
STAGES = {"search": 6, "export": 1, "deploy": 3}  # stage -> how often, because an export takes ten times as long
KILLS = {"SIGKILL": 0.7, "SIGTERM": 0.3}
AGAIN = 0.5  # the share of starts after a kill that are killed, too
LONGEST_S = 120.0  # a command that takes longer hangs
DAC_OVERRIDE, DAC_READ_SEARCH, CAPABILITY_VERSION = 1, 2, 0x20080522  # linux/capability.h
SECONDS = re.compile('data-value="[^"]*">[\\d.,]+\u00a0[num\u00b5]?s<')  # of the report's tables

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """code: the exit code, or minus the signal. said: stdout and stderr."""

    code: int
    said: str
    seconds: float

    @property
    def last(self) -> str:
        return self.said.strip().rpartition("\n")[2].strip()


class Child:
    """A spikeport command, forked."""

    def __init__(self, place: Path, words: Sequence[str], before: Callable[[], None] = lambda: None) -> None:
        self.pipe, write = os.pipe()
        sys.stdout.flush()
        self.start, self.said = time.monotonic(), b""
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_command(place, words, before, write))
        os.close(write)

    def ended(self, blow: signal.Signals | None = None, after_s: float = 0) -> Ended:
        """Wait for its end, which `blow` may bring."""
        due = self.start + (LONGEST_S if blow is None else after_s)
        while True:
            readable, _, _ = select.select([self.pipe], [], [], max(0, due - time.monotonic()))
            if readable:
                if not (more := os.read(self.pipe, 2**16)):
                    break
                self.said += more
            elif time.monotonic() >= due:
                os.kill(self.pid, blow or signal.SIGABRT)
                due, blow = time.monotonic() + LONGEST_S, None
        os.close(self.pipe)
        _, status = os.waitpid(self.pid, 0)
        said = self.said.decode(errors="replace")
        return Ended(os.waitstatus_to_exitcode(status), said, time.monotonic() - self.start)


def _command(place: Path, words: Sequence[str], before: Callable[[], None], output: int) -> int:
    try:
        os.chdir(place)
        os.dup2(output, 1)
        os.dup2(output, 2)
        torch.set_num_threads(1)  # makes torch's pool anew, which else two threads might do at once, and abort
        sys.argv = ["spikeport", *words]
        before()
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 (what Python would do)
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def files_of(run: Path) -> Files:
    """Everything in a run; times are left out."""
    found = {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted(run.rglob("*")) if not p.is_dir()}
    for name in ("deploy/equivalence.json", "deploy/report.html"):
        if name in found:
            text = re.sub(r'"seconds": [^,\n]+', '"seconds": 0', found[name].decode(errors="replace"))
            found[name] = SECONDS.sub("", text).encode()
    return found


def is_whole(path: Path) -> bool:
    """Whether a file is one that its kind can be read from."""
    readers: dict[str, Callable[[], object]] = {
        ".json": lambda: json.loads(path.read_bytes()),
        ".jsonl": lambda: [json.loads(line) for line in path.read_text().splitlines()],
        ".safetensors": lambda: load_tensors(path),
        ".onnx": lambda: onnx.checker.check_model(str(path)),
        ".net": lambda: read_graph(path),
    }
    if path.suffix in (".svg", ".html"):
        return path.read_text().rstrip().endswith(f"</{path.suffix[1:]}>")
    try:
        readers.get(path.suffix, path.read_bytes)()
    except Exception:  # noqa: BLE001 (whatever a reader says of a damaged file)
        return False
    return path.stat().st_size > 0 or path.suffix == ".jsonl"  # a history of no epoch yet


def after_a_blow(run: Path, ended: Ended) -> list[str]:
    """What is wrong with the files and with what was said. Hidden files are ours to remove, later."""
    files = [p for p in run.rglob("*") if p.is_file() and not any(part.startswith(".") for part in p.parts)]
    wrong = [f"{path.relative_to(run)} is not whole" for path in files if not is_whole(path)]
    if "Traceback" in ended.said or "Exception ignored" in ended.said:
        wrong.append("a traceback: " + ended.last)
    if ended.code not in (0, 1, -signal.SIGKILL, -signal.SIGTERM):
        wrong.append(f"exit code {ended.code}: {ended.last!r}")
    if ended.code == 1 and not ended.last.startswith("spikeport: "):
        wrong.append(f"exit code 1 without a word: {ended.last!r}")
    return wrong


def differences(found: Files, expected: Files) -> list[str]:
    names = sorted(found.keys() | expected.keys())
    words = {name: "is missing" if name not in found else "is left" for name in found.keys() ^ expected.keys()}
    return [f"{name} {words.get(name, 'differs')}" for name in names if found.get(name) != expected.get(name)]


class Chaos:
    """expected: of each stage, the files of the run after it. seconds: what it took undisturbed."""

    def __init__(self, work: Path, stages: Sequence[str], rng: random.Random, tell: Callable[[str], None]) -> None:
        self.work, self.stages, self.rng, self.tell = work, stages, rng, tell
        self.number, self.kills, self.wrong = 0, 0, 0
        self.totals, self.images = Counter[tuple[str, str, str]](), _images(work)
        self.expected: dict[str, Files] = {}
        self.seconds: dict[str, float] = {}
        whole = work / "whole"
        whole.mkdir()
        for stage in [*STAGES][: 1 + max(map([*STAGES].index, stages))]:
            if stage == "export":  # here, so that the children need not warm up
                os.chdir(whole)
                exporting.export(searching.Run(Path("run")), "all", lambda sentence: None)
            shutil.copytree(whole, work / "first")
            for place in (work / "first", whole):  # the first time compiles what a cache then has
                ended = Child(place, self.words(stage, place)).ended()
                if ended.code:
                    raise SystemExit(f"the undisturbed {stage} ended with exit code {ended.code}: {ended.said}")
                searching.draw_history(searching.read_history(searching.Run(place / "run")))  # so that fonts are known
            self.expected[stage], self.seconds[stage] = files_of(whole / "run"), ended.seconds
            if wrong := differences(files_of(work / "first" / "run"), self.expected[stage]):
                raise SystemExit(f"two undisturbed runs are not the same: {', '.join(wrong)}")
            shutil.rmtree(work / "first")
            shutil.copytree(whole, work / stage)
            tell(f"undisturbed {stage}: {ended.seconds:.1f} s, {len(self.expected[stage])} files")

    def words(self, stage: str, place: Path) -> list[str]:
        if stage == "search" and (place / "run" / "manifest.json").exists():
            return ["search", "--resume", "--out", "run"]
        new = ["search", "--out", "run", "--dataset", self.images, *SETTINGS]
        return {"search": new, "export": ["export", "run"], "deploy": ["deploy", "run", "--no-lava"]}[stage]

    @contextmanager
    def place(self) -> Iterator[tuple[str, Path]]:
        """A stage, drawn, and a folder in which the stages before it are done."""
        stage = self.rng.choices(self.stages, [STAGES[stage] for stage in self.stages])[0]
        place, before = self.work / "place", [*STAGES].index(stage) - 1
        shutil.copytree(self.work / [*STAGES][before], place) if before >= 0 else place.mkdir()
        yield stage, place
        shutil.rmtree(place)

    def row(self, stage: str, how: str, when: str, wrong: Sequence[str], outcome: str) -> None:
        self.number += 1
        self.wrong += bool(wrong)
        self.totals[stage, how, "WRONG" if wrong else outcome] += 1
        outcome = f"WRONG: {'; '.join(wrong)}" if wrong else outcome
        self.tell(f"{self.number:4d}  {stage:7} {how:9}  {when:60.60}  {outcome}")

    def to_the_end(self, stage: str, place: Path) -> list[str]:
        """What is wrong after an undisturbed start."""
        ended = Child(place, self.words(stage, place)).ended()
        wrong = after_a_blow(place / "run", ended) + differences(files_of(place / "run"), self.expected[stage])
        return wrong + [f"started again: exit code {ended.code}, {ended.last}"] * (ended.code != 0)

    def kill(self, most: int) -> None:
        """A run is stopped once or several times, then left alone."""
        with self.place() as (stage, place):
            rows: list[tuple[str, str]] = []
            wrong: list[str] = []
            while not rows or (self.kills < most and self.rng.random() < AGAIN):
                how = self.rng.choices([*KILLS], [*KILLS.values()])[0]
                moment = self.rng.uniform(0, self.seconds[stage])
                ended = Child(place, self.words(stage, place)).ended(signal.Signals[how], moment)
                wrong += after_a_blow(place / "run", ended)
                rows.append((how if ended.code else "none", f"{moment:5.2f} s, {ended.last or 'nothing said yet'}"))
                if ended.code == 0:  # it was done before
                    break
                self.kills += 1
            wrong += self.to_the_end(stage, place)
            for number, (how, when) in enumerate(rows, 1):
                done = "done before the kill" if how == "none" else "goes on to the same bytes"
                self.row(stage, how, when, wrong if number == len(rows) else [], done)

    def blown(self, stage: str, place: Path, how: str, when: str, ended: Ended, mend: Callable[[], object]) -> None:
        """After a command that may have been refused: mend the cause, start again."""
        wrong = after_a_blow(place / "run", ended)
        mend()
        wrong += self.to_the_end(stage, place)
        done = "refused in one line, then the same bytes" if ended.code else "not in its way, the same bytes"
        self.row(stage, how, f"{when}, {ended.last}", wrong, done)

    def limit(self, size: int = 0) -> None:
        """size: bytes that a file may have; 0: drawn."""
        with self.place() as (stage, place):
            size = size or int(max(map(len, self.expected[stage].values())) ** self.rng.uniform(0.3, 1.05))
            before = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
            ended = Child(place, self.words(stage, place), before).ended()
            self.blown(stage, place, "limit", f"{size} bytes", ended, lambda: None)

    def tmpfs(self) -> None:
        with self.place() as (stage, place), tmpfs(self.work / "disk") as disk:
            used = sum(-(-p.stat().st_size // 4096) + 1 for p in place.rglob("*")) * 4
            more = sum(-(-len(data) // 4096) + 1 for data in self.expected[stage].values()) * 4
            size = used + self.rng.randint(0, more)
            mount("-o", f"remount,size={max(4, size)}k", str(disk))
            shutil.copytree(place, disk / "place", symlinks=True)
            ended = Child(disk / "place", self.words(stage, disk / "place")).ended()
            mend = partial(mount, "-o", "remount,size=256m", str(disk))
            self.blown(stage, disk / "place", "tmpfs", f"{size - used} KiB free", ended, mend)

    def read_only(self) -> None:
        with self.place() as (stage, place):
            folders = [path for path in (place, *place.rglob("*")) if path.is_dir()]
            before = files_of(place)
            _ = [folder.chmod(0o555) for folder in folders]
            ended = Child(place, self.words(stage, place), obey_permissions).ended()
            changed = differences(files_of(place), before)
            _ = [folder.chmod(0o755) for folder in folders]
            if ended.code == 1 and not changed:
                self.blown(stage, place, "read-only", "at the start", ended, lambda: None)
            else:
                self.row(stage, "read-only", ended.last, changed or ["it was not refused"], "")

    def two(self) -> None:
        with self.place() as (stage, place):
            first = Child(place, self.words(stage, place))
            lock, manifest = place / "run" / LOCK, place / "run" / "manifest.json"
            while not (manifest.exists() and _text(lock)):
                if os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    raise SystemExit(f"no lock was taken: {first.ended().said}")
                time.sleep(0.002)
            time.sleep(self.rng.uniform(0, 0.2))
            os.kill(first.pid, signal.SIGSTOP)
            wrong = []
            others = (["search", "--resume", "--out", "run"], ["export", "run"], ["deploy", "run"], ["report", "run"])
            held = lock.exists()
            for words in others if held else ():
                ended = Child(place, words).ended()
                if ended.code != 1 or ended.said.count("\n") != 1 or f"process {first.pid} on" not in ended.said:
                    wrong.append(f"{words[0]} beside it: exit code {ended.code}, {ended.said}")
            os.kill(first.pid, signal.SIGCONT)
            if killed := self.rng.random() < 0.5:
                os.kill(first.pid, signal.SIGKILL)
            ended = first.ended()
            wrong += [] if killed else differences(files_of(place / "run"), self.expected[stage])
            wrong += after_a_blow(place / "run", ended) + self.to_the_end(stage, place)
            how = "then it is killed" if killed else "then it goes on"
            self.row(stage, "two", how, wrong, "refused in one line, then the same bytes" if held else "done before")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _images(work: Path) -> str:
    """Few images of three classes: the class is the row that is lit. The name of the data set."""
    rng = np.random.default_rng(5)
    labels = np.arange(60) % 3
    images = rng.integers(0, 50, (60, 4, 4, 1)).astype(np.uint8)
    images[np.arange(60), labels] += 200
    for split, part in (("train", slice(48)), ("test", slice(48, None))):
        np.savez(work / f"{split}.npz", images=images[part], labels=labels[part])
    return f"npz:{work / 'train.npz'},{work / 'test.npz'}"


def obey_permissions() -> None:
    """Root obeys no permission bits unless it gives up the capability not to."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        header, data = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
        taken = libc.capget(header, data)
        for effective_or_permitted in (0, 1):
            data[effective_or_permitted] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
        if taken or libc.capset(header, data):
            raise OSError(ctypes.get_errno(), "capset")


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


@contextmanager
def tmpfs(disk: Path) -> Iterator[Path]:
    disk.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", "size=256m", "none", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def can_mount(work: Path) -> bool:
    with suppress(OSError, subprocess.CalledProcessError), tmpfs(work / "disk"):
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=200)
    parser.add_argument("--others", type=int, default=20, help="how often each of the other blows")
    parser.add_argument("--stages", default=",".join(STAGES), help="which of them are disturbed")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tell = partial(print, flush=True)
    with tempfile.TemporaryDirectory(prefix="spikeport-chaos-") as folder:
        work = Path(folder).resolve()
        chaos = Chaos(work, options.stages.split(","), random.Random(options.seed), tell)
        mounts = can_mount(work)
        for blow in (chaos.limit, *([chaos.tmpfs] if mounts else []), chaos.read_only, chaos.two):
            for _ in range(options.others):
                blow()
        while chaos.kills < options.kills:
            chaos.kill(options.kills)
    print()
    for (stage, how, outcome), times in sorted(chaos.totals.items()):
        print(f"{times:5}  {stage:7} {how:9} {outcome}")
    print(f"{chaos.kills} kills, {chaos.number} blows, {chaos.wrong} wrong" + ("" if mounts else "; no tmpfs here"))
    sys.exit(1 if chaos.wrong else 0)


if __name__ == "__main__":
    main()
