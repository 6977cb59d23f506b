"""Greedy selection on probabilities made by hand."""

import numpy as np
import pytest

from spikeport.deploy.ensemble.selection import greedy

LABELS = np.array([0, 0, 1, 1])


def sure_of(*classes: int, by: float = 0.9) -> list[list[float]]:
    return [[by, 1 - by] if c == 0 else [1 - by, by] for c in classes]


def test_members_that_err_on_different_images_are_chosen() -> None:
    """0 errs on image 0, 1 on image 3, 2 on both and on 1."""
    members = np.array([sure_of(1, 0, 1, 1), sure_of(0, 0, 1, 0), sure_of(1, 1, 1, 0)])
    picks = greedy(members, LABELS, 5)
    assert [pick.member for pick in picks] == [0, 1]
    one, two = (-np.log([0.1, 0.9, 0.9, 0.9]).mean(), -np.log([0.5, 0.9, 0.9, 0.5]).mean())
    assert [pick.error for pick in picks] == pytest.approx([one, two])


def test_one_that_is_better_is_taken_again() -> None:
    """0 errs on one image of four, 1 on all but that: of it the mean wants a third."""
    members = np.array([sure_of(0, 0, 1, 0), sure_of(1, 1, 0, 1, by=0.55)])
    picks = [pick.member for pick in greedy(members, LABELS, 5)]
    assert picks[0] == 0 and 1 in picks and picks.count(0) > picks.count(1)


def test_at_most_so_many_different_ones() -> None:
    members = np.array([sure_of(1, 0, 1, 1), sure_of(0, 0, 1, 0), sure_of(0, 1, 1, 1), sure_of(0, 0, 0, 1)])
    assert {pick.member for pick in greedy(members, LABELS, 4)} == {0, 1, 2, 3}
    assert len({pick.member for pick in greedy(members, LABELS, 2)}) == 2
    assert [pick.member for pick in greedy(members, LABELS, 1)] == [0]


def test_a_member_that_adds_nothing_stays_out() -> None:
    members = np.array([sure_of(0, 0, 1, 1), sure_of(0, 0, 1, 1)])
    assert [pick.member for pick in greedy(members, LABELS, 5)] == [0]


def test_members_that_doubt_too_much_are_chosen_by_accuracy_alone() -> None:
    """As one they are right more often, and less sure."""
    members = np.array([sure_of(1, 0, 1, 1, by=0.6), [[0.9, 0.1], *sure_of(0, 1, 1, by=0.51)]])
    labels = np.array([0, 0, 1, 1])
    members[1, 1] = members[1, 2] = members[1, 3] = 0.45, 0.55
    assert [pick.member for pick in greedy(members, labels, 5, "accuracy")][:2] == [0, 1]
    assert greedy(members, labels, 5, "accuracy")[-1].error == 0.0
