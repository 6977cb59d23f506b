"""Energy of one inference: counts times sourced prices, power times time, and what no price is known for.

    dynamic = sum over what the profile prices of  price * count          of each sample, from its own spikes
    static  = static power of a chip * chips * T * time per step          host likewise

A sum over operations is a model, not a measurement; what a profile leaves out stands on its `unpriced` list. Energies
of different technologies stand side by side; they are neither added nor divided here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .counts import COUNTED, Counts, PopulationCounts
from .latency import StepTimes
from .profiles import Bound, Price, Profile
from .traffic import MOVED, Traffic

Joules = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """terms: quantity -> [samples] joules. static, host: joules of one inference, None where power or time is unknown.

    missing: quantities that the profile prices but that were not counted, since the network is not mapped.
    """

    profile: Profile
    terms: Mapping[str, Joules]
    static: float | None
    host: float | None
    missing: tuple[str, ...]

    @property
    def dynamic(self) -> Joules:
        """[samples] joules."""
        return np.asarray(sum(self.terms.values(), np.zeros(1)), np.float64)

    @property
    def total(self) -> float:
        """Joules of one inference, the mean over the samples, with static and host power where they are known."""
        return float(self.dynamic.mean()) + (self.static or 0.0) + (self.host or 0.0)


def estimate(
    profile: Profile,
    counts: Counts,
    traffic: Traffic | None,
    times: StepTimes | None,
    chips: int,
    end: Bound = "value",
) -> Energy:
    """Price the counts of each sample. end: the value of each price, or the low or high end of its range."""
    terms: dict[str, Joules] = {}
    missing = []
    for name, price in profile.energy.items():
        if name in COUNTED:
            terms[name] = np.asarray(price.at(end).joules * counts.per_sample(name), np.float64)
        elif traffic is not None:
            terms[name] = np.asarray(price.at(end).joules * traffic.per_sample(name), np.float64)
        else:
            missing.append(name)
    return Energy(
        profile=profile,
        terms=terms,
        static=_power(profile.static, times, chips, end),
        host=_power(profile.host, times, chips, end),
        missing=tuple(missing),
    )


def of_population(
    profile: Profile, population: PopulationCounts, traffic: Traffic | None, samples: int
) -> dict[str, float]:
    """Quantity -> joules of one inference that a population takes: SOPs where they arrive, messages where sent."""
    terms = {}
    for name, price in profile.energy.items():
        if name in MOVED:
            number = traffic.of_population[population.name][name] if traffic else 0
        else:
            number = getattr(population.tally, name)
        terms[name] = price.joules * number / samples
    return terms


def over_time(profile: Profile, counts: Counts, traffic: Traffic | None) -> list[float]:
    """Dynamic joules of the first 1, 2 ... T steps of one inference, the mean over the samples."""
    each = np.zeros((counts.samples, counts.time_steps))
    for name, price in profile.energy.items():
        if name in COUNTED:
            each += price.joules * counts.each[name]
        elif traffic is not None:
            each += price.joules * traffic.each[name]
    return [float(joules) for joules in each.mean(0).cumsum()]


def _power(power: Price | None, times: StepTimes | None, chips: int, end: Bound) -> float | None:
    return None if power is None or times is None else power.at(end).watts * chips * times.inference
