"""Which population of one form is which of the other: by name, else by order where counts and shapes agree."""

from dataclasses import dataclass, replace

import numpy as np

from ...errors import InputError
from ...export.graph import neurons
from ..run.record import Record, Spikes


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """candidate: its record in the reference's names and shapes. names: of the reference, compared, in its order.
    notes: what a person should know of it."""

    candidate: Record
    names: tuple[str, ...]
    notes: tuple[str, ...]


def match(reference: Record, candidate: Record) -> Matched:
    """Raises InputError where nothing can be compared: no name in both and other shapes, or other steps or samples."""
    pairs = {name: name for name in reference.spikes if name in candidate.spikes}
    notes = []
    order = tuple(reference.spikes)
    ours = [name for name in reference.spikes if name not in pairs]
    theirs = [name for name in candidate.spikes if name not in pairs]
    sizes = [[_size(record.spikes[n]) for n in names] for record, names in ((reference, ours), (candidate, theirs))]
    if ours and sizes[0] == sizes[1]:
        pairs |= dict(zip(ours, theirs, strict=True))
        told = ", ".join(f"'{b}' is '{a}'" for a, b in zip(ours, theirs, strict=True))
        notes.append(f"populations without a name in both are matched by order: {told}")
    else:
        for whose, names in (("reference", ours), ("candidate", theirs)):
            if names:
                notes.append(f"not compared, only the {whose} has them: {', '.join(names)}")
    if not pairs:
        raise InputError(
            f"No population can be compared: the reference has {', '.join(reference.spikes)}, the candidate "
            f"{', '.join(candidate.spikes)}, and their numbers or shapes differ; name them alike."
        )
    common = tuple(name for name in order if name in pairs)
    spikes = {name: _as(name, candidate.spikes[pairs[name]], reference.spikes[name]) for name in common}
    extra = {name: value for name, value in candidate.spikes.items() if name not in pairs.values()}
    return Matched(
        candidate=replace(candidate, spikes=spikes | {n: v for n, v in extra.items() if n not in spikes}),
        names=common,
        notes=tuple(notes),
    )


def _size(spikes: Spikes) -> tuple[int, ...]:
    return (*spikes.shape[:2], neurons(spikes.shape[2:]))


def _as(name: str, candidate: Spikes, reference: Spikes) -> Spikes:
    if _size(candidate) != _size(reference):
        raise InputError(
            f"Population '{name}': the reference has spikes [T, N, ...] {list(reference.shape)}, the candidate "
            f"{list(candidate.shape)}; record both on the same input, all steps and samples."
        )
    return np.ascontiguousarray(candidate.reshape(reference.shape))
