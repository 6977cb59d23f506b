"""From the files of deployed runs to what a person reads: the report of a run, and runs side by side."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import read_json, read_text, writable, write_text
from ...search.run_lock import claimed
from ...search.runs import Run
from .compare import Comparison, compare
from .comparison_page import comparison_markdown, render_comparison
from .markdown import markdown
from .page import render, require
from .verdict import twin_accuracy


def write_reports(run: Run) -> None:
    """report.html and report.md of a deployed run.

    Raises InputError where a file of it is missing or damaged, and while another command works on the run.
    """
    with claimed(run.path):
        _write_reports(run)


def _write_reports(run: Run) -> None:
    manifest, metrics = read_json(run.manifest) | {"name": run.path.name}, read_json(run.metrics)
    equivalence, energy = _deployed(run), _json(run.energy)
    with _of(run):
        page = render(
            manifest=manifest,
            metrics=metrics,
            equivalence=equivalence,
            energy=energy,
            activity=_json(run.activity),
            cells_svg=_text(run.cells_svg),
            history_svg=_text(run.history_svg),
        )
        text = markdown(manifest=manifest, metrics=metrics, equivalence=equivalence, energy=energy)
    write_text(run.report, page)
    write_text(run.report_md, text)


def compare_runs(runs: Sequence[Run], out: Path) -> Comparison:
    """Write the comparison of deployed runs to `out` (HTML) and beside it as Markdown.

    The accuracy of a run is that of its twin on the test split, or of the float network where there is no twin. Raises
    InputError where a run was not deployed, and where two have one name.
    """
    if out.suffix == ".md":
        raise InputError(f"'{out}' is where its Markdown goes; give the HTML another ending, as {out.stem}.html.")
    for path in (out, out.with_suffix(".md")):
        writable(path)
    found = []
    for run in runs:
        equivalence, metrics = _deployed(run), read_json(run.metrics)
        twin, energy = twin_accuracy(equivalence["checks"]), _json(run.energy)
        if energy is not None:
            with _of(run):
                require("energy", energy)
        found.append(
            {
                "name": run.path.resolve().name,
                "accuracy": twin["accuracy"] if twin else metrics.get("test_accuracy"),
                "energy": energy,
                "equivalence": equivalence,
            }
        )
    comparison = compare(found)
    write_text(out, render_comparison(comparison))
    write_text(out.with_suffix(".md"), comparison_markdown(comparison))
    return comparison


def _deployed(run: Run) -> dict[str, Any]:
    if not run.equivalence.is_file():
        raise InputError(f"The run '{run.path}' was not deployed; run `spikeport deploy --run {run.path}` first.")
    found = read_json(run.equivalence)
    checks = found.get("checks")
    if "verdict" not in found or not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
        raise InputError(
            f"'{run.equivalence}' must have verdict and checks, a list of tables; run `spikeport deploy` again."
        )
    return found


@contextmanager
def _of(run: Run) -> Iterator[None]:
    """Whatever is wrong with the files of a run names it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"'{run.path}': {error}") from error


def _json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def _text(path: Path) -> str | None:
    return read_text(path) if path.is_file() else None
