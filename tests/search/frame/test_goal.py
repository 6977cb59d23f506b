"""Objectives have directions, limits come first, and what is no number is never good."""

import math

import pytest

from spikeport.errors import InputError
from spikeport.search.frame.goal import front_of, parse_goal

GOAL = parse_goal("accuracy, energy_j:speck", "cores=128")


def test_losses_turn_what_is_to_be_large() -> None:
    measured = {"accuracy": 0.9, "energy_j:speck": 2e-6, "cores": 64.0}
    assert GOAL.losses(measured) == (-0.9, 2e-6)
    assert GOAL.excess(measured) == 0
    assert GOAL.excess(measured | {"cores": 192.0}) == 0.5
    assert GOAL.names == ("accuracy", "energy_j:speck", "cores")
    assert GOAL.losses({"accuracy": math.nan}) == (math.inf, math.inf)
    assert GOAL.excess({}) == math.inf


def test_the_front() -> None:
    goal = parse_goal("accuracy,sops")
    values = [(0.9, 10), (0.8, 5), (0.8, 6), (0.95, 20), (0.9, 10), (math.nan, 1)]
    measured = [{"accuracy": accuracy, "sops": float(sops)} for accuracy, sops in values]
    assert front_of(measured, goal) == [0, 1, 3, 5]  # of two alike the first; the least operations count, too
    limited = parse_goal("accuracy", "sops=7")
    assert front_of(measured, limited) == [1]
    assert front_of(measured[:1] + measured[3:4], limited) == [0]  # none keeps it: that which breaks it least


@pytest.mark.parametrize(
    ("objectives", "limits", "words"),
    [
        ("acuracy", "", "Unknown objective 'acuracy'; did you mean 'accuracy'"),
        ("", "", "A search must have one objective or several different ones, but has ''"),
        ("sops,sops", "", "but has 'sops,sops'"),
        ("accuracy", "cores", "A limit must be NAME=NUMBER, as in cores=128, but is 'cores'"),
        ("accuracy", "cores=-1", "A limit must be a number above 0 of what is to be small, but cores <= -1.0 is none"),
        ("accuracy", "int8_accuracy=0.5", "of what is to be small"),
    ],
)
def test_goals_that_are_none(objectives: str, limits: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_goal(objectives, limits)
