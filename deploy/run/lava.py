"""Real Lava as a confirmation: runs a NetX file in unmodified lava-dl 0.6.0, in an environment of its own.

lava-dl 0.6.0 needs Python 3.10 exactly, so `lava_runner.py` is a script with its own dependencies. uv builds its
environment once, about 5 GB in uv's cache; after that a run starts within seconds.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, ToolError

RUNNER = Path(__file__).with_name("lava_runner.py")
BUILD_LIMIT_S = 3600.0  # downloads about 2 GB
PROBE_LIMIT_S = 60.0
GRACE_S = 3.0  # between asking Lava's processes to end and killing them: time to give back shared memory
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
HDF5_SIZE_AT = {
    0: 40,
    1: 44,
    2: 28,
    3: 28,
}  # superblock version (byte 8) -> where 8 bytes say how long the file must be
NO_PYTHON = (
    "lava-dl 0.6.0 needs Python 3.10, but none was found and none could be fetched; "
    "install one (`uv python install 3.10`) or leave real Lava out (`--no-lava`)."
)
# the last one would have Lava's imports compiled anew at each run: 18 s instead of 6 s
ASTRAY = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "PYTHONDONTWRITEBYTECODE"}

FIRST_STAGE = "loading the network"  # of each file, as `lava_runner.py` says it

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LavaResult:
    """What Lava recorded. Step t of every layer answers step t of the input: the delay per layer is removed."""

    spikes: dict[int, NDArray[np.uint8]]  # `layer/<i>` of the file -> [S, T, C, H, W] or [S, T, N], 0 or 1
    membrane: NDArray[np.int64]  # [S, T, N]: v of the last layer after each step and its reset, in the chip's unit
    seconds: float  # the run alone, without building the environment


def run_lava(
    network: Path,
    spikes: NDArray[np.uint8],
    *,
    time_limit_s: float = 1800.0,
    progress: Progress | None = None,
) -> LavaResult:
    """Run `network` (NetX HDF5) on binary `spikes` [S, T, C, H, W] or [S, T, N] in unmodified Lava, bit-accurate.

    S samples of T steps each; all state is zero at the first step of a sample. Where the file begins with an input
    layer of neurons, `spikes` are that layer's. `time_limit_s` bounds the run, not the first building of the
    environment; `progress` gets the name of each stage. No Lava process outlives the call.

    Raises InputError for a file that is not HDF5 or spikes of a wrong kind, ToolError where Python 3.10 or Lava's
    environment cannot be had, where Lava fails, and at the time limit.
    """
    return run_lava_on([(network, spikes)], time_limit_s=time_limit_s, progress=progress)[0]


def run_lava_on(
    jobs: Sequence[tuple[Path, NDArray[np.uint8]]],
    *,
    time_limit_s: float = 1800.0,
    progress: Progress | None = None,
) -> list[LavaResult]:
    """`run_lava` of several (network, spikes), one after the other, for which Lava is started once.

    The time limit is that of all; `seconds` of each is the time of all.
    """
    report = progress or _silent
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spikeport-lava-") as folder:
        command = _command(jobs, Path(folder), report)
        names = ", ".join(str(network) for network, _ in jobs)
        run = _run(command, time_limit_s, f"Lava's run of {names}", report)
        if run.code != 0:
            raise ToolError(
                f"Lava failed on {names} while {run.stage}: {run.reason()}; "
                "check that the spikes fit the network's input, or export the network again."
            )
        seconds = time.monotonic() - start
        return [_recorded(Path(folder, f"record{i}.npz"), seconds) for i in range(len(jobs))]


def try_lava_on(
    jobs: Sequence[tuple[Path, NDArray[np.uint8]]],
    *,
    silence_s: float = 60.0,
    progress: Progress | None = None,
) -> list[LavaResult | str]:
    """`run_lava_on` for files on which Lava may fail: the result of each, or Lava's error in one line.

    Lava is started once, and once more for each file that takes it down or keeps it silent for `silence_s`: where a
    neuron fails within its process, Lava's others wait for it without end and without a word.
    """
    results: dict[int, LavaResult | str] = {}
    for i, (network, _) in enumerate(jobs):
        try:
            _check_network(network)
        except InputError as error:
            results[i] = str(error)
    while left := [i for i in range(len(jobs)) if i not in results]:
        began = list[str]()

        def report(line: str, began: list[str] = began) -> None:
            began += [line] * (line == FIRST_STAGE)
            (progress or _silent)(line)

        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="spikeport-lava-") as folder:
            command = _command([jobs[i] for i in left], Path(folder), report)
            try:
                reasons = _run(command, silence_s * len(left), "Lava's run", report, silence_s=silence_s).reasons()
            except ToolError as error:
                reasons = {len(began) - 1: str(error)}
            seconds = time.monotonic() - start
            for k, i in enumerate(left):
                record = Path(folder, f"record{k}.npz")
                if record.exists():
                    results[i] = _recorded(record, seconds)
                elif k in reasons:
                    results[i] = reasons[k]
        last = left[max(0, len(began) - 1)]
        results.setdefault(last, "Lava ended without a word")
    return [results[i] for i in range(len(jobs))]


def _command(jobs: Sequence[tuple[Path, NDArray[np.uint8]]], folder: Path, report: Progress) -> list[str]:
    for network, spikes in jobs:
        _check_network(network)
        _check_spikes(spikes)
    command = [str(environment(report)), str(RUNNER)]
    for i, (network, spikes) in enumerate(jobs):
        np.save(folder / f"spikes{i}.npy", spikes)
        command += [str(network.resolve()), str(folder / f"spikes{i}.npy"), str(folder / f"record{i}.npz")]
    return command


def _recorded(record: Path, seconds: float) -> LavaResult:
    with np.load(record) as arrays:
        recorded = {int(k.removeprefix("spikes_")): arrays[k] for k in arrays.files if k.startswith("spikes_")}
        membrane = arrays["membrane"].astype(np.int64)
    return LavaResult(spikes=dict(sorted(recorded.items())), membrane=membrane, seconds=seconds)


def find_python310() -> Path | None:
    """A Python 3.10 on this machine, or None: uv's or the system's, one on PATH, pyenv's. Fetches nothing."""
    for candidate in _python310_candidates():
        try:
            answer = _ask([candidate, "-c", "import sys; print(*sys.version_info[:2], sys.executable)"])
        except OSError:
            continue
        if answer.startswith("3 10 "):
            return Path(answer.removeprefix("3 10 "))
    return None


def python310(progress: Progress | None = None) -> Path:
    """A Python 3.10: one that is here, else one that uv fetches. Raises ToolError where none can be had."""
    found = find_python310()
    if found is None:
        (progress or _silent)("fetching Python 3.10 for Lava")
        fetched = _run([_uv(), "python", "install", "3.10"], BUILD_LIMIT_S, "Fetching Python 3.10", _silent)
        found = find_python310() if fetched.code == 0 else None
    if found is None:
        raise ToolError(NO_PYTHON)
    return found


def built_environment() -> Path | None:
    """The Python of Lava's environment if it has been built, else None. Builds and fetches nothing."""
    find = [_uv(), "python", "find", "--offline", "--no-python-downloads", "--script", str(RUNNER)]
    python = Path(_ask(find))
    # where the environment is not built, uv answers with a Python that would do, or with nothing
    return python if python.name and RUNNER.stem in python.parents[1].name.replace("-", "_") else None


def environment(progress: Progress | None = None) -> Path:
    """The Python of Lava's environment, which is built first if need be. Raises ToolError where it cannot be built."""
    report = progress or _silent
    sync = [_uv(), "sync", "--script", str(RUNNER), "--python"]
    built = built_environment()
    # an environment that is complete needs no network; one that is missing or outdated does
    check = [*sync, str(built), "--offline"]  # by its own Python: to look for another takes a second
    if built and _run(check, PROBE_LIMIT_S, "Checking Lava's environment", _silent).code == 0:
        return built
    python = python310(report)
    report("building Lava's environment, once, about 5 GB")
    outcome = _run([*sync, str(python)], BUILD_LIMIT_S, "Building Lava's environment", report)
    built = built_environment() if outcome.code == 0 else None
    if built is None:
        raise ToolError(
            f"Lava's environment could not be built: {outcome.reason()}; check network and disk (5 GB), "
            "or leave real Lava out (`--no-lava`)."
        )
    return built


def lava_missing(progress: Progress | None = None) -> str | None:
    """Why real Lava cannot be run here, in one line; None if it can. Builds the environment if need be."""
    try:
        environment(progress)
    except ToolError as error:
        return str(error)
    return None


def _check_network(network: Path) -> None:
    """Refuse what Lava would take seconds to refuse. The layout: HDF5 File Format Specification 3.0, section II.A."""
    try:
        with network.open("rb") as file:
            head = file.read(64)
        size = network.stat().st_size
    except OSError as error:
        raise InputError(f"{network} cannot be read ({error.strerror}); export the network first.") from error
    if not head.startswith(HDF5_SIGNATURE):
        raise InputError(f"{network} must be an HDF5 file, but does not begin like one; export the network again.")
    at = HDF5_SIZE_AT.get(head[8]) if len(head) == 64 else None
    wanted = int.from_bytes(head[at : at + 8], "little") if at else 64
    if size < wanted:
        raise InputError(f"{network} must have {wanted} bytes, but is cut off at {size}; export the network again.")


def _check_spikes(spikes: NDArray[np.uint8]) -> None:
    if spikes.dtype != np.uint8 or spikes.ndim not in (3, 5) or spikes.size == 0:
        raise InputError(
            "Input spikes must be uint8 of shape [S, T, C, H, W] or [S, T, N], none of them 0, "
            f"but are {spikes.dtype} of shape {spikes.shape}."
        )
    if spikes.max() > 1:
        raise InputError(f"Input spikes must be 0 or 1, but the largest is {spikes.max()}.")


def _python310_candidates() -> Iterator[str]:
    yield _ask([_uv(), "python", "find", "--no-project", "--no-python-downloads", "3.10"])
    yield shutil.which("python3.10") or ""
    if pyenv := shutil.which("pyenv"):
        # pyenv's python3.10 is a shim that runs only where a 3.10 is selected; its versions run by themselves
        versions = [v for v in _ask([pyenv, "versions", "--bare"]).splitlines() if v.startswith("3.10.")]
        yield from (_ask([pyenv, "prefix", v]) + "/bin/python3.10" for v in reversed(versions))
    yield from map(str, sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python3.10"), reverse=True))


def _uv() -> str:
    try:
        import uv  # only real Lava needs it

        return uv.find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        raise ToolError("uv is not installed beside spikeport; install it with `pip install uv`.") from error


def _environ() -> dict[str, str]:
    """This process's environment without what leads another Python astray."""
    return {name: value for name, value in os.environ.items() if name not in ASTRAY}


def _ask(command: list[str]) -> str:
    """What a short command prints, or "" if it fails."""
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_LIMIT_S, env=_environ(), check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    code: int
    stage: str
    lines: tuple[str, ...]

    def reason(self) -> str:
        """The error in one line: the last `error: ...` and what follows, else the last three lines."""
        starts = [i for i, line in enumerate(self.lines) if line.startswith("error:")]
        told = self.lines[starts[-1] :] if starts else self.lines[-3:]
        return " ".join(" ".join(told).removeprefix("error:").split()).rstrip(".") or f"exit code {self.code}"

    def reasons(self) -> dict[int, str]:
        """Number of a job -> its error, of several jobs one after the other."""
        job, found = -1, dict[int, str]()
        for line in self.lines:
            job += line == f"stage: {FIRST_STAGE}"
            if line.startswith("error:"):
                found[job] = line.removeprefix("error:").strip().rstrip(".")
        return found


def _run(
    command: list[str], time_limit_s: float, what: str, report: Progress, *, silence_s: float = float("inf")
) -> _Outcome:
    """Run to the end or to the time limit; report its `stage: ...` lines and its warnings; leave no process behind.

    Raises ToolError at the limit, and where nothing was said for `silence_s`.
    """
    stage, lines = "starting", list[str]()
    deadline = time.monotonic() + time_limit_s
    with tempfile.TemporaryFile("w+b") as output, _process_group(command, output.fileno()) as process:
        read, heard = 0, time.monotonic()
        while True:
            code = process.poll()  # before the output is read, so that its last lines are seen
            output_now = os.pread(output.fileno(), 1 << 20, read)
            complete = output_now[: output_now.rfind(b"\n") + 1] if code is None else output_now
            read += len(complete)
            heard = time.monotonic() if complete else heard
            for line in complete.decode(errors="replace").splitlines():
                lines.append(line)
                if line.startswith("stage: "):
                    stage = line.removeprefix("stage: ")
                    report(stage)
                elif line.startswith("[WARNING]"):
                    report(line)
            if code is not None and not complete:
                return _Outcome(code=code, stage=stage, lines=tuple(lines))
            if code is None and time.monotonic() > heard + silence_s:
                raise ToolError(f"{what} said nothing for {silence_s:g} s while {stage}; it waits without end.")
            if code is None and time.monotonic() > deadline:
                raise ToolError(
                    f"{what} ran past its time limit of {time_limit_s:g} s while {stage}; "
                    "raise the limit or use fewer samples."
                )
            if code is None:
                time.sleep(0.02)


@contextlib.contextmanager
def _process_group(command: list[str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a session of its own; at the end, by SIGTERM too, every process in it is ended."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=_environ(),
        start_new_session=True,
    )
    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _end) if ours else None
    try:
        yield process
    finally:
        grace = GRACE_S if process.poll() is None else GRACE_S / 10  # after the run, only its stragglers are left
        with contextlib.suppress(ProcessLookupError):  # the group is empty
            os.killpg(process.pid, signal.SIGTERM)
            ends = time.monotonic() + grace
            while time.monotonic() < ends:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if ours:
            signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: object) -> None:
    """Elsewhere SIGTERM ends a process at once: every file is whole, and torch's C++ survives no exception."""
    raise SystemExit(128 + number)


def _silent(_: str) -> None:
    pass
