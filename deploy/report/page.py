"""The report of a run: one self-contained HTML page, the verdict first.

This file decides what is said, `page.html.j2` how it looks. The page loads nothing and runs nothing; every string
from a file is escaped, and a drawing is inlined only if it does nothing but draw.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ...errors import InputError
from .inline_svg import inline_svg

NBSP = "\u00a0"
MISSING = "—"
PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
REQUIRED = {
    "equivalence": ("verdict", "checks"),
    "energy": (
        "samples",
        "time_steps",
        "spikes_per_synapse_per_inference",
        "profiles",
        "ann_baseline",
        "encoder",
        "per_population_profile",
        "per_population",
        "by_role",
    ),
}
ROLES = {
    "input": "inputs, from the host",
    "neuron": "neurons of the network",
    "relay": "relays, which carry a spike to a later level",
    "or": "OR populations, which are max-pools",
    "readout": "readout",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first thing on the page. kind: "pass", "fail" or "open" (nothing failed, but not everything ran)."""

    kind: str
    mark: str
    word: str
    sentence: str


def render(
    *,
    manifest: dict[str, Any],
    metrics: dict[str, Any],
    equivalence: dict[str, Any],
    energy: dict[str, Any] | None,
    cells_svg: str | None,
    history_svg: str | None,
) -> str:
    """The whole page as text, from the contents of the run folder's files of these names.

    `manifest["name"]`, the run's name, is optional and stands in the title. `energy` is None where the network was not
    exported for a chip; the page then says so in place of the energy.

    Raises InputError if `equivalence` or `energy` lacks a key, or a drawing holds more than a drawing.
    """
    _require("equivalence", equivalence)
    if energy is not None:
        _require("energy", energy)
    checks: list[dict[str, Any]] = equivalence["checks"]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "quantity": quantity,
        "amount": amount,
        "exact": exact,
        "divergence": divergence,
        "percent": percent,
        "number": number,
        "tie": tie,
        "shape": lambda shape: "×".join(str(n) for n in shape),
    }
    template = environment.from_string(Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        name=manifest.get("name") or "",
        verdict=verdict(equivalence["verdict"], checks),
        checks=checks,
        divergences=[(_name(check), divergence(check["first_divergence"])) for check in checks if _failed_at(check)],
        metrics=metrics,
        model=list(flatten({key: value for key, value in metrics.items() if key != "test_accuracy"})),
        twin=twin_accuracy(checks),
        energy=energy,
        chip=energy and energy["profiles"][energy["per_population_profile"]],
        bars=bars(energy["per_population"]) if energy else [],
        roles=ROLES,
        environment=list(flatten(manifest)),
        cells=cells_svg and _markup(cells_svg, "cells", "The cells that the search found"),
        history=history_svg and _markup(history_svg, "history", "The course of the search"),
    )


def verdict(stated: str, checks: list[dict[str, Any]]) -> Verdict:
    """The verdict in words. A check that failed or did not run is never passed over, whatever `stated` says.

    Raises InputError if `stated` is neither "pass" nor "fail".
    """
    if stated not in ("pass", "fail"):
        raise InputError(f"The verdict must be 'pass' or 'fail', but is '{stated}'; run `spikeport deploy` again.")
    run = [check for check in checks if _ran(check)]
    skipped = [_name(check) for check in checks if not _ran(check)]
    failed = [_name(check) for check in run if check.get("verdict") != "pass"]
    compared = sum(check.get("spikes_compared") or 0 for check in run)
    differing = sum(check.get("spikes_differing") or 0 for check in run)
    where = [_name(check) for check in run if check.get("spikes_differing")]
    spikes = f"{amount(compared)} spikes compared, {exact(differing)} differ{f' ({_list(where)})' if where else ''}."
    not_run = f" Not run: {_list(skipped)}." if skipped else ""
    if stated == "fail" or failed:
        count = f"{len(failed)} of {_checks(len(run))} failed: {_list(failed)}."
        which = count if failed else "No form is proved equal."
        return Verdict(kind="fail", mark="✗", word="Fail", sentence=f"{which} {spikes}{not_run}")
    if not run:
        return Verdict(kind="open", mark="!", word="Not checked", sentence=f"No check ran.{not_run}")
    if skipped:
        word = f"Pass, but {len(skipped)} of {_checks(len(checks))} not run"
        sentence = f"{_checks(len(run)).capitalize()} ran and passed: {spikes}{not_run}"
        return Verdict(kind="open", mark="!", word=word, sentence=sentence)
    return Verdict(kind="pass", mark="✓", word="Pass", sentence=f"All {_checks(len(run))} ran and passed: {spikes}")


def divergence(first: Mapping[str, Any]) -> str:
    """Where two runs part, in one sentence."""
    margin = "" if first.get("margin") is None else f"; the membrane was {number(first['margin'])} from the threshold"
    cause = f". Cause: {first['cause']}" if first.get("cause") else ""
    return f"{_spot(first)}{margin}{cause}"


def tie(one: Mapping[str, Any]) -> str:
    """Where a tie is, and how near the membrane came to its threshold."""
    return f"{_spot(one)}: {number(one.get('margin'))} from the threshold"


def twin_accuracy(checks: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Accuracy of the chip's integer twin and of its reference on the same samples; None if not measured."""
    for check in checks:
        if _ran(check) and "twin" in str(check.get("candidate")) and check.get("accuracy_candidate") is not None:
            return {
                "accuracy": check["accuracy_candidate"],
                "reference": check.get("reference"),
                "reference_accuracy": check.get("accuracy_reference"),
                "samples": check.get("samples"),
            }
    return None


def bars(populations: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Energy and spikes of each population with their lengths in percent of the longest bar of their kind."""
    rows = list(populations)
    longest = {key: max((row[key] for row in rows), default=0) or 1 for key in ("energy_j", "spikes")}
    lengths = {"energy_j": "energy_length", "spikes": "spikes_length"}
    return [
        dict(row) | {length: round(100 * row[key] / longest[key], 2) for key, length in lengths.items()} for row in rows
    ]


def quantity(value: float | None, unit: str, smallest: int = -12) -> str:
    """Three significant digits with an engineering prefix: 1.23e-5, "J" -> "12.3 µJ". A missing value is a dash."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return f"0{NBSP}{unit}".rstrip(NBSP)
    rounded = float(f"{value:.2e}")
    power = math.floor(math.log10(abs(rounded)))
    exponent = min(max(power // 3 * 3, smallest), 12)
    digits = min(max(2 - (power - exponent), 0), 6)
    symbol = PREFIXES[exponent] + unit
    return f"{rounded / 10.0**exponent:.{digits}f}" + (NBSP + symbol if symbol else "")


def amount(value: float | None, unit: str = "") -> str:
    """A count: whole numbers below 1000 in full, else three digits and k, M or G: 1200000, "SOPs" -> "1.20 M SOPs"."""
    whole = value is not None and math.isfinite(value) and value == int(value) and abs(value) < 1000
    text = f"{value:.0f}" if whole else quantity(value, "", smallest=0)
    return text + (NBSP + unit if unit else "")


def exact(value: int | None) -> str:
    """A count in full: 40321 -> "40,321". Spikes that differ are never rounded."""
    return MISSING if value is None else f"{value:,}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """0.9722 -> "97.22 %"; what is not whole is never rounded up to 100 %."""
    if fraction is None or not math.isfinite(fraction):
        return MISSING
    almost = f"{100 - 10.0**-digits:.{digits}f}"
    text = f"{100 * fraction:.{digits}f}"
    return (f">{almost}" if fraction < 1 <= float(text) / 100 else text) + NBSP + "%"


def number(value: float | None) -> str:
    """A plain number with three significant digits; whole numbers in full."""
    return MISSING if value is None else f"{value:.3g}" if value != round(value, 0) else f"{value:.0f}"


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


def _plain(value: Any) -> str:
    return MISSING if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _spot(place: Mapping[str, Any]) -> str:
    known = [word for word in ("sample", "step", "neuron") if place.get(word) is not None]
    where = "".join(f", {word} {_index(place[word])}" for word in known)
    return f"population “{place.get('population', MISSING)}”{where}"


def _index(value: Any) -> str:
    return f"({', '.join(str(n) for n in value)})" if isinstance(value, list | tuple) else str(value)


def _name(check: Mapping[str, Any]) -> str:
    return str(check.get("name") or f"{check.get('reference')} = {check.get('candidate')}")


def _checks(n: int) -> str:
    return f"{n} check" if n == 1 else f"{n} checks"


def _ran(check: Mapping[str, Any]) -> bool:
    return str(check.get("status", "run")) == "run"


def _failed_at(check: Mapping[str, Any]) -> bool:
    # a check that passed may know a divergence too, where only the answers have to agree: the table shows it
    return _ran(check) and check.get("verdict") != "pass" and bool(check.get("first_divergence"))


def _markup(svg: str, name: str, label: str) -> Markup:
    # inline_svg has refused what could act, so the fragment may stand in the page unescaped
    return Markup(inline_svg(svg, name=name, label=label))


def _require(file: str, content: Mapping[str, Any]) -> None:
    missing = [key for key in REQUIRED[file] if key not in content]
    if missing:
        raise InputError(
            f"{file}.json must have the keys {missing}, but has {sorted(content)}; run `spikeport deploy` again."
        )
