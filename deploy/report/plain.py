"""The report and its figures of plain values, for a notebook or a script of one's own; no run folder is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ...files import write_text
from ..equivalence.verdict import Check, overall
from .figures.marks import Figure
from .frame import rendered
from .page import figures_of, render

ROOM = 220  # pixels that title, key and caption take beside a drawing


@dataclass(frozen=True, slots=True)
class Drawn:
    """One figure of the report; a notebook shows it in its place. `html` is a whole page that loads nothing."""

    name: str
    title: str
    html: str
    height: int

    def _repr_html_(self) -> str:
        style = "border: 0; width: 100%; max-width: 62rem"
        page, title = escape(self.html), escape(self.title)
        return f'<iframe srcdoc="{page}" title="{title}" height="{self.height}" style="{style}"></iframe>'


def figures(energy: Mapping[str, Any] | None, activity: Mapping[str, Any] | None = None) -> list[Drawn]:
    """What the report draws of an energy (`price`) and of an activity (`activity`), ready to be shown inline.

    Raises InputError where a key is missing.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak=1.0)
    >>> spikes = spikeport.encode(network, images)
    >>> drawn = spikeport.figures(spikeport.price(graph, spikes), spikeport.activity(graph, spikes))
    >>> [figure.name for figure in drawn][-1]
    'spike-raster'
    """
    return [_drawn(figure) for figure in figures_of(energy, activity)]


def report(
    path: Path | str,
    *,
    checks: Sequence[Check] = (),
    energy: Mapping[str, Any] | None = None,
    activity: Mapping[str, Any] | None = None,
    name: str = "",
    test_accuracy: float | None = None,
) -> Path:
    """Write the report of plain values as one HTML page that loads nothing; returns its path.

    checks: of `compare`. energy: of `price`. activity: of `activity`. Raises InputError where a key is missing.

    >>> network, images = spikeport.example_network()
    >>> spikes, traced = spikeport.encode(network, images), spikeport.trace(network, images[:1], 4)
    >>> check = spikeport.compare(spikeport.run(network, images), spikeport.run(traced.graph, spikes))
    >>> graph = spikeport.quantize(spikeport.lower(traced.graph), peak=1.0)
    >>> spikeport.report("report.html", checks=[check], energy=spikeport.price(graph, spikes)).exists()
    True
    """
    target = Path(path)
    page = render(
        manifest={"name": name} if name else {},
        metrics={"test_accuracy": test_accuracy},
        equivalence={"verdict": overall(list(checks)), "checks": [check.to_dict() for check in checks]},
        energy=None if energy is None else dict(energy),
        activity=None if activity is None else dict(activity),
        cells_svg=None,
        history_svg=None,
    )
    write_text(target, page)
    return target


def _drawn(figure: Figure) -> Drawn:
    page = rendered("figure.html.j2", {"figure": figure})
    start = figure.wide.index('height="') + len('height="')
    height = float(figure.wide[start : figure.wide.index('"', start)])
    return Drawn(figure.name, figure.title, page, round(height) + ROOM)
