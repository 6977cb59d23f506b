"""A cost by measurements of one's own: the analytical one times a fitted residual, stacked as in ANNETTE (2105.03176).

    predicted = analytical * exp( b + sum over features of  w * (log(1 + x) - mean) / scale )

Features are counts of the genotype (cost.py). b and w are a ridge regression of log(measured / analytical), one row for
each network: several measurements of one network are their geometric mean. It is judged on networks that it did not
see, each left out in turn: by Spearman's rank correlation, which is what a search needs, and by the mean absolute
percentage error; beside the analytical cost as it is, and with one factor fitted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import InputError
from ....files import read_json, write_json
from ....search.space.genotype import Genotype
from .cost import QUANTITIES, Cost, GenotypeCost

FORMAT, VERSION = "spikeport cost model", 1
FITTED = ("latency_s", "energy_j")  # what can be measured
FEATURES: Mapping[str, Callable[[Cost], float]] = {
    "levels": lambda cost: cost.size.levels,
    "relays": lambda cost: cost.size.relays,
    "neurons": lambda cost: cost.size.neurons,
    "synapses": lambda cost: cost.size.synapses,
    "sops": lambda cost: cost.size.sops.usual,
    "cores": lambda cost: cost.cores or 0,
    "messages": lambda cost: cost.moved.get("messages", 0.0),
    "hops": lambda cost: cost.moved.get("hops_x", 0.0) + cost.moved.get("hops_y", 0.0),
}
ALPHAS = tuple(10.0**exponent for exponent in range(-3, 4))  # of the ridge; the best by leaving one row out
LEAST_NETWORKS = 4

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One network: its analytical cost, and what was measured of it in the same unit."""

    network: str
    cost: Cost
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """On networks that were left out. rank: Spearman's correlation; mape: in percent."""

    rank: float
    mape: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Of one feature."""

    mean: float
    scale: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedModel:
    """quantity: one of FITTED; profile: the price list of the analytical cost. networks: that it was fitted to.

    judged: "analytical", "factor" (one factor fitted) and "stacked".
    """

    quantity: str
    profile: str
    intercept: float
    weights: Mapping[str, Weight]  # by feature
    networks: int
    judged: Mapping[str, Judged]

    def predict(self, cost: Cost) -> float:
        """In the unit of the quantity. Raises InputError where the analytical cost is not known."""
        residual = self.intercept + sum(
            one.weight * (math.log1p(FEATURES[name](cost)) - one.mean) / one.scale for name, one in self.weights.items()
        )
        return analytical(self.quantity, cost) * math.exp(residual)

    def of(self, genotype: Genotype, cost: GenotypeCost) -> float:
        """Raises InputError where `cost` is by another price list."""
        if cost.profile != self.profile:
            raise InputError(
                f"A cost model must be used with the price list it was fitted on, {self.profile}, but got "
                f"{cost.profile}; fit another model, or use that list."
            )
        return self.predict(cost(genotype))


def fit(samples: Sequence[Measured], quantity: str, profile: str) -> StackedModel:
    """Of one or more measurements of each network. Raises InputError for too few networks."""
    networks = _one_of_each(samples)
    if len(networks) < LEAST_NETWORKS:
        raise InputError(
            f"At least {LEAST_NETWORKS} different networks must be measured to judge a model on one that it did not "
            f"see, but there are {len(networks)}; measure more."
        )
    x, base, y = _rows(networks, quantity)
    everything = np.ones(len(y), bool)
    intercept, weights = _ridge(x, y - base)
    left_out = np.array([_predicted(x, base, y, everything & (np.arange(len(y)) != i), i) for i in range(len(y))])
    ratio = y - base
    others = (ratio.sum() - ratio) / (len(y) - 1)  # the mean of all but each
    return StackedModel(
        quantity=quantity,
        profile=profile,
        intercept=intercept,
        weights=dict(zip(FEATURES, weights, strict=True)),
        networks=len(networks),
        judged={
            "analytical": judged(base, y),
            "factor": judged(base + others, y),
            "stacked": judged(left_out, y),
        },
    )


def judged(predicted: Rows, measured: Rows) -> Judged:
    """Of logarithms."""
    from scipy.stats import spearmanr

    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        raise InputError("Networks must differ in what was measured and in their cost to be ranked, but are all alike.")
    rank = float(spearmanr(predicted, measured).statistic)
    return Judged(rank=rank, mape=float(100 * np.abs(np.exp(predicted - measured) - 1).mean()))


def analytical(quantity: str, cost: Cost) -> float:
    """At the usual rate. Raises InputError where it is not known."""
    found = QUANTITIES[quantity].of(cost)
    if found is None or found <= 0:
        raise InputError(
            f"The price list must say what {quantity} is, but has none for this network"
            f"{f' ({cost.reason})' if cost.reason else ''}; choose another price list."
        )
    return found


def save(path: Path, model: StackedModel) -> None:
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(model)})


def load(path: Path) -> StackedModel:
    """Raises InputError that names the file."""
    data = read_json(path)
    if data.get("format") != FORMAT or data.get("version") != VERSION:
        raise InputError(f"'{path}' is no cost model of this version; write one with `spikeport fit-cost`.")
    try:
        weights = {name: Weight(**_numbers(data["weights"][name])) for name in FEATURES}
        return StackedModel(
            quantity=str(data["quantity"]),
            profile=str(data["profile"]),
            intercept=_numbers({"intercept": data["intercept"]})["intercept"],
            weights=weights,
            networks=int(data["networks"]),
            judged={name: Judged(**_numbers(one)) for name, one in data["judged"].items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"'{path}' is a damaged cost model ({error}); write it anew with `spikeport fit-cost`."
        ) from error


def _numbers(data: Mapping[str, Any]) -> dict[str, float]:
    found = {name: float(value) for name, value in data.items()}
    if not all(map(math.isfinite, found.values())) or found.get("scale") == 0:
        raise ValueError(f"{data} are no numbers of a model")
    return found


def _one_of_each(samples: Sequence[Measured]) -> list[Measured]:
    """A network once, with the geometric mean of what was measured of it."""
    by_name: dict[str, list[Measured]] = {}
    for sample in samples:
        by_name.setdefault(sample.network, []).append(sample)
    return [
        Measured(network=name, cost=each[0].cost, value=math.exp(sum(math.log(s.value) for s in each) / len(each)))
        for name, each in by_name.items()
    ]


def _rows(networks: Sequence[Measured], quantity: str) -> tuple[Rows, Rows, Rows]:
    """(log(1 + features) [networks, features], log analytical, log measured)."""
    x = np.array([[math.log1p(feature(one.cost)) for feature in FEATURES.values()] for one in networks])
    base = np.log([analytical(quantity, one.cost) for one in networks])
    return x, base, np.log([one.value for one in networks])


def _ridge(x: Rows, residual: Rows) -> tuple[float, list[Weight]]:
    from sklearn.linear_model import RidgeCV

    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    model = RidgeCV(ALPHAS).fit((x - mean) / scale, residual)
    weights = [
        Weight(mean=float(m), scale=float(s), weight=float(w)) for m, s, w in zip(mean, scale, model.coef_, strict=True)
    ]
    return float(model.intercept_), weights


def _predicted(x: Rows, base: Rows, y: Rows, seen: NDArray[np.bool_], one: int) -> float:
    """log of the prediction for one network by a model of those that are seen."""
    intercept, weights = _ridge(x[seen], (y - base)[seen])
    moved = sum(w.weight * (value - w.mean) / w.scale for w, value in zip(weights, x[one], strict=True))
    return float(base[one] + intercept + moved)
