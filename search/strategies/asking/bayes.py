"""Bayesian optimisation: Gaussian processes learn the objectives, and asked for is what should extend the front most.

One process for each objective (scikit-learn's) on the code of a candidate, one-hot, so that candidates are alike by how
many numbers of their codes are equal; length and noise by marginal likelihood. What a candidate is worth is the
expected improvement of the hypervolume (Emmerich, Giannakoglou and Naujoks, IEEE TEVC 10(4), 2006), by samples: the
hypervolume is a mean over directions of how far the front reaches along each, to the power of the number of objectives
(Zhang and Golovin, arXiv 2006.04655), which is one formula for any number of them, and that of expected improvement
(Jones, Schonlau and Welch, 1998) for one. Of one fit several are asked for, each as if those before it had brought what
is expected of them.

Ours: the candidates that are compared are random ones and the neighbours of the front; a failure, or what breaks a
limit, is as bad as the worst.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...predictors.predictor import LEAST
from ...random_streams import generator
from ...settings.strategies import BayesSettings
from ...spaces.space import G, Space
from .drawing_new import Asked

SAMPLES = 128  # of what a candidate may bring, each along a direction of its own

Values = NDArray[np.float64]


class Bayes(Archive[G]):
    """Any number of objectives."""

    name: ClassVar[str] = "bayes"
    many: ClassVar[bool] = True
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: BayesSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.settings, self.rng, self.asked = settings, generator(seed, "strategy"), Asked(space.key)
        self.waiting: list[G] = []

    def ask(self, n: int) -> list[Proposal[G]]:
        while len(self.waiting) < n:
            liked = self._liked(max(n, self.settings.bayes_batch))
            for candidate in liked:
                self.asked.add(candidate)
            self.waiting += liked or [self.asked.new(lambda: self.space.sample(self.rng))]
        found, self.waiting = self.waiting[:n], self.waiting[n:]
        return [Proposal(candidate) for candidate in found]

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)

    def _liked(self, n: int) -> list[G]:
        """None as long as too little is known."""
        if len(self.told) < self.settings.bayes_first:
            return []
        worths = scaled(np.array([self.goal.worths(one.measured) for one in self.told.values()], np.float64))
        if any(len(np.unique(one)) < LEAST for one in worths.T):
            return []
        pool = self._pool()
        if not pool:
            return []
        known, asked = self._rows([one.candidate for one in self.told.values()]), self._rows(pool)
        expected, deviation = (
            np.stack(one, 1) for one in zip(*(_learned(known, w, asked) for w in worths.T), strict=True)
        )
        found = list[int]()
        while len(found) < min(n, len(pool)):
            gain = improvement(worths, expected, deviation, self.rng)
            gain[found] = -1
            found.append(int(gain.argmax()))
            worths = np.concatenate([worths, expected[found[-1:]]])
        return [pool[place] for place in found]

    def _pool(self) -> list[G]:
        """Candidates that were not asked for: random ones, and what is near to the front."""
        drawn = [self.space.sample(self.rng) for _ in range(self.settings.bayes_pool)]
        near = [one for best in self.best() for one in self.space.neighbours(best)]
        return list({self.space.key(one): one for one in (*drawn, *near) if one not in self.asked}.values())

    def _rows(self, candidates: Sequence[G]) -> Values:
        """[candidates, sum of radices]: codes, one-hot; squared distances are the numbers that differ."""
        codes = np.array([self.space.encode(one) for one in candidates])
        places = [codes[:, [place]] == np.arange(radix) for place, radix in enumerate(self.space.radices)]
        return np.asarray(np.concatenate(places, 1) * math.sqrt(0.5))


def scaled(worths: Values) -> Values:
    """[told, objectives], 0: the worst, or none; 1: the best."""
    finite = np.asarray(np.isfinite(worths).all(1))
    if not finite.any():
        return np.zeros_like(worths)
    low, high = worths[finite].min(0), worths[finite].max(0)
    return np.where(finite[:, None], (worths - low) / np.where(high > low, high - low, 1.0), 0.0)


def improvement(told: Values, expected: Values, deviation: Values, rng: np.random.Generator) -> Values:
    """[candidates]: by how much each is expected to raise the hypervolume above 0, up to a factor that all share.

    told: [told, objectives], higher is better. expected, deviation: [candidates, objectives]. All candidates are
    sampled by the same numbers.
    """
    objectives = told.shape[1]
    direction = np.abs(rng.standard_normal((SAMPLES, 1, objectives)))
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    sampled = expected + deviation * rng.standard_normal((SAMPLES, 1, objectives))

    def reach(points: Values) -> Values:
        """[samples, points]"""
        return np.asarray((np.clip(points, 0, None) / direction).min(2) ** objectives)

    return np.asarray(np.clip(reach(sampled) - reach(told[None]).max(1, keepdims=True), 0, None).mean(0))


def _learned(rows: Values, worths: Values, asked: Values) -> tuple[Values, Values]:
    """What is expected of those that are asked for, and its deviation, without the noise of one training."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel  # takes a second to import

    kernel: Any = 1.0 * RBF(2.0, (0.5, 10.0)) + WhiteKernel(0.1, (1e-3, 1.0))
    model = GaussianProcessRegressor(kernel, normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length or noise at the end of its range is a good one
        model.fit(rows, worths)
    expected, deviation = model.predict(asked, return_std=True)
    noise = model.kernel_.k2.noise_level * worths.var()
    return np.asarray(expected), np.sqrt(np.clip(deviation**2 - noise, 0, None))
