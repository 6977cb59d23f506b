"""What a comparison of strategies looks like: their courses, and numbers with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ...deploy.report.figures.marks import Figure, Scale, dot, drawing, element, grid, line, text, width_of
from ...deploy.report.numbers import number
from .searches import RANDOM

WIDE, NARROW = 900.0, 340.0
ROW = 26.0  # pixels from one interval to the next
PANEL, GAP = 128.0, 34.0  # height of a course, and the room for its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number with the ends between which it lies. good: whether its whole interval is on the good side."""

    name: str
    value: float
    low: float
    high: float
    good: bool
    note: str = ""


def courses_figure(found: Mapping[str, Any]) -> Figure | None:
    """A panel for each strategy: what it had still missed after so many evaluations, beside random search."""
    rows = {name: row for name, row in found["strategies"].items() if any(v is not None for v in row["course"])}
    if RANDOM not in rows:
        return None
    best = min(rows, key=lambda name: rows[name]["found_mean"])
    evaluations = found["evaluations"]
    said = "; ".join(f"{name}: {number(row['found_mean'])} points" for name, row in rows.items())
    label = f"How far the best validation accuracy found is from the table's best, by evaluations. At the end: {said}."
    return Figure(
        name="courses",
        title=f"After {evaluations} evaluations {best} has missed the least: {number(rows[best]['found_mean'])} points",
        label=label,
        caption=f"Points of validation accuracy between the best cell found so far and the best of the table, mean of "
        f"{found['runs']} searches, by evaluations; the area is one standard deviation of searches to both sides. The "
        "dashed line is random search. Strategies that train briefly first have nothing before their first whole "
        "training.",
        wide=_courses(rows, found, WIDE, 4, label),
        narrow=_courses(rows, found, NARROW, 2, label),
    )


def _courses(
    rows: Mapping[str, Mapping[str, Any]], found: Mapping[str, Any], width: float, columns: int, label: str
) -> Markup:
    left, room = 34.0, (width - 10) / columns
    lines = -(-len(rows) // columns)
    high = max(
        (value + (spread or 0))
        for row in rows.values()
        for value, spread in zip(row["course"], row["course_sd"], strict=True)
        if value is not None
    )
    parts: list[Markup] = []
    for place, (name, row) in enumerate(rows.items()):
        x, y = (place % columns) * room, (place // columns) * (PANEL + GAP) + GAP
        across = Scale(low=0.0, high=float(found["evaluations"]), start=x + left, stop=x + room - 14)
        up = Scale(low=0.0, high=high or 1.0, start=y + PANEL - 18, stop=y)
        parts.append(text(x + left, y - 14, name, kind="strong"))
        for value in up.ticks(3):
            parts.append(line(x + left, up(value), x + room - 14, up(value)))
            parts.append(text(x + left - 6, up(value), f"{value:g}", kind="small soft", anchor="end"))
        for value in (0.0, across.high):
            parts.append(text(across(value), y + PANEL - 4, f"{value:g}", kind="small soft", anchor="middle"))
        every = found["every"]
        parts += _course(row, every, across, up, own=True)
        if name != RANDOM:
            parts += _course(rows[RANDOM], every, across, up, own=False)
    return drawing(width, lines * (PANEL + GAP) + 4, parts, label)


def _course(row: Mapping[str, Any], every: int, across: Scale, up: Scale, own: bool) -> list[Markup]:
    points = [
        (across((place + 1) * every), value, spread or 0.0)
        for place, (value, spread) in enumerate(zip(row["course"], row["course_sd"], strict=True))
        if value is not None
    ]
    if not points:
        return []
    mean = "L".join(f"{x:.1f} {up(value):.1f}" for x, value, _ in points)
    parts = [element("path", d=f"M{mean}", class_="trend" if own else "front")]
    if own and len(points) > 1:
        edge = [(x, up(value + spread)) for x, value, spread in points]
        edge += [(x, up(max(value - spread, 0.0))) for x, value, spread in reversed(points)]
        area = "L".join(f"{x:.1f} {y:.1f}" for x, y in edge)
        parts.insert(0, element("path", d=f"M{area}Z", class_="band"))
    return parts


def intervals_figure(
    *, name: str, title: str, caption: str, axis: str, rows: Sequence[Interval], zero: bool = False
) -> Figure | None:
    """Numbers with their intervals, one below the other; None without any. zero: whether a line stands at 0."""
    if not rows:
        return None
    said = "; ".join(f"{one.name}: {number(one.value)} ({number(one.low)} to {number(one.high)})" for one in rows)
    label = f"{title}. {said}."
    return Figure(
        name=name,
        title=title,
        label=label,
        caption=caption,
        wide=_intervals(rows, axis, zero, WIDE, label),
        narrow=_intervals(rows, axis, zero, NARROW, label),
    )


def _intervals(rows: Sequence[Interval], axis: str, zero: bool, width: float, label: str) -> Markup:
    left = max(width_of(one.name) for one in rows) + 16
    top, height = 44.0, 44.0 + ROW * len(rows) + 8
    low, high = min(one.low for one in rows), max(one.high for one in rows)
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    edge = 0.06 * (high - low or 1.0)
    scale = Scale(low=low - edge, high=high + edge, start=left, stop=width - 14)
    parts = [text(left, 10, axis, kind="small soft"), *grid(scale, top - 12, height - 6, lambda v: f"{v:g}", width)]
    if zero:
        parts.append(line(scale(0.0), top - 12, scale(0.0), height - 6, "range"))
    for place, one in enumerate(rows):
        y = top + ROW * place + 8
        found = f"{one.name}: {number(one.value)} [{number(one.low)}, {number(one.high)}]"
        parts.append(text(0, y, one.name))
        parts.append(line(scale(one.low), y, scale(one.high), y, "range"))
        parts.append(dot(scale(one.value), y, "c-best" if one.good else "c-rest", 5, found + one.note))
    return drawing(width, height, parts, label)
