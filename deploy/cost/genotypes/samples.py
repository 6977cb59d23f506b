"""Measurements of one's own as a CSV file: a line for each, with the network and what was measured.

    network,latency_s
    runs/first,0.00132
    runs/second,0.00118

network: the folder of a run, or a config.json that says `genotype` and `network` as a run's does; a path that is not
absolute begins at the CSV file. latency_s, energy_j: of one inference, in seconds or joules. Other columns are not
read.
"""

import csv
import math
from collections.abc import Callable
from pathlib import Path

from ....errors import InputError, SpikeportError
from ....files import read_text
from ....search.runs import Run
from ....search.space.network import described
from .cost import Cost, GenotypeCost
from .stacked import Measured


def read_samples(
    path: Path, quantity: str, profile: str, tell: Callable[[str], None] = lambda text: None
) -> list[Measured]:
    """Each network's analytical cost is computed once. Raises InputError that names the file and the line."""
    rows = _rows(path, quantity)
    measured: list[Measured] = []
    known: dict[str, Cost] = {}
    for line, name, value in rows:
        if name not in known:
            tell(f"network {len(known) + 1}: {name}")
            known[name] = _cost(path, line, name, profile)
        measured.append(Measured(network=name, cost=known[name], value=value))
    return measured


def _rows(path: Path, quantity: str) -> list[tuple[int, str, float]]:
    """(line, network, value)."""
    lines = csv.reader(read_text(path).splitlines())
    header = [name.strip() for name in next(lines, [])]
    if "network" not in header or quantity not in header:
        raise InputError(
            f"'{path}' must have the columns network and {quantity} in its first line, but has "
            f"{', '.join(header) or 'none'}."
        )
    return [
        (line, row[header.index("network")].strip(), _value(path, line, quantity, row[header.index(quantity)]))
        for line, row in enumerate(lines, 2)
        if _whole(path, line, row, len(header))
    ]


def _whole(path: Path, line: int, row: list[str], columns: int) -> bool:
    """False for an empty line."""
    if row and len(row) != columns:
        raise InputError(f"'{path}' line {line} must have {columns} columns as the first line, but has {len(row)}.")
    return bool(row)


def _value(path: Path, line: int, quantity: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"'{path}' line {line}: `{quantity} > 0` must hold, but is '{text.strip()}'.")
    return value


def _cost(path: Path, line: int, name: str, profile: str) -> Cost:
    """Of the network that a line names."""
    there = path.parent / name
    try:
        genotype, config = described(Run(there).config if there.is_dir() else there)
        return GenotypeCost(config=config, profile=profile)(genotype)
    except SpikeportError as error:
        raise InputError(f"'{path}' line {line}: {error}") from error
