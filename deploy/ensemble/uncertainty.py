"""What the mean of several networks' probabilities says, how sure it is, and how far that can be trusted.

p[m, n, k] is what member m says of class k for image n, w[m] its weight; all entropies are in nats:

    mean       p[n, k] = sum of w[m] p[m, n, k]
    total      H(p[n])
    aleatoric  sum of w[m] H(p[m, n])      what each of them is unsure of: the image itself
    epistemic  total - aleatoric >= 0      what they disagree about: what was not learnt

as in Egele et al., arXiv 2302.09748; there the weights are left out of the last, here they are in all three.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Labels = NDArray[np.int64]

BINS = 15  # of the calibration error, as in Guo et al., arXiv 1706.04599
LEAST = float(np.finfo(np.float64).tiny)  # what a probability that was rounded to 0 is taken for in a logarithm


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """Of every image, [N], in nats."""

    total: Values
    aleatoric: Values
    epistemic: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of images with labels: accuracy 0..1, negative log-likelihood in nats, expected calibration error 0..1."""

    accuracy: float
    nll: float
    calibration_error: float


def probabilities(logits: NDArray[np.generic]) -> Values:
    """Softmax over the last axis."""
    values = np.asarray(logits, np.float64)
    powers = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def entropy(p: Values) -> Values:
    """Over the last axis, in nats; what has probability 0 adds nothing."""
    return np.asarray(-(p * np.log(np.maximum(p, LEAST))).sum(-1))


def mean_of(members: Values, weights: Values) -> Values:
    """[M, N, K] and [M], which add up to 1 -> [N, K]."""
    return np.asarray(np.tensordot(weights, members, axes=1))


def uncertainty(members: Values, weights: Values) -> Uncertainty:
    """Of [M, N, K] and [M], which add up to 1."""
    total, aleatoric = entropy(mean_of(members, weights)), np.asarray(weights @ entropy(members))
    # entropy is concave, so that the difference is below 0 by rounding alone
    return Uncertainty(total=total, aleatoric=aleatoric, epistemic=np.maximum(total - aleatoric, 0.0))


def score(p: Values, labels: Labels) -> Score:
    """Of probabilities [N, K]."""
    return Score(accuracy=accuracy(p, labels), nll=nll(p, labels), calibration_error=calibration_error(p, labels))


def accuracy(p: Values, labels: Labels) -> float:
    return float((p.argmax(1) == labels).mean())


def nll(p: Values, labels: Labels) -> float:
    """The mean of -log of what the right class is given, in nats."""
    return float(-np.log(np.maximum(p[np.arange(len(labels)), labels], LEAST)).mean())


def calibration_error(p: Values, labels: Labels, bins: int = BINS) -> float:
    """How far the highest probability is from how often it is right: the mean over bins (a, b] of equal width, each
    with as much weight as it has images (Guo et al., arXiv 1706.04599, equation 3)."""
    confidence, right = p.max(1), p.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def auroc(inside: Values, outside: Values) -> float:
    """How often a value of `outside` is above one of `inside`, of all pairs; equal ones count half (Mann-Whitney)."""
    values, counts = np.unique(np.concatenate((inside, outside)), return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0  # the mean rank of equal values, from 1
    summed = ranks[np.searchsorted(values, outside)].sum()
    above = summed - len(outside) * (len(outside) + 1) / 2.0
    return float(above / (len(inside) * len(outside)))


def answered(unsure: Values, right: NDArray[np.bool_], share: float) -> float:
    """Accuracy on that share of the images that it is surest of; of equally sure ones the first."""
    kept = np.argsort(unsure, kind="stable")[: max(1, round(share * len(unsure)))]
    return float(right[kept].mean())
