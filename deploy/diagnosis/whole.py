"""Causes that are tried on whole records: what only a torch network can have wrong, and spikes written down late.

Here the reference runs by itself, and its ties are decided as the candidate decided them (`verdict.settle`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..equivalence.verdict import Reference, settle
from ..run.record import Record, differing
from .diagnosis import Cause, Tried
from .examination import answers_near
from .forms import Form, Recorded
from .hypotheses import RULES

WHOLE = {  # rule -> what the candidate does; beside the table of `hypotheses.py`
    "input scale": ("gets twice, half of, 255 or 1/255 times the image",),
    "batch norm": ("has batch norms in training mode",),
    "delay or phase": ("is recorded one step late, or early",),
}
TRAINING = "each batch is normed by its own mean and deviation: network.eval() was not called"
RANGE = "pixels of 0..255 in the place of 0..1, or a normalisation that is missing"
SHIFTED = "it computes the same, but a spike is written down with another step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The two records, in one set of names, and the names that are compared."""

    reference: Record
    candidate: Record
    names: tuple[str, ...]

    @property
    def unequal(self) -> tuple[str, ...]:
        ours, theirs = self.reference.spikes, self.candidate.spikes
        return tuple(name for name in self.names if (ours[name] != theirs[name]).any())


def of_torch(sides: tuple[Form, Form], found: Recorded, records: Compared) -> Iterator[tuple[Tried, Cause | None]]:
    """Batch norms that still learn, and images of another range."""
    reference, candidate = (form.torch for form in sides)
    values, theirs = found.values
    if reference is not None:
        for word, run in reference.of_other_images(values):
            yield _tried("input scale", f"gets {word} the image", RANGE, run, records)
        if reference.norms and not reference.training:
            run = reference.runner(values, reference.norms)
            yield _tried("batch norm", "has batch norms in training mode", TRAINING, run, records)
        elif reference.training:
            run = reference.runner(values, ())
            name = "has batch norms in evaluation mode, and the reference in training mode"
            yield _tried("batch norm", name, TRAINING, run, records)
    elif candidate is not None and candidate.training:
        right = candidate.runner(theirs, ())({})
        ours, entry = records.reference, next(iter(right.spikes.values()))
        if sides[0].on_spikes is not None and candidate.reads == "images":
            ours = sides[0].on_spikes(entry)  # the encoder has batch norms, too
        as_ought = replace(records, candidate=replace(right, spikes={**records.candidate.spikes, **right.spikes}))
        name = "has batch norms in training mode"
        yield _tried("batch norm", name, TRAINING, lambda nudges: ours, as_ought, records.unequal)


def of_records(records: Compared) -> Iterator[tuple[Tried, Cause | None]]:
    """The same spikes, written down a step later or earlier."""
    names = records.unequal
    steps = len(next(iter(records.reference.spikes.values())))
    if not names or steps < 2 or not answers_near(records.reference, records.candidate):
        return
    for word, ours, theirs in (("late", slice(0, -1), slice(1, None)), ("early", slice(1, None), slice(0, -1))):
        pairs = [(records.reference.spikes[n][ours], records.candidate.spikes[n][theirs]) for n in names]
        number = sum(int(np.not_equal(a, b).sum()) for a, b in pairs)
        name = f"is recorded one step {word}"
        everywhere = names == records.names
        cause = _cause("delay or phase", name, SHIFTED, names, everywhere)
        whole = number == 0
        yield Tried(rule="delay or phase", name=name, differing=number), cause if whole else None


def _tried(
    rule: str, name: str, teaches: str, run: Reference, records: Compared, unequal: tuple[str, ...] | None = None
) -> tuple[Tried, Cause | None]:
    """Whether another run of the reference is what the candidate did. unequal: what differs without it."""
    candidate = _only(records.candidate, records.names)
    found, _ = settle(lambda nudges: _only(run(nudges), records.names), candidate)
    number = differing(found, candidate)
    cause = _cause(rule, name, teaches, records.unequal if unequal is None else unequal, True)
    explains = number == 0 and answers_near(found, candidate)
    return Tried(rule=rule, name=name, differing=number), cause if explains else None


def _only(record: Record, names: tuple[str, ...]) -> Record:
    return replace(record, spikes={name: record.spikes[name] for name in names if name in record.spikes})


def _cause(rule: str, name: str, teaches: str, populations: tuple[str, ...], everywhere: bool) -> Cause:
    shows, mend = RULES[rule].shows, RULES[rule].mend
    return Cause(
        rule=rule, name=name, teaches=teaches, shows=shows, mend=mend, populations=populations, everywhere=everywhere
    )
