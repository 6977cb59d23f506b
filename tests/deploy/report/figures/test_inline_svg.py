"""A drawing in a page may draw, and nothing else."""

import io
import re

import pytest
from matplotlib.figure import Figure

from spikeport.deploy.report.figures.inline_svg import inline_svg
from spikeport.errors import InputError

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">{}</svg>'


def draw(body: str, name: str = "cells") -> str:
    return inline_svg(SVG.format(body), name=name, label="a drawing")


def test_ids_and_every_reference_to_them_get_the_prefix() -> None:
    drawn = draw(
        '<defs><clipPath id="p"><rect/></clipPath><path id="g"/></defs><use xlink:href="#g" style="fill: url(#p)"/>'
        '<use href="#g" clip-path="url(\'#p\')" aria-labelledby="p g"/>'
    )
    assert 'id="cells-p"' in drawn
    assert drawn.count('href="#cells-g"') == 2
    assert "url(#cells-p)" in drawn and "url('#cells-p')" in drawn
    assert 'aria-labelledby="cells-p cells-g"' in drawn
    assert not re.search(r"[\"#](p|g)[\"')]", drawn)


def test_what_does_not_draw_is_left_out() -> None:
    prolog = '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://x/svg.dtd">'
    note = '<!-- note --><metadata><about xmlns="http://x/">who</about></metadata>'
    path = '<g class="verdict"><path d="M0 0"/></g>'
    drawn = inline_svg(prolog + SVG.format(note + path), name="cells", label='a "drawing"')
    assert drawn.startswith("<svg ")
    assert 'aria-label="a &quot;drawing&quot;"' in drawn and 'role="img"' in drawn and '<path d="M0 0"' in drawn
    assert not any(word in drawn for word in ("<?xml", "DOCTYPE", "note", "who", "class", "http:"))


def test_text_stays_escaped() -> None:
    assert "&lt;script&gt;" in draw("<text>&lt;script&gt;alert(1)&lt;/script&gt;</text>")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("<script>alert(1)</script>", "<script>"),
        ('<g><script href="#a"/></g>', "<script>"),
        ("<foreignObject/>", "<foreignObject>"),
        ('<a href="#x"><path/></a>', "<a>"),
        ('<animate attributeName="href"/>', "<animate>"),
        ('<image href="http://x/a.png"/>', "<image>"),
        ("<style>body { display: none }</style>", "<style>"),
        ('<h:script xmlns:h="http://www.w3.org/1999/xhtml"/>', "script"),
        ('<path onclick="alert(1)"/>', "'onclick'"),
        ('<path OnLoad="alert(1)"/>', "'OnLoad'"),
        ('<use href="http://x/a.svg#b"/>', "'http://x/a.svg#b'"),
        ('<use xlink:href="data:image/svg+xml,x"/>', "outside the drawing"),
        ('<use href=" javascript:alert(1)"/>', "outside the drawing"),
        ('<path style="fill: URL( http://x/a )"/>', "outside the drawing"),
        ('<path fill="url(#a) url(//x)"/>', "outside the drawing"),
        (r'<path style="fill: u\72l(//x)"/>', "outside the drawing"),
    ],
)
def test_what_acts_or_loads_is_refused(body: str, found: str) -> None:
    with pytest.raises(InputError, match=re.escape(found)):
        draw(body)


@pytest.mark.parametrize(
    ("svg", "found"),
    [
        ("<html/>", "<html>"),
        ("<svg>", "well-formed"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>', "entity"),
        ('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "'onload'"),
    ],
)
def test_what_is_no_drawing_is_refused(svg: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        inline_svg(svg, name="cells", label="a drawing")


def test_two_figures_of_matplotlib_share_no_id() -> None:
    drawn = []
    for name in ("cells", "history"):
        figure, file = Figure(), io.StringIO()
        figure.subplots().plot([1, 2], label="accuracy")
        figure.savefig(file, format="svg")
        drawn.append(inline_svg(file.getvalue(), name=name, label=name))
    first, second = (set(re.findall(r'\bid="([^"]+)"', one)) for one in drawn)
    assert first and second and not first & second
    for one, ids in zip(drawn, (first, second), strict=True):
        used = set(re.findall(r'href="#([^"]+)"', one)) | set(re.findall(r"url\(#([^)]+)\)", one))
        assert used and used <= ids
        assert "<style" not in one and 'stroke-linejoin="round"' in one.split(">", 1)[0]
