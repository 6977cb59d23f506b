"""The few marks that every figure is made of: SVG elements, scales, axes, and how much room a text takes.

Colours are classes of the page's style sheet, so that one drawing serves the light and the dark theme. Lengths are CSS
pixels. Every text and attribute is escaped here.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

EM = 0.6  # width of a character in font sizes, of the widest of the fonts asked for (DejaVu Sans)
SIZE = 12.5  # font size of the figures
SMALL = 11.0

Attribute = str | float | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a page: what it says, how to read it, and its drawings.

    wide is drawn for about 900 px; narrow, if any, takes its place on a phone.
    """

    name: str  # its id on the page
    title: str  # the finding, in words
    label: str  # what a screen reader says in place of the drawing
    caption: str  # how to read it
    wide: Markup
    narrow: Markup | None = None
    legend: tuple[tuple[str, str], ...] = ()  # (class of the colour, words)


def element(tag: str, inside: Iterable[Markup] | str = "", **attributes: Attribute) -> Markup:
    """One SVG or HTML element. `class_` is class, `stroke_width` is stroke-width; None leaves an attribute out."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = escape(inside) if isinstance(inside, str) else Markup("").join(inside)
    return Markup(f"<{tag}{pairs}>{content}</{tag}>" if content else f"<{tag}{pairs}/>")


def drawing(width: float, height: float, inside: Iterable[Markup], label: str) -> Markup:
    """The root of a figure. The label is what a screen reader says in its place."""
    box = f"0 0 {_short(width)} {_short(height)}"
    return element("svg", inside, viewBox=box, width=round(width), height=round(height), role="img", aria_label=label)


def text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start") -> Markup:
    """Words whose middle line is at y. anchor: start, middle or end."""
    return element(
        "text", words, x=x, y=y + 4.2, class_=kind or None, text_anchor=None if anchor == "start" else anchor
    )


def rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> Markup:
    inside: Iterable[Markup] | str = [element("title", title)] if title else ""
    return element("rect", inside, x=x, y=y, width=max(width, 0), height=height, class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> Markup:
    return element("path", d=f"M{_short(x1)} {_short(y1)}L{_short(x2)} {_short(y2)}", class_=kind)


def dot(x: float, y: float, kind: str, radius: float = 5, title: str = "") -> Markup:
    inside: Iterable[Markup] | str = [element("title", title)] if title else ""
    return element("circle", inside, cx=x, cy=y, r=radius, class_=kind)


def square(x: float, y: float, kind: str, title: str = "") -> Markup:
    return rect(x - 4.5, y - 4.5, 9, 9, kind, title)


def width_of(words: str, size: float = SIZE) -> float:
    return EM * size * len(words)


def shorten(words: str, room: float, size: float = SIZE) -> str:
    """Words that fit into `room` pixels; what is left out of their middle is an ellipsis."""
    most = max(int(room / (EM * size)), 3)
    if len(words) <= most:
        return words
    tail = (most - 1) * 2 // 3  # names of populations differ at their ends
    return f"{words[: most - 1 - tail]}…{words[len(words) - tail :]}"


def two_lines(x: float, y: float, words: str, room: float) -> Markup:
    """A name in at most two lines around y, broken at a space where it does not fit into one."""
    if width_of(words) <= room:
        return text(x, y, words)
    most = int(room / (EM * SMALL))
    cut = words.rfind(" ", 0, most + 1)
    if cut <= 0:
        return text(x, y, shorten(words, room))
    second = shorten(words[cut + 1 :], room, SMALL)
    return text(x, y - 6.5, words[:cut], kind="small") + text(x, y + 6.5, second, kind="small")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Values low..high onto pixels start..stop, linearly or by their logarithm; high > low, and low > 0 if log."""

    low: float
    high: float
    start: float
    stop: float
    kind: Literal["linear", "log"] = "linear"

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.kind == "log":
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        return self.start + (self.stop - self.start) * (value - low) / (high - low)

    def ticks(self, most: int = 6) -> tuple[float, ...]:
        """Round values in low..high, at most about `most`."""
        if self.kind == "log":
            return self._decades(most)
        step = _nice((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(step * i for i in range(first, last + 1))

    def _decades(self, most: int) -> tuple[float, ...]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = max(1, math.ceil((last - first) / most))
        within = (1.0,) if last - first > 2 else (1.0, 2.0, 5.0)
        values = [factor * 10.0**power for power in range(first, last + 1, every) for factor in within]
        return tuple(v for v in values if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9))


def grid(scale: Scale, top: float, bottom: float, words: Callable[[float], str], edge: float) -> Iterable[Markup]:
    """Vertical lines at round values, whose words stand above them and stay within 0..edge."""
    for value in scale.ticks(max(2, int(abs(scale.stop - scale.start) // 62))):
        yield line(scale(value), top, scale(value), bottom)
    yield from ticks(scale, top - 9, words, edge)


def ticks(scale: Scale, y: float, words: Callable[[float], str], edge: float) -> Iterable[Markup]:
    """The words of round values along y, within 0..edge; one that would touch its neighbour is left out."""
    taken = -math.inf
    for value in scale.ticks(max(2, int(abs(scale.stop - scale.start) // 62))):
        wide = width_of(words(value), SMALL)
        left = min(max(scale(value) - wide / 2, 0.0), edge - wide)
        if left > taken:
            yield text(left + wide / 2, y, words(value), kind="small soft", anchor="middle")
            taken = left + wide + 6


def log_scale(values: Iterable[float], start: float, stop: float) -> Scale:
    """A logarithmic scale that holds all positive values, from a power of ten to a power of ten."""
    found = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = math.floor(math.log10(min(found)) + 1e-9), math.ceil(math.log10(max(found)) - 1e-9)
    return Scale(low=10.0**low, high=10.0 ** max(high, low + 1), start=start, stop=stop, kind="log")


def zero_scale(values: Iterable[float], start: float, stop: float) -> Scale:
    """A linear scale from zero to the largest value."""
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    return Scale(low=0.0, high=most if most > 0 else 1.0, start=start, stop=stop)


def _nice(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= step * (1 - 1e-9))


def _short(value: Attribute) -> str:
    """Two digits behind the point at most: pixels need no more."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}".rstrip("0").rstrip(".")
