"""Inputs of which nobody knows the class: random ones, or those of a file. They serve to compare forms and to count
spikes; a network cannot be trained or judged on them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...path_kind import ARRAY, expected
from ...reading.arrays import read_array

RANDOM_SAMPLES = 128
RANDOM_RATE = 0.2  # of random events: spikes per input neuron and step


class Inputs(NamedTuple):
    """values: images float32 [N, C, H, W], or frames of spikes uint8 [N, T, C, H, W]; note: what they are."""

    values: NDArray[np.float32 | np.uint8]
    note: str


def of_random(size: str, time_steps: int | None) -> Inputs:
    """ "3x32x32": uniform in 0..1; "3x32x32,spikes": frames of spikes."""
    numbers, _, kind = size.partition(",")
    shape = tuple(int(part) if part.isdecimal() else 0 for part in numbers.split("x"))
    if len(shape) != 3 or min(shape) < 1 or kind not in ("", "spikes"):
        raise InputError(f"Random inputs need channels, rows and columns, random:3x32x32, but got 'random:{size}'.")
    draw = np.random.default_rng(0)
    if not kind:
        return Inputs(draw.random((RANDOM_SAMPLES, *shape), np.float32), "images are random, uniform in 0..1")
    if time_steps is None:
        raise InputError("Random events need time steps; say how many, load_dataset(name, time_steps=8).")
    frames = draw.random((RANDOM_SAMPLES, time_steps, *shape), np.float32) < RANDOM_RATE
    return Inputs(frames.astype(np.uint8), f"events are random, {RANDOM_RATE} spikes per input neuron and step")


def of_file(path: Path, time_steps: int | None) -> Inputs:
    """Images [N, C, H, W], uint8 pixels or real numbers as they are, or frames of 0 and 1, [N, T, C, H, W].

    Raises InputError for other shapes and values, and for frames of another number of steps.
    """
    values = read_array(expected(path, ARRAY, "the data set inputs:"))
    if values.ndim not in (4, 5) or not values.size or values.dtype.kind not in "uifb":
        raise InputError(
            f"'{path}' must hold images [N, C, H, W] or frames of spikes [N, T, C, H, W], but is {values.dtype} "
            f"{list(values.shape)}."
        )
    if values.ndim == 5:
        if not np.isin(values, (0, 1)).all():
            raise InputError(f"'{path}' has five axes, so it must hold frames of spikes, 0 or 1, but has other values.")
        if time_steps not in (None, values.shape[1]):
            raise InputError(f"'{path}' has frames of {values.shape[1]} steps, but the network has {time_steps}.")
        return Inputs(values.astype(np.uint8), f"events are those of '{path}'")
    images = values.astype(np.float32) / np.float32(255) if values.dtype == np.uint8 else values.astype(np.float32)
    if not np.isfinite(images).all():
        raise InputError(f"'{path}': every pixel must be finite, but some are not.")
    return Inputs(images, f"images are those of '{path}'")
