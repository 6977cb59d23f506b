"""The SNN beside the ANN of the same topology, in one technology: who wins, by how much, and from which rate on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from ..numbers import number, quantity, tick, times
from .marks import Figure, dot, drawing, grid, line, log_scale, rect, square, text, two_lines, width_of

WIDE, NARROW = 900.0, 340.0
LITERATURE = (0.15, 1.38)  # spikes per synapse and inference: break-even, Dampfhoffer et al. 2023


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """The outcome against all forms of the ANN, in words; a loss is called one. kind: "pass", "fail" or "open"."""

    kind: Literal["pass", "fail", "open"]
    mark: str
    word: str
    sentence: str


def duel(rows: list[Mapping[str, Any]]) -> Duel | None:
    """Who wins, with the strongest ANN named; None without rows."""
    if not rows:
        return None
    lost = [row for row in rows if row["wins"] != "snn"]
    strongest = min(rows, key=lambda row: row["ratio"])
    ann_j, snn_j = (quantity(strongest[key], "J") for key in ("ann_j", "snn_j"))
    against = f"the strongest is {strongest['name']}: {ann_j} against {snn_j} of the SNN"
    if not lost:
        word = f"Wins {times(strongest['ratio'])}"
        sentence = f"The SNN beats all {len(rows)} forms of the ANN; {against}."
        return Duel(kind="pass", mark="✓", word=word, sentence=sentence)
    factor = times(1 / strongest["ratio"]) if strongest["ratio"] > 0 else ""
    sentence = f"The SNN loses to {len(lost)} of {len(rows)} forms of the ANN; {against}."
    return Duel(kind="fail", mark="✗", word=f"Loses {factor}".rstrip(), sentence=sentence)


def outcome(row: Mapping[str, Any]) -> str:
    """ "wins 2.1×" or "loses 3.4×": how many times less energy the winner takes."""
    if row["wins"] == "snn":
        return f"SNN wins {times(row['ratio'])}"
    return f"SNN loses {times(1 / row['ratio'])}" if row["ratio"] > 0 else "SNN loses"


def duel_figure(baseline: Mapping[str, Any]) -> Figure | None:
    """SNN and ANN of every form on one logarithmic axis."""
    rows = baseline["rows"]
    found = duel(rows)
    if found is None:
        return None
    lost = sum(row["wins"] != "snn" for row in rows)
    title = f"The SNN loses to {lost} of {len(rows)} ANNs" if lost else f"The SNN beats all {len(rows)} ANNs"
    said = "; ".join(
        f"{row['name']}: SNN {quantity(row['snn_j'], 'J')}, ANN {quantity(row['ann_j'], 'J')}, {outcome(row)}"
        for row in rows
    )
    label = f"{title} in {baseline['technology']} arithmetic. {said}."
    return Figure(
        name="snn-and-ann",
        title=f"{title} at {baseline['technology']}",
        label=label,
        caption="Energy of one inference on a logarithmic axis, both in the same technology and arithmetic. Further "
        "left is better; the words say who wins and by how much.",
        wide=_duel(rows, WIDE, label),
        narrow=_duel(rows, NARROW, label),
        legend=(("c-snn", "SNN (disc)"), ("c-ann", "ANN (square)")),
    )


def _duel(rows: list[Mapping[str, Any]], width: float, label: str) -> Markup:
    narrow = width < WIDE
    ends = (8.0, width - 8) if narrow else (312.0, width - 150)
    height, top = (54.0, 30.0) if narrow else (32.0, 30.0)
    scale = log_scale([row[key] for row in rows for key in ("ann_j", "snn_j")], *ends)
    bottom = top + height * len(rows)
    parts = list(grid(scale, top - 6, bottom, lambda value: tick(value, "J"), width))
    for i, row in enumerate(rows):
        y = top + height * i + (39 if narrow else height / 2)
        words = outcome(row)
        kind = "strong win" if row["wins"] == "snn" else "strong loss"
        snn, ann = scale(row["snn_j"]), scale(row["ann_j"])
        above = y - 22 if narrow else y
        parts.append(two_lines(0, above, row["name"], width - width_of(words) - 12 if narrow else ends[0] - 22))
        parts.append(line(snn, y, ann, y, "link win" if row["wins"] == "snn" else "link loss"))
        parts.append(square(ann, y, "c-ann", f"ANN, {row['name']}: {quantity(row['ann_j'], 'J')}"))
        parts.append(dot(snn, y, "c-snn", 5.5, f"SNN, {row['name']}: {quantity(row['snn_j'], 'J')}"))
        parts.append(text(width, above, words, kind=kind, anchor="end"))
    return drawing(width, bottom + 4, parts, label)


def break_even_figure(baseline: Mapping[str, Any]) -> Figure | None:
    """The rate below which the SNN wins against each form, beside the rate that this network has."""
    rows = baseline["rows"]
    rates = [row["spikes_per_synapse"] for row in rows if row["spikes_per_synapse"] is not None]
    if not rates:
        return None
    rate = rates[0]
    never = [row for row in rows if row["break_even_spikes_per_synapse"] <= 0]
    below = sum(rate < row["break_even_spikes_per_synapse"] for row in rows)
    title = f"At {number(rate)} spikes per synapse it is below the break-even of {below} of {len(rows)} ANNs"
    said = "; ".join(f"{row['name']}: {_break_even(row)}" for row in rows)
    label = f"Break-even in spikes per synapse and inference; this network has {number(rate)}. {said}."
    cannot = " Where no rate is low enough, updates and encoder alone cost more than the ANN." if never else ""
    return Figure(
        name="break-even",
        title=title,
        label=label,
        caption="The SNN wins below a diamond and loses above it, at otherwise equal costs. Vertical line: this "
        f"network. Band: {LITERATURE[0]} to {LITERATURE[1]}, where Dampfhoffer et al. 2023 place the break-even "
        f"against an efficient ANN.{cannot}",
        wide=_break_even_drawing(rows, rate, WIDE, label),
        narrow=_break_even_drawing(rows, rate, NARROW, label),
    )


def _break_even_drawing(rows: list[Mapping[str, Any]], rate: float, width: float, label: str) -> Markup:
    narrow = width < WIDE
    ends = (8.0, width - 8) if narrow else (312.0, width - 150)
    height, top = (52.0, 48.0) if narrow else (30.0, 48.0)
    found = [row["break_even_spikes_per_synapse"] for row in rows]
    scale = log_scale([*found, rate, *LITERATURE], *ends)
    bottom = top + height * len(rows)
    band = rect(scale(LITERATURE[0]), top - 6, scale(LITERATURE[1]) - scale(LITERATURE[0]), bottom - top + 6, "band")
    parts = [band, *grid(scale, top - 6, bottom, number, width)]
    for i, row in enumerate(rows):
        y = top + height * i + (39 if narrow else height / 2)
        words, above = _break_even(row), y - 21 if narrow else y
        parts.append(two_lines(0, above, row["name"], width - width_of(words) - 12 if narrow else ends[0] - 22))
        if (value := row["break_even_spikes_per_synapse"]) > 0:
            parts += [line(scale.start, y, scale.stop, y, "grid"), _diamond(scale(value), y, rate < value)]
        parts.append(text(width, above, words, kind="soft", anchor="end"))
    x = scale(rate)
    words = f"this network {number(rate)}"
    room = width_of(words) / 2
    parts.append(line(x, 20, x, bottom, "mark"))
    parts.append(text(min(max(x, room), width - room), 10, words, kind="strong", anchor="middle"))
    return drawing(width, bottom + 4, parts, label)


def _diamond(x: float, y: float, wins: bool) -> Markup:
    path = f"M{x:.1f} {y - 6:.1f}l6 6-6 6-6-6z"
    return Markup('<path d="{}" class="{}"/>').format(path, "won" if wins else "lost")


def _break_even(row: Mapping[str, Any]) -> str:
    value = row["break_even_spikes_per_synapse"]
    return f"wins below {number(value)}" if value > 0 else "no rate is low enough"
