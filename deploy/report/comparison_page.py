"""The comparison of runs as a page of the same look, with its Pareto plots, and as Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass

from .compare import COSTS, ComparedRun, Comparison, Cost
from .figures.marks import Figure
from .figures.tradeoff import Point, pareto_figure
from .frame import rendered
from .markdown import MARKS, plain, table
from .numbers import amount, exact, percent, plural, quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A cost as the plots name it; unit "" is a count."""

    title: str
    unit: str


AXES: Mapping[Cost, Axis] = {
    "energy": Axis(title="energy of one inference", unit="J"),
    "latency": Axis(title="latency", unit="s"),
    "cores": Axis(title="cores", unit=""),
}


def render_comparison(comparison: Comparison) -> str:
    """One self-contained page: what is best, the plots, the table of runs, what each run lacks."""
    figures = {cost: figure for cost in COSTS if (figure := _figure(comparison, cost)) is not None}
    values = {
        "comparison": comparison,
        "figures": figures,
        "axes": AXES,
        "headline": headline(comparison),
        "sentence": sentence(comparison),
        "best": {run.name: optimal(comparison, run) for run in comparison.runs},
    }
    return rendered("comparison.html.j2", values)


def comparison_markdown(comparison: Comparison) -> str:
    """The same as Markdown, without the plots."""
    heads = ("run", "verdict", "accuracy", "energy", "latency", "cores", "spikes", "Pareto-optimal in")
    parts = [
        f"## {plain(headline(comparison))}",
        plain(sentence(comparison)),
        table(heads, (_row(comparison, run) for run in comparison.runs)),
    ]
    if len(comparison.profiles) > 1:
        lists = ("energy by price list", *(run.name for run in comparison.runs))
        rows = (
            (plain(name), *(quantity(run.energies_j.get(name), "J") for run in comparison.runs))
            for name in comparison.profiles
        )
        parts.append(table([plain(one) for one in lists], rows))
    parts += [f"- {plain(run.name)} lacks {plain('; '.join(run.lacks))}." for run in comparison.runs if run.lacks]
    return "\n\n".join(parts) + "\n"


def headline(comparison: Comparison) -> str:
    """The finding: which runs no other beats in accuracy and energy."""
    best = comparison.pareto["energy"]
    if not best:
        return f"{plural(len(comparison.runs), 'run')}, none of them comparable in accuracy and energy"
    if len(comparison.runs) == 1:
        return f"One run: {best[0]}"
    if len(best) == 1:
        return f"{best[0]} is best in accuracy and in energy"
    return f"{len(best)} of {len(comparison.runs)} runs are Pareto-optimal in accuracy and energy"


def sentence(comparison: Comparison) -> str:
    """By which price list the runs are compared, and how many cannot be."""
    failed = sum(run.verdict.kind == "fail" for run in comparison.runs)
    lacking = sum(bool(run.lacks) for run in comparison.runs)
    none = "No price list is common to all runs: they are not compared in energy, latency or cores."
    parts = [f"Priced by {comparison.profile}." if comparison.profile else none]
    if failed:
        parts.append(f"Failed its checks and so is never optimal: {plural(failed, 'run')}.")
    if lacking:
        parts.append(f"Lacks a number, see below: {plural(lacking, 'run')}.")
    return " ".join(parts)


def optimal(comparison: Comparison, run: ComparedRun) -> tuple[Cost, ...]:
    return tuple(cost for cost in COSTS if run.name in comparison.pareto[cost])


def _figure(comparison: Comparison, cost: Cost) -> Figure | None:
    points, missing = [], []
    for run in comparison.runs:
        price = run.cost(cost)
        if run.accuracy is None or price is None:
            missing.append(run.name)
            continue
        best, sound = run.name in comparison.pareto[cost], run.verdict.kind != "fail"
        points.append(Point(name=run.name, cost=float(price), accuracy=run.accuracy, best=best, sound=sound))
    note = f"By {comparison.profile}." if comparison.profile else ""
    note += f" Not drawn, for want of a number: {', '.join(missing)}." if missing else ""
    axis = AXES[cost]
    return pareto_figure(name=f"pareto-{cost}", cost=axis.title, unit=axis.unit, points=points, note=note.strip())


def _row(comparison: Comparison, run: ComparedRun) -> tuple[str, ...]:
    return (
        plain(run.name),
        f"{MARKS[run.verdict.kind]} {run.verdict.word}",
        percent(run.accuracy),
        quantity(run.energy_j, "J"),
        quantity(run.latency_s, "s"),
        exact(run.cores),
        amount(run.spikes),
        ", ".join(optimal(comparison, run)) or "nothing",
    )
