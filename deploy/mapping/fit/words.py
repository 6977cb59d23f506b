"""A fit in words: the verdict, what breaks first, the smallest change that helps."""

from .outcome import LayerFit
from .source import FitSource
from .verdict import Fit


def headline(source: FitSource, found: Fit) -> str:
    """Whether it fits, and what it takes."""
    verdict = "fits" if found.fits else "does not fit"
    takes = ", ".join(
        f"{number:,} {word}{'' if number == 1 else 's'}"
        for number, word in ((found.cores, "core"), (found.chips, "chip"))
        if number is not None
    )
    return f"{source.path} {verdict} on {found.chips_given} x {found.chip.title}" + (
        f": it takes {takes}" if takes else ""
    )


def advice(source: FitSource, found: Fit) -> list[str]:
    """What breaks first, and the smallest change of width with which it does not."""
    broken, narrower = found.first_break, found.narrower
    if broken is None:
        return []
    first = (
        f"first break: level {broken.layer}, '{broken.population}': {broken.needed:,} of {broken.limit} needed, "
        f"{broken.allowed:,} allowed: {broken.why}"
    )
    if narrower is None:
        return [first, "no width fits: take more chips, fewer cells or a smaller image"]
    width = f"{narrower.ratio:.1%} of the channels"
    if narrower.channels is not None:
        width = f"{narrower.channels} of {source.channels} channels"
    cores = "" if narrower.cores is None else f": {narrower.cores:,} cores"
    return [first, f"smallest change: {width} in every hidden population fits{cores}"]


def contents(source: FitSource, layer: LayerFit) -> str:
    """What lies on a level: its populations by name, its relays by number."""
    relays = {p.name for p in source.graph.populations if p.role == "relay"}
    named = [name for name in layer.populations if name not in relays]
    number = len(layer.populations) - len(named)
    return ", ".join([*named, *([f"{number} relay{'' if number == 1 else 's'}"] if number else [])])
