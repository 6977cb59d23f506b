"""What the network does over time: firing rates of every population, and the spikes of one sample.

Relays repeat the spikes of their population some steps later and the readout does not spike: neither is drawn.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from ..numbers import amount, exact, number, percent, plural
from .marks import SMALL, Figure, drawing, element, rect, shorten, text, width_of, zero_scale

MOST_ROWS = 60
MOST_COLUMNS = 48  # steps drawn one by one; beyond, a column is the mean of several
MOST_MARKS = 24_000  # spikes drawn in all panels together
SHADES = 8
MOST_TITLES = 16  # steps up to which every cell says its number when pointed at
WIDE, NARROW = 900.0, 340.0
SILENT = frozenset({"relay", "readout"})


def rates_figure(activity: Mapping[str, Any]) -> Figure | None:
    """Firing rate of every population in every step, as shades, and its mean as a bar; None where nothing is drawn."""
    drawn, rule = _drawn(activity)
    if not drawn:
        return None
    means = {one["name"]: _mean(one["rates"]) for one in drawn}
    most, least = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    title = f"Rates lie between {percent(means[least], 1)} ({least}) and {percent(means[most], 1)} ({most})"
    columns = min(activity["time_steps"], MOST_COLUMNS)
    each = activity["time_steps"] / columns
    merged = "" if each == 1 else f" A column is the mean of about {number(each)} steps."
    brightest = max((rate for one in drawn for rate in _columns(one["rates"], columns)), default=0.0)
    label = (
        f"Firing rates over {plural(activity['time_steps'], 'time step')}, "
        f"mean of {plural(activity['samples'], 'sample')}: "
        + "; ".join(f"{name} {percent(mean, 1)}" for name, mean in means.items())
        + "."
    )
    return Figure(
        name="firing-rates",
        title=title,
        label=label,
        caption="Shades: share of the neurons that fire in a step, time from left to right, from none (empty) to "
        f"{percent(brightest, 1)} (full colour).{merged} Bars: the mean over the steps. Means of "
        f"{plural(activity['samples'], 'sample')}. {rule}",
        wide=_rates(drawn, means, columns, brightest, WIDE, label),
        narrow=_rates(drawn, means, columns, brightest, NARROW, label),
    )


def _rates(
    drawn: list[Mapping[str, Any]], means: Mapping[str, float], columns: int, brightest: float, width: float, label: str
) -> Markup:
    narrow = width < WIDE
    left = 0.0 if narrow else 232.0
    cell = min(44.0, (width - 110 if narrow else 400.0) / columns)
    bars = left + cell * columns + 14
    height, thick, top = (34.0, 15.0, 22.0) if narrow else (20.0, 17.0, 22.0)
    scale = zero_scale(means.values(), bars, width - 62)
    first = "step 1" if columns == 1 else "steps" if cell * columns < 90 else "first step"
    parts = [text(left, 8, first, kind="small soft"), text(bars, 8, "mean", kind="small soft")]
    if cell * columns >= 140:
        parts.append(text(left + cell * columns, 8, "last", kind="small soft", anchor="end"))
    for i, one in enumerate(drawn):
        y = top + height * i
        parts.append(text(0, y + (5 if narrow else thick / 2), shorten(one["name"], width if narrow else left - 14)))
        y += 15 if narrow else 0
        for step, rate in enumerate(_columns(one["rates"], columns)):
            shade = round(SHADES * rate / brightest) if brightest else 0
            shade = max(shade, 1) if rate else 0
            when = _steps(step, columns, len(one["rates"]))
            found = f"{one['name']}, {when}: {percent(rate, 1)} of {exact(one['neurons'])} neurons"
            title = found if columns <= MOST_TITLES else ""
            parts.append(rect(left + cell * step, y, max(cell - 1, 1), thick, f"heat h{shade}", title))
            if cell >= width_of("00.0", SMALL) + 4:
                middle = left + cell * (step + 0.5) - 0.5
                ink = f"small t{shade}"
                parts.append(text(middle, y + thick / 2, f"{100 * rate:.1f}", kind=ink, anchor="middle"))
        mean = means[one["name"]]
        parts.append(rect(bars, y + 3, max(scale(mean) - bars, 0.6), thick - 6, "c-neuron"))
        parts.append(text(scale(mean) + 6, y + thick / 2, percent(mean, 1), kind="soft"))
    return drawing(width, top + height * len(drawn) + 4, parts, label)


def raster_figure(activity: Mapping[str, Any]) -> Figure | None:
    """The spikes of one sample: a panel per population, a row per neuron shown, time from left to right."""
    drawn, rule = _drawn(activity)
    drawn = [one for one in drawn if one.get("raster")]
    if not drawn:
        return None
    steps = activity["time_steps"]
    found = sum(len(one["raster"]["spikes"]) for one in drawn)
    every = max(1, -(-found // MOST_MARKS))  # rows are thinned until the page holds them
    thinned = f" Of the rows shown every {every}th is drawn." if every > 1 else ""
    silent = [one["name"] for one in drawn if not one["raster"]["spikes"]]
    title = f"Sample {activity['sample']}: {plural(found, 'spike')} of the recorded neurons"
    title += f" in {plural(len(drawn), 'population')}"
    if silent:
        title += f"; silent: {', '.join(silent[:3])}{f' and {len(silent) - 3} more' if len(silent) > 3 else ''}"
    label = f"Spike raster of sample {activity['sample']} over {plural(steps, 'time step')}. " + "; ".join(
        f"{one['name']}: {len(one['raster']['spikes'])} spikes of {len(one['raster']['neurons'])} neurons shown"
        for one in drawn
    )
    panels = [_panel(one, steps, every) for one in drawn]
    return Figure(
        name="spike-raster",
        title=title,
        label=label,
        caption="A panel per population, a row per neuron, time from left to right, "
        f"{plural(steps, 'step')}. Under each name: the neurons shown, evenly spaced, of all.{thinned} {rule}",
        wide=element("div", panels, class_="panels", role="img", aria_label=label),
    )


def _panel(one: Mapping[str, Any], steps: int, every: int) -> Markup:
    """One population's spikes as one path: a dash per spike."""
    neurons = one["raster"]["neurons"]
    cell = max(2.0, min(18.0, 200.0 / steps))
    rows = -(-len(neurons) // every)
    height = 2.5 if rows > 24 else 4.0
    width = cell * steps
    marks = "".join(
        f"M{step * cell + 0.5:g} {(row // every) * height + height / 2:g}h{cell - 1:g}"
        for step, row in one["raster"]["spikes"]
        if row % every == 0
    )
    separators = "".join(f"M{cell * step:g} 0v{rows * height:g}" for step in range(1, steps)) if steps <= 16 else ""
    spikes = plural(len(one["raster"]["spikes"]), "spike")
    words = f"{one['name']}: {spikes} of {len(neurons)} of {exact(one['neurons'])} neurons"
    inside = [
        element("title", words),
        rect(0, 0, width, rows * height, "well"),
        element("path", d=separators or "M0 0", class_="grid"),
        element("path", d=marks or "M0 0", class_="spike", stroke_width=height - 0.7),
    ]
    box = f"0 0 {width:g} {rows * height:g}"
    art = element("svg", inside, viewBox=box, width=round(width), height=round(rows * height), aria_hidden="true")
    shown = f"{len(neurons)} of {amount(one['neurons'])}" if len(neurons) < one["neurons"] else amount(one["neurons"])
    name = element("span", one["name"], class_="who", title=one["name"])
    return element("div", [name, element("span", shown, class_="soft"), art], class_="panel")


def _drawn(activity: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str]:
    """The populations to draw, and what is left out, in words."""
    populations = activity["populations"]
    spiking = [one for one in populations if one["role"] not in SILENT]
    relays = sum(one["role"] == "relay" for one in populations)
    rule = f"Left out: {plural(relays, 'relay population')}, which repeat spikes later. " if relays else ""
    if len(spiking) > MOST_ROWS:
        most = sorted(range(len(spiking)), key=lambda i: -_mean(spiking[i]["rates"]) * spiking[i]["neurons"])
        kept = most[:MOST_ROWS]
        rule += f"Of {len(spiking)} populations the {MOST_ROWS} with the most spikes are drawn. "
        spiking = [spiking[i] for i in sorted(kept)]
    return spiking, rule.strip()


def _columns(rates: list[float], columns: int) -> list[float]:
    """Means over `columns` runs of steps, as equal as they can be."""
    cuts = [round(len(rates) * i / columns) for i in range(columns + 1)]
    return [_mean(rates[start:stop]) for start, stop in pairwise(cuts)]


def _steps(column: int, columns: int, steps: int) -> str:
    start, stop = round(steps * column / columns), round(steps * (column + 1) / columns)
    return f"step {start + 1}" if stop == start + 1 else f"steps {start + 1} to {stop}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
