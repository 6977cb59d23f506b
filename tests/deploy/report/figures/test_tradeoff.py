"""Accuracy against cost: points where the numbers are, the front a staircase, names that do not cover each other."""

import re

import pytest

from spikeport.deploy.report.figures.tradeoff import Point, accuracy_figure, pareto_figure
from spikeport.tests.deploy.report.made_up import energy_json


def test_accuracy_over_time_has_a_point_for_every_step_with_both_numbers() -> None:
    energy = energy_json(time_steps=4)
    figure = accuracy_figure(energy)
    assert figure is not None and figure.wide.count("<circle") == 4
    assert "without static power and host" in figure.caption
    energy["accuracy_over_time"][1]["accuracy"] = None
    fewer = accuracy_figure(energy)
    assert fewer is not None and fewer.wide.count("<circle") == 3
    assert "Left out, for want of accuracy or energy: 1 step." in fewer.caption
    assert accuracy_figure(energy | {"accuracy_over_time": []}) is None
    for row in energy["accuracy_over_time"]:
        row["energy_j"] = None
    assert accuracy_figure(energy) is None


def test_an_answer_that_is_as_good_early_is_the_finding() -> None:
    energy = energy_json(time_steps=3)
    for row, accuracy in zip(energy["accuracy_over_time"], (0.5, 0.9, 0.9), strict=True):
        row |= {"accuracy": accuracy, "energy_j": row["step"] * 1e-6}
    figure = accuracy_figure(energy)
    assert figure is not None
    assert figure.title.replace("\u00a0", " ") == "90.0 % after 3 steps and 3.00 µJ; step 2 has it for 2.00 µJ"


def figure_of(*points: Point) -> str:
    figure = pareto_figure(name="pareto-energy", cost="energy", unit="J", points=points, note="")
    assert figure is not None
    return str(figure.wide)


def test_a_front_goes_along_then_up() -> None:
    cheap = Point(name="cheap", cost=1e-6, accuracy=0.9, best=True)
    good = Point(name="good", cost=2e-6, accuracy=0.95, best=True)
    wide = figure_of(good, cheap)
    front = re.search(r'd="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L[\d. ]+" class="front"', wide)
    assert front is not None
    x1, y1, x2, y2, x3, y3 = (float(value) for value in front.groups())
    assert y1 == y2 and x2 == x3 and x1 < x2 and y3 < y2
    assert wide.count('class="c-best"') == 2


def test_a_run_that_failed_is_a_hollow_square() -> None:
    wide = figure_of(
        Point(name="a", cost=1, accuracy=0.9, best=True), Point(name="b", cost=2, accuracy=1.0, sound=False)
    )
    assert wide.count('class="c-unsound"') == 1 and wide.count('class="c-best"') == 1


def test_costs_far_apart_stand_on_a_logarithmic_axis_and_it_says_so() -> None:
    near = figure_of(Point(name="a", cost=1e-6, accuracy=0.9), Point(name="b", cost=4e-6, accuracy=0.8))
    far = figure_of(Point(name="a", cost=1e-6, accuracy=0.9), Point(name="b", cost=4e-4, accuracy=0.8))
    assert "logarithmic" not in near and "energy, logarithmic" in far


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_equal_points_at_an_end_are_drawn(accuracy: float) -> None:
    wide = figure_of(*(Point(name=f"run {i}", cost=0.0, accuracy=accuracy) for i in range(30)))
    assert wide.count('class="c-rest"') == 30 and "nan" not in wide
    assert 0 < len(re.findall(r">run \d+</text>", wide)) <= 14


def test_without_points_there_is_no_figure() -> None:
    assert pareto_figure(name="x", cost="energy", unit="J", points=[], note="") is None
