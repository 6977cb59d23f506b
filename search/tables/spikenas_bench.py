"""The table of others: SpikeNAS-Bench (Sun and others, IEEE TAI 6(6), 2025), all cells of a space on CIFAR-10.

Its public repository has a folder for each data set and in it one for each cell, named by its number, with the text
file `train_process.txt`: parameters, a line for each epoch, test accuracy, firing rates of 16 layers, time. It comes
without a licence, so nothing of it is shipped; clone it and name the folder, as in SpikeNAS-Bench/data/CIFAR10.

A cell has four nodes and six edges, of which each is nothing, a skip, or a 3x3 convolution behind neurons of one of
three thresholds. Its number to the base five has the edge (0, 1) in its last digit, then (0, 2), (0, 3), (1, 2), (1, 3)
and (2, 3). Every cell was trained once.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...files import read_text

OPERATIONS = ("none", "skip", "conv 3x3, threshold 0.5", "conv 3x3, threshold 1", "conv 3x3, threshold 1.5")
EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
CELLS: int = len(OPERATIONS) ** len(EDGES)
FILE = "train_process.txt"
COLUMNS = "epoch, train_acc, train_loss, val_acc, val_loss"
NO_NEURON = -1.0  # the rate of a layer that has no neurons, because nothing or a skip stands in its place

Code = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One training of one cell. Accuracies 0..1 and losses in nats after each epoch; rates in spikes per step."""

    number: int
    parameters: int
    train_accuracy: tuple[float, ...]
    train_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]
    val_loss: tuple[float, ...]
    test_accuracy: float
    rates: tuple[float | None, ...]  # None: the layer has no neurons
    seconds: float


def code_of(number: int) -> Code:
    """What each of EDGES is, as a place in OPERATIONS. Raises InputError for a number that no cell has."""
    if not 0 <= number < CELLS:
        raise InputError(f"A cell of SpikeNAS-Bench must have a number in 0 .. {CELLS - 1}, but has {number}.")
    return tuple(number // len(OPERATIONS) ** place % len(OPERATIONS) for place in range(len(EDGES)))


def number_of(code: Sequence[int]) -> int:
    """The inverse of `code_of`."""
    return sum(value * len(OPERATIONS) ** place for place, value in enumerate(code))


def read_bench(folder: Path) -> Mapping[int, BenchRow]:
    """Number -> row, of all cells that a folder of a data set has; the others are missing.

    Raises InputError where it has none, and naming the file where one is damaged or of another cell.
    """
    folder = Path(folder)
    rows = {number: _read(path, number) for number, path in _files(folder)}
    if not rows:
        raise InputError(
            f"'{folder}' must have a folder with {FILE} for each cell of SpikeNAS-Bench, but has none; name one of a "
            "data set, as in SpikeNAS-Bench/data/CIFAR10."
        )
    return rows


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    """In the order of the numbers."""
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'; clone SpikeNAS-Bench and name its data/CIFAR10.")
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    for number in numbers:
        path = folder / str(number) / FILE
        if path.is_file():
            yield number, path


def _read(path: Path, number: int) -> BenchRow:
    lines = [line.strip() for line in read_text(path).splitlines()]
    try:
        found = _parsed(lines)
    except (IndexError, ValueError) as error:
        raise InputError(f"'{path}' must be a training of SpikeNAS-Bench, but is damaged ({error}).") from error
    if found.number != number or number >= CELLS:
        raise InputError(f"'{path}' must be of cell {number}, one of {CELLS}, but is of cell {found.number}.")
    return found


def _parsed(lines: Sequence[str]) -> BenchRow:
    """Raises IndexError, ValueError for what is not such a file."""
    number, parameters = (int(_after(lines[place], name)) for place, name in enumerate(("architecture id", "model")))
    if lines[2] != COLUMNS:
        raise ValueError(f"line 3 is not '{COLUMNS}'")
    end = next(place for place, line in enumerate([*lines, "test"]) if line.startswith("test"))
    epochs = [[_finite(word) for word in line.split(",")] for line in lines[3:end]]
    if not epochs or any(len(row) != 5 or row[0] != place for place, row in enumerate(epochs)):
        raise ValueError("its epochs are not lines of five numbers that count from 0")
    _, train_accuracy, train_loss, val_accuracy, val_loss = zip(*epochs, strict=True)
    time = re.fullmatch(r"([\d.]+)hour([\d.]+)minute([\d.]+)second", _after(lines[end + 2], "Elapsed time"))
    if time is None:
        raise ValueError(f"its time is '{lines[end + 2]}'")
    rates = [_finite(word) for word in _after(lines[end + 1], "firing rate of layers").split(",")]
    return BenchRow(
        number=number,
        parameters=parameters,
        train_accuracy=_shares(train_accuracy),
        train_loss=tuple(train_loss),
        val_accuracy=_shares(val_accuracy),
        val_loss=tuple(val_loss),
        test_accuracy=_shares([_finite(_after(lines[end], "test accuracy"))])[0],
        rates=tuple(None if rate == NO_NEURON else rate for rate in rates),
        seconds=sum(factor * _finite(part) for factor, part in zip((3600, 60, 1), time.groups(), strict=True)),
    )


def _after(line: str, name: str) -> str:
    head, colon, tail = line.partition(":")
    if not colon or not head.startswith(name):
        raise ValueError(f"'{name}' is expected where '{line[:40]}' stands")
    return tail.strip()


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"'{word.strip()}' is no number")
    return value


def _shares(percent: Sequence[float]) -> tuple[float, ...]:
    if not all(0 <= value <= 100 for value in percent):
        raise ValueError("an accuracy is not in 0 .. 100 percent")
    return tuple(value / 100 for value in percent)
