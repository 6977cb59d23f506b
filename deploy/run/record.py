"""What a run of any form of the network left behind, and where two of them part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

Spikes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """spikes: population -> [T, N, *shape], in the order of execution. readout [N, classes].

    margins: population -> membrane minus threshold before the reset, [T, N, *shape], in the form's own unit; a form
    that shows no membrane leaves it empty. readout_steps [T, N, classes]: the readout's membrane after each step, if
    shown.
    """

    spikes: Mapping[str, Spikes]
    readout: NDArray[np.generic]
    margins: Mapping[str, NDArray[np.generic]]
    readout_steps: NDArray[np.generic] | None = None

    @property
    def predictions(self) -> NDArray[np.int64]:
        """[N] the class of each sample."""
        return np.asarray(self.readout.argmax(1), np.int64)


def as_images(spikes: Spikes) -> Spikes:
    """Spikes of lines [T, N, C, L] as those of images of one row, [T, N, C, 1, L]; all others as they are."""
    return spikes[:, :, :, None] if spikes.ndim == 4 else spikes


def some_of(record: Record, samples: slice) -> Record:
    """The record of some samples."""
    steps = record.readout_steps
    return Record(
        spikes={name: spikes[:, samples] for name, spikes in record.spikes.items()},
        readout=record.readout[samples],
        margins={name: margins[:, samples] for name, margins in record.margins.items()},
        readout_steps=None if steps is None else steps[:, samples],
    )


def joined(records: Sequence[Record]) -> Record:
    """The records of samples that ran apart, as one."""
    first = records[0]
    steps = [record.readout_steps for record in records if record.readout_steps is not None]
    return Record(
        spikes={name: np.concatenate([r.spikes[name] for r in records], axis=1) for name in first.spikes},
        readout=np.concatenate([r.readout for r in records]),
        margins={name: np.concatenate([r.margins[name] for r in records], axis=1) for name in first.margins},
        readout_steps=np.concatenate(steps, axis=1) if steps else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One spike that is in one record and not in the other. neuron: its index in the population's shape."""

    population: str
    sample: int
    step: int
    neuron: tuple[int, ...]
    margin: float | None  # of the reference


def compared(reference: Record, candidate: Record) -> tuple[str, ...]:
    """The populations to compare: the reference's. Raises InputError where the candidate lacks one."""
    for name, spikes in reference.spikes.items():
        if name not in candidate.spikes:
            raise InputError(f"The exported file has no population '{name}'; export the run again.")
        if seen_as(spikes, candidate.spikes[name].shape) is None:
            raise InputError(
                f"Population '{name}' must have the spikes {spikes.shape}, but the exported file gives "
                f"{candidate.spikes[name].shape}; export the run again."
            )
    return tuple(reference.spikes)


def seen_as(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
    """A population's values [T, N, ...] in the shape that another form gives it; None where that cannot be.

    Torch shows tokens and heads as axes of their own, and the chip fires at every place of a map what is one neuron per
    channel elsewhere (`export/passes/spread.py`).
    """
    if values.shape[:2] != shape[:2]:
        return None
    if values.size == np.prod(shape, dtype=np.int64):
        return values.reshape(shape)
    if len(shape) == 5 and values.size == np.prod(shape[:3], dtype=np.int64):
        return np.broadcast_to(values.reshape(*shape[:3], 1, 1), shape)
    return None


def place_in(shape: tuple[int, ...], other: tuple[int, ...], place: tuple[int, ...]) -> tuple[int, ...]:
    """Where a place of the other form's shape lies in this one."""
    if shape == other:
        return place
    numbers = seen_as(np.arange(np.prod(shape)).reshape(shape), other)
    assert numbers is not None  # of records that can be compared
    return tuple(int(i) for i in np.unravel_index(int(numbers[place]), shape))


def unequal_spikes(reference: Record, candidate: Record, name: str) -> NDArray[np.bool_]:
    """Where a population of two records that can be compared differs, in the candidate's shape."""
    found = candidate.spikes[name]
    return np.asarray(seen_as(reference.spikes[name], found.shape) != found, np.bool_)


def differing(reference: Record, candidate: Record) -> int:
    """How many spikes differ, over all populations, steps, samples and neurons."""
    names = compared(reference, candidate)
    return sum(int(unequal_spikes(reference, candidate, name).sum()) for name in names)


def first_differences(reference: Record, candidate: Record) -> list[Difference]:
    """Of each sample that differs: the differences in its first population and there in its first step.

    Nothing before them differs, so the cause lies in that population itself: in its weights, bias, threshold or decay.
    """
    found: list[Difference] = []
    settled: set[int] = set()
    for name in compared(reference, candidate):
        unequal = unequal_spikes(reference, candidate, name)
        margins = seen_as(reference.margins[name], unequal.shape) if name in reference.margins else None
        for sample in np.flatnonzero(unequal.any(axis=tuple(i for i in range(unequal.ndim) if i != 1))).tolist():
            if sample in settled:
                continue
            settled.add(sample)
            of_sample = unequal[:, sample]
            step = int(np.flatnonzero(of_sample.reshape(len(of_sample), -1).any(1))[0])
            for index in np.argwhere(of_sample[step]).tolist():
                margin = None if margins is None else margins[(step, sample, *index)]
                found.append(
                    Difference(
                        population=name,
                        sample=sample,
                        step=step,
                        neuron=tuple(index),
                        margin=None if margin is None else float(margin),
                    )
                )
    return found
