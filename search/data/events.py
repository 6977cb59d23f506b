"""Recordings of event cameras, binned into frames of binary spikes: what a chip gets, with no encoder before it.

A file is an `.npz` of numpy.savez with every event of every recording, one recording after another, as N-MNIST and its
like are easily written:

    t_us      integers [E]       microseconds
    x, y      integers [E]       column and row of the pixel, from 0
    p         integers [E]       polarity: 0 darker, 1 brighter
    offsets   integers [N + 1]   recording i is events offsets[i] : offsets[i + 1]
    labels    integers [N]       classes from 0

Each recording, from its first event to its last, is cut into T spans of equal length. A pixel spikes in a step in the
channel of a polarity where it has one event of it or more there:

    step = (t - first) * T // (last - first + 1)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...path_kind import ARRAYS, expected
from ...reading.arrays import read_arrays

Frames = NDArray[np.uint8]  # [N, T, 2, H, W], 0 or 1

ARRAYS_OF_EVENTS = ("t_us", "x", "y", "p", "offsets", "labels")
POLARITIES = 2
MULTIPLE = 4  # of rows and columns: a network halves them twice
MOST_PIXELS = 2**12  # in a row or a column; the largest event cameras have 1280
MOST_US = 2**53  # 285 years: a time times T is an int64 up to T = 1024
MOST_BYTES = 2**36  # of all frames of a file


@dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """Frames of both files, labels int64 [N], and what was done, a sentence each."""

    train_images: Frames
    train_labels: NDArray[np.int64]
    test_images: Frames
    test_labels: NDArray[np.int64]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """One file, checked: t, x, y, p [E] and offsets [N + 1] of integers, labels int64 [N]."""

    path: Path
    t: NDArray[np.integer[Any]]
    x: NDArray[np.integer[Any]]
    y: NDArray[np.integer[Any]]
    p: NDArray[np.integer[Any]]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns in which there are events."""
        return int(self.y.max(initial=0)) + 1, int(self.x.max(initial=0)) + 1


def of_events(train: Path, test: Path, time_steps: int) -> Binned:
    """Two files of events, binned into T frames of the same size, that of the larger one padded to be halved twice.

    Where all events are in row 0, frames have this one row, which is not halved.

    Raises InputError that names the file and what must hold.
    """
    both = [read_events(path) for path in (train, test)]
    rows, columns = (max(size) for size in zip(*(events.size for events in both), strict=True))
    padded = rows if rows == 1 else rows + -rows % MULTIPLE, columns + -columns % MULTIPLE
    note = (
        f"events are binned into {time_steps} frames for each recording, a spike where a pixel has an event or more of "
        "a polarity"
    )
    notes = [note]
    if padded != (rows, columns):
        notes.append(
            f"frames are padded from {rows}x{columns} to {padded[0]}x{padded[1]} pixels without events, to be halved "
            "twice"
        )
    frames = [binned(events, time_steps, padded) for events in both]
    return Binned(frames[0], both[0].labels, frames[1], both[1].labels, tuple(notes))


def read_events(path: Path) -> Events:
    """Raises InputError that names the file and what must hold."""
    expected(path, ARRAYS, "search --dataset events:")
    t, x, y, p, offsets, labels = arrays = read_arrays(path, ARRAYS_OF_EVENTS)
    for name, values in zip(ARRAYS_OF_EVENTS, arrays, strict=True):
        is_whole = values.dtype.kind in "iu" or (name == "p" and values.dtype.kind == "b")
        if not is_whole or values.ndim != 1:
            raise InputError(f"'{path}': `{name}` must be integers in a row, but is {values.dtype} {values.shape}.")
    counts = {name: len(values) for name, values in zip(ARRAYS_OF_EVENTS[:4], arrays, strict=False)}
    if len(set(counts.values())) > 1:
        raise InputError(f"'{path}': t_us, x, y and p must have a number for each event, but have {counts}.")
    for name, values, below in (("t_us", t, MOST_US), ("x", x, MOST_PIXELS), ("y", y, MOST_PIXELS), ("p", p, 2)):
        if len(values) and not (values.min() >= 0 and values.max() < below):
            raise InputError(
                f"'{path}': `0 <= {name} < {below}` must hold, but {name} goes from {values.min()} to {values.max()}."
            )
    if len(labels) == 0 or labels.min() < 0:
        raise InputError(f"'{path}': `labels` must be a class from 0 for each recording, but is {labels[:5].tolist()}.")
    starts = offsets.astype(np.int64)
    if len(starts) != len(labels) + 1 or starts[0] != 0 or starts[-1] != len(t) or (np.diff(starts) < 0).any():
        raise InputError(
            f"'{path}': `offsets` must be the {len(labels) + 1} places where the {len(labels)} recordings begin and "
            f"the last ends, from 0 up to {len(t)}, but is {len(starts)} numbers"
            f"{f' from {starts[0]} to {starts[-1]}' if len(starts) else ''}; none may be lower than the one before."
        )
    t, x, y = cast(Any, (t, x, y))
    return Events(path, t, x, y, p.astype(np.uint8), starts, labels.astype(np.int64))


def binned(events: Events, time_steps: int, size: tuple[int, int]) -> Frames:
    """[N, T, 2, *size]; a recording without events is frames without spikes."""
    shape = (len(events.labels), time_steps, POLARITIES, *size)
    if np.prod(shape, dtype=object) > MOST_BYTES:
        raise InputError(
            f"'{events.path}' makes frames {list(shape)}, more than {MOST_BYTES >> 30} GB; take fewer --time-steps, "
            "fewer recordings or fewer pixels."
        )
    frames = np.zeros(shape, np.uint8)
    for i, (start, stop) in enumerate(zip(events.offsets, events.offsets[1:], strict=False)):
        if start == stop:
            continue
        part = slice(start, stop)
        t = events.t[part].astype(np.int64)
        first, last = int(t.min()), int(t.max())
        steps = (t - first) * time_steps // (last - first + 1)
        frames[i, steps, events.p[part], events.y[part], events.x[part]] = 1
    return frames
