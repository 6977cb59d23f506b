"""How well a score and an accuracy agree, over the cells of a table.

tau          Kendall's tau-b
interval     its 2.5 % and 97.5 % quantiles over bootstrap samples of the cells
partial tau  of score and accuracy with others held fixed: from the inverse P of the matrix of all taus,
             -P_xy / sqrt(P_xx P_yy)
precision    of the best tenth by score the share that is in the best tenth by accuracy; equal scores count as
             if they were put in order at random, which is 0.1 for a score that says nothing
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

Values = NDArray[np.float64]
LOW, HIGH = 0.025, 0.975
BEST = 0.1


def tau(score: Values, accuracy: Values) -> float:
    """NaN where one of both is the same everywhere."""
    if len(np.unique(score)) < 2 or len(np.unique(accuracy)) < 2:
        return float("nan")
    return float(kendalltau(_ranks(score), accuracy).statistic)


def interval(score: Values, accuracy: Values, resamples: int, rng: np.random.Generator) -> tuple[float, float]:
    """NaN where tau is."""
    if np.isnan(tau(score, accuracy)):
        return float("nan"), float("nan")
    found = []
    for _ in range(resamples):
        drawn = rng.integers(len(score), size=len(score))
        found.append(tau(score[drawn], accuracy[drawn]))
    low, high = np.nanquantile(found, [LOW, HIGH])
    return float(low), float(high)


def partial_tau(score: Values, accuracy: Values, fixed: Sequence[Values]) -> float:
    """NaN where nothing of the score is left when the others are fixed."""
    columns = [score, accuracy, *fixed]
    taus = np.array([[1.0 if a is b else tau(a, b) for b in columns] for a in columns])
    if not np.isfinite(taus).all() or np.linalg.cond(taus) > 1e9:
        return float("nan")
    inverse = np.linalg.inv(taus)
    return float(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))


def precision(score: Values, accuracy: Values, share: float = BEST) -> float:
    number = max(1, round(share * len(score)))
    best = accuracy >= np.sort(accuracy)[-number]
    last = np.sort(score)[-number]
    above, at = score > last, score == last
    places = number - above.sum()  # for those that are equal at the edge
    expected = best[above].sum() + places * best[at].mean()
    return float(expected / number)


def _ranks(values: Values) -> Values:
    """The same order in finite numbers."""
    return np.unique(values, return_inverse=True)[1].astype(np.float64)
