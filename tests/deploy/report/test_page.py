"""The report says the verdict first, hides nothing, loads nothing and runs nothing."""

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from spikeport.deploy.cost.counts import Activity, count
from spikeport.deploy.cost.energy import energy_json
from spikeport.deploy.report.page import (
    NBSP,
    amount,
    divergence,
    exact,
    percent,
    quantity,
    render,
    twin_accuracy,
    verdict,
)
from spikeport.errors import InputError
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph, check

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path id="line" d="M0 0L9 9"/></svg>'
VOID = {"meta", "br", "link", "img", "hr", "input"}
HOSTILE = "<script>alert(1)</script>"


def energy(name: str = "hidden") -> dict[str, Any]:
    populations = (
        Population(name=name, shape=(2,), decay=0.5, threshold=1.0, bias=np.zeros(2)),
        Population(name="logits", shape=(2,), decay=0.5, threshold=1.0, bias=np.zeros(2), role="readout"),
    )
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(3,)),),
            populations=populations,
            projections=(
                Projection(source="image", target=name, kernel=Dense(weight=np.ones((2, 3)))),
                Projection(source=name, target="logits", kernel=Dense(weight=np.ones((2, 2)))),
            ),
            time_steps=5,
        )
    )
    activity = {
        "image": Activity(spikes=np.array([7, 0, 4]), active_updates=0),
        name: Activity(spikes=np.array([3, 2]), active_updates=13),
        "logits": Activity(spikes=np.zeros(2, np.int64), active_updates=11),
    }
    return energy_json(graph=graph, counts=count(graph, activity, samples=4), encoder_macs=100)


def passed(**changes: Any) -> dict[str, Any]:
    return {
        "name": "twin",
        "reference": "torch",
        "candidate": "twin.onnx",
        "samples": 360,
        "spikes_compared": 1_200_000,
        "spikes_differing": 0,
        "ties": [],
        "max_abs_logit_difference": 0.0,
        "top1_agreement": 1.0,
        "accuracy_reference": 0.9722,
        "accuracy_candidate": 0.9694,
        "verdict": "pass",
        "first_divergence": None,
        "seconds": 1.5,
        "status": "run",
    } | changes


DIVERGED = passed(
    name="netx",
    candidate="network.net",
    verdict="fail",
    spikes_differing=40321,
    first_divergence={
        "population": "cells.1.node2",
        "sample": 3,
        "step": 1,
        "neuron": [4, 7, 1],
        "margin": -64,
        "cause": "a tie at the threshold",
    },
)
NOT_RUN = {
    "name": "lava",
    "reference": "twin.onnx",
    "candidate": "lava",
    "status": "not run",
    "reason": "no Python 3.10",
}


def page(checks: list[dict[str, Any]], stated: str = "pass", **changes: Any) -> str:
    settings: dict[str, Any] = {
        "manifest": {"name": "digits-1", "command": "spikeport deploy", "versions": {"numpy": "2.2"}, "seed": None},
        "metrics": {"test_accuracy": 0.9722, "parameters": 48310, "spikes_per_cell": [10.5, 3.25]},
        "equivalence": {"verdict": stated, "checks": checks},
        "energy": energy(),
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
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace(NBSP, " ").split())


def test_the_verdict_comes_first() -> None:
    text = Page(page([passed()])).text
    assert text.index("✓ Pass") < text.index("Accuracy") < text.index("SOPs per inference") < text.index("Energy per")
    assert "All 1 check ran and passed: 1.20 M spikes compared, 0 differ." in text


def test_a_failure_is_unmistakable_and_explained() -> None:
    html = page([passed(), DIVERGED], stated="fail")
    text = Page(html).text
    assert "✗ Fail 1 of 2 checks failed: netx. 2.40 M spikes compared, 40,321 differ (netx)." in text
    place = "population “cells.1.node2”, sample 3, step 1, neuron (4, 7, 1); the membrane was -64 from the threshold"
    assert text.count(f"{place}. Cause: a tie at the threshold.") == 2  # in the verdict and under its check
    assert 'class="verdict fail"' in html and 'class="verdict pass"' not in html


def test_a_divergence_that_is_allowed_stands_in_the_table_alone() -> None:
    html = page([DIVERGED | {"verdict": "pass"}])
    assert html.count("cells.1.node2") == 1
    assert html.index("Do all forms compute the same?") < html.index("cells.1.node2")


@pytest.mark.parametrize(
    ("stated", "checks", "kind", "word"),
    [
        ("pass", [passed()], "pass", "Pass"),
        ("pass", [passed(), NOT_RUN], "open", "Pass, but 1 of 2 checks not run"),
        ("pass", [NOT_RUN], "open", "Not checked"),
        ("pass", [], "open", "Not checked"),
        ("fail", [passed()], "fail", "Fail"),
        ("fail", [], "fail", "Fail"),
        ("pass", [DIVERGED], "fail", "Fail"),
        ("pass", [passed(verdict=None)], "fail", "Fail"),
        ("fail", [DIVERGED, NOT_RUN], "fail", "Fail"),
    ],
)
def test_verdict_never_says_more_than_the_checks(
    stated: str, checks: list[dict[str, Any]], kind: str, word: str
) -> None:
    said = verdict(stated, checks)
    assert (said.kind, said.word) == (kind, word)
    assert ("Not run: lava." in said.sentence) == (NOT_RUN in checks)


def test_a_check_that_did_not_run_shows_in_verdict_and_table() -> None:
    text = Page(page([passed(), NOT_RUN])).text
    assert "Not run: lava." in text and "no Python 3.10" in text


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(InputError, match="'maybe'"):
        page([passed()], stated="maybe")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"equivalence": {"verdict": "pass"}}, r"equivalence.json must have the keys \['checks'\]"),
        ({"energy": {}}, r"energy.json must have the keys \['samples'"),
        ({"cells_svg": f'<svg xmlns="http://www.w3.org/2000/svg">{HOSTILE}</svg>'}, "<script>"),
        ({"history_svg": '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'}, "onload"),
    ],
)
def test_damaged_or_hostile_files_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        page([passed()], **changes)


def test_hostile_names_are_only_text() -> None:
    first = {"population": HOSTILE, "sample": 0, "step": 0, "neuron": 0, "margin": 0, "cause": HOSTILE}
    diverged = passed(name=HOSTILE, candidate=HOSTILE, verdict="fail", first_divergence=first)
    html = page(
        [diverged, NOT_RUN | {"reason": HOSTILE}],
        manifest={"name": HOSTILE, HOSTILE: HOSTILE, "versions": {"numpy": '" onload="alert(1)'}},
        energy=energy(HOSTILE),
        metrics={"test_accuracy": 0.5, HOSTILE: HOSTILE},
    )
    parsed = Page(html)
    assert not any(tag == "script" for tag, _ in parsed.tags)
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert HOSTILE in parsed.text and parsed.open == []


@pytest.mark.parametrize("drawing", [SVG, None])
@pytest.mark.parametrize("checks", [[passed()], [DIVERGED, NOT_RUN], []])
def test_the_page_is_well_formed_and_loads_nothing(checks: list[dict[str, Any]], drawing: str | None) -> None:
    html = page(checks, cells_svg=drawing, history_svg=drawing)
    parsed = Page(html)
    assert html.startswith("<!DOCTYPE html>") and parsed.open == []
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in parsed.tags}
    targets = [value for _, a in parsed.tags for key, value in a.items() if key in ("src", "href")]
    assert all(target is not None and target.startswith("#") for target in targets)
    assert not re.search(r"https?:|@import|url\(", html)
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(target)[1:] for target in targets} <= set(ids)


def test_tables_are_named_and_their_heads_have_a_scope() -> None:
    parsed = Page(page([passed()]))
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("table") == tags.count("caption") > 5
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in parsed.tags if tag == "th")


def test_what_is_not_priced_stands_beside_the_energy() -> None:
    result = energy()
    text = Page(page([passed()])).text
    chip = result["profiles"]["loihi1-davies2018"]
    assert "Energy per inference, Loihi 1 1.41 nJ" in text  # 23.6 * 8 + 81 * 6 + 52 * 14 + 1.7 * 4 = 1409.6 pJ
    for line in (*chip["unpriced"], *result["ann_baseline"]["unpriced"], result["ann_baseline"]["caution"]):
        assert line in text
    for source in (*chip["sources"], *result["ann_baseline"]["sources"]):
        assert source["source"] in text


def test_accuracy_of_the_twin_and_of_its_reference() -> None:
    assert twin_accuracy([NOT_RUN, passed(candidate="model.onnx"), passed(accuracy_candidate=None)]) is None
    assert twin_accuracy([passed()]) == {
        "accuracy": 0.9694,
        "reference": "torch",
        "reference_accuracy": 0.9722,
        "samples": 360,
    }
    assert "Accuracy, chip twin — not measured" in Page(page([NOT_RUN])).text


def test_missing_values_are_dashes() -> None:
    bare = {"name": "bare", "reference": "a", "candidate": "b", "verdict": "pass", "status": "run"}
    nulls = dict.fromkeys(passed(), None) | bare
    text = Page(page([bare, nulls], metrics={}, manifest={})).text
    assert "None" not in text and "nan" not in text and "Undefined" not in text
    assert "Accuracy, float model —" in text


def test_a_divergence_without_details_still_names_its_place() -> None:
    assert divergence({"population": "a", "step": 2, "neuron": None}) == "population “a”, step 2"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23e-5, "12.3 µJ"),
        (9.996e-7, "1.00 µJ"),
        (1386e-12, "1.39 nJ"),
        (4.2e-16, "0.000420 pJ"),
        (0, "0 J"),
        (-2e-9, "-2.00 nJ"),
        (123456.0, "123 kJ"),
        (None, "—"),
        (float("nan"), "—"),
    ],
)
def test_engineering_units(value: float | None, text: str) -> None:
    assert quantity(value, "J").replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("value", "text"), [(1_200_000, "1.20 M SOPs"), (12, "12 SOPs"), (12.5, "12.5 SOPs"), (0.25, "0.250 SOPs")]
)
def test_amounts(value: float, text: str) -> None:
    assert amount(value, "SOPs").replace(NBSP, " ") == text


def test_nothing_is_rounded_to_perfect() -> None:
    shown = [percent(x).replace(NBSP, " ") for x in (1.0, 0.99999, 0.9722, 0.0, None)]
    assert shown == ["100.00 %", ">99.99 %", "97.22 %", "0.00 %", "—"]
    assert exact(40321) == "40,321"


def test_without_a_chip_export_there_is_no_energy_and_the_page_says_so() -> None:
    metrics = {"test_accuracy": 0.9722, "spikes_per_inference": 1234.5, "parameters": 48310}
    html = page([passed(name="onnx", candidate="model.onnx")], energy=None, metrics=metrics)
    parsed = Page(html)
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
    check = passed(
        name="accuracy",
        candidate="encoder.onnx + twin.onnx",
        spikes_compared=None,
        spikes_differing=None,
        top1_agreement=0.9861,
        allowed_accuracy_drop=0.02,
        spikes_per_inference_reference=1500.25,
        spikes_per_inference_candidate=1612,
    )
    text = Page(page([check])).text
    assert "encoder.onnx + twin.onnx against torch 96.94 % 97.22 % 2.00 % 98.61 % 1.61 k 1.50 k 360" in text


def test_ties_are_counted_and_listed() -> None:
    tie = {"population": "cells.0.n1", "sample": 3, "step": 1, "neuron": [4, 7, 1], "margin": -3.1e-7}
    assert "<details" not in page([passed()])
    html = page([passed(name="onnx", ties=[tie, tie | {"sample": 5, "population": HOSTILE}])])
    text = Page(html).text
    assert html.count("<details>") == 1 and "<details open" not in html
    assert "2 ties in onnx" in text
    assert "population “cells.0.n1”, sample 3, step 1, neuron (4, 7, 1): -3.1e-07 from the threshold" in text
    assert f"population “{HOSTILE}”, sample 5" in text
    assert "1 tie in onnx" in Page(page([passed(name="onnx", ties=[tie])])).text
