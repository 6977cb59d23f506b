from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spikeport.search.training.checkpoint import Row
from spikeport.search.training.tensorboard import event_writer


def row(epoch: int, loss: float) -> Row:
    split: dict[str, Any] = {"loss": loss, "accuracy": 0.5, "spikes_per_cell": {"stem": 3.0, "cells.0": 4.0}}
    return {"stage": "train", "epoch": epoch, "train": split, "validation": split | {"loss": 2 * loss}}


def told(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_events(tmp_path: Path) -> None:
    record = event_writer(tmp_path)
    record([])
    record([row(1, 0.5)])
    record([row(1, 0.5), row(2, 0.25)])
    assert told(tmp_path, "loss/train") == [(1, 0.5), (2, 0.25)]
    assert told(tmp_path, "loss/validation") == [(1, 1.0), (2, 0.5)]
    assert told(tmp_path, "spikes/train") == [(1, 7.0), (2, 7.0)]
    assert told(tmp_path, "spikes cells.0/train") == [(1, 4.0), (2, 4.0)]


def test_a_resumed_run_shows_every_epoch_once(tmp_path: Path) -> None:
    event_writer(tmp_path)([row(1, 0.5), row(2, 9.0)])
    event_writer(tmp_path)([row(1, 0.5), row(2, 0.25), row(3, 0.125)])
    assert told(tmp_path, "loss/train") == [(1, 0.5), (2, 0.25), (3, 0.125)]
