"""The report of a run as Markdown, for a pull request: verdict, checks, headline numbers, price lists, ANN.

Everything from a file is escaped: it can be neither markup nor the end of a table's cell.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .figures.ann import duel, outcome
from .figures.energy import made_in
from .figures.floor_plan import mapping_of
from .numbers import MISSING, amount, exact, number, percent, plural, quantity, span, times
from .page import require
from .verdict import divergence, name_of, ran, tie, twin_accuracy, verdict

MARKS = {"pass": "✅", "fail": "❌", "open": "⚠️"}
SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def markdown(
    *,
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Any],
    equivalence: Mapping[str, Any],
    energy: Mapping[str, Any] | None,
) -> str:
    """report.md from the contents of the run folder's files of these names; `energy` None: no chip export exists.

    Raises InputError if a file lacks a key.
    """
    require("equivalence", equivalence)
    if energy is not None:
        require("energy", energy)
    checks: list[dict[str, Any]] = equivalence["checks"]
    said = verdict(equivalence["verdict"], checks)
    name = f": {plain(manifest['name'])}" if manifest.get("name") else ""
    parts = [
        f"## {MARKS[said.kind]} {said.word}{name}",
        plain(said.sentence),
        *(
            f"**First divergence in {plain(name_of(check))}**: {plain(divergence(check['first_divergence']))}."
            for check in checks
            if ran(check) and check.get("first_divergence")
        ),
        "### Headline",
        table(("", "value", "of"), _headline(metrics, checks, energy)),
        "### Checks",
        table(("check", "forms", "verdict", "spikes compared", "differ", "ties", "samples"), map(_check, checks)),
        *_ties(checks),
        *(_costs(energy) if energy else ["Energy was not estimated because no chip export exists."]),
    ]
    return "\n\n".join(parts) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are escaped already; the first column is left, the others right."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join([":--", *["--:"] * (len(heads) - 1)]) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def plain(value: Any) -> str:
    """Text that Markdown and HTML take for text, in one line."""
    return SPECIAL.sub(r"\\\1", html.escape(" ".join(str(value).split()), quote=False))


def folded(summary: str, inside: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{inside}\n\n</details>"


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines) or "- nothing named"


def _headline(
    metrics: Mapping[str, Any], checks: list[dict[str, Any]], energy: Mapping[str, Any] | None
) -> Iterable[tuple[str, str, str]]:
    twin = twin_accuracy(checks)
    if twin:
        other = twin["reference_accuracy"]
        same = "" if other is None else f"; {twin['reference']} on the same: {percent(other)}"
        yield "accuracy, chip twin", percent(twin["accuracy"]), plain(f"{amount(twin['samples'])} samples{same}")
    else:
        yield "accuracy, chip twin", MISSING, "not measured"
    yield "accuracy, float model", percent(metrics.get("test_accuracy")), "the test set"
    if energy is None:
        yield "spikes per inference", amount(metrics.get("spikes_per_inference")), "the float model"
        return
    name = energy["per_population_profile"]
    chip = energy["profiles"][name]
    steps, samples = plural(energy["time_steps"], "time step"), plural(energy["samples"], "sample")
    total = quantity((chip.get("energy_j") or {}).get("total"), "J")
    yield "energy", total, f"{plain(name)}; {_ends(chip)}a model, not a measurement"
    yield "latency", quantity(chip.get("latency_s"), "s"), f"{plain(chip['chip'])}, {steps}, {energy['depth']} levels"
    mapping = mapping_of(chip, energy["mappings"])
    if mapping:
        said = mapping["reason"] if mapping["cores"] is None else _cores(mapping)
        yield "cores", _fits(mapping), plain(said)
    yield "spikes", amount(chip["counts"]["spikes"]), f"one inference of {steps}, mean of {samples}"
    rate = number(energy["spikes_per_synapse_per_inference"])
    yield "SOPs", amount(chip["counts"]["synaptic_operations"]), f"synaptic operations; {rate} spikes per synapse"
    found = duel(energy["ann_baseline"]["rows"])
    if found:
        against = f"against the ANN, {plain(energy['ann_baseline']['technology'])}"
        yield against, f"{MARKS[found.kind]} {found.word}", plain(found.sentence)


def _check(check: Mapping[str, Any]) -> tuple[str, ...]:
    forms = plain(f"{check.get('reference')} → {check.get('candidate')}")
    if not ran(check):
        reason = plain(check.get("reason") or "no reason given")
        return plain(name_of(check)), forms, f"{MARKS['open']} not run: {reason}", *[MISSING] * 4
    passed = check.get("verdict") == "pass"
    return (
        plain(name_of(check)),
        forms,
        f"{MARKS['pass' if passed else 'fail']} {'pass' if passed else 'fail'}",
        exact(check.get("spikes_compared")),
        exact(check.get("spikes_differing")),
        str(len(check.get("ties") or [])),
        exact(check.get("samples")),
    )


def _ties(checks: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for check in checks:
        if ties := check.get("ties"):
            summary = f"{plural(len(ties), 'tie')} in {html.escape(name_of(check))}"
            yield folded(summary, bullets(tie(one) for one in ties))


def _costs(energy: Mapping[str, Any]) -> Iterable[str]:
    profiles, baseline = energy["profiles"], energy["ann_baseline"]
    yield "### Energy and time"
    yield table(
        ("price list", "chip", "energy", "range", "dynamic", "latency", "cores", "not priced"),
        (_profile(name, one, energy["mappings"]) for name, one in profiles.items()),
    )
    count = sum(len(one["unpriced"]) for one in profiles.values())
    lists = "\n\n".join(f"**{plain(name)}**\n\n{bullets(one['unpriced'])}" for name, one in profiles.items())
    yield folded(f"What the price lists leave out ({count})", lists)
    yield f"### Beside the same network as an ANN, {plain(baseline['technology'])}"
    if baseline.get("warning"):
        yield f"⚠️ {plain(baseline['warning'])}"
    yield table(
        ("ANN", "outcome", "ANN", "SNN", "ANN / SNN", "break-even, spikes per synapse"), map(_row, baseline["rows"])
    )
    yield plain(baseline["caution"])
    yield folded(f"What this comparison leaves out ({len(baseline['unpriced'])})", bullets(baseline["unpriced"]))


def _profile(name: str, one: Mapping[str, Any], mappings: Mapping[str, Any]) -> tuple[str, ...]:
    mapping = mapping_of(one, mappings)
    ends = one.get("energy_range_j") or {}
    return (
        plain(name),
        plain(made_in(one)),
        quantity((one.get("energy_j") or {}).get("total"), "J"),
        span((ends.get("low"), ends.get("high")), "J"),
        quantity(one.get("dynamic_j"), "J"),
        quantity(one.get("latency_s"), "s"),
        _fits(mapping),
        str(len(one["unpriced"])),
    )


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    break_even = row["break_even_spikes_per_synapse"]
    return (
        plain(row["name"]),
        f"{MARKS['pass' if row['wins'] == 'snn' else 'fail']} {outcome(row)}",
        quantity(row["ann_j"], "J"),
        quantity(row["snn_j"], "J"),
        times(row["ratio"]),
        number(break_even) if break_even > 0 else "no rate is low enough",
    )


def _fits(mapping: Mapping[str, Any] | None) -> str:
    if mapping is None:
        return MISSING
    return exact(mapping["cores"]) if mapping["fits"] else f"{MARKS['fail']} does not fit"


def _cores(mapping: Mapping[str, Any]) -> str:
    return f"{mapping['title']}, {plural(mapping['chips'], 'chip')} of {mapping['cores_per_chip']} cores"


def _ends(one: Mapping[str, Any]) -> str:
    ends = one.get("energy_range_j")
    return f"{span((ends['low'], ends['high']), 'J')}; " if ends else ""
