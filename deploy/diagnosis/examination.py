"""The reference's meaning, or a changed one, held against everything that the candidate recorded."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...export.graph import REGISTERS, Projection
from ...export.simulate import Spikes
from ..equivalence.verdict import LOGITS, TIE
from ..run.record import Record
from .replay import Replay, Replayed
from .rules import Meaning

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """Where a population differs by itself, [T, N, *shape]. ties: by no more than rounding. answers: how many of the
    readout's membranes differ."""

    wrong: Mask
    ties: Mask
    margins: NDArray[np.generic]
    answers: int

    @property
    def count(self) -> int:
        return int(self.wrong.sum()) + self.answers


class Examination:
    """names: populations whose spikes are compared. recorded: what the candidate fired, inputs included."""

    def __init__(
        self, meaning: Meaning, candidate: Record, names: tuple[str, ...], recorded: Mapping[str, Spikes]
    ) -> None:
        self.meaning, self.candidate = meaning, candidate
        self.replay = Replay(recorded, meaning)
        known = {p.name for p in meaning.populations}
        self.spiking = tuple(name for name in names if name in known)
        self.readout = meaning.graph.readout.name
        self.names = tuple(dict.fromkeys((*self.spiking, self.readout)))
        self.base = {name: self.own(meaning, name) for name in self.names}

    def own(self, meaning: Meaning, name: str) -> Own:
        """What a population ought to have done with what it got, against what it did."""
        found = self.replay.population(meaning, name)
        answers = self._answers(meaning, found) if name == self.readout else 0
        if name not in self.spiking:
            none = np.zeros(found.spikes.shape, np.bool_)
            return Own(wrong=none, ties=none, margins=found.margins, answers=answers)
        unequal = found.spikes != self.candidate.spikes[name]
        rounded = self.in_floats(meaning, name)
        near: Mask = np.abs(found.margins) < TIE if rounded else np.zeros(unequal.shape, np.bool_)
        return Own(wrong=unequal & ~near, ties=unequal & near, margins=found.margins, answers=answers)

    def in_floats(self, meaning: Meaning, name: str) -> bool:
        """Whether a membrane is rounded, so that the order of adding decides a tie."""
        return name in meaning.currents or meaning.graph.arithmetic == "float"

    def touched(self, meaning: Meaning, name: str) -> bool:
        """Whether a change may reach a population. What is not recorded hands on whatever reached it."""
        ours, theirs = self.meaning, meaning
        unknown = any(p.name not in self.replay.recorded for p in ours.graph.populations[:-1])
        if unknown or ours.graph.arithmetic != theirs.graph.arithmetic or ours.rules[name] != theirs.rules[name]:
            return True
        if ours.currents.get(name) is not theirs.currents.get(name):
            return True
        before, after = (m.graph.incoming(name) for m in (ours, theirs))
        same = len(before) == len(after) and all(a is b for a, b in zip(before, after, strict=True))
        return not same or ours.population(name) is not theirs.population(name)

    def _answers(self, meaning: Meaning, found: Replayed) -> int:
        """How many of the readout's membranes differ: after each step, where the candidate has them, else the last."""
        steps, last = self.candidate.readout_steps, self.candidate.readout
        left = found.left
        if meaning.rules[self.readout].read_early:
            left = np.concatenate([np.zeros_like(left[:1]), left[:-1]])
        theirs, ours = (last, left[-1]) if steps is None else (steps, left)
        integer = theirs.dtype.kind in "iu"
        if integer != (meaning.graph.arithmetic == "loihi") or theirs.size != ours.size:
            return 0
        ours = ours.reshape(theirs.shape)
        return int((ours != theirs).sum()) if integer else int((~near(ours, theirs)).sum())


def near(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> Mask:
    """Equal but for what floats round off, relative to the largest (at least 1)."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return np.asarray(np.abs(a - b) <= LOGITS * max(1.0, float(np.abs(b).max(initial=0.0))))


def answers_near(reference: Record, candidate: Record) -> bool:
    """Whether two forms answer alike, as far as both say it in one unit."""
    found = answers(reference, candidate)
    return isinstance(found, str) or not found[0]


def answers(reference: Record, candidate: Record) -> tuple[int, int] | str:
    """(how many answers differ, of how many): membranes after each step, where both are integers and have them. In
    words why there is nothing to compare."""
    a, b = reference.readout, candidate.readout
    if not b.size or not a.size:
        return f"the {'reference' if b.size else 'candidate'} has none"
    if a.size != b.size:
        return f"their shapes are {list(a.shape)} and {list(b.shape)}"
    kinds = {values.dtype.kind in "iu" for values in (a, b)}
    if len(kinds) == 2:
        return "one form has them in integers, the other in floats"
    if kinds == {False}:
        return int((~near(a.reshape(b.shape), b)).sum()), b.size
    if reference.readout_steps is not None and candidate.readout_steps is not None:
        a, b = reference.readout_steps, candidate.readout_steps
    return int((a.ravel() != b.ravel()).sum()), b.size


def same(ours: Meaning, theirs: Meaning, names: tuple[str, ...]) -> bool:
    """Whether two changes come to the same in some populations."""
    if ours.graph.arithmetic != theirs.graph.arithmetic:
        return False
    return all(_alike(ours, theirs, name) for name in names)


def _alike(ours: Meaning, theirs: Meaning, name: str) -> bool:
    if ours.rules[name] != theirs.rules[name] or not np.array_equal(
        ours.currents.get(name, 0.0), theirs.currents.get(name, 0.0)
    ):
        return False
    a, b = ours.population(name), theirs.population(name)
    pairs = list(zip(ours.graph.incoming(name), theirs.graph.incoming(name), strict=True))
    return (
        all(np.array_equal(getattr(a, word), getattr(b, word)) for word in (*REGISTERS, "bias"))
        and all(np.array_equal(p.kernel.weight, q.kernel.weight) for p, q in pairs)
        and all(_lags(p) == _lags(q) for p, q in pairs)
    )


def _lags(projection: Projection) -> bytes:
    return b"" if projection.delay is None else projection.delay.tobytes()
