"""Words on coloured bars can be read in both themes, and every colour that a figure names is there."""

import re
from pathlib import Path

import pytest

from spikeport.deploy.report import frame
from spikeport.deploy.report.words import TERMS

STYLE = (Path(frame.__file__).parent / "templates" / "style.html.j2").read_text(encoding="utf-8")
LIGHT = STYLE.split("@media")[0]
DARK = LIGHT + STYLE.split("(prefers-color-scheme: dark) {")[1].split("}\n}")[0]


def colours(sheet: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", sheet))  # the later one counts


def luminance(colour: str) -> float:
    """Of sRGB, as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("sheet", [LIGHT, DARK], ids=["light", "dark"])
def test_words_on_a_bar_have_contrast(sheet: str) -> None:
    found, checked = colours(sheet), 0
    for rule, ink in re.findall(r"^((?:svg \.on-c-\w+,? ?)+)\{ fill: var\(--([\w-]+)\); \}", STYLE, flags=re.MULTILINE):
        for kind in re.findall(r"on-c-(\w+)", rule):
            assert contrast(found[kind], found[ink]) >= 4.5, (kind, ink)
            checked += 1
    assert checked == len({term.kind for term in TERMS.values()} | {"c-other"})


@pytest.mark.parametrize("sheet", [LIGHT, DARK], ids=["light", "dark"])
def test_every_mark_stands_out_from_its_card(sheet: str) -> None:
    found = colours(sheet)
    for name in ("accent", "act", "syn", "msg", "fire", "relay", "or", "readout", "input", "pass", "fail", "soft"):
        assert contrast(found[name], found["card"]) >= (4.5 if name in ("pass", "fail", "soft") else 2.4), name


def test_every_class_of_a_term_has_a_colour() -> None:
    for term in TERMS.values():
        assert re.search(rf"\.{term.kind} \{{ fill: var", STYLE), term.kind
