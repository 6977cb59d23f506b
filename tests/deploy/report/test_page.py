"""The report says the verdict first, hides nothing, loads nothing and runs its one script only."""

import re
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any

import pytest

from spikeport.deploy.report.frame import script_hash
from spikeport.deploy.report.numbers import NBSP, amount, quantity
from spikeport.deploy.report.page import price_rows, render
from spikeport.errors import InputError
from spikeport.tests.deploy.report.made_up import DIVERGED, NOT_RUN, activity_json, check, energy_json

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path id="line" d="M0 0L9 9"/></svg>'
VOID = {"meta", "br", "link", "img", "hr", "input"}
HOSTILE = "<script>alert(1)</script>"
FIGURES = {
    "energy-by-profile",
    "energy-by-population",
    "accuracy-and-energy",
    "snn-and-ann",
    "break-even",
    "floor-plan-loihi1",
    "floor-plan-loihi2",
    "firing-rates",
    "spike-raster",
}


def page(checks: list[dict[str, Any]], stated: str = "pass", **changes: Any) -> str:
    energy = changes.get("energy", energy_json())
    settings: dict[str, Any] = {
        "manifest": {"name": "digits-1", "command": "spikeport deploy", "versions": {"numpy": "2.2"}, "seed": None},
        "metrics": {"test_accuracy": 0.9722, "parameters": 48310, "spikes_per_cell": [10.5, 3.25]},
        "equivalence": {"verdict": stated, "checks": checks},
        "energy": energy,
        "activity": activity_json(energy) if energy and "activity" not in changes else None,
        "cells_svg": SVG,
        "history_svg": SVG,
    }
    return render(**(settings | changes))


class Page(HTMLParser):
    """Open tags that are closed in order, every tag with its attributes, and the text between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.script = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing, line {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.script += data
        elif "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace(NBSP, " ").split())

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in tags]


def test_the_verdict_comes_first() -> None:
    text = Page(page([check()])).text
    order = [
        "✓ Pass",
        "Accuracy, chip twin",
        "Energy, Loihi 1",
        "Latency, Loihi 1",
        "Cores, Loihi 1",
        "Against the ANN",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "All 1 check ran and passed: 1.20 M spikes compared, 0 differ." in text


def test_a_failure_is_unmistakable_and_explained() -> None:
    html = page([check(), DIVERGED], stated="fail")
    text = Page(html).text
    assert "✗ Fail 1 of 2 checks failed: netx. 2.40 M spikes compared, 40,321 differ (netx)." in text
    place = "population “cells.1.n2”, sample 3, step 1, neuron (4, 7, 1); the membrane was -64 from the threshold"
    assert text.count(f"{place}. Cause: a tie at the threshold.") == 2  # in the verdict and under the checks
    assert 'class="verdict fail"' in html and 'class="verdict pass"' not in html


def test_a_divergence_is_linked_from_its_check_and_to_its_population() -> None:
    energy = energy_json()
    row = [one["name"] for one in energy["per_population"]].index("cells.1.n2")
    passed = DIVERGED | {"verdict": "pass", "name": "agrees"}
    html = page([passed, DIVERGED], stated="fail", energy=energy)
    assert html.count('href="#divergence-2"') == 2 and html.count('href="#divergence-1"') == 1
    assert (
        html.count(f'href="#population-{row}"') == 2 and f'<tr id="population-{row}"><th scope="row">cells.1.n2' in html
    )
    assert "the check passed, for only the answers have to agree" in html
    unknown = DIVERGED | {"first_divergence": {"population": "no such"}}
    assert 'href="#population-' not in page([unknown], stated="fail")


def test_a_check_that_did_not_run_shows_in_verdict_and_table() -> None:
    text = Page(page([check(), NOT_RUN])).text
    assert "Not run: lava." in text and "! not run no Python 3.10" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"equivalence": {"verdict": "pass"}}, r"equivalence.json lacks the keys checks;"),
        ({"energy": {"samples": 3}, "activity": None}, r"energy.json lacks the keys time_steps"),
        ({"activity": {}}, r"activity.json lacks the keys time_steps"),
        ({"cells_svg": f'<svg xmlns="http://www.w3.org/2000/svg">{HOSTILE}</svg>'}, "<script>"),
        ({"history_svg": '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'}, "onload"),
    ],
)
def test_damaged_or_hostile_files_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        page([check()], **changes)


def poisoned(tree: Any) -> Any:
    """Every text of a file replaced by a script, but for the words that choose a branch."""
    if isinstance(tree, dict):
        kept = ("wins", "verdict", "mapping", "per_population_profile", "arithmetic")
        return {key: value if key in kept else poisoned(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [poisoned(value) for value in tree]
    return f'"{HOSTILE}' if isinstance(tree, str) else tree


def test_hostile_texts_are_only_text() -> None:
    energy = poisoned(energy_json())
    first = {"population": HOSTILE, "sample": 0, "step": 0, "neuron": 0, "margin": 0, "cause": HOSTILE}
    diverged = check(name=HOSTILE, candidate=HOSTILE, verdict="fail", first_divergence=first, ties=[first])
    html = page(
        [diverged, NOT_RUN | {"reason": HOSTILE}],
        manifest={"name": HOSTILE, HOSTILE: HOSTILE, "versions": {"numpy": '" onload="alert(1)'}},
        energy=energy,
        activity=poisoned(activity_json(energy_json())),
        metrics={"test_accuracy": 0.5, HOSTILE: HOSTILE},
    )
    parsed = Page(html)
    assert len(parsed.of("script")) == 1 and "alert" not in parsed.script
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert HOSTILE in parsed.text and parsed.open == []


@pytest.mark.parametrize("drawing", [SVG, None])
@pytest.mark.parametrize("checks", [[check()], [DIVERGED, NOT_RUN], []])
def test_the_page_is_well_formed_and_loads_nothing(checks: list[dict[str, Any]], drawing: str | None) -> None:
    html = page(checks, cells_svg=drawing, history_svg=drawing)
    parsed = Page(html)
    assert html.startswith("<!DOCTYPE html>") and parsed.open == []
    assert not {"link", "img", "iframe", "object", "embed"} & {tag for tag, _ in parsed.tags}
    targets = [value for _, a in parsed.tags for key, value in a.items() if key in ("src", "href")]
    assert all(target is not None and target.startswith("#") for target in targets)
    assert not re.search(r"https?:|@import|url\(", html)
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labels = [one for _, a in parsed.tags for key in ("aria-labelledby",) for one in (a.get(key) or "").split()]
    assert {str(target)[1:] for target in targets} | set(labels) <= set(ids)


def test_the_one_script_is_short_and_the_policy_allows_it_alone() -> None:
    parsed = Page(page([check()]))
    assert 0 < parsed.script.count("\n") < 60
    policy = next(str(a["content"]) for a in parsed.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and f"script-src '{script_hash(parsed.script)}'" in policy
    assert script_hash(parsed.script + " ") not in policy and "unsafe-inline" not in policy.split("script-src")[1]


def test_a_scripts_hash_is_what_the_standard_says() -> None:
    # the example of the specification, Content Security Policy Level 3
    assert script_hash("alert('Hello, world.');") == "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="


def test_tables_are_named_their_heads_have_a_scope_and_rows_are_full() -> None:
    html = page([check(), NOT_RUN])
    parsed = Page(html)
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("table") == tags.count("caption") > 15
    assert all(attributes.get("scope") in ("row", "col") for attributes in parsed.of("th"))
    for table in re.findall(r'<table class="sortable">.*?</table>', html, flags=re.DOTALL):
        heads, rows = table.split("</thead>")
        width = heads.count("<th ")
        body = rows.split("</tbody>")[0]
        assert {len(re.findall(r"<t[hd][ >]", row)) for row in body.split("</tr>")[:-1]} <= {width}


def test_every_figure_is_there_with_a_finding_and_a_text_alternative() -> None:
    html = page([check()])
    found = {str(a["id"]): a for a in Page(html).of("figure") if a.get("class", "") != "drawing"}
    assert set(found) == FIGURES
    for name, attributes in found.items():
        figure = html.split(f'<figure class="{attributes["class"]}" id="{name}"')[1].split("</figure>")[0]
        assert re.search(rf'<h3 id="{name}-title">[^<]{{15,}}</h3>', figure)
        assert re.search(r"<figcaption>[^<]{30,}</figcaption>", figure)
        labels = re.findall(r'role="img" aria-label="([^"]*)"', figure)
        assert labels and all(len(label) > 40 for label in labels)


def numbers_of(tree: Any, keys: Iterable[str]) -> Iterable[float]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in keys and isinstance(value, float):
                yield value
            yield from numbers_of(value, keys)
    elif isinstance(tree, list):
        for value in tree:
            yield from numbers_of(value, keys)


def test_every_joule_and_second_of_the_file_is_on_the_page() -> None:
    energy = energy_json()
    html = page([check()], energy=energy)
    shown = ("energy_j", "total", "dynamic_j", "std", "ann_j", "snn_j", "latency_s", "low", "high", "static", "host")
    rows = [{key: value for key, value in row.items() if key != "spread"} for row in energy["per_population"]]  # counts
    told = [energy["profiles"], energy["ann_baseline"], rows, energy["by_role"], energy["encoder"]]
    joules = list(numbers_of(told, shown))
    assert len(joules) > 100
    for value in joules:
        assert quantity(value, "J") in html or quantity(value, "s") in html


def test_the_spread_of_every_population_is_told() -> None:
    energy = energy_json()
    html = page([check()], energy=energy)
    for row in energy["per_population"]:
        for word in ("spikes", "synaptic_operations"):
            assert all(amount(row["spread"][word][key]) in html for key in ("mean", "std", "min", "max"))


def test_what_is_not_priced_and_every_source_is_there() -> None:
    energy = energy_json()
    text = Page(page([check()], energy=energy)).text
    for one in energy["profiles"].values():
        for line in one["unpriced"]:
            assert line in text
        for source in one["sources"]:
            assert source["source"] in text
    baseline = energy["ann_baseline"]
    for line in (*baseline["unpriced"], baseline["caution"], energy["counting"], energy["encoder"]["note"]):
        assert line in text
    for row in baseline["rows"]:
        assert row["sentence"] in text


def test_energies_without_a_listed_price_and_prices_without_an_energy_are_rows() -> None:
    profile = energy_json()["profiles"]["loihi1-davies2018"]
    profile["sources"].append(
        {"term": "time of messages, sender", "value": 2.1, "unit": "ns", "source": "x", "grade": "S"}
    )
    rows = {row["term"]: row for row in price_rows(profile)}
    assert set(rows) == set(profile["energy_j"]) - {"total"} | {"time of messages, sender"}
    assert rows["static"]["source"] is None and rows["static"]["energy_j"] == profile["energy_j"]["static"]
    assert rows["time of messages, sender"]["energy_j"] is None
    assert rows["messages"]["count"] == profile["counts"]["messages"]
    assert sum(row["share"] or 0 for row in rows.values()) == pytest.approx(1)


def test_a_loss_against_the_ann_is_shown_as_a_loss() -> None:
    html = page([check()], energy=energy_json(wins="ann"))
    text = Page(html).text
    assert "Against the ANN, 45 nm ✗ Loses 2.40×" in text and "The SNN loses to 10 of 10 forms of the ANN" in text
    assert html.count('<span class="tag fail">SNN loses 2.40×</span>') == 10
    assert '<div class="caution fail"><p><strong>✗ Loses 2.40×.</strong>' in html
    won = page([check()], energy=energy_json(wins="snn"))
    assert "✓ Wins 3.00×" in Page(won).text.replace("</span>", "") and "SNN loses" not in won


def test_what_does_not_fit_is_said_first_and_with_its_reason() -> None:
    energy = energy_json()
    energy["mappings"]["loihi1"] |= {"fits": False, "reason": "level 7 is too large", "pieces": [], "cores": None}
    energy["profiles"]["loihi1-davies2018"] |= {"mapping": None, "latency_s": None, "throughput_hz": None}
    parsed = Page(page([check()], energy=energy))
    assert "Cores, Loihi 1 ✗ Does not fit Level 7 is too large." in parsed.text
    assert "✗ Does not fit on Loihi 1. Level 7 is too large." in parsed.text
    assert "floor-plan-loihi1" not in {a.get("id") for a in parsed.of("figure")} and parsed.open == []


def test_a_chip_that_is_known_by_its_totals_fits_without_a_floor_plan() -> None:
    energy = energy_json()
    nothing = dict.fromkeys(("cores", "cores_per_chip", "tiles", "busy_s"))
    energy["mappings"]["speck"] = energy["mappings"]["loihi1"] | nothing | {
        "title": "Speck", "pieces": [], "reason": "what lies on which core of Speck is not known",
    }  # fmt: skip
    text = Page(page([check()], energy=energy)).text
    assert "Fits on Speck by its totals. No floor plan: what lies on which core of Speck is not known." in text


def test_every_null_of_the_files_is_a_dash() -> None:
    energy = energy_json()
    for one in energy["profiles"].values():
        for key in list(one):
            if key.endswith(("_j", "_s", "_hz", "_js")) or key in ("mapping", "busiest"):
                one[key] = None
        one["counts"] |= dict.fromkeys(("messages", "hops", "hops_x", "hops_y"))
    for row in energy["per_population"]:
        row |= {"messages": None, "cores": None}
    for mapping in energy["mappings"].values():
        mapping["busy_s"] = None
    for row in energy["accuracy_over_time"]:
        row["accuracy"] = None
    bare = {"name": "bare", "reference": "a", "candidate": "b", "verdict": "pass", "status": "run"}
    nulls = dict.fromkeys(check(), None) | bare
    parsed = Page(page([bare, nulls], energy=energy, metrics={}, manifest={}))
    assert not re.search(r"\b(None|nan|Undefined)\b", parsed.text) and parsed.open == []
    assert "Accuracy, float model —" in parsed.text and "Accuracy, chip twin — not measured" in parsed.text
    assert "energy-by-profile" not in {a.get("id") for a in parsed.of("figure")}
    assert "no energy is published" in parsed.text


def test_without_a_chip_export_there_is_no_energy_and_the_page_says_so() -> None:
    metrics = {"test_accuracy": 0.9722, "spikes_per_inference": 1234.5, "parameters": 48310}
    parsed = Page(page([check(name="onnx", candidate="model.onnx")], energy=None, metrics=metrics))
    assert parsed.open == []
    assert "Energy was not estimated because no chip export exists" in parsed.text
    assert "Energy per inference — not estimated: no chip export exists" in parsed.text
    assert "Spikes per inference 1.23 k" in parsed.text
    for word in ("✓ Pass", "torch → model.onnx", "97.22 %", "The cells", "The search", "48310", "digits-1"):
        assert word in parsed.text
    for absent in ("Loihi 1", "SOPs", "Populations", "Method and sources", "None"):
        assert absent not in parsed.text
    ids = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    labels = {str(a[key]).lstrip("#") for _, a in parsed.tags for key in ("href", "aria-labelledby") if key in a}
    assert labels <= ids


def test_the_accuracy_check_shows_all_that_it_measured() -> None:
    measured = check(
        name="accuracy",
        candidate="encoder.onnx + twin.onnx",
        spikes_compared=None,
        spikes_differing=None,
        top1_agreement=0.9861,
        allowed_accuracy_drop=0.02,
        spikes_per_inference_reference=1500.25,
        spikes_per_inference_candidate=1612,
    )
    text = Page(page([measured])).text
    assert "encoder.onnx + twin.onnx against torch 96.94 % 97.22 % 2.00 % 98.61 % 1.61 k 1.50 k 360" in text


def test_ties_are_counted_and_listed() -> None:
    one = {"population": "cells.0.n1", "sample": 3, "step": 1, "neuron": [4, 7, 1], "margin": -3.1e-7}
    assert "ties in onnx" not in page([check()])
    text = Page(page([check(name="onnx", ties=[one, one | {"sample": 5, "population": HOSTILE}])])).text
    assert "2 ties in onnx" in text
    assert "population “cells.0.n1”, sample 3, step 1, neuron (4, 7, 1): -3.1e-07 from the threshold" in text
    assert f"population “{HOSTILE}”, sample 5" in text
    assert "1 tie in onnx" in Page(page([check(name="onnx", ties=[one])])).text


def test_the_page_of_a_network_like_the_demo_is_small_and_a_large_one_is_bounded() -> None:
    demo = energy_json(cells=5, channels=12)  # 77 populations
    assert len(demo["per_population"]) > 70
    assert len(page([check()], energy=demo).encode()) < 600_000
    large = energy_json(cells=27, channels=16, size=16, time_steps=64)
    assert len(large["per_population"]) > 400
    assert len(page([check()], energy=large).encode()) < 2_500_000
