"""Accuracy against what it costs: step by step within a run, and run beside run with the Pareto front."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..numbers import percent, plural, quantity, tick
from .marks import Figure, Scale, dot, drawing, element, line, log_scale, shorten, square, text, ticks, width_of

WIDE, NARROW = 900.0, 340.0
MOST_LABELS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run or step: cost in the figure's unit, accuracy 0..1. sound: its checks did not fail."""

    name: str
    cost: float
    accuracy: float
    best: bool = False  # on the Pareto front
    sound: bool = True
    note: str = ""


def accuracy_figure(energy: Mapping[str, Any]) -> Figure | None:
    """Accuracy after each time step against the energy spent until then; None where accuracy was not measured."""
    rows = [row for row in energy.get("accuracy_over_time") or [] if row.get("accuracy") is not None]
    priced = [row for row in rows if row.get("energy_j") is not None]
    if not priced:
        return None
    points = [
        Point(
            name=f"step {row['step']}",
            cost=row["energy_j"],
            accuracy=row["accuracy"],
            note="" if row.get("spikes") is None else f", {row['spikes']:.0f} spikes",
        )
        for row in priced
    ]
    last = points[-1]
    enough = next(point for point in points if point.accuracy >= last.accuracy)
    title = f"{percent(last.accuracy, 1)} after {plural(priced[-1]['step'], 'step')} and {quantity(last.cost, 'J')}"
    if enough.cost < last.cost:
        title += f"; {enough.name} has it for {quantity(enough.cost, 'J')}"
    elif len(points) > 1:
        first = points[0]
        title = f"{percent(first.accuracy, 1)} for {quantity(first.cost, 'J')} after one step, {title}"
    said = "; ".join(f"{p.name}: {percent(p.accuracy, 1)}, {quantity(p.cost, 'J')}{p.note}" for p in points)
    label = f"Accuracy against dynamic energy if the answer is read after t steps. {said}."
    missing = len(energy["accuracy_over_time"]) - len(priced)
    gone = f" Left out, for want of accuracy or energy: {plural(missing, 'step')}." if missing else ""
    return Figure(
        name="accuracy-and-energy",
        title=title,
        label=label,
        caption=f"The answer read after t steps. Dynamic energy until then, without static power and host, by "
        f"{energy['per_population_profile']}. The accuracy axis does not begin at zero.{gone}",
        wide=_scatter(points, _joules, "dynamic energy of one inference", WIDE, label, joined=True),
        narrow=_scatter(points, _joules, "dynamic energy of one inference", NARROW, label, joined=True),
    )


def pareto_figure(*, name: str, cost: str, unit: str, points: Sequence[Point], note: str) -> Figure | None:
    """Runs by accuracy and one cost, the Pareto front drawn as a staircase; None without points."""
    if not points:
        return None
    front = sorted((point for point in points if point.best), key=lambda point: point.cost)
    names = ", ".join(point.name for point in front) or "none"
    title = f"Accuracy and {cost}: {names if len(front) <= 4 else f'{len(front)} of {len(points)} runs'} on the front"

    def words(value: float) -> str:
        return tick(value, unit) if unit else f"{value:,.0f}"

    def full(value: float) -> str:
        return quantity(value, unit) if unit else f"{value:,.0f}"

    said = "; ".join(f"{p.name}: {percent(p.accuracy)}, {full(p.cost)}{_standing(p)}" for p in points)
    label = f"{title}. {said}."
    return Figure(
        name=name,
        title=title,
        label=label,
        caption=f"Up and to the left is better; no other run is as good in both as a run on the front. {note} "
        "The accuracy axis does not begin at zero.",
        wide=_scatter(points, words, cost, WIDE, label),
        narrow=_scatter(points, words, cost, NARROW, label),
        legend=(
            ("c-best", "on the Pareto front"),
            ("c-rest", "not on it"),
            *((("c-unsound", "failed its checks, never on the front"),) if any(not p.sound for p in points) else ()),
        ),
    )


def _standing(point: Point) -> str:
    if not point.sound:
        return ", failed its checks"
    return ", on the front" if point.best else ""


def _scatter(
    points: Sequence[Point], words: Callable[[float], str], axis: str, width: float, label: str, joined: bool = False
) -> Markup:
    height = 330.0 if width >= WIDE else 280.0
    left, right, top, bottom = 64.0, width - 18, 26.0, height - 48
    costs = [point.cost for point in points]
    across = _cost_scale(costs, left, right)
    up = _accuracy_scale([point.accuracy for point in points], bottom, top)
    parts: list[Markup] = []
    for value in up.ticks(5):
        parts.append(line(left, up(value), right, up(value)))
        parts.append(text(left - 8, up(value), f"{100 * value:.4g} %", kind="small soft", anchor="end"))
    parts += [line(across(value), top, across(value), bottom) for value in across.ticks(int((right - left) // 62))]
    parts += ticks(across, bottom + 14, words, width)
    scale = ", logarithmic" if across.kind == "log" else ""
    parts.append(text((left + right) / 2, height - 10, f"{axis}{scale}", kind="small soft", anchor="middle"))
    parts.append(text(0, 6, "accuracy", kind="small soft"))
    places = [(across(point.cost), up(point.accuracy)) for point in points]
    if joined:
        parts.append(_path(places, "trend"))
    parts += _front(points, across, up, right)
    for point, (x, y) in zip(points, places, strict=True):
        found = f"{point.name}: {percent(point.accuracy)}, {words(point.cost)}{point.note}"
        parts.append(_point(point, x, y, found, joined))
    parts += _names(points, places, left, right, bottom)
    return drawing(width, height, parts, label)


def _point(point: Point, x: float, y: float, found: str, joined: bool) -> Markup:
    if joined or (point.best and point.sound):
        return dot(x, y, "c-best", 6, found)
    return dot(x, y, "c-rest", 5, found) if point.sound else square(x, y, "c-unsound", found)


def _front(points: Iterable[Point], across: Scale, up: Scale, right: float) -> list[Markup]:
    """The staircase of what the front dominates: along to the next cost, then up to its accuracy."""
    front = sorted((point for point in points if point.best), key=lambda point: (point.cost, point.accuracy))
    if not front:
        return []
    corners: list[tuple[float, float]] = []
    for point in front:
        x, y = across(point.cost), up(point.accuracy)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    corners.append((right, corners[-1][1]))
    return [_path(corners, "front")]


def _path(places: Sequence[tuple[float, float]], kind: str) -> Markup:
    return element("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places), class_=kind)


def _names(
    points: Sequence[Point], places: Sequence[tuple[float, float]], left: float, right: float, bottom: float
) -> Iterable[Markup]:
    """Names beside the points where there is room; those on the front come first, the table has all."""
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    most = max(MOST_LABELS, sum(point.best for point in points))
    for i in sorted(range(len(points)), key=lambda i: not points[i].best)[:most]:
        x, y = places[i]
        words = shorten(points[i].name, 150)
        wide = width_of(words)
        beside, before, centred = 10.0, -10 - wide, -wide / 2
        for dx, dy in (
            (beside, 0),
            (before, 0),
            (centred, -17),
            (centred, 17),
            (beside, -13),
            (beside, 13),
            (before, -13),
        ):
            box = (x + dx, y + dy - 7, x + dx + wide, y + dy + 7)
            inside = box[0] >= left and box[2] <= right + 14 and box[3] <= bottom
            if inside and not any(_meet(box, one) for one in taken):
                taken.append(box)
                yield text(box[0], y + dy, words, kind="halo strong" if points[i].best else "halo")
                break


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _cost_scale(costs: Sequence[float], start: float, stop: float) -> Scale:
    """From zero, unless the costs lie more than a factor of eight apart: then by their logarithm."""
    low, high = min(costs), max(costs)
    if low > 0 and high / low > 8:
        return log_scale([low / 1.1, high * 1.1], start, stop)
    return Scale(low=0.0, high=high * 1.12 if high > 0 else 1.0, start=start, stop=stop)


def _accuracy_scale(found: Sequence[float], start: float, stop: float) -> Scale:
    """Around what was measured, at least one percentage point high, never beyond 100 %."""
    low, high = min(found), max(found)
    room = max(0.25 * (high - low), 0.005)
    low, high = max(low - room, 0.0), min(high + room, 1.0)
    step = 10.0 ** math.floor(math.log10(high - low))
    low, high = math.floor(2 * low / step) * step / 2, math.ceil(2 * high / step) * step / 2
    return Scale(low=low, high=min(high, 1.0), start=start, stop=stop)


def _joules(value: float) -> str:
    return tick(value, "J")
