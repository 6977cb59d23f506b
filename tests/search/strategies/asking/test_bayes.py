"""Bayesian optimisation: a candidate is worth the hypervolume it adds; it learns; what fails is the worst."""

import math
from typing import Any

import numpy as np
import pytest

from spikeport.evaluation.comparison.searches import hypervolume
from spikeport.search.frame.goal import parse_goal
from spikeport.search.frame.protocol import Proposal, Result, Told
from spikeport.search.settings.strategies import BayesSettings
from spikeport.search.spaces.space import CodedSpace
from spikeport.search.strategies.asking import bayes
from spikeport.search.strategies.asking.bayes import Bayes, improvement, scaled

SPACE: CodedSpace[tuple[int, ...]] = CodedSpace(
    name="toy", radices=(4,) * 5, decoder=lambda code: code, encoder=lambda code: code, namer=str
)


def dominated(points: Any) -> float:
    """The area between 0 and points that are to be large, within 0..1."""
    return hypervolume([(1 - x, 1 - y) for x, y in points])


def test_it_is_the_hypervolume_that_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayes, "SAMPLES", 200_000)
    told = np.array([[0.2, 0.9], [0.6, 0.5], [0.9, 0.1]])
    asked = np.array([[0.7, 0.7], [0.3, 0.6], [0.95, 0.3], [0.1, 0.95], [0.5, 0.4]])
    found = improvement(told, asked, np.zeros_like(asked), np.random.default_rng(0))
    meant = np.array([dominated([*told, one]) - dominated(told) for one in asked])
    assert meant[4] == 0 and np.count_nonzero(meant) == 4
    np.testing.assert_allclose(found / found[0], meant / meant[0], atol=0.01)


def test_of_one_objective_it_is_expected_improvement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayes, "SAMPLES", 200_000)
    told, mean, deviation = np.array([[0.0], [0.8]]), np.array([[0.7], [0.5]]), np.array([[0.1], [0.4]])
    found = improvement(told, mean, deviation, np.random.default_rng(0))
    for value, m, s in zip(found, mean[:, 0], deviation[:, 0], strict=True):
        z = (m - 0.8) / s
        density, share = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), (1 + math.erf(z / math.sqrt(2))) / 2
        assert value == pytest.approx(s * (z * share + density), rel=0.02)


def test_a_failure_is_as_bad_as_the_worst() -> None:
    found = scaled(np.array([[1.0, -4.0], [3.0, -2.0], [math.nan, -1.0]]))
    assert found.tolist() == [[0, 0], [1, 1], [0, 0]]


def measured(code: tuple[int, ...]) -> dict[str, float]:
    """Two objectives that want different codes, and failures where the first number is 3."""
    share = sum(code[1:]) / 12
    return {"accuracy": math.nan if code[0] == 3 else 1 - (1 - share) ** 2, "energy_j": share**2 + 0.1 * code[0]}


def searched(strategy: Bayes[tuple[int, ...]], asks: int) -> list[tuple[int, ...]]:
    asked = []
    for _ in range(asks):
        (one,) = strategy.ask(1)
        strategy.tell([Told(Proposal(one.candidate), Result(objectives=measured(one.candidate)))])
        asked.append(one.candidate)
    return asked


def test_it_learns_where_the_front_is() -> None:
    """The first number should be 0; three quarters of random codes have another."""
    strategy = Bayes(SPACE, parse_goal("accuracy,energy_j"), BayesSettings(), 0)
    asked = searched(strategy, 50)
    assert len(set(asked)) == 50
    assert sum(code[0] == 0 for code in asked[:10]) < 6 and sum(code[0] == 0 for code in asked[20:]) > 20
    assert all(code[0] == 0 for code in strategy.best())


def test_a_space_that_is_exhausted_is_asked_again() -> None:
    small: CodedSpace[tuple[int, ...]] = CodedSpace(
        name="toy", radices=(2,) * 5, decoder=lambda code: code, encoder=lambda code: code, namer=str
    )
    strategy = Bayes(small, parse_goal("accuracy"), BayesSettings(bayes_first=5), 0)
    asked = searched(strategy, 40)
    assert len(set(asked[:32])) == 32 and asked[35] in asked[:32]
