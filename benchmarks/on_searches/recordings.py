"""Recordings of two files, dealt anew: N-MNIST's first hundred test recordings tell no difference of a few points."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.search.data.events import read_events

OF_EVENTS = ("t_us", "x", "y", "p")


def deal(train: Path, test: Path, folder: Path, *, to_train: int) -> None:
    """The recordings of both files, in their order: so many in recordings_train.npz, the others in the other file.

    Nothing is done where both are there. Raises InputError for a file that does not hold events.
    """
    targets = folder / "recordings_train.npz", folder / "recordings_test.npz"
    if all(target.is_file() for target in targets):
        return
    one, other = read_events(train), read_events(test)
    arrays = {
        "t_us": np.concatenate([one.t, other.t]),
        "x": np.concatenate([one.x, other.x]),
        "y": np.concatenate([one.y, other.y]),
        "p": np.concatenate([one.p, other.p]),
        "offsets": np.concatenate([one.offsets, one.offsets[-1] + other.offsets[1:]]),
        "labels": np.concatenate([one.labels, other.labels]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for target, part in zip(targets, (slice(0, to_train), slice(to_train, None)), strict=True):
        unfinished = target.with_suffix(".part.npz")
        np.savez(unfinished, **_part(arrays, part))
        unfinished.replace(target)


def _part(arrays: dict[str, NDArray[Any]], part: slice) -> dict[str, NDArray[Any]]:
    """Some recordings of all."""
    begins, ends = arrays["offsets"][:-1][part], arrays["offsets"][1:][part]
    events = slice(begins[0], ends[-1])
    found = {name: arrays[name][events] for name in OF_EVENTS}
    return found | {"offsets": np.append(begins, ends[-1]) - begins[0], "labels": arrays["labels"][part]}
