"""Drawn the same each time, with what is not a number left out."""

import math

from spikeport.search.frame.front_picture import draw_front
from spikeport.search.frame.goal import parse_goal


def test_two_objectives_and_one() -> None:
    measured = [{"accuracy": 0.5, "sops": 10.0}, {"accuracy": 0.7, "sops": 30.0}, {"accuracy": math.nan, "sops": 1.0}]
    both = draw_front(measured, parse_goal("accuracy,sops"))
    assert both == draw_front(measured, parse_goal("accuracy,sops")) and ">sops<" in both and ">front<" in both
    assert ">best so far<" in draw_front(measured, parse_goal("sops"))
