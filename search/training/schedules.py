"""How a learning rate falls from its start to its end; one value per epoch, or per step where it rises first."""

import math
from collections.abc import Callable, Mapping

from ..settings.training import Schedule, TrainingSettings


def cosine(start: float, end: float, epoch: float, epochs: float) -> float:
    """The learning rate of an epoch 0..epochs - 1, or between two: from start, along half a cosine, towards end."""
    return end + (start - end) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def linear(start: float, end: float, epoch: float, epochs: float) -> float:
    return start + (end - start) * epoch / epochs


def constant(start: float, end: float, epoch: float, epochs: float) -> float:
    return start


SCHEDULES: Mapping[Schedule, Callable[[float, float, float, float], float]] = {
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
}


def rate_at(settings: TrainingSettings, epoch: float, epochs: int) -> float:
    """The rate of a training from scratch when so many of its epochs are over.

    With a warm-up it rises in a line from 0, then falls as the schedule says over what is left: `linear` is a triangle.
    """
    start, end, rising = settings.train_learning_rate, settings.minimum_learning_rate, settings.warmup_share * epochs
    if epoch < rising:
        return start * epoch / rising
    return SCHEDULES[settings.schedule](start, end, epoch - rising, epochs - rising)


def rate_of_step(settings: TrainingSettings, epoch: int, step: int, steps: int, epochs: int) -> float:
    """That of a batch 0..steps - 1 of an epoch: at its middle with a warm-up, else the epoch's."""
    return rate_at(settings, epoch + (step + 0.5) / steps if settings.warmup_share else epoch, epochs)
