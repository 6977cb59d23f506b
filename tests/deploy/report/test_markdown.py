"""report.md says the same as the page, and names from files are only text in it."""

from typing import Any

import pytest

from spikeport.deploy.report.markdown import markdown, plain, table
from spikeport.deploy.report.numbers import NBSP
from spikeport.errors import InputError
from spikeport.tests.deploy.report.made_up import DIVERGED, NOT_RUN, check, energy_json

HOSTILE = "<script>alert(1)</script>|x"


def report(checks: list[dict[str, Any]], stated: str = "pass", **changes: Any) -> str:
    settings: dict[str, Any] = {
        "manifest": {"name": "digits-1"},
        "metrics": {"test_accuracy": 0.9722},
        "equivalence": {"verdict": stated, "checks": checks},
        "energy": energy_json(),
    }
    return markdown(**(settings | changes)).replace(NBSP, " ")


def test_the_verdict_comes_first_and_a_failure_is_explained() -> None:
    text = report([check(), DIVERGED, NOT_RUN], stated="fail")
    assert text.startswith("## ❌ Fail: digits-1\n\n1 of 2 checks failed: netx. 2.40 M spikes compared, 40,321 differ")
    assert "**First divergence in netx**: population “cells.1.n2”, sample 3, step 1, neuron (4, 7, 1)" in text
    assert "⚠️ not run: no Python 3.10" in text
    assert report([check()]).startswith("## ✅ Pass: digits-1")
    assert report([check(), NOT_RUN]).startswith("## ⚠️ Pass, but 1 of 2 checks not run")


def test_a_loss_against_the_ann_is_a_loss() -> None:
    text = report([check()], energy=energy_json(wins="ann"))
    assert "❌ Loses 2.40×" in text and text.count("❌ SNN loses 2.40×") == 10 and "✅ SNN wins" not in text
    won = report([check()], energy=energy_json(wins="snn"))
    assert "✅ Wins 3.00×" in won and "❌" not in won


def test_every_profile_and_all_that_is_not_priced_is_there() -> None:
    energy = energy_json()
    text = report([check()], energy=energy)
    for name, one in energy["profiles"].items():
        assert f"| {name} |" in text
        for line in one["unpriced"]:
            assert plain(line) in text
    assert "| speck | Speck, 65 nm | — | — | — | — | — | 3 |" in text
    assert text.count("<details>") == text.count("</details>") == 2


def test_what_does_not_fit_is_said() -> None:
    energy = energy_json()
    energy["mappings"]["loihi1"] |= {"fits": False, "cores": None, "pieces": [], "reason": "level 7 is too large"}
    energy["profiles"]["loihi1-davies2018"]["mapping"] = None
    assert "| cores | ❌ does not fit | level 7 is too large |" in report([check()], energy=energy)


def test_without_a_chip_export_it_says_so() -> None:
    text = report([check()], energy=None, metrics={"test_accuracy": 0.9, "spikes_per_inference": 1234.5})
    assert "Energy was not estimated because no chip export exists." in text
    assert "| spikes per inference | 1.23 k | the float model |" in text and "None" not in text


def test_hostile_names_are_only_text() -> None:
    first = {"population": HOSTILE, "cause": HOSTILE}
    checks = [check(name=HOSTILE, verdict="fail", first_divergence=first, ties=[first])]
    text = report(checks, manifest={"name": HOSTILE}, energy=energy_json(name=HOSTILE))
    assert "<script" not in text and "&lt;script&gt;" in text
    for line in text.splitlines():
        if line.startswith("| &lt;"):
            assert line.replace("\\|", "").count("|") == 8  # seven cells


def test_tables_and_text_by_hand() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n|:--|--:|\n| 1 | 2 |"
    assert plain("a_b *c* `d` [e](f)\n# g") == r"a\_b \*c\* \`d\` \[e\](f) \# g"


def test_damaged_files_are_refused() -> None:
    with pytest.raises(InputError, match=r"equivalence.json lacks the keys checks;"):
        report([], equivalence={"verdict": "pass"})
    with pytest.raises(InputError, match=r"energy\.json lacks the keys"):
        report([check()], energy={"samples": 3})
