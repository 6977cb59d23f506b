"""What a person sees: progress on stderr, results as tables or, with --json, as one object."""

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .files import read_json
from .search.launch import is_first
from .search.runs import Run, read_metrics
from .search.training.progress import ProgressEvent

if TYPE_CHECKING:  # what a command shows it has imported itself; help and errors shall not wait for it
    from .deploy.doctor import Finding
    from .deploy.mapping.fit.source import FitSource
    from .deploy.mapping.fit.verdict import Fit
    from .deploy.netx_table import Inspection
    from .deploy.pipeline import Deployment
    from .deploy.report.compare import Comparison
    from .deploy.run.netx import RunProgress, RunSummary
    from .export.netx.file import Remark

SOON_S = 5  # a run that takes less shows no progress
WAITS_MUCH = 0.05  # of a step's time, from which on it is told


class Console:
    """Progress on stderr (none with --quiet), one result on stdout."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet or not is_first()
        plain: Any = {"markup": False, "emoji": False}  # names of files and layers mean what they say
        self.out, self.err = RichConsole(**plain), RichConsole(stderr=True, **plain)
        self.command = shlex.join(["spikeport", *sys.argv[1:]])
        self._bar: Progress | None = None
        self._tasks: dict[str, Any] = {}

    def tell(self, sentence: str) -> None:
        """A stage begins: a line; on a terminal it turns until the next one and shows how long it takes."""
        self.close()
        if self.quiet:
            return
        if not self.err.is_terminal:
            self.err.print(sentence, highlight=False, markup=False, soft_wrap=True)
            return
        columns = (
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=self.err)
        self._tasks = {"stage": self._bar.add_task(sentence, total=1)}
        self._bar.start()

    def caution(self, sentence: str) -> None:
        """What a person should know about the result: a line on stderr, also with --quiet."""
        self.close()
        if is_first():
            self.err.print(f"warning: {sentence}", highlight=False, markup=False, soft_wrap=True)

    def step(self, event: ProgressEvent) -> None:
        """A batch is done: one bar per stage."""
        if self.quiet:
            return
        if not self.err.is_terminal:
            if event.step == event.steps:
                self.err.print(_sentence(event), highlight=False, soft_wrap=True)
            return
        if self._bar is None or "stage" in self._tasks:
            self.close()
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=self.err)
            self._bar.start()
        if event.stage not in self._tasks:
            total = event.epochs * event.steps
            self._tasks[event.stage] = self._bar.add_task(event.stage, total=total, note="")
        done = (event.epoch - 1) * event.steps + event.step
        self._bar.update(self._tasks[event.stage], completed=done, note=_numbers(event))

    def ran_so_far(self, event: "RunProgress") -> None:
        """Some samples have been run; a run that is over soon says nothing."""
        if self.quiet or (self._bar is None and event.seconds_left + event.seconds < SOON_S):
            return
        left = _clock(event.seconds_left)
        if not self.err.is_terminal:
            tenth = int(10 * event.fraction)
            if tenth > self._tasks.get("run", 0):
                self._tasks["run"] = tenth
                self.err.print(f"{event.done:,} of {event.samples:,} samples, {left} left", highlight=False)
            return
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Progress(*columns, console=self.err)
            self._tasks = {"run": self._bar.add_task("running", total=1, note="")}
            self._bar.start()
        note = f"{event.done:,}/{event.samples:,} samples  {left} left"
        self._bar.update(self._tasks["run"], completed=event.fraction, note=note)

    def close(self) -> None:
        """What turns stands still; what has begun counts as done."""
        if self._bar is not None:
            if "stage" in self._tasks:
                self._bar.update(self._tasks["stage"], completed=1)
            self._bar.stop()
            self._bar, self._tasks = None, {}

    def result(self, shown: tuple[Mapping[str, Any], Iterable[Table | str]]) -> None:
        """(what --json prints, what a person reads). Of several processes the first speaks."""
        self.close()
        if not is_first():
            return
        data, parts = shown
        if self.as_json:
            click.echo(json.dumps(data, indent=2))
            return
        for part in parts:
            self.out.print(part, highlight=False, soft_wrap=isinstance(part, str))

    def searched(self, run: Run, missed: Sequence[str] = ()) -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        metrics = read_metrics(run)
        table = titled_table("Found and trained", "", "")
        table.add_row("test accuracy", f"{metrics['test_accuracy']:.4f}")
        table.add_row("spikes per inference", f"{metrics['spikes_per_inference']:.0f}")
        table.add_row("SOPs per inference", f"{metrics['sops_per_inference']:.0f}")
        table.add_row("parameters", f"{metrics['parameters']:,}")
        table.add_row("cells", str(run.cells_svg))
        data = {"run": str(run.path), "metrics": metrics, "genotype": read_json(run.genotype), "missed": list(missed)}
        drawn = read_json(run.candidates) if run.candidates.exists() else None
        parts = [table] if drawn is None else [_candidates(drawn), table]
        return data | ({} if drawn is None else drawn), [
            *parts,
            *missed,
            f"next: spikeport export {run.path}{_last_epochs(run)}",
        ]

    def exported(self, run: Run, folders: list[Path]) -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        table = titled_table("Exported", "target", "files")
        for folder in folders:
            table.add_row(folder.name, "\n".join(str(path) for path in sorted(folder.iterdir())))
        data = {"run": str(run.path), "targets": {folder.name: str(folder) for folder in folders}}
        return data, [table, f"next: spikeport deploy {run.path}"]

    def deployed(self, found: "Deployment") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        checks = found.equivalence["checks"]
        table = titled_table(
            f"Verdict: {found.equivalence['verdict']}", "check", "forms", "spikes compared", "differ", "result"
        )
        for check in checks:
            table.add_row(
                check["name"],
                f"{check['reference']} / {check['candidate']}",
                _count(check["spikes_compared"]),
                _count(check["spikes_differing"]),
                check["verdict"] or f"not run: {check['reason']}",
            )
        parts: list[Table | str] = [table, *_divergences(checks), *_costs(found.energy), _headline(found, checks)]
        parts += [f"not confirmed by '{c['name']}': {c['reason']}" for c in checks if c["status"] == "not run"]
        data = {
            "run": str(found.run.path),
            **found.equivalence,
            "energy": found.energy,
            "report": str(found.run.report),
        }
        return data, [*parts, f"report: {found.run.report}"]

    def priced(
        self, file: Path, found: Mapping[str, Any], out: Path | None
    ) -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        counts = found["counts"]
        spikes = counts["spikes"]["mean"] + counts["input_spikes"]["mean"]
        head = (
            f"{file}: {found['samples']} samples of {found['time_steps']} steps; {spikes:.0f} spikes "
            f"and {counts['synaptic_operations']['mean']:.0f} SOPs per inference"
        )
        kept = f"everything: {out}" if out else "--out energy.json keeps everything, terms, sources and the mapping"
        return {"file": str(file), **found}, [head, *_costs(found), kept]

    def reported(self, run: Run) -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        files = [str(run.report), str(run.report_md)]
        return {"run": str(run.path), "files": files}, [f"report: {file}" for file in files]

    def compared(self, found: "Comparison", out: Path) -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        files = [str(out), str(out.with_suffix(".md"))]
        headers = ("run", "verdict", "accuracy", "energy, uJ", "latency, us", "cores", "Pareto-optimal in")
        table = titled_table(f"Priced by {found.profile or 'no list that all have'}", *headers)
        for run in found.runs:
            numbers = (
                run.accuracy and f"{run.accuracy:.4f}",
                run.energy_j and f"{run.energy_j * 1e6:.3f}",
                run.latency_s and f"{run.latency_s * 1e6:.1f}",
            )
            best = ", ".join(cost for cost, names in found.pareto.items() if run.name in names)
            table.add_row(run.name, run.verdict.word, *(n or "-" for n in numbers), _count(run.cores), best or "-")
        lacks = [f"{run.name} lacks {'; '.join(run.lacks)}" for run in found.runs if run.lacks]
        return asdict(found) | {"files": files}, [table, *lacks, *(f"comparison: {file}" for file in files)]

    def inspected(self, found: "Inspection") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        headers = ("layer", "type", "shape", "neurons", "synapses", "weights", "bits", "threshold", "forgets")
        table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
        for header in headers:
            table.add_column(header, overflow="fold")
        for row in found.rows:
            forgets = (row.current_forgets, row.membrane_forgets)
            table.add_row(
                str(row.layer),
                row.type + (f", delays <= {row.longest_delay}" if row.longest_delay else ""),
                "x".join(map(str, row.shape)),
                _count(row.neurons or None),
                _count(row.synapses or None),
                "-" if row.weights is None else f"{row.weights[0]:g}..{row.weights[1]:g}",
                _count(row.bits),
                f"{row.threshold[0]}..{row.threshold[1]}"
                if isinstance(row.threshold, tuple)
                else _count(row.threshold),
                ", ".join(
                    "-"
                    if part is None
                    else "..".join(f"{n:.3g}" for n in (part if isinstance(part, tuple) else (part,)))
                    for part in forgets
                ),
            )
        note = "forgets: what a step forgets of current and membrane"
        populations = [
            f"layer/{row.layer}: " + ", ".join(f"{number} {role}" for role, number in row.populations.items())
            for row in found.rows
            if row.populations
        ]
        head = f"{found.file.path}: {found.verdict}"
        return found.as_json(), [head, table, note, *populations, *_remarks(found.remarks)]

    def fitted(self, source: "FitSource", found: "Fit") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        from .deploy.mapping.fit.words import advice, contents, headline

        table = titled_table("", "level", "populations", "neurons", "cores", "fullest limit", "used")
        for layer in found.layers:
            table.add_row(
                str(layer.layer),
                contents(source, layer),
                _count(layer.neurons),
                _count(layer.cores),
                layer.limit or "-",
                "-" if layer.use is None else f"{layer.use:.1%}",
            )
        lines = [headline(source, found), *advice(source, found)]
        return {"source": str(source.path), **found.as_json()}, [*lines, table, *(f"note: {n}" for n in found.notes)]

    def ran(self, file: Path, found: "RunSummary", out: Path | None) -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        table = titled_table("", "layer", "neurons", "spikes", "per neuron and step")
        layers = []
        for index, total in found.spikes.items():
            shape = found.shapes[index]
            rate = total / (found.samples * found.time_steps * prod(shape))
            layers.append({"layer": index, "shape": shape, "spikes": total, "rate": rate})
            table.add_row(str(index), _count(prod(shape)), _count(total), f"{rate:.4f}")
        data = {
            "file": str(file),
            "samples": found.samples,
            "time_steps": found.time_steps,
            "layers": layers,
            "seconds": found.seconds,
            "out": str(out) if out else None,
            "remarks": [asdict(remark) for remark in found.network.remarks],
            "cautions": found.cautions,
        }
        kept = f"spikes and membranes: {out}" if out else "--out RESULT.npz keeps spikes and membranes"
        head = f"{file}: {found.samples} samples of {found.time_steps} steps, {found.seconds:.2f} s"
        return data, [head, table, *_remarks(found.network.remarks), kept]

    def examined(self, findings: "Iterable[Finding]") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
        table = titled_table("spikeport doctor", "", "part", "found", "what mends it")
        for finding in findings:
            table.add_row(
                "ok" if finding.ok else "missing", finding.name, finding.found, "" if finding.ok else finding.mend
            )
        return {"findings": [asdict(finding) for finding in findings]}, [table]


def titled_table(title: str, *headers: str) -> Table:
    table = Table(title=title or None, title_justify="left", show_header=any(headers))
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def _last_epochs(run: Run) -> str:
    """What is left of the training to an export, as the rest of its command."""
    from .search.settings.file import recorded_settings

    left = recorded_settings(run).training.chip_aware
    return f" --target loihi (which trains the last {left} epochs)" if left else ""


def _candidates(drawn: Mapping[str, Any]) -> Table:
    """The cells that a search trained, the best marked."""
    table = titled_table("Cells that were trained", "", "validation", "test", "parameters", "spikes", "SOPs")
    for row in drawn["candidates"]:
        table.add_row(
            row["name"] + (" best" if row["name"] == drawn["best"] else ""),
            f"{row['validation_accuracy']:.4f}",
            f"{row['test_accuracy']:.4f}",
            _count(row["parameters"]),
            f"{row['spikes_per_inference']:.0f}",
            f"{row['sops_per_inference']:.0f}",
        )
    return table


def _remarks(remarks: "Iterable[Remark]") -> list[str]:
    return [f"{remark.level}: layer/{remark.layer}: {remark.text}" for remark in remarks]


def _divergences(checks: list[dict[str, Any]]) -> list[str]:
    return [
        f"{check['name']}: first divergence in population '{first['population']}', sample {first['sample']}, "
        f"step {first['step']}, neuron {tuple(first['neuron'])}: {first['cause']}"
        for check in checks
        if (first := check["first_divergence"])
    ]


def _headline(found: "Deployment", checks: list[dict[str, Any]]) -> str:
    """Accuracy, spikes and energy in one line."""
    parts = []
    for check in checks:
        if check["accuracy_reference"] is not None:
            parts.append(
                f"accuracy {check['accuracy_reference']:.4f} float, {check['accuracy_candidate']:.4f} on the chip"
            )
    if found.energy is not None:
        name = found.energy["per_population_profile"]
        profile = found.energy["profiles"][name]
        counts = profile["counts"]
        spikes = counts["spikes"] + counts["input_spikes"]
        parts.append(f"{spikes:.0f} spikes and {counts['synaptic_operations']:.0f} SOPs per inference")
        if profile["energy_j"]:
            energy = f"{profile['energy_j']['total'] * 1e6:.3f} uJ"
            parts.append(f"{energy} ({name}, {len(profile['unpriced'])} terms unpriced)")
    return "; ".join(parts) or "nothing exported for a chip: no energy"


def _costs(energy: Mapping[str, Any] | None) -> list[Table]:
    """One row for each price list; a total is dynamic energy, static power and host, where the list has them."""
    if energy is None:
        return []
    headers = ("price list", "dynamic uJ", "total uJ", "latency us", "cores", "unpriced")
    table = titled_table("One inference", *headers)
    table.columns[0].no_wrap = True
    for name, profile in energy["profiles"].items():
        mapping = energy["mappings"].get(profile["mapping"]) or {}
        total = profile["energy_j"]
        table.add_row(
            name,
            _micro(profile["dynamic_j"]),
            _micro(total and total["total"]),
            _micro(profile["latency_s"]),
            _count(mapping.get("cores")) if mapping.get("fits", True) else "too large",
            f"{len(profile['unpriced'])} terms",
        )
    return [table]


def _micro(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e6:.3f}"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _sentence(event: ProgressEvent) -> str:
    return f"{event.stage} epoch {event.epoch}/{event.epochs}: {_numbers(event)}"


def _numbers(event: ProgressEvent) -> str:
    left = _clock(event.seconds_left)
    waited = f"waits {event.waited:.0%} for images  " if event.waited >= WAITS_MUCH else ""
    return f"loss {event.loss:.3f}  accuracy {event.accuracy:.3f}  spikes {event.spikes:.0f}  {waited}{left} left"


def _clock(duration_s: float) -> str:
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{minutes}:{seconds:02d}"
