"""The formulas on probabilities made by hand."""

import numpy as np
import pytest

from spikeport.deploy.ensemble.uncertainty import (
    accuracy,
    answered,
    auroc,
    calibration_error,
    entropy,
    mean_of,
    nll,
    probabilities,
    uncertainty,
)

LN2 = float(np.log(2.0))


def test_members_that_agree_and_members_that_do_not() -> None:
    """Image 0: both sure of the same class. 1: both undecided. 2: both sure, of different classes."""
    members = np.array([[[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]], [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]])
    found = uncertainty(members, np.array([0.5, 0.5]))
    assert found.total == pytest.approx([0.0, LN2, LN2])
    assert found.aleatoric == pytest.approx([0.0, LN2, 0.0])
    assert found.epistemic == pytest.approx([0.0, 0.0, LN2])


def test_weights_count_in_all_three() -> None:
    members = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    found = uncertainty(members, np.array([0.75, 0.25]))
    by_hand = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    assert found.total == pytest.approx([by_hand]) and found.epistemic == pytest.approx([by_hand])
    assert mean_of(members, np.array([0.75, 0.25])).tolist() == [[0.75, 0.25]]


def test_members_never_disagree_less_than_not_at_all() -> None:
    one = np.random.default_rng(0).dirichlet(np.ones(5), 200)
    found = uncertainty(np.stack([one] * 3), np.full(3, 1 / 3))
    assert (found.epistemic >= 0.0).all() and found.epistemic.max() < 1e-12


def test_logits_of_any_size() -> None:
    assert probabilities(np.array([[0.0, np.log(3.0)], [5000, 0]])) == pytest.approx(
        np.array([[0.25, 0.75], [1.0, 0.0]])
    )
    assert entropy(np.array([[1.0, 0.0]])).tolist() == [0.0]


def test_scores() -> None:
    p = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])
    labels = np.array([0, 1, 1, 1])
    assert accuracy(p, labels) == 0.75
    assert nll(p, labels) == pytest.approx(-np.log([0.8, 0.4, 0.7, 0.9]).mean())
    assert nll(np.array([[0.0, 1.0]]), np.array([0])) == pytest.approx(708.396, abs=1e-3)  # finite


def test_calibration_error_of_two_bins() -> None:
    """(0, 0.5]: none; (0.5, 1]: confidences 0.8, 0.6, 0.7, 0.9, and 3 of 4 are right: |0.75 - 0.75|."""
    p = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])
    labels = np.array([0, 1, 1, 1])
    assert calibration_error(p, labels, bins=2) == pytest.approx(0.0)
    # (0.5, 0.6]: 0.6 wrong; (0.6, 0.7], (0.7, 0.8], (0.8, 0.9]: right by 0.7, 0.8, 0.9
    assert calibration_error(p, labels, bins=10) == pytest.approx((0.6 + 0.3 + 0.2 + 0.1) / 4)
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0.0


def test_area_by_counting_pairs() -> None:
    inside, outside = np.array([0.1, 0.2, 0.2, 0.5]), np.array([0.2, 0.6, 0.05])
    pairs = [1.0 if o > i else 0.5 if o == i else 0.0 for i in inside for o in outside]
    assert auroc(inside, outside) == pytest.approx(np.mean(pairs))
    assert auroc(np.zeros(3), np.zeros(4)) == 0.5
    assert auroc(np.zeros(3), np.ones(4)) == 1.0


def test_the_surest_are_answered() -> None:
    unsure, right = np.array([0.9, 0.1, 0.4, 0.2]), np.array([False, True, False, True])
    assert [answered(unsure, right, share) for share in (1.0, 0.75, 0.5, 0.01)] == pytest.approx([0.5, 2 / 3, 1.0, 1.0])
