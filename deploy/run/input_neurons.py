"""The neurons of an input layer: an image's pixel x drives its own with the bias mantissa trunc(weight * x + bias)."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...export.netx.lint import MAX_BIAS
from ...export.netx.reader import Encoder
from ...export.simulate import STEP, Spikes, Values


def encode(encoder: Encoder, images: NDArray[np.generic], time_steps: int, reset_interval: int | None) -> Spikes:
    """The spikes [S, T, *shape] of an input layer's neurons, driven by images [S, *shape]; with `reset_interval`
    the samples follow each other in one stream.

    Raises InputError where a bias mantissa does not fit its register.
    """
    drive = driven(encoder, images)
    if reset_interval is None:
        fired, _ = fire(encoder, (drive for _ in range(time_steps)), np.zeros(drive.shape), 0, time_steps)
        return np.swapaxes(fired, 0, 1)
    stream = (image[None] for image in drive for _ in range(time_steps))
    fired, _ = fire(encoder, stream, np.zeros((1, *drive.shape[1:])), 0, reset_interval)
    return fired.reshape(len(drive), time_steps, *drive.shape[1:])


def driven(encoder: Encoder, images: NDArray[np.generic]) -> Values:
    """Images -> bias mantissas. Raises InputError where one does not fit its register."""
    with np.errstate(over="ignore", invalid="ignore"):
        drive = np.trunc(encoder.weight * np.asarray(images, np.float64) + encoder.bias)
    if not (np.isfinite(drive).all() and drive.min() >= -MAX_BIAS - 1 and drive.max() <= MAX_BIAS):
        raise InputError(
            f"The images x give input neurons the bias {encoder.weight} * x + {encoder.bias}, which must lie in "
            f"[{-MAX_BIAS - 1}, {MAX_BIAS}], but lies in [{drive.min():g}, {drive.max():g}]; scale them as in training."
        )
    return drive


def fire(
    encoder: Encoder, drive: Iterable[Values], membrane: Values, first_step: int, window: int
) -> tuple[Spikes, Values]:
    """(spikes [steps, N, *shape], membranes after them) of neurons driven by [N, *shape] in each step.

    membrane: before them. first_step: since a window of `window` steps began.
    """
    step = STEP["loihi"]
    zero, v = np.zeros(membrane.shape), membrane
    fired = []
    for t, bias in enumerate(drive, start=first_step):
        if t % window == 0:
            v = zero
        # a bias counts the membrane units that a weight does; nothing is left of it in the current
        _, _, fires, v = step(encoder.population, zero, v, bias)
        fired.append(fires.astype(np.uint8))
    return np.stack(fired), v
