"""Energy, drawn: what each price list says of the same counts, by term; and which population costs it.

Totals of price lists lie decades apart, and a stack on a logarithmic axis would lie about its parts: so the parts stand
as shares in a bar of 100 %, and the total with its range on a logarithmic axis beside it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..numbers import percent, quantity, span, tick
from ..words import term, terms_in
from .marks import (
    SMALL,
    Figure,
    Scale,
    drawing,
    element,
    grid,
    line,
    log_scale,
    rect,
    shorten,
    text,
    width_of,
    zero_scale,
)

MOST_ROWS = 60
WIDE, NARROW = 900.0, 340.0
RELAY = re.compile(r"(.+)\.relay\d+")


def profiles_figure(energy: Mapping[str, Any]) -> Figure | None:
    """All price lists side by side; None where none prices anything."""
    rows = {name: one for name, one in energy["profiles"].items() if _total(one) is not None}
    if not rows:
        return None
    totals = {name: float(_total(one) or 0) for name, one in rows.items()}
    low, high = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    said = "; ".join(f"{name}: {quantity(joules, 'J')}{_range_words(rows[name])}" for name, joules in totals.items())
    named = terms_in(one["energy_j"] for one in rows.values())
    title = (
        f"The same spikes cost {quantity(totals[low], 'J')} by {low} and {quantity(totals[high], 'J')} by {high}"
        if low != high
        else f"One inference costs {quantity(totals[low], 'J')} by {low}"
    )
    without = [name for name in energy["profiles"] if name not in rows]
    unpriced = f" No energy is published for {', '.join(without)}." if without else ""
    return Figure(
        name="energy-by-profile",
        title=title,
        label=f"Energy of one inference by price list. {said}.",
        caption="Bars: what the total consists of, in percent. Dots, on a logarithmic axis: the total; the line is the "
        "range that the sources give for their prices, where they give one. Every list leaves out other things: see "
        f"what is not priced.{unpriced}",
        wide=_profiles(rows, named, WIDE, f"{title}. {said}."),
        narrow=_profiles(rows, named, NARROW, f"{title}. {said}."),
        legend=tuple((term(name).kind, term(name).title) for name in named),
    )


def _profiles(rows: Mapping[str, Mapping[str, Any]], named: list[str], width: float, label: str) -> Markup:
    # wide: name | shares | total, in one line; narrow: the three below each other
    narrow = width < WIDE
    left, bar, axis = (0.0, width, (8.0, width - 8)) if narrow else (232.0, 330.0, (600.0, width - 84))
    height, top = (86.0, 34.0) if narrow else (52.0, 34.0)
    reached = [joules for one in rows.values() for joules in (_total(one), *_ends(one)) if joules]
    scale = log_scale(reached, *axis)
    bottom = top + height * len(rows)
    parts = list(grid(scale, top - 6, bottom, _joules, width))
    for i, (name, one) in enumerate(rows.items()):
        y = top + height * i
        total = float(_total(one) or 0)
        lines = (y + 10, y + 34, y + 62) if narrow else (y + 17, y + 24, y + 24)
        parts.append(text(0, lines[0], shorten(name, width - 90 if narrow else left - 14), kind="strong"))
        subtitle = made_in(one)
        if narrow:
            parts.append(text(width, lines[0], quantity(total, "J"), kind="strong", anchor="end"))
        else:
            parts.append(text(0, y + 34, shorten(subtitle, left - 14, SMALL), kind="small soft"))
        parts += _stack(one["energy_j"], named, Scale(low=0, high=total or 1, start=left, stop=left + bar), lines[1])
        x = scale(total) if total else scale.start
        if None not in (ends := _ends(one)):
            parts.append(line(scale(float(ends[0] or 0)), lines[2], scale(float(ends[1] or 0)), lines[2], "range"))
        found = f"{name}: {quantity(total, 'J')}{_range_words(one)}"
        parts.append(element("circle", [element("title", found)], cx=x, cy=lines[2], r=5.5, class_="dot"))
        if not narrow:
            edge = max(x, scale(float(ends[1] or 0))) if ends[1] else x
            parts.append(text(edge + 12, lines[2], quantity(total, "J"), kind="strong halo"))
    return drawing(width, bottom + 6, parts, label)


def _stack(
    joules: Mapping[str, Any], named: Iterable[str], scale: Scale, y: float, thick: float = 24.0
) -> list[Markup]:
    """The parts of one energy end to end, from scale(0); a part that has room for its name bears it."""
    parts: list[Markup] = []
    whole = sum(joules.get(name) or 0 for name in named) or 1.0
    at = 0.0
    for name in named:
        part = joules.get(name) or 0
        if not part:
            continue
        x, stop = scale(at), scale(at + part)
        found = f"{term(name).title}: {quantity(part, 'J')}, {percent(part / whole, 1)}"
        parts.append(rect(x, y - thick / 2, max(stop - x - 1, 0.6), thick, term(name).kind, found))
        share = f"{100 * part / whole:.0f}%"
        for words in (f"{term(name).short} {share}", share):
            if thick > 20 and width_of(words, SMALL) < stop - x - 8:
                parts.append(text(x + 5, y, words, kind=f"small on-{term(name).kind}"))
                break
        at += part
    return parts


def populations_figure(energy: Mapping[str, Any]) -> Figure | None:
    """Energy of every population, stacked by term; relays of one population are one row."""
    priced = [row for row in energy["per_population"] if row.get("energy_j")]
    if not priced:
        return None
    rows, rule = grouped(priced)
    total = sum(row["energy_j"] for row in priced)
    named = terms_in(row.get("energy_terms_j") for row in rows)
    single = [row for row in rows if not row["others"]]
    most = max(single, key=lambda row: row["energy_j"])
    first = sorted((row["energy_j"] for row in single), reverse=True)[:5]
    title = f"{most['name']} costs most: {quantity(most['energy_j'], 'J')}, {percent(most['energy_j'] / total, 1)}"
    profile = energy["per_population_profile"]
    label = (
        f"Dynamic energy of one inference by population, {profile}: {title}; the {len(first)} largest of {len(rows)} "
        f"rows take {percent(sum(first) / total, 1)}. The table of populations has the numbers of every one."
    )
    return Figure(
        name="energy-by-population",
        title=title,
        label=label,
        caption=f"Dynamic energy of one inference, without static power and host, priced by {profile}, in the "
        f"network’s order. The {len(first)} largest rows together "
        f"take {percent(sum(first) / total, 1)}. {rule} The table of populations has every one.",
        wide=_populations(rows, named, total, WIDE, label),
        narrow=_populations(rows, named, total, NARROW, label),
        legend=tuple((term(name).kind, term(name).title) for name in named),
    )


def _populations(rows: list[dict[str, Any]], named: list[str], total: float, width: float, label: str) -> Markup:
    narrow = width < WIDE
    left, right = (0.0, width) if narrow else (232.0, width - 150)
    height, thick, top = (34.0, 9.0, 26.0) if narrow else (20.0, 12.0, 26.0)
    scale = zero_scale((row["energy_j"] for row in rows if not row["others"]), left, right)
    bottom = top + height * len(rows)
    parts = list(grid(scale, top - 4, bottom, _joules, width))
    for i, row in enumerate(rows):
        y = top + height * i + (22 if narrow else height / 2)
        words = f"{quantity(row['energy_j'], 'J')} · {percent(row['energy_j'] / total, 1)}"
        name = shorten(row["name"], width - width_of(words) - 12 if narrow else left - 14)
        parts.append(text(0, y - 14 if narrow else y, name))
        terms = row.get("energy_terms_j") or {"total": row["energy_j"]}
        if not row["others"]:  # together they may cost more than any one, and would bend the scale
            parts += _stack(terms, named or ["total"], scale, y, thick)
        end = left if row["others"] else scale(row["energy_j"]) + 8
        at = (width, "end") if narrow else (end, "start")
        parts.append(text(at[0], y - 14 if narrow else y, words, kind="soft halo", anchor=at[1]))
    return drawing(width, bottom + 6, parts, label)


def made_in(profile: Mapping[str, Any]) -> str:
    """The chip and its technology, which may be in its name."""
    chip, technology = str(profile["chip"]), str(profile["technology"])
    return chip if technology in chip else f"{chip}, {technology}"


def grouped(rows: list[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Rows to draw, and the rule in words: relays of one population are one row; beyond 60 rows, the costliest stay."""
    together: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        relay = RELAY.fullmatch(row["name"]) if row["role"] == "relay" else None
        together.setdefault(f"relays of {relay[1]}" if relay else row["name"], []).append(row)
    found = [_sum(f"{name} ({len(ones)})" if len(ones) > 1 else name, ones) for name, ones in together.items()]
    rule = "Relays of one population are one row, their number in brackets." if len(found) < len(rows) else ""
    if len(found) <= MOST_ROWS:
        return found, rule
    kept = sorted(range(len(found)), key=lambda i: -found[i]["energy_j"])[: MOST_ROWS - 1]
    rest = [row for i, row in enumerate(found) if i not in set(kept)]
    others = _sum(f"{len(rest)} others together", rest) | {"others": True}
    rule = (
        f"{rule} The {MOST_ROWS - 1} costliest rows are drawn, the other {len(rest)} are a sum without a bar.".strip()
    )
    return [found[i] for i in sorted(kept)] + [others], rule


def _sum(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    terms: dict[str, float] = {}
    for row in rows:
        for key, joules in (row.get("energy_terms_j") or {}).items():
            terms[key] = terms.get(key, 0.0) + (joules or 0.0)
    joules = sum(row["energy_j"] or 0.0 for row in rows)
    return {"name": name, "energy_j": joules, "energy_terms_j": terms, "others": False}


def _joules(value: float) -> str:
    return tick(value, "J")


def _total(one: Mapping[str, Any]) -> float | None:
    return (one.get("energy_j") or {}).get("total")


def _ends(one: Mapping[str, Any]) -> tuple[float | None, float | None]:
    ends = one.get("energy_range_j") or {}
    return ends.get("low"), ends.get("high")


def _range_words(one: Mapping[str, Any]) -> str:
    return f" (range {span(_ends(one), 'J')})" if None not in _ends(one) else ""
