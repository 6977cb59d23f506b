"""Every spike recorded is a dash; what is left out is told."""

import re
from typing import Any

from spikeport.deploy.report.figures.activity import MOST_COLUMNS, MOST_MARKS, raster_figure, rates_figure
from spikeport.tests.deploy.report.made_up import activity_json, energy_json


def population(name: str, role: str, rates: list[float], spikes: list[list[int]]) -> dict[str, Any]:
    raster = {"neurons": [0, 1, 2, 3], "spikes": spikes}
    return {"name": name, "role": role, "shape": [4], "neurons": 4, "rates": rates, "raster": raster}


def activity(*populations: dict[str, Any], steps: int = 2) -> dict[str, Any]:
    return {"time_steps": steps, "samples": 9, "sample": 5, "populations": list(populations)}


def dashes(svg: str) -> int:
    return sum(path.count("h") for path in re.findall(r'<path d="([^"]*)" class="spike"', svg))


def test_a_raster_by_hand() -> None:
    figure = raster_figure(activity(population("a", "neuron", [0.5, 0.25], [[0, 0], [0, 3], [1, 2]])))
    assert figure is not None
    assert 'd="M0.5 2h17M0.5 14h17M18.5 10h17"' in figure.wide  # 18 px a step, 4 px a row
    assert figure.title == "Sample 5: 3 spikes of the recorded neurons in 1 population"
    assert "a: 3 spikes of 4 neurons shown" in figure.label


def test_all_spikes_of_a_run_are_drawn_without_relays_and_readout() -> None:
    found = activity_json(energy_json())
    figure = raster_figure(found)
    drawn = [one for one in found["populations"] if one["role"] not in ("relay", "readout")]
    assert figure is not None
    assert dashes(figure.wide) == sum(len(one["raster"]["spikes"]) for one in drawn)
    assert figure.wide.count('class="panel"') == len(drawn)
    assert "Left out: 24 relay populations" in figure.caption


def test_too_many_spikes_are_thinned_by_rows_and_the_page_says_so() -> None:
    figure = raster_figure(activity_json(energy_json(cells=20, time_steps=100)))
    assert figure is not None and dashes(figure.wide) <= 1.2 * MOST_MARKS
    assert re.search(r"Of the rows shown every \d+th is drawn\.", figure.caption)
    assert "the 60 with the most spikes are drawn" in figure.caption


def test_a_silent_population_is_told() -> None:
    silent, loud = population("a", "neuron", [0, 0], []), population("b", "neuron", [1, 1], [[0, 0]])
    figure = raster_figure(activity(silent, loud))
    assert figure is not None and figure.title.endswith("in 2 populations; silent: a")


def test_rates_by_hand() -> None:
    figure = rates_figure(activity(population("a", "neuron", [0.5, 0.25], []), population("b", "or", [0, 0.1], [])))
    assert figure is not None
    assert figure.wide.count('class="heat h8"') == 1 and figure.wide.count('class="heat h4"') == 1
    assert figure.wide.count('class="heat h0"') == 1  # nothing fires: empty
    assert "a, step 1: 50.0\u00a0% of 4 neurons" in figure.wide
    assert figure.title == "Rates lie between 5.0\u00a0% (b) and 37.5\u00a0% (a)"


def test_many_steps_become_means_of_several() -> None:
    rates = [0.0] * 48 + [1.0] * 48
    figure = rates_figure(activity(population("a", "neuron", rates, []), steps=96))
    assert figure is not None and figure.wide.count('class="heat') == MOST_COLUMNS
    assert figure.wide.count('class="heat h0"') == figure.wide.count('class="heat h8"') == MOST_COLUMNS // 2
    assert "A column is the mean of about 2 steps." in figure.caption


def test_where_nothing_spikes_nothing_is_drawn() -> None:
    nothing = activity(population("r", "readout", [0, 0], []))
    assert rates_figure(nothing) is None and raster_figure(nothing) is None
