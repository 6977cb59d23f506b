"""What the doctor finds, as values: who differs, where first, why, and what was excluded."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from ..run.record import Difference

Verdict = Literal["equal", "equal but for ties", "different"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One population, or the answers of the readout. spikes: of the reference. differing, of as many compared: spikes
    of all neurons, steps and samples; numbers, of answers.

    own: those that differ although the population got the spikes that the other one got; None where the reference does
    not say how it computes. ties: how many more differ within rounding of the threshold.
    """

    name: str
    spikes: int | None
    compared: int
    differing: int
    own: int | None = None
    ties: int = 0
    first: Difference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One change with which the reference computes what the candidate did, exactly.

    populations: whose difference it explains. everywhere: it holds in every population, not in these alone. also: what
    is seen beside it.
    """

    rule: str
    name: str
    teaches: str
    shows: str
    mend: str
    populations: tuple[str, ...]
    everywhere: bool
    also: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A change that was tried: how many spikes and answers still differ with it, in the populations that differ by
    themselves; of a whole run, in all."""

    rule: str
    name: str
    differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """|membrane - threshold| of the reference where a spike differs by itself, in the membrane's unit."""

    spikes: int
    zero: int  # how many of them meet the threshold exactly
    smallest: float
    median: float
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """One number of which a change alone explains a population. low, high: between which it then lies.

    index: of a weight in its kernel; of a bias or threshold the channel or neuron, none where all share it.
    """

    kind: Literal["weight", "bias", "threshold"]
    source: str | None
    index: tuple[int, ...]
    reference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexplained:
    """A population that no rule explains: its numbers differ. rows: channels (or neurons) whose spikes differ."""

    population: str
    neurons: int
    rows: tuple[int, ...]
    of_rows: int
    suspects: tuple[Suspect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What `diagnose` found.

    causes: each alone is an explanation; where they name different populations, each of its own ones. tried: what else
    was tried, best first. notes: what a person should know of the comparison.
    """

    reference: str
    candidate: str
    verdict: Verdict
    populations: tuple[Compared, ...]
    first: Difference | None
    causes: tuple[Cause, ...]
    unexplained: tuple[Unexplained, ...]
    tried: tuple[Tried, ...]
    margins: Margins | None
    notes: tuple[str, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that differ, each once: keys of `hypotheses.RULES`."""
        return tuple(dict.fromkeys(cause.rule for cause in self.causes))

    def to_dict(self) -> dict[str, Any]:
        """For --json: an end of an interval that is not finite is null there."""
        found = asdict(self)
        for one in found["unexplained"]:
            for suspect in one["suspects"]:
                suspect |= {end: suspect[end] if isfinite(suspect[end]) else None for end in ("low", "high")}
        return found
