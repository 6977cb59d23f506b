"""Three digits and a unit; nothing is rounded to perfect, and a tick keeps the zeros before its point."""

import pytest

from spikeport.deploy.report.numbers import (
    NBSP,
    amount,
    bounds,
    exact,
    number,
    percent,
    plural,
    quantity,
    span,
    tick,
    times,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23e-5, "12.3 µJ"),
        (9.996e-7, "1.00 µJ"),
        (1386e-12, "1.39 nJ"),
        (4.2e-16, "0.000420 pJ"),
        (4.2e-18, "4.20e-18 J"),
        (0, "0 J"),
        (-2e-9, "-2.00 nJ"),
        (123456.0, "123 kJ"),
        (None, "—"),
        (float("nan"), "—"),
        (float("inf"), "—"),
    ],
)
def test_engineering_units(value: float | None, text: str) -> None:
    assert quantity(value, "J").replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "10 µJ"),
        (1e-4, "100 µJ"),
        (2e-6, "2 µJ"),
        (1.5e-6, "1.5 µJ"),
        (1.05e-2, "10.5 mJ"),
        (10, "10 J"),
        (1000, "1 kJ"),
        (0, "0 J"),
    ],
)
def test_a_tick_loses_zeros_behind_the_point_only(value: float, text: str) -> None:
    assert tick(value, "J").replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_200_000, "1.20 M SOPs"), (12, "12 SOPs"), (12.5, "12.5 SOPs"), (0.25, "0.250 SOPs"), (None, "—")],
)
def test_amounts(value: float | None, text: str) -> None:
    assert amount(value, "SOPs").replace(NBSP, " ") == text


def test_nothing_is_rounded_to_perfect_or_to_nothing() -> None:
    shown = [percent(x).replace(NBSP, " ") for x in (1.0, 0.99999, 0.9722, 0.00001, 0.0, None)]
    assert shown == ["100.00 %", ">99.99 %", "97.22 %", "<0.01 %", "0.00 %", "—"]
    assert exact(40321) == "40,321" and exact(None) == "—"


def test_ratios_spans_and_plurals() -> None:
    assert [times(x) for x in (2.4, 0.0312, 153.2, 15321, 1.001, None)] == [
        "2.40×",
        "0.0312×",
        "153×",
        "15,321×",
        "1.00×",
        "—",
    ]
    assert span((1e-5, 3e-5), "J").replace(NBSP, " ") == "10.0 µJ to 30.0 µJ"
    assert span((1e-5, None), "J") == "—"
    ends = ((1.5, 3.0), (29.5, None), (None, 8), (None, None))
    assert [bounds(*one) for one in ends] == ["1.5 to 3", "from 29.5", "up to 8", "—"]
    assert [plural(1, "chip"), plural(1200, "chip"), number(0.333333), number(None)] == [
        "1 chip",
        "1,200 chips",
        "0.333",
        "—",
    ]
