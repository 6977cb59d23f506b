"""Marks are escaped, scales are right at both ends, and words do not touch."""

import re

import pytest

from spikeport.deploy.report.figures.marks import (
    Scale,
    drawing,
    element,
    grid,
    log_scale,
    shorten,
    text,
    ticks,
    two_lines,
    width_of,
    zero_scale,
)


def test_texts_and_attributes_are_escaped() -> None:
    drawn = drawing(10, 10, [text(0, 0, "<b>&"), element("path", d='"><script>', class_="a")], 'say "x"')
    assert "&lt;b&gt;&amp;" in drawn and "<script>" not in drawn and "say &#34;x&#34;" in drawn
    assert 'class="a"' in drawn and 'viewBox="0 0 10 10"' in drawn


def test_a_linear_scale_by_hand() -> None:
    scale = zero_scale([3.0, 8.0], 100, 500)
    assert (scale(0), scale(4), scale(8)) == (100, 300, 500)
    assert scale.ticks(4) == (0, 2, 4, 6, 8)
    assert zero_scale([], 0, 9).high == 1.0 == zero_scale([0.0], 0, 9).high


def test_a_logarithmic_scale_by_hand() -> None:
    scale = log_scale([2e-6, 3e-4], 0, 300)
    assert (scale.low, scale.high) == (pytest.approx(1e-6), pytest.approx(1e-3))
    assert scale(1e-5) == pytest.approx(100) and scale(1e-4) == pytest.approx(200)
    assert scale(0) == 0  # what cannot be drawn stands at the end
    assert scale.ticks(6) == pytest.approx((1e-6, 1e-5, 1e-4, 1e-3))
    assert log_scale([1.0], 0, 10).high == 10 and log_scale([], 0, 10).low == 1


def test_ticks_are_thinned_over_many_decades() -> None:
    assert log_scale([1e-12, 1.0], 0, 100).ticks(4) == pytest.approx((1e-12, 1e-9, 1e-6, 1e-3, 1))


def test_words_of_ticks_neither_touch_nor_leave_the_drawing() -> None:
    scale = Scale(low=0, high=10, start=0, stop=130)
    crowded = list(ticks(scale, 5, lambda value: f"{value:.0f} milliseconds", 130))
    assert len(crowded) == 1  # 91 px each: only one has room
    assert len(list(ticks(scale, 5, lambda value: f"{value:.0f}", 130))) == 3
    lines = [mark for mark in grid(scale, 0, 9, lambda value: f"{value:.0f} milliseconds", 130) if "<path" in mark]
    assert len(lines) == 3  # a line stays where its words do not


def test_names_are_shortened_in_their_middle() -> None:
    assert shorten("cells.0.n1", 200) == "cells.0.n1"
    short = shorten("cells.10.n2.edges.0.relay12", 120)
    assert short.startswith("cells") and short.endswith("relay12") and "…" in short
    assert width_of(short) <= 120


def test_a_long_name_takes_two_lines() -> None:
    assert two_lines(0, 10, "FP32", 100).count("<text") == 1
    both = two_lines(0, 10, "INT8 weights x 2-bit activations, zeros skipped", 200)
    assert re.findall(">([^<]+)</text>", both) == ["INT8 weights x 2-bit", "activations, zeros skipped"]
    assert "…" in two_lines(0, 10, "onewordthatdoesnotfitanywhere", 60)
