"""The front of a search as SVG, in the colours of the report: every cell that was measured, and those nobody dominates.

With one objective: its best so far over the evaluations.
"""

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .goal import Goal, front_of

GREY, BLUE = "#b8b8b8", "#2166ac"


def draw_front(measured: Sequence[Mapping[str, float]], goal: Goal) -> str:
    """Of whole trainings, in the order of the asks, the first two of several objectives. Equal input, equal bytes."""
    with mpl.rc_context({"svg.hashsalt": "spikeport", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        first, *others = (one.name for one in goal.objectives)
        if others:
            _points(axes, measured, goal, first, others[0])
        else:
            _course(axes, measured, goal, first)
        axes.spines[["top", "right"]].set_visible(False)
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return file.getvalue()


def _points(axes: mpl.axes.Axes, measured: Sequence[Mapping[str, float]], goal: Goal, y: str, x: str) -> None:
    both = [(one.get(x, np.nan), one.get(y, np.nan)) for one in measured]
    best = sorted(both[place] for place in front_of(measured, goal))
    axes.plot(*zip(*both, strict=True), "o", color=GREY, label="evaluated")
    axes.plot(*zip(*best, strict=True), "o-", color=BLUE, label="front", drawstyle="steps-post")
    axes.set(xlabel=x, ylabel=y)
    axes.legend(frameon=False)


def _course(axes: mpl.axes.Axes, measured: Sequence[Mapping[str, float]], goal: Goal, name: str) -> None:
    values = np.array([one.get(name, np.nan) for one in measured], float)
    best = (np.fmax if goal.objectives[0].maximised else np.fmin).accumulate(values)
    number = np.arange(1, len(values) + 1)
    axes.plot(number, values, "o", color=GREY, label="evaluated")
    axes.plot(number, best, color=BLUE, label="best so far", drawstyle="steps-post")
    axes.set(xlabel="whole trainings", ylabel=name)
    axes.legend(frameon=False)
