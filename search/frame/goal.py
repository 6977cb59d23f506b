"""What a search is for: objectives with directions, and limits that a candidate shall keep.

Inside, everything is a loss, the lower the better: what is to be maximised changes its sign, and what is no number is
infinitely bad. A candidate that breaks limits is worse than any that keeps them, and among such the one that is above
them by the smaller share is better (Deb 2000, the rule of NSGA-II).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...errors import InputError
from ...setting import nearest

Losses = tuple[float, ...]

# What a search may be for: name -> (whether more is better, unit). `name:part` is that of one price list or chip.
OBJECTIVES: Mapping[str, tuple[bool, str]] = {
    "accuracy": (True, "of validation images, 0..1"),
    "sops": (False, "synaptic operations per inference"),
    "spikes": (False, "per inference"),
    "parameters": (False, ""),
    "neurons": (False, "on the chip"),
    "synapses": (False, "on the chip"),
    "cores": (False, "of a chip"),
    "levels": (False, ""),
    "relays": (False, "neurons"),
    "energy_j": (False, "joules per inference"),
    "latency_s": (False, "seconds per inference"),
    "int8_accuracy": (True, "of the twin with 8-bit weights, 0..1"),
    "int4_accuracy": (True, "of the twin with 4-bit weights, 0..1"),
    "int8_loss_rise": (False, "nats by which 8-bit weights raise the loss"),
    "int4_loss_rise": (False, "nats by which 4-bit weights raise the loss"),
    "flatness": (True, "how little noise on the weights raises the loss"),
    "introspectability": (True, "how differently it behaves for different answers, 0..1"),
    "score": (True, "of a score that needs no training"),
}


@dataclass(frozen=True, slots=True)
class Objective:
    """Raises InputError for a name that is none."""

    name: str

    def __post_init__(self) -> None:
        if self.kind not in OBJECTIVES:
            raise InputError(f"Unknown objective '{self.kind}'; {nearest(self.kind, OBJECTIVES)}")

    @property
    def kind(self) -> str:
        return self.name.partition(":")[0]

    @property
    def maximised(self) -> bool:
        return OBJECTIVES[self.kind][0]


@dataclass(frozen=True, slots=True)
class Limit:
    """What a candidate may have at most, in the unit of the objective of that name."""

    name: str
    most: float

    def __post_init__(self) -> None:
        if Objective(self.name).maximised or not 0 < self.most < math.inf:
            raise InputError(
                f"A limit must be a number above 0 of what is to be small, but {self.name} <= {self.most} is none."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """At least one objective. Raises InputError where one is named twice."""

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        names = [one.name for one in self.objectives]
        if not names or len(set(names)) < len(names):
            raise InputError(
                f"A search must have one objective or several different ones, but has '{','.join(names)}'."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that must be measured."""
        return tuple(dict.fromkeys((*(one.name for one in self.objectives), *(one.name for one in self.limits))))

    def losses(self, measured: Mapping[str, float]) -> Losses:
        """One for each objective, the lower the better; infinite for what is not there or no number."""
        return tuple(
            _finite(-value if one.maximised else value)
            for one in self.objectives
            for value in (measured.get(one.name, math.nan),)
        )

    def excess(self, measured: Mapping[str, float]) -> float:
        """By which shares of the limits a candidate is above them; 0 within, infinite for what is no number."""
        return sum(max(0.0, _finite(measured.get(limit.name, math.nan)) / limit.most - 1) for limit in self.limits)

    def rank(self, measured: Mapping[str, float]) -> Losses:
        """To be compared as tuples, the lower the better: limits first, then the objectives in their order."""
        return (self.excess(measured), *self.losses(measured))

    def worths(self, measured: Mapping[str, float]) -> Losses:
        """One for each objective, higher is better; NaN beyond a limit and for what is no number."""
        within = not self.excess(measured)
        return tuple(-loss if within and math.isfinite(loss) else math.nan for loss in self.losses(measured))

    def dominates(self, one: Mapping[str, float], other: Mapping[str, float]) -> bool:
        """Whether one is better in something and worse in nothing, or breaks its limits less."""
        mine, theirs = self.excess(one), self.excess(other)
        return mine < theirs if mine != theirs else less_everywhere(self.losses(one), self.losses(other))


def less_everywhere(one: Losses, other: Losses) -> bool:
    """Pareto dominance of losses."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def front_of(measured: Sequence[Mapping[str, float]], goal: Goal) -> list[int]:
    """The places of those that none of the others dominates; of several with equal numbers the first."""
    found: list[int] = []
    for place, one in enumerate(measured):
        if any(goal.dominates(other, one) for other in measured):
            continue
        if not any(goal.rank(measured[other]) == goal.rank(one) for other in found):
            found.append(place)
    return found


def parse_goal(objectives: str, limits: str = "") -> Goal:
    """Of words: `accuracy,energy_j` and `cores=128,sops=200000`. Raises InputError for what is not understood."""
    return Goal(
        objectives=tuple(Objective(name) for name in _words(objectives)),
        limits=tuple(_limit(word) for word in _words(limits)),
    )


def _limit(word: str) -> Limit:
    name, _, most = word.partition("=")
    try:
        return Limit(name.strip(), float(most))
    except ValueError as error:
        raise InputError(f"A limit must be NAME=NUMBER, as in cores=128, but is '{word}'.") from error


def _words(text: str) -> Iterable[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
