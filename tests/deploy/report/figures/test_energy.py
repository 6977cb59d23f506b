"""Energy, drawn: every profile and population is there or its absence is told, and lengths are what the numbers say."""

import re
from typing import Any

import pytest

from spikeport.deploy.report.figures.energy import MOST_ROWS, grouped, populations_figure, profiles_figure
from spikeport.deploy.report.numbers import NBSP
from spikeport.tests.deploy.report.made_up import energy_json


def bars(svg: str, kind: str) -> list[float]:
    return [float(width) for width in re.findall(rf'width="([\d.]+)" height="[\d.]+" class="{kind}"', svg)]


def row(name: str, joules: float, role: str = "neuron") -> dict[str, Any]:
    return {"name": name, "role": role, "energy_j": joules, "energy_terms_j": {"synaptic_operations": joules}}


def test_every_profile_stands_side_by_side_and_one_without_prices_is_named() -> None:
    energy = energy_json()
    figure = profiles_figure(energy)
    assert figure is not None and figure.narrow is not None
    for name, one in energy["profiles"].items():
        assert (name in figure.wide) == (name in figure.narrow) == (one["energy_j"] is not None)
    assert "No energy is published for speck." in figure.caption
    assert "range 342" not in figure.label and "loihi2-proxy" in figure.label and "(range " in figure.label


def test_the_stack_is_the_shares_of_the_total() -> None:
    energy = energy_json()
    terms = {"synaptic_operations": 3e-6, "messages": 1e-6, "total": 4e-6}
    energy["profiles"] = {"mine": energy["profiles"]["loihi1-davies2018"] | {"energy_j": terms}}
    figure = profiles_figure(energy)
    assert figure is not None
    assert bars(figure.wide, "c-syn") == [pytest.approx(0.75 * 330 - 1)]
    assert bars(figure.wide, "c-msg") == [pytest.approx(0.25 * 330 - 1)]
    assert f"synaptic operations: 3.00{NBSP}µJ, 75.0{NBSP}%" in figure.wide
    assert figure.title == f"One inference costs 4.00{NBSP}µJ by mine"
    broken = terms | {"messages": 3e-6, "total": 6e-6}
    energy["profiles"]["mine"]["energy_j"] = broken
    other = profiles_figure(energy)
    assert other is not None and bars(other.wide, "c-syn") == [pytest.approx(0.5 * 330 - 1)]


def test_without_any_price_there_is_no_figure() -> None:
    energy = energy_json()
    for one in energy["profiles"].values():
        one["energy_j"] = None
    assert profiles_figure(energy) is None
    assert populations_figure(energy | {"per_population": []}) is None


def test_a_term_that_nobody_knows_is_drawn_with_its_own_name() -> None:
    energy = energy_json()
    one = energy["profiles"]["loihi1-davies2018"]
    one["energy_j"] = {"dark_matter": 1e-6, "static": None, "total": 1e-6}
    figure = profiles_figure(energy | {"profiles": {"mine": one}})
    assert figure is not None and figure.legend == (("c-other", "dark matter"),)


def test_relays_of_one_population_are_one_row() -> None:
    rows = [row("a", 1.0), row("a.relay1", 2.0, "relay"), row("b", 3.0), row("a.relay2", 4.0, "relay")]
    found, rule = grouped(rows)
    assert [(one["name"], one["energy_j"]) for one in found] == [("a", 1.0), ("relays of a (2)", 6.0), ("b", 3.0)]
    assert found[1]["energy_terms_j"] == {"synaptic_operations": 6.0}
    assert rule.startswith("Relays of one population are one row")


def test_beyond_sixty_rows_the_costliest_stay_and_the_others_are_a_sum() -> None:
    rows = [row(f"p{i}", float(i)) for i in range(100)]
    found, rule = grouped(rows)
    assert len(found) == MOST_ROWS and found[-1]["others"]
    assert [one["name"] for one in found[:2]] == ["p41", "p42"]  # in the network's order
    assert found[-1]["energy_j"] == sum(range(41)) and "the other 41" in rule
    assert sum(one["energy_j"] for one in found) == sum(range(100))


def test_the_sum_of_the_others_does_not_bend_the_scale() -> None:
    energy = energy_json()
    energy["per_population"] = [row(f"p{i}", 1.0) for i in range(200)]
    figure = populations_figure(energy)
    assert figure is not None
    assert bars(figure.wide, "c-syn") == [pytest.approx(900 - 150 - 232 - 1, abs=0.01)] * (MOST_ROWS - 1)
    assert "141 others together" in figure.wide
    assert figure.title.startswith("p0 costs most")


def test_the_figure_of_populations_adds_up_to_the_dynamic_energy() -> None:
    energy = energy_json()
    total = sum(one["energy_j"] for one in energy["per_population"])
    assert total == pytest.approx(energy["profiles"]["loihi1-davies2018"]["dynamic_j"], rel=1e-12)
    figure = populations_figure(energy)
    assert figure is not None and "Dynamic energy" in figure.caption
