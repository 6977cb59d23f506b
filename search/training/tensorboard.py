"""The history of a run as TensorBoard events, one folder per stage.

The package `tensorboard` is one that SpikingJelly 2.0 asks for itself, so it is there wherever a search can run.
"""

from collections.abc import Callable
from pathlib import Path

from ...errors import InputError
from .checkpoint import Row

SPLITS = ("train", "validation")


def event_writer(folder: Path) -> Callable[[list[Row]], None]:
    """A function that is told all rows of a stage after every epoch and writes those that are new.

    A resumed run writes all its rows again and says so in the file; TensorBoard then forgets what was there before.
    Raises InputError when the package is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            f"--tensorboard needs the package tensorboard, but it cannot be imported ({error}); "
            "run `pip install tensorboard`."
        ) from error
    writer = SummaryWriter(str(folder), purge_step=0)
    written = 0

    def record(rows: list[Row]) -> None:
        nonlocal written
        for row in rows[written:]:
            for split in SPLITS:
                for name, value in scalars(row, split).items():
                    writer.add_scalar(f"{name}/{split}", value, row["epoch"])
        written = len(rows)
        writer.flush()

    return record


def scalars(row: Row, split: str) -> dict[str, float]:
    """loss in nats, accuracy 0..1, spikes per image: of the whole network and per cell."""
    spikes = row[split]["spikes_per_cell"]
    return {
        "loss": row[split]["loss"],
        "accuracy": row[split]["accuracy"],
        "spikes": sum(spikes.values()),
        **{f"spikes {cell}": number for cell, number in spikes.items()},
    }
