"""The pages in a real browser: no error, no request, all figures drawn, tables that sort, both themes, a phone, paper.

Each check is a function of the open page; a broken page beside the sound one shows that it can fail.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from spikeport.deploy.report.compare import compare
from spikeport.deploy.report.comparison_page import render_comparison
from spikeport.deploy.report.page import render
from spikeport.tests.deploy.report.chromium import Chromium
from spikeport.tests.deploy.report.made_up import DIVERGED, NOT_RUN, activity_json, check, energy_json

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 90"><path d="M0 0L90 90" stroke="black"/></svg>'
POPULATIONS = '[aria-label="Populations, scrollable"] table'
COMPLAINTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Audits.issueAdded")
PHONE, DESK, A4 = 360, 1280, 718  # A4: between the margins that browsers leave, at 96 dots per inch
WINDOW, TABLET, WIDE_PHONE = 1300, 900, 390
WHITE = "rgb(255, 255, 255)"


def report(**changes: Any) -> str:
    energy = changes.get("energy", energy_json())
    settings: dict[str, Any] = {
        "manifest": {"name": "a-rather-long-name-of-a-run-that-has-no-place-to-break", "seed": 0},
        "metrics": {"test_accuracy": 0.9722, "parameters": 48310},
        "equivalence": {"verdict": "fail", "checks": [check(), DIVERGED, NOT_RUN]},
        "energy": energy,
        "activity": activity_json(energy) if energy else None,
        "cells_svg": SVG,
        "history_svg": SVG,
    }
    return render(**(settings | changes))


def comparison() -> str:
    passed = {"verdict": "pass", "checks": [check()]}
    runs = [
        {"name": f"run-{channels}", "accuracy": 0.9 + channels / 200, "energy": energy, "equivalence": passed}
        for channels in (4, 8, 16)
        for energy in [energy_json(cells=1, channels=channels)]
    ]
    return render_comparison(compare([*runs, runs[0] | {"name": "float only", "energy": None}]))


PAGES = {
    "report": report,
    "large": lambda: report(energy=energy_json(cells=20, channels=16, size=16, time_steps=50)),
    "no energy": lambda: report(energy=None),
    "comparison": comparison,
}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, chromium: Chromium, tmp_path: Path) -> Path:
    return written(tmp_path, PAGES[request.param]())


def written(folder: Path, html: str) -> Path:
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    return file


def complaints(chromium: Chromium) -> list[Any]:
    """What the browser had to say: errors, warnings, violations of the policy, accessibility issues of its audits."""
    return [event["params"] for event in chromium.events if event.get("method") in COMPLAINTS]


def requests(chromium: Chromium) -> list[str]:
    """Everything the page asked for, itself included."""
    asked = [event for event in chromium.events if event.get("method") == "Network.requestWillBeSent"]
    return [event["params"]["request"]["url"] for event in asked]


def undrawn(chromium: Chromium) -> list[str]:
    """Figures without a drawing that takes room; of two forms of a figure, one must be hidden."""
    found: list[str] = chromium.evaluate(
        """[...document.querySelectorAll('figure')].filter((figure) => {
             const seen = [...figure.querySelectorAll('svg')]
               .filter((svg) => !svg.closest('.legend') && svg.checkVisibility());
             const sized = seen.filter((svg) => { const b = svg.getBBox(), r = svg.getBoundingClientRect();
               return b.width > 0 && b.height > 0 && r.width > 20 && r.height > 10; });
             const forms = figure.querySelectorAll('.art').length
               && [...figure.querySelectorAll('.art')].filter((art) => art.checkVisibility()).length;
             return sized.length === 0 || sized.length < seen.length || forms > 1;
           }).map((figure) => figure.id || figure.className)"""
    )
    return found


def unreadable(chromium: Chromium) -> list[Any]:
    """Texts of the page that are nearly of the colour of what lies behind them (contrast below 4.5, WCAG 2.2)."""
    found: list[Any] = chromium.evaluate(
        """(() => {
          const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
          const rgb = (words) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = words; canvas.fillRect(0, 0, 1, 1);
            return [...canvas.getImageData(0, 0, 1, 1).data]; };
          const light = (c) => { const l = c.slice(0, 3).map((v) => v / 255)
              .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
            return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
          const behind = (e) => { for (let at = e; at; at = at.parentElement) {
            const c = rgb(getComputedStyle(at).backgroundColor); if (c[3] === 255) return c; }
            return [255, 255, 255]; };
          const kinds = 'h1,h2,h3,p,li,dt,dd,td,th,caption,figcaption,summary,a,strong,.tag,.soft';
          const all = [...document.querySelectorAll(kinds)];
          const texts = all.filter((e) => e.checkVisibility() && !e.closest('svg'));
          return texts.filter((e) => e.textContent.trim()).map((e) => {
            const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
            return [e.tagName, e.textContent.trim().slice(0, 40), (a + .05) / (b + .05)];
          }).filter((x) => x[2] < 4.5);
        })()"""
    )
    return found


def unreachable(chromium: Chromium) -> list[str]:
    """Cells of tables of which a part can be seen nowhere: outside of the window, or of a box that does not scroll.

    A box that scrolls shows whatever lies between 0 and its scrollWidth, so from there on its own edges count.
    """
    found: list[str] = chromium.evaluate(
        """[...document.querySelectorAll('th, td')].filter((cell) => cell.checkVisibility()).filter((cell) => {
             let {left, right} = cell.getBoundingClientRect();
             for (let box = cell.parentElement; box; box = box.parentElement) {
               const edge = box.getBoundingClientRect(), flow = getComputedStyle(box).overflowX;
               if (flow === 'visible') continue;
               if (flow === 'auto' || flow === 'scroll') {
                 const start = edge.left + box.clientLeft - box.scrollLeft;
                 if (left < start - 1 || right > start + box.scrollWidth + 1) return true;
                 ({left, right} = edge);
               } else if (left < edge.left - 1 || right > edge.right + 1) return true;
             }
             return left < -1 || right > document.documentElement.clientWidth + 1;
           }).map((cell) => cell.textContent.trim())"""
    )
    return found


def wider_than_their_box(chromium: Chromium) -> list[str]:
    found: list[str] = chromium.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((e) => e.checkVisibility()"
        " && e.scrollWidth > e.clientWidth + 1).map((e) => e.ariaLabel)"
    )
    return found


def unfold(chromium: Chromium) -> None:
    chromium.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


@pytest.mark.parametrize("width", [WINDOW, TABLET, WIDE_PHONE])
def test_every_cell_can_be_reached(page: Path, chromium: Chromium, width: int) -> None:
    chromium.size(width)
    chromium.open(page)
    unfold(chromium)
    assert unreachable(chromium) == []
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    if width == WINDOW:
        assert wider_than_their_box(chromium) == []


@pytest.mark.parametrize(
    ("scrolls", "cuts"),
    [
        ("overflow-x: auto; margin", "overflow-x: hidden; margin"),
        ("overflow-x: auto; margin", "overflow-x: visible; margin"),
        ("</style>", "table { display: block; max-width: 10rem; overflow: hidden; }</style>"),
    ],
)
def test_a_cell_that_is_cut_is_found(chromium: Chromium, tmp_path: Path, scrolls: str, cuts: str) -> None:
    sound = report()
    assert sound.count(scrolls) == 1
    chromium.size(WIDE_PHONE)
    chromium.open(written(tmp_path, sound.replace(scrolls, cuts)))
    assert "Time" in unreachable(chromium)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_shade_says_that_a_table_goes_on(chromium: Chromium, tmp_path: Path, theme: str) -> None:
    """Its edge is darker than the card where there is more to the right, and at the end it is not."""
    chromium.size(WIDE_PHONE)
    chromium.theme(theme)
    chromium.open(written(tmp_path, report()))
    box = "document.querySelector('[aria-label=\"Price lists, scrollable\"]')"
    chromium.evaluate(f"{box}.scrollIntoView({{block: 'start'}})")
    edges = []
    for place in (0, 10_000):
        chromium.evaluate(f"{box}.scrollLeft = {place}")
        chromium.screenshot(tmp_path / "edge.png", whole=False)
        right, top = chromium.evaluate(
            f"(() => {{ const b = {box}.getBoundingClientRect(); return [b.right, b.top]; }})()"
        )
        edges.append(float(imread(tmp_path / "edge.png")[int(top) + 24, int(right) - 3, :3].mean()))
    assert edges[0] < edges[1] - 0.02


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_no_error_no_request_and_every_figure_drawn(page: Path, chromium: Chromium, width: int, theme: str) -> None:
    chromium.size(width)
    chromium.theme(theme)
    chromium.open(page)
    assert complaints(chromium) == []
    assert requests(chromium) == [page.as_uri()]
    assert undrawn(chromium) == []
    assert unreadable(chromium) == []
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width


def test_a_broken_page_is_caught_by_each_check(chromium: Chromium, tmp_path: Path) -> None:
    chromium.size(PHONE)
    chromium.theme("light")
    sound = report()
    (tmp_path / "x.png").write_bytes(b"")
    broken = {
        "script": sound.replace("const folded", "nowhere(); const folded"),  # another text than the policy's hash
        "error": re.sub(r"<meta http-equiv.*?>", "", sound).replace("const folded", "nowhere(); const folded"),
        "request": re.sub(r"<meta http-equiv.*?>", "", sound).replace("</main>", '<img alt="" src="x.png"></main>'),
        "policy": sound.replace("</main>", '<img alt="" src="x.png"></main>'),
        "undrawn": sound.replace(' id="break-even"', ' id="break-even" hidden'),
        "wide": sound.replace("</main>", '<p style="width: 500px; max-width: none">wide</p></main>'),
        "faint": sound.replace("</main>", '<p style="color: #ddd">faint</p></main>'),
    }
    found = {}
    for name, html in broken.items():
        chromium.open(written(tmp_path, html))
        found[name] = {
            "complaints": bool(complaints(chromium)),
            "requests": len(requests(chromium)) > 1,
            "undrawn": undrawn(chromium),
            "width": chromium.evaluate("document.documentElement.scrollWidth"),
            "unreadable": [words for _, words, _ in unreadable(chromium)],
        }
    assert found["script"]["complaints"] and found["error"]["complaints"] and found["policy"]["complaints"]
    assert found["request"]["requests"]
    assert found["undrawn"]["undrawn"] == ["break-even"]
    assert found["wide"]["width"] > PHONE
    assert found["faint"]["unreadable"] == ["faint"]


def test_the_theme_changes_every_surface(chromium: Chromium, tmp_path: Path) -> None:
    file, seen = written(tmp_path, report()), {}
    for theme in ("light", "dark"):
        chromium.theme(theme)
        chromium.open(file)
        seen[theme] = [
            chromium.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}")
            for selector, name in (
                ("body", "backgroundColor"),
                (".figure", "backgroundColor"),
                ("#energy-by-profile .c-syn", "fill"),
                ("#energy-by-profile text", "fill"),
                ("#firing-rates .heat", "fill"),
            )
        ]
    assert all(light != dark for light, dark in zip(seen["light"], seen["dark"], strict=True))


def order_of(chromium: Chromium, table: str, column: int) -> list[str]:
    """A column from top to bottom, as it is sorted: the value behind a number, else the text."""
    cells = f"[...document.querySelectorAll({json.dumps(table + ' tbody tr')})].map((row) => row.cells[{column}])"
    found: list[str] = chromium.evaluate(f"{cells}.map((cell) => cell.dataset.value ?? cell.textContent.trim())")
    return found


def sorts(chromium: Chromium, table: str) -> list[str | None]:
    """aria-sort of every column."""
    heads = f"[...document.querySelectorAll({json.dumps(table + ' thead th')})]"
    found: list[str | None] = chromium.evaluate(f"{heads}.map((head) => head.ariaSort)")
    return found


def button(table: str, column: int) -> str:
    return f"{table} thead th:nth-child({column + 1}) button"


def focus(chromium: Chromium, selector: str) -> None:
    chromium.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")


def test_a_table_sorts_by_click_and_by_keyboard(chromium: Chromium, tmp_path: Path) -> None:
    chromium.size(DESK)
    chromium.open(written(tmp_path, report()))
    names, energy = order_of(chromium, POPULATIONS, 0), 2
    assert set(sorts(chromium, POPULATIONS)) == {None}
    chromium.click(button(POPULATIONS, energy))
    joules = [float(value) for value in order_of(chromium, POPULATIONS, energy)]
    assert joules == sorted(joules, reverse=True) and len(set(joules)) > 10
    assert sorts(chromium, POPULATIONS)[energy] == "descending"
    assert sorted(order_of(chromium, POPULATIONS, 0)) == sorted(names)  # no row is lost

    focus(chromium, button(POPULATIONS, energy))
    chromium.press("Enter")
    assert [float(value) for value in order_of(chromium, POPULATIONS, energy)] == sorted(joules)
    assert sorts(chromium, POPULATIONS)[energy] == "ascending"

    focus(chromium, button(POPULATIONS, 0))
    chromium.press(" ")
    natural = order_of(chromium, POPULATIONS, 0)
    assert natural[0] == "cells.0.n1" and natural[-1] == "stem"
    assert [word for word in sorts(chromium, POPULATIONS) if word] == ["ascending"]  # of one column only
    foot = chromium.evaluate(f"document.querySelector({json.dumps(POPULATIONS)}).lastElementChild.textContent")
    assert foot.strip().startswith("On the chip")
    assert complaints(chromium) == []


def test_what_is_missing_stays_last_in_both_orders(chromium: Chromium, tmp_path: Path) -> None:
    chromium.size(DESK)
    chromium.open(written(tmp_path, report()))
    table, energy = '[aria-label="Price lists, scrollable"] table', 2
    for order in ("descending", "ascending"):
        chromium.click(button(table, energy))
        values = order_of(chromium, table, energy)
        assert sorts(chromium, table)[energy] == order
        assert values[-1] == "" and "" not in values[:-1]  # speck has no energy


def test_the_keyboard_reaches_the_verdict_every_table_and_every_column(chromium: Chromium, tmp_path: Path) -> None:
    chromium.open(written(tmp_path, report()))
    chromium.press("Tab")
    assert chromium.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    reached = "[...document.querySelectorAll('.scroll, th button, summary, a')]"
    assert chromium.evaluate(f"{reached}.length") > 100
    assert chromium.evaluate(f"{reached}.filter((e) => e.tabIndex < 0 || !e.textContent.trim()).length") == 0
    unnamed = "[...document.querySelectorAll('.scroll')].filter((e) => !e.ariaLabel || e.role !== 'region').length"
    assert chromium.evaluate(unnamed) == 0


def test_without_the_script_the_page_is_complete(chromium: Chromium, tmp_path: Path) -> None:
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(written(tmp_path, report()))
        buttons = "document.querySelectorAll('th button').length"
        assert chromium.evaluate(buttons) == 0 and complaints(chromium) == []
        assert undrawn(chromium) == []
    finally:
        chromium.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_paper_is_light_and_nothing_is_cut_off(chromium: Chromium, tmp_path: Path, theme: str) -> None:
    scheme = {"name": "prefers-color-scheme", "value": theme}
    chromium.call("Emulation.setEmulatedMedia", media="print", features=[scheme])
    chromium.size(A4)
    try:
        chromium.open(written(tmp_path, report()))
        unfold(chromium)
        assert unreachable(chromium) == []
        assert chromium.evaluate("document.documentElement.scrollWidth") <= A4
        assert chromium.evaluate("getComputedStyle(document.querySelector('.figure')).backgroundColor") == WHITE
        assert chromium.evaluate("document.querySelector('.art.narrow').checkVisibility()") is False
        assert chromium.evaluate("document.querySelector('nav').checkVisibility()") is False
        assert undrawn(chromium) == []
    finally:
        chromium.call("Emulation.setEmulatedMedia", media="")


def test_paper_has_every_folded_table(chromium: Chromium, tmp_path: Path) -> None:
    chromium.theme("dark")
    chromium.open(written(tmp_path, report()))
    folded = "document.querySelectorAll('details:not([open])').length"
    before = chromium.evaluate(folded)
    paper = chromium.pdf()
    assert before > 5 and chromium.evaluate(folded) == before  # folded again afterwards
    assert paper.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper))
    short = written(tmp_path, re.sub(r"<details.*?</details>", "", report(), flags=re.DOTALL))
    chromium.open(short)
    assert pages > len(re.findall(rb"/Type\s*/Page\b", chromium.pdf()))
