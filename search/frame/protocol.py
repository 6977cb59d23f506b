"""Who speaks with whom: a strategy proposes candidates, an evaluator measures them, and the loop carries the news."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from ..spaces.space import G, Space
from .goal import Goal, front_of

Status = Literal["ok", "failed", "died"]  # failed: it said so; died: its process did
C = TypeVar("C", contravariant=True)


@dataclass(frozen=True, slots=True)
class Proposal(Generic[G]):
    """budget: epochs of the training; 0: as many as the evaluator's whole training has."""

    candidate: G
    budget: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an evaluator measured. objectives: NaN, or missing, where it could not."""

    objectives: Mapping[str, float]
    curve: tuple[float, ...] = ()  # validation accuracy after each epoch
    seconds: float = 0.0
    status: Status = "ok"
    note: str = ""  # why it failed
    features: tuple[float, ...] = ()  # what is known of the network beside, always as many: rates before the training
    reported: Mapping[str, float] = field(default_factory=dict)  # for people; no strategy may choose by it

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: what is no number is null."""
        found: dict[str, Any] = {"objectives": nulls(self.objectives), "seconds": self.seconds, "status": self.status}
        if self.curve:
            found["curve"] = list(self.curve)
        if self.features:
            found["features"] = list(self.features)
        if self.reported:
            found["reported"] = nulls(self.reported)
        return found | ({"note": self.note} if self.note else {})


def result_of(data: Mapping[str, Any]) -> Result:
    """The inverse of `to_json`. Raises KeyError, TypeError for what it did not write."""
    return Result(
        objectives=_numbers(data["objectives"]),
        curve=tuple(data.get("curve", ())),
        seconds=float(data["seconds"]),
        status=data["status"],
        note=str(data.get("note", "")),
        features=tuple(data.get("features", ())),
        reported=_numbers(data.get("reported", {})),
    )


def nulls(values: Mapping[str, float]) -> dict[str, float | None]:
    """For JSON, which knows no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Told(Generic[G]):
    """A proposal and what came of it."""

    proposal: Proposal[G]
    result: Result

    @property
    def candidate(self) -> G:
        return self.proposal.candidate

    @property
    def measured(self) -> Mapping[str, float]:
        return self.result.objectives


class Evaluator(Protocol[C]):
    """Measures a candidate. It is sent to other processes, so it can be pickled."""

    @property
    def name(self) -> str: ...

    @property
    def offers(self) -> frozenset[str]:
        """The kinds of objectives that it measures, as the table of goal.py names them."""
        ...

    @property
    def epochs(self) -> int:
        """Of a whole training, the largest budget; 0: it knows no budgets."""
        ...

    def __call__(self, candidate: C, budget: int, seed: int) -> Result: ...


class Strategy(Protocol[G]):
    """Deterministic in its seed and what it was told, so that replaying that brings it back to where it was.

    It is made as KIND(space, goal, settings, seed, epochs), epochs of a whole training. many: whether it takes several
    objectives. budgets: whether it asks for short trainings. ask(n): n proposals, whatever was told so far; none once
    it has come to an end of its own. tell: in the order of the proposals.
    """

    name: ClassVar[str]
    many: ClassVar[bool]
    budgets: ClassVar[bool]

    def ask(self, n: int) -> list[Proposal[G]]: ...

    def tell(self, told: Sequence[Told[G]]) -> None: ...

    def best(self) -> list[G]:
        """What nobody dominates so far, the whole trainings among them only; one candidate for one objective."""
        ...


class Archive(Generic[G]):
    """Everything a strategy was told; a candidate stands in it once, with its last whole result."""

    def __init__(self, space: Space[G], goal: Goal, whole: int = 0) -> None:
        self.space, self.goal, self.whole = space, goal, whole
        self.told: dict[str, Told[G]] = {}

    def add(self, told: Sequence[Told[G]]) -> None:
        for one in told:
            if one.proposal.budget in (0, self.whole):
                self.told[self.space.key(one.candidate)] = one

    def __contains__(self, candidate: G) -> bool:
        return self.space.key(candidate) in self.told

    def ranked(self) -> list[Told[G]]:
        """The best first; of equals that which was told first."""
        return sorted(self.told.values(), key=lambda one: self.goal.rank(one.measured))

    def best(self) -> list[G]:
        if len(self.goal.objectives) == 1:
            return [one.candidate for one in self.ranked()[:1]]
        everything = list(self.told.values())
        return [everything[place].candidate for place in front_of([one.measured for one in everything], self.goal)]
