"""Runs are compared by one price list that all have; who lacks what is told; a failed run is never optimal."""

from typing import Any

import pytest

from spikeport.deploy.report.compare import compare
from spikeport.deploy.report.comparison_page import comparison_markdown, headline, render_comparison
from spikeport.errors import InputError
from spikeport.tests.deploy.report.made_up import DIVERGED, check, energy_json

PASSED = {"verdict": "pass", "checks": [check()]}
FAILED = {"verdict": "fail", "checks": [DIVERGED]}
HOSTILE = "<script>alert(1)</script>"


def run(name: str, accuracy: float | None, joules: float, **changes: Any) -> dict[str, Any]:
    """A run whose energy, latency and cores are all set by `joules`."""
    energy = energy_json(cells=1)
    one = energy["profiles"]["loihi1-davies2018"]
    one |= {"energy_j": {"synaptic_operations": joules, "total": joules}, "latency_s": joules * 10}
    energy["mappings"]["loihi1"]["cores"] = int(joules * 1e6)
    return {"name": name, "accuracy": accuracy, "energy": energy, "equivalence": PASSED} | changes


def test_the_front_by_hand() -> None:
    runs = [run("small", 0.90, 1e-6), run("middle", 0.95, 2e-6), run("worse", 0.94, 3e-6), run("large", 0.97, 9e-6)]
    found = compare(runs)
    assert found.profile == "loihi1-davies2018"
    assert found.pareto["energy"] == found.pareto["latency"] == found.pareto["cores"] == ("small", "middle", "large")
    assert [one.cores for one in found.runs] == [1, 2, 3, 9]
    assert headline(found) == "3 of 4 runs are Pareto-optimal in accuracy and energy"


def test_equal_runs_are_both_optimal_and_a_cheaper_one_beats_them() -> None:
    twins = [run("a", 0.9, 2e-6), run("b", 0.9, 2e-6)]
    assert compare(twins).pareto["energy"] == ("a", "b")
    found = compare([*twins, run("c", 0.9, 1e-6)])
    assert found.pareto["energy"] == ("c",)
    assert headline(found) == "c is best in accuracy and in energy"


def test_a_failed_run_is_never_optimal_and_does_not_hide_another() -> None:
    found = compare([run("sound", 0.9, 2e-6), run("broken", 0.99, 1e-6, equivalence=FAILED)])
    assert found.pareto["energy"] == ("sound",)
    assert "Failed its checks and so is never optimal: 1 run." in comparison_markdown(found)
    assert "40,321 differ" in render_comparison(found)


def test_only_a_list_that_all_have_is_an_axis() -> None:
    one, other, third = run("one", 0.9, 2e-6), run("other", 0.9, 1e-6), run("third", 0.8, 1e-6)
    del other["energy"]["profiles"]["loihi1-davies2018"]
    found = compare([one, other, third])
    assert found.profile == "loihi1-sanafe"
    assert [x.energy_j for x in found.runs] == [
        x["energy"]["profiles"]["loihi1-sanafe"]["energy_j"]["total"] for x in (one, other, third)
    ]
    other["energy"]["profiles"] = {"mine": one["energy"]["profiles"]["loihi1-davies2018"]}
    none = compare([one, other])
    assert none.profile is None and none.pareto["energy"] == ()
    assert [x.energy_j for x in none.runs] == [None, None]
    assert none.runs[1].lacks == ("a price list that all runs have; it has mine",)
    assert "No price list is common to all runs" in render_comparison(none)


def test_what_a_run_lacks_is_told() -> None:
    unfit = run("unfit", 0.9, 1e-6)
    unfit["energy"]["mappings"]["loihi1"] |= {
        "fits": False,
        "cores": None,
        "pieces": [],
        "reason": "level 3 is too large",
    }
    unfit["energy"]["profiles"]["loihi1-davies2018"] |= {"mapping": None, "latency_s": None}
    runs = [run("whole", 0.8, 2e-6), unfit, run("float", 0.95, 1e-6, energy=None), run("unmeasured", None, 1e-6)]
    lacks = {one.name: one.lacks for one in compare(runs).runs}
    assert lacks["whole"] == ()
    assert lacks["unfit"] == (
        "latency by loihi1-davies2018",
        "cores of loihi1-davies2018: it does not fit, level 3 is too large",
    )
    assert lacks["float"] == ("energy, latency and cores: it was not exported for a chip",)
    assert lacks["unmeasured"] == ("accuracy",)
    text = comparison_markdown(compare(runs))
    assert "- float lacks energy, latency and cores: it was not exported for a chip." in text
    page = render_comparison(compare(runs))
    assert "Not drawn, for want of a number: float, unmeasured." in page
    assert "Not drawn, for want of a number: unfit, float, unmeasured." in page  # latency and cores


@pytest.mark.parametrize(("names", "message"), [([], "there is none"), (["a", "b", "a"], r"\['a'\] are there twice")])
def test_no_runs_and_equal_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare([run(name, 0.9, 1e-6) for name in names])


def test_hostile_names_are_only_text() -> None:
    found = compare([run(HOSTILE, 0.9, 1e-6), run("b", 0.8, 2e-6)])
    page = render_comparison(found)
    assert HOSTILE not in page and "&lt;script&gt;alert(1)" in page
    assert "<script>" not in comparison_markdown(found)
    assert page.count("<script") == 1


def test_markdown_by_hand() -> None:
    lines = comparison_markdown(compare([run("a|b", 0.9, 1e-6)])).splitlines()
    row = next(line for line in lines if line.startswith("| a"))
    assert row.replace("\u00a0", " ").startswith("| a\\|b | ✅ Pass | 90.00 % | 1.00 µJ | 10.0 µs | 1 | ")
    assert row.endswith("| energy, latency, cores |")
