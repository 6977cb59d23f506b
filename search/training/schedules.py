"""How a learning rate falls from its start to its end; one value per epoch."""

import math
from collections.abc import Callable, Mapping

from ..settings.training import Schedule


def cosine(start: float, end: float, epoch: int, epochs: int) -> float:
    """The learning rate of an epoch 0..epochs - 1: from start, along half a cosine, towards end."""
    return end + (start - end) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def linear(start: float, end: float, epoch: int, epochs: int) -> float:
    return start + (end - start) * epoch / epochs


def constant(start: float, end: float, epoch: int, epochs: int) -> float:
    return start


SCHEDULES: Mapping[Schedule, Callable[[float, float, int, int], float]] = {
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
}
