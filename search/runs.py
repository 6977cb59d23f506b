"""The run folder: where every result of one run lies."""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json, write_json
from ..path_kind import RUN, expected, kind_of
from .launch import launched

METRICS = ("test_accuracy", "spikes_per_inference", "sops_per_inference", "parameters")  # that every run has
PACKAGES = ("numpy", "spikeport", "spikingjelly", "torch")


@dataclass(frozen=True, slots=True)
class Run:
    """The paths of one run; a file exists once its stage has written it."""

    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def genotype(self) -> Path:
        return self.path / "search" / "genotype.json"

    @property
    def history(self) -> Path:
        return self.path / "search" / "history.jsonl"

    @property
    def cells_svg(self) -> Path:
        return self.path / "search" / "cells.svg"

    @property
    def history_svg(self) -> Path:
        return self.path / "search" / "history.svg"

    @property
    def search_checkpoint(self) -> Path:
        return self.path / "search" / "checkpoint.safetensors"

    @property
    def candidates(self) -> Path:
        return self.path / "search" / "candidates.json"

    @property
    def evaluations(self) -> Path:
        return self.path / "search" / "evaluations.jsonl"

    @property
    def supernet(self) -> Path:
        return self.path / "search" / "supernet.safetensors"

    @property
    def supernet_history(self) -> Path:
        return self.path / "search" / "supernet.jsonl"

    @property
    def archive(self) -> Path:
        return self.path / "search" / "archive.json"

    @property
    def front(self) -> Path:
        return self.path / "search" / "front.json"

    @property
    def front_svg(self) -> Path:
        return self.path / "search" / "front.svg"

    def searched(self, number: int) -> "Run":
        """Of several searches by gradients the n-th, from 0: its history and what it found."""
        return Run(self.path / "searches" / f"{number + 1:03d}")

    def candidate(self, name: str) -> "Run":
        """The run of a cell that a strategy proposed, by the key of the cell."""
        return Run(self.path / "candidates" / name)

    @property
    def events(self) -> Path:
        return self.path / "events"

    @property
    def weights(self) -> Path:
        return self.path / "model" / "model.safetensors"

    @property
    def config(self) -> Path:
        return self.path / "model" / "config.json"

    @property
    def metrics(self) -> Path:
        return self.path / "model" / "metrics.json"

    @property
    def train_checkpoint(self) -> Path:
        return self.path / "model" / "checkpoint.safetensors"

    def export_folder(self, target: str) -> Path:
        return self.path / "export" / target

    @property
    def equivalence(self) -> Path:
        return self.path / "deploy" / "equivalence.json"

    @property
    def energy(self) -> Path:
        return self.path / "deploy" / "energy.json"

    @property
    def activity(self) -> Path:
        return self.path / "deploy" / "activity.json"

    @property
    def report(self) -> Path:
        return self.path / "deploy" / "report.html"

    @property
    def report_md(self) -> Path:
        return self.path / "deploy" / "report.md"


def create_run(path: Path, manifest: Mapping[str, Any]) -> Run:
    """Make the folder and write its manifest. Raises InputError when the folder already holds a run."""
    run = check_new(path)
    write_json(run.manifest, manifest)
    return run


def check_new(path: Path) -> Run:
    """The run to be in a folder. Raises InputError when the folder already holds one."""
    run = Run(Path(path))
    if run.manifest.exists():
        raise InputError(f"A new run needs a folder of its own, but '{path}' holds one; use --resume or another --out.")
    return run


def open_run(path: Path) -> Run:
    """The run in a folder, as paths. Raises InputError when the folder is missing or holds no run.

    >>> spikeport.open_run("nowhere")
    Traceback (most recent call last):
    spikeport.errors.InputError: There is no run folder 'nowhere'; make one with `spikeport search --out nowhere`.
    """
    run = Run(Path(path))
    if not run.path.exists():
        raise InputError(f"There is no run folder '{path}'; make one with `spikeport search --out {path}`.")
    if kind_of(run.path) != "folder":  # one that held a run, perhaps
        expected(run.path, RUN)
    elif not run.manifest.is_file():
        raise InputError(f"A run folder must hold manifest.json, but '{path}' does not; name the folder of a run.")
    return run


def read_metrics(run: Run) -> dict[str, Any]:
    """What the test of a run found. Raises InputError when the file is missing, damaged or of another kind."""
    found = read_json(run.metrics)
    missing = [name for name in METRICS if not isinstance(found.get(name), int | float)]
    if missing:
        raise InputError(
            f"'{run.metrics}' must be the metrics of a run, but lacks {', '.join(missing)}; delete it, and "
            f"`spikeport search --resume --out {run.path}` trains and tests again."
        )
    return found


def newest_run(root: Path = Path("runs")) -> Run:
    """The run under `root` whose manifest is the newest. Raises InputError when there is none."""
    manifests = sorted(Path(root).glob("*/manifest.json"), key=lambda path: (path.stat().st_mtime_ns, path.as_posix()))
    if not manifests:
        raise InputError(f"There is no run in '{root}'; run `spikeport search` first or name one with --run.")
    return Run(manifests[-1].parent)


def new_run_path(root: Path = Path("runs")) -> Path:
    """The next free folder `root`/<number>."""
    taken = [int(path.name) for path in Path(root).glob("*") if path.name.isdecimal()]
    return Path(root) / f"{max(taken, default=0) + 1:03d}"


def choose_folder(out: Path | None, resume: bool) -> Path:
    """The run folder that is meant: `out`; or the newest, to resume it; or a new one.

    Raises InputError when there is nothing to resume, when no folder can be written there, and when several processes
    would each choose their own.
    """
    if out is not None:
        _check_folder(out)
        return out
    if launched() > 1:
        raise InputError("Processes that train together need the same run folder; name it with --out.")
    return newest_run().path if resume else new_run_path()


def _check_folder(path: Path) -> None:
    """Raises InputError when no folder can be there, before any work is done for it."""
    for place in (path, *path.parents):
        try:
            there = place.exists()
        except OSError as error:  # a name that is too long, a folder that is closed
            raise InputError(f"'{path}' cannot be a run folder ({error.strerror}); name another --out.") from error
        if place.is_symlink() and not there:
            raise InputError(f"'{path}' cannot be a run folder, because the link '{place}' leads nowhere.")
        if there:
            if not place.is_dir():
                raise InputError(f"'{path}' cannot be a run folder, because '{place}' is a file; name another --out.")
            if not os.access(place, os.W_OK | os.X_OK):
                raise InputError(f"'{path}' cannot be written, because '{place}' is closed to you; name another --out.")
            return


def make_manifest(command: str, seed: int, dataset: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What it takes to repeat a run: command, seed, versions, git commit, dataset (name, sha256), resolved settings."""
    return {
        "command": command,
        "seed": seed,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
        "dataset": dict(dataset),
        "settings": dict(settings),
    }


def _git_commit() -> str | None:
    """The commit of spikeport's own checkout, or None when it was installed from a wheel."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # a repository further up would be somebody else's
        return None
    try:
        answer = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    except OSError:
        return None
    return answer.stdout.strip() or None
