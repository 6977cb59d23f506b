"""Progress of a search or a training, told to a callback; the library itself never prints."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["search", "trials", "supernet", "teacher", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """One batch is done. The numbers are means over the images of this epoch so far."""

    stage: Stage
    epoch: int  # 1..epochs
    epochs: int
    step: int  # 1..steps, batches of this epoch
    steps: int
    loss: float  # cross-entropy, nats
    accuracy: float  # 0..1, on the batches trained on
    spikes: float  # per image, of the whole network, all time steps
    seconds_left: float  # of this stage, from the mean pace since it was started or resumed
    waited: float = 0.0  # 0..1: share of the time of this epoch in which steps waited for their images


Progress = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Tells nobody."""


class Pace:
    """Turns finished batches into events; the clock starts when a stage is started or resumed."""

    def __init__(self, progress: Progress, stage: Stage, epochs: int) -> None:
        self._progress, self._stage, self._epochs = progress, stage, epochs
        self._start = time.monotonic()
        self._first: int | None = None  # number of the batch with which it began

    def tell(
        self, epoch: int, step: int, steps: int, loss: float, accuracy: float, spikes: float, waited: float = 0.0
    ) -> None:
        """`epoch` and `step` count from 0, as loops do. Of the first batch it is told, of others perhaps not."""
        number = epoch * steps + step
        self._first = number if self._first is None else self._first
        done = number - self._first + 1
        left = self._epochs * steps - number - 1
        self._progress(
            ProgressEvent(
                stage=self._stage,
                epoch=epoch + 1,
                epochs=self._epochs,
                step=step + 1,
                steps=steps,
                loss=loss,
                accuracy=accuracy,
                spikes=spikes,
                seconds_left=(time.monotonic() - self._start) * left / done,
                waited=waited,
            )
        )
