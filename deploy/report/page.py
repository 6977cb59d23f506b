"""The report of a run: one self-contained HTML page, the verdict first.

This file decides what is said, `page.html.j2` in which order, `style.html.j2` how it looks. The page loads nothing;
every string from a file is escaped, and a drawing is inlined only if it does nothing but draw.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from ...errors import InputError
from .figures.activity import raster_figure, rates_figure
from .figures.ann import break_even_figure, duel, duel_figure, outcome
from .figures.energy import populations_figure, profiles_figure
from .figures.floor_plan import floor_plan, mapped_populations, mapping_of
from .figures.inline_svg import inline_svg
from .figures.marks import Figure
from .figures.tradeoff import accuracy_figure
from .frame import rendered
from .numbers import MISSING, quantity
from .verdict import divergence, failed_at, name_of, ran, spot, tie, twin_accuracy, verdict
from .words import GRADES, LIMITS, ROLES, term

REQUIRED = {
    "equivalence": ("verdict", "checks"),
    "activity": ("time_steps", "samples", "sample", "populations"),
    "energy": (
        "samples",
        "time_steps",
        "depth",
        "spikes_per_synapse_per_inference",
        "counting",
        "counts",
        "mappings",
        "profiles",
        "accuracy_over_time",
        "ann_baseline",
        "encoder",
        "per_population_profile",
        "per_population",
        "by_role",
    ),
}
CHECK = (
    "reference",
    "candidate",
    "reason",
    "verdict",
    "samples",
    "spikes_compared",
    "spikes_differing",
    "first_divergence",
    "max_abs_logit_difference",
    "top1_agreement",
    "accuracy_reference",
    "accuracy_candidate",
    "allowed_accuracy_drop",
    "spikes_per_inference_reference",
    "spikes_per_inference_candidate",
    "seconds",
)


def render(
    *,
    manifest: dict[str, Any],
    metrics: dict[str, Any],
    equivalence: dict[str, Any],
    energy: dict[str, Any] | None,
    activity: dict[str, Any] | None,
    cells_svg: str | None,
    history_svg: str | None,
) -> str:
    """The whole page as text, from the contents of the run folder's files of these names.

    `manifest["name"]`, the run's name, is optional and stands in the title. `energy` and `activity` are None where the
    network was not exported for a chip; the page then says so in their place.

    Raises InputError if a file lacks a key, or a drawing holds more than a drawing.
    """
    for file, content in (("equivalence", equivalence), ("energy", energy), ("activity", activity)):
        if content is not None:
            require(file, content)
    checks: list[dict[str, Any]] = equivalence["checks"]
    values = {
        "name": manifest.get("name") or "",
        "verdict": verdict(equivalence["verdict"], checks),
        "checks": _numbered(checks),
        "divergences": [
            _divergence(check, energy) | {"index": i} for i, check in enumerate(filter(_parts, checks), start=1)
        ],
        "metrics": metrics,
        "model": list(flatten({key: value for key, value in metrics.items() if key != "test_accuracy"})),
        "twin": twin_accuracy(checks),
        "energy": energy,
        "activity": activity,
        "figures": {figure.name: figure for figure in figures_of(energy, activity)},
        "environment": list(flatten(manifest)),
        "cells": cells_svg and _markup(cells_svg, "cells", "The cells that the search found"),
        "history": history_svg and _markup(history_svg, "history", "The course of the search"),
        "roles": ROLES,
        "limits": LIMITS,
        "grades": GRADES,
        "tie": tie,
    }
    return rendered("page.html.j2", values | (_costs(energy) if energy else {}))


def _costs(energy: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of spikes, energy, time and cores."""
    profile = energy["profiles"][energy["per_population_profile"]]
    mappings = energy["mappings"]
    return {
        "chip": profile,
        "chip_mapping": mapping_of(profile, mappings),
        "duel": duel(energy["ann_baseline"]["rows"]),
        "outcome": outcome,
        "prices": {name: price_rows(one) for name, one in energy["profiles"].items()},
        "slowest": {name: busiest_words(one) for name, one in energy["profiles"].items()},
        "plans": {name: floor_plan(name, one) for name, one in mappings.items()},
        "mapped": {name: mapped_populations(one) for name, one in mappings.items()},
        "mappings": mappings,
        "ann_sources": distinct(energy["ann_baseline"]["sources"] + energy["encoder"]["sources"]),
    }


def figures_of(energy: Mapping[str, Any] | None, activity: Mapping[str, Any] | None) -> list[Figure]:
    """All that there is to draw of an energy and an activity, in the order of the page."""
    found: list[Figure | None] = []
    if energy is not None:
        baseline = energy["ann_baseline"]
        found += [profiles_figure(energy), populations_figure(energy), accuracy_figure(energy)]
        found += [duel_figure(baseline), break_even_figure(baseline)]
    if activity is not None:
        found += [rates_figure(activity), raster_figure(activity)]
    return [figure for figure in found if figure is not None]


def price_rows(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per price of a profile, its count and energy beside it; an energy without a listed price is not lost."""
    joules = profile.get("energy_j") or {}
    total = joules.get("total")
    rows = []
    for source in profile["sources"]:
        energy_j = joules.get(source["term"])
        rows.append({**source, "title": term(source["term"]).title, "energy_j": energy_j})
    known = {source["term"] for source in profile["sources"]}
    nothing = dict.fromkeys(("value", "unit", "low", "high", "source", "grade", "note"))
    for name in joules:
        if name not in known | {"total"}:
            rows.append({**nothing, "term": name, "title": term(name).title, "energy_j": joules[name]})
    for row in rows:
        row["count"] = profile["counts"].get(row["term"])
        row["share"] = row["energy_j"] / total if total and row["energy_j"] is not None else None
    return rows


def distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without those that are there already."""
    return [row for i, row in enumerate(rows) if row not in rows[:i]]


def busiest_words(profile: Mapping[str, Any]) -> str:
    """Which core a time step waits for, in one sentence; empty where no time is published."""
    busiest = profile.get("busiest")
    if not busiest:
        return ""
    doing = {"sender": "updating its neurons and sending", "receiver": "receiving and adding up"}
    phase = doing.get(busiest["phase"], busiest["phase"])
    barrier = busiest.get("barrier_s")
    ends = f"; the barrier that ends the step takes {quantity(barrier, 's')}" if barrier is not None else ""
    return (
        f"A step waits for core {busiest['core']} ({busiest['population']}), which is {phase} for "
        f"{quantity(busiest['seconds'], 's')}{ends}."
    )


def flatten(tree: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    """Rows (key, value) of nested JSON; a key says its path: "versions · numpy"."""
    for key, value in tree.items():
        path = f"{above} · {key}" if above else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, path)
        elif isinstance(value, list):
            yield path, " ".join(_plain(item) for item in value)
        else:
            yield path, _plain(value)


def require(file: str, content: Mapping[str, Any]) -> None:
    """Raises InputError naming the file and the keys that it lacks."""
    missing = [key for key in REQUIRED[file] if key not in content]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(f"{file}.json lacks the keys {', '.join(missing[:3])}{more}; run `spikeport deploy` again.")


def _parts(check: Mapping[str, Any]) -> bool:
    return ran(check) and bool(check.get("first_divergence"))


def _numbered(checks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the table of checks; `divergence` is the place of a check's divergence among them, from 1."""
    rows = [_check(check) for check in checks]
    for i, row in enumerate((row for row in rows if _parts(row)), start=1):
        row |= {"divergence": i, "spot": spot(row["first_divergence"])}
    return rows


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table of checks: every key there, and where the divergence is told."""
    told = {"name": name_of(check), "ran": ran(check), "ties": check.get("ties") or []}
    return dict.fromkeys(CHECK) | dict(check) | told


def _divergence(check: Mapping[str, Any], energy: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where a check's forms part; `row` is the population's place in the table of populations, None if not there."""
    first = check["first_divergence"]
    names = [row["name"] for row in energy["per_population"]] if energy else []
    population = first.get("population")
    return {
        "check": name_of(check),
        "forms": f"{check.get('reference')} → {check.get('candidate')}",
        "failed": failed_at(check),
        "sentence": divergence(first),
        "row": names.index(population) if population in names else None,
    }


def _plain(value: Any) -> str:
    return MISSING if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _markup(svg: str, name: str, label: str) -> Markup:
    # inline_svg has refused what could act, so the fragment may stand in the page unescaped
    return Markup(inline_svg(svg, name=name, label=label))
