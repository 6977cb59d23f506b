"""The verdict never says more than the checks."""

from typing import Any

import pytest

from spikeport.deploy.report.verdict import divergence, twin_accuracy, verdict
from spikeport.errors import InputError
from spikeport.tests.deploy.report.made_up import DIVERGED, NOT_RUN, check


@pytest.mark.parametrize(
    ("stated", "checks", "kind", "word"),
    [
        ("pass", [check()], "pass", "Pass"),
        ("pass", [check(), NOT_RUN], "open", "Pass, but 1 of 2 checks not run"),
        ("pass", [NOT_RUN], "open", "Not checked"),
        ("pass", [], "open", "Not checked"),
        ("fail", [check()], "fail", "Fail"),
        ("fail", [], "fail", "Fail"),
        ("pass", [DIVERGED], "fail", "Fail"),
        ("pass", [check(verdict=None)], "fail", "Fail"),
        ("fail", [DIVERGED, NOT_RUN], "fail", "Fail"),
    ],
)
def test_verdict_never_says_more_than_the_checks(
    stated: str, checks: list[dict[str, Any]], kind: str, word: str
) -> None:
    said = verdict(stated, checks)
    assert (said.kind, said.word) == (kind, word)
    assert ("Not run: lava." in said.sentence) == (NOT_RUN in checks)


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(InputError, match="'maybe'"):
        verdict("maybe", [check()])


def test_a_divergence_without_details_still_names_its_place() -> None:
    assert divergence({"population": "a", "step": 2, "neuron": None}) == "population “a”, step 2"


def test_accuracy_of_the_twin_and_of_its_reference() -> None:
    assert twin_accuracy([NOT_RUN, check(candidate="model.onnx"), check(accuracy_candidate=None)]) is None
    assert twin_accuracy([check()]) == {
        "accuracy": 0.9694,
        "reference": "torch",
        "reference_accuracy": 0.9722,
        "samples": 360,
    }
