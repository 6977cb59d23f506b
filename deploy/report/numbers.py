"""How a number is written for a person: three significant digits, its unit, and nothing rounded to perfect."""

import math
import re

NBSP = "\u00a0"
MISSING = "—"
PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
SMALLEST = {"J": -12, "s": -12, "J·s": -12, "W": -9, "Hz": 0, "bit": 0}  # the smallest prefix that people read


def quantity(value: float | None, unit: str, smallest: int | None = None) -> str:
    """Three significant digits with an engineering prefix: 1.23e-5, "J" -> "12.3 µJ". A missing value is a dash."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return f"0{NBSP}{unit}".rstrip(NBSP)
    rounded = float(f"{value:.2e}")
    power = math.floor(math.log10(abs(rounded)))
    exponent = min(max(power // 3 * 3, SMALLEST.get(unit, -12) if smallest is None else smallest), 12)
    if power - exponent < -4:  # far below the smallest prefix: digits would run out
        return f"{value:.2e}{NBSP}{unit}".rstrip(NBSP)
    digits = min(max(2 - (power - exponent), 0), 6)
    symbol = PREFIXES[exponent] + unit
    return f"{rounded / 10.0**exponent:.{digits}f}" + (NBSP + symbol if symbol else "")


def tick(value: float, unit: str) -> str:
    """A round value at an axis, without the zeros that a measured one keeps: 2e-6, "J" -> "2 µJ"."""
    return re.sub(r"\.0+(?!\d)|(\.\d*[1-9])0+(?!\d)", r"\1", quantity(value, unit))


def amount(value: float | None, unit: str = "") -> str:
    """A count: whole numbers below 1000 in full, else three digits and k, M or G: 1200000, "SOPs" -> "1.20 M SOPs"."""
    whole = value is not None and math.isfinite(value) and value == int(value) and abs(value) < 1000
    text = f"{value:.0f}" if whole else quantity(value, "", smallest=0)
    return text + (NBSP + unit if unit and text != MISSING else "")


def exact(value: int | None) -> str:
    """A count in full: 40321 -> "40,321". Spikes that differ are never rounded."""
    return MISSING if value is None else f"{value:,}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """0.9722 -> "97.22 %"; what is not whole is never rounded up to 100 %, nor what is not nothing down to 0 %."""
    if fraction is None or not math.isfinite(fraction):
        return MISSING
    text = f"{100 * fraction:.{digits}f}"
    if fraction < 1 <= float(text) / 100:
        text = f">{100 - 10.0**-digits:.{digits}f}"
    elif fraction > 0 == float(text):
        text = f"<{10.0**-digits:.{digits}f}"
    return text + NBSP + "%"


def number(value: float | None) -> str:
    """A plain number with three significant digits; whole numbers in full."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.3g}" if value != round(value, 0) else f"{value:.0f}"


def times(ratio: float | None) -> str:
    """A ratio with three significant digits: 2.4 -> "2.40×", 0.0312 -> "0.0312×", 15321 -> "15,321×"."""
    if ratio is None or not math.isfinite(ratio):
        return MISSING
    return f"{ratio:,.0f}×" if ratio >= 999.5 else f"{ratio:#.3g}".rstrip(".") + "×"


def span(ends: tuple[float | None, float | None], unit: str) -> str:
    """(1e-5, 3e-5), "J" -> "10.0 µJ to 30.0 µJ"; a dash where an end is missing."""
    low, high = ends
    return MISSING if low is None or high is None else f"{quantity(low, unit)} to {quantity(high, unit)}"


def bounds(low: float | None, high: float | None) -> str:
    """The range of a price in its unit, of which one end may be unknown: 29.5, None -> "from 29.5"."""
    if low is None:
        return MISSING if high is None else f"up to {number(high)}"
    return f"from {number(low)}" if high is None else f"{number(low)} to {number(high)}"


def plural(count: int, word: str, words: str | None = None) -> str:
    """1, "check" -> "1 check"; 2 -> "2 checks"."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"
