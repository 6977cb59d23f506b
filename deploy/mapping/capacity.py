"""What a chip holds: its limits, each with its unit, source and grade of evidence, read from chips/<name>.toml.

    title = "Loihi 1"
    rule = "loihi1"          how a network is mapped to it: a key of REQUIRED

    [limits.cores]           a name in REQUIRED or OPTIONAL of the rule
    value = 128
    unit = "cores"
    source = "Davies et al. 2018, IEEE Micro 38(1)"
    grade = "S"

A number without a source is no limit: it is left out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ...errors import InputError
from ...path_kind import CHIP, expected
from ..sourced_numbers import Grade, Table, read_table

CHIPS = Path(__file__).with_name("chips")

CORES_PER_TILE = 4

# rule -> limits without which no network can be mapped by it
REQUIRED: dict[str, tuple[str, ...]] = {
    "loihi1": ("cores", "neurons_per_core", "in_axons_per_core", "out_axons_per_core", "synapse_bits_per_core"),
    "loihi2": ("cores", "neurons_per_core", "synapse_bits_per_core"),
    "capacity": ("cores",),  # totals are compared, nothing is mapped
}

# rule -> limits that it heeds where the chip has them; any other would do nothing, and is refused
OPTIONAL: dict[str, tuple[str, ...]] = {
    "loihi1": ("tiles", "lif_neurons_per_core", "weight_bits"),
    "loihi2": ("tiles", "lif_neurons_per_core", "in_axons_per_core", "out_axons_per_core", "weight_bits"),
    "capacity": (
        *("neurons", "neurons_per_core", "synapses_per_core", "local_bits_per_core", "populations_per_core"),
        *("channels", "image_size", "kernel_size", "targets_per_population", "weight_bits"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most of something that can be counted; `unit` says of what."""

    value: int
    unit: str
    source: str
    grade: Grade


OF_A_LIMIT = tuple(field.name for field in fields(Limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One chip. limits: those that its rule requires, and some of those that the rule heeds."""

    name: str
    title: str
    rule: str  # key of REQUIRED and of the table of rules in mapping.py
    limits: Mapping[str, Limit]

    def allows(self, limit: str) -> float:
        """The value of a limit; infinite where the chip has none of that name."""
        return self.limits[limit].value if limit in self.limits else math.inf


def chip_names() -> tuple[str, ...]:
    """The chips that come with spikeport."""
    return tuple(sorted(path.stem for path in CHIPS.glob("*.toml")))


def find_chip(name_or_path: str) -> Chip:
    """The chip of that name, or of a .toml file of the user's.

    Raises InputError for an unknown name, and where the file is not what the head of this module says; then it names
    file and key.

    >>> spikeport.find_chip("loihi1").limits["cores"].value
    128
    """
    if name_or_path in chip_names():
        return _read(CHIPS / f"{name_or_path}.toml")
    if not name_or_path.endswith(".toml") and not Path(name_or_path).exists():
        raise InputError(
            f"Unknown chip '{name_or_path}'; choose from {', '.join(chip_names())}, or give the path of a .toml file."
        )
    return _read(expected(Path(name_or_path), CHIP, "--chip"))


def _read(path: Path) -> Chip:
    table = read_table(path)
    table.only(("title", "rule", "limits"))
    rule = table.text("rule", f"choose from {', '.join(REQUIRED)}")
    if rule not in REQUIRED:
        raise table.wrong("rule", f"one of {', '.join(REQUIRED)}", "choose how a network is mapped to the chip")
    given = table.table("limits")
    given.only((*REQUIRED[rule], *OPTIONAL[rule]))
    for name in REQUIRED[rule]:
        if name not in given.values:
            raise given.wrong(name, f"there for the rule '{rule}'", f"add [limits.{name}] with {', '.join(OF_A_LIMIT)}")
    limits = {name: _limit(given.table(name)) for name in given.values}
    if "tiles" in limits and limits["cores"].value != CORES_PER_TILE * limits["tiles"].value:
        raise InputError(
            f"'{path}': `cores = {CORES_PER_TILE} * tiles` must hold, but there are {limits['cores'].value} cores on "
            f"{limits['tiles'].value} tiles; correct one, or leave the tiles out."
        )
    title = table.text("title", "write the chip's name as people read it")
    return Chip(name=path.stem, title=title, rule=rule, limits=limits)


def _limit(table: Table) -> Limit:
    table.only(OF_A_LIMIT)
    value = table.values.get("value")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise table.wrong("value", "a whole number >= 1", "leave the limit out if it is not known")
    unit = table.text("unit", "say what is counted")
    return Limit(value=value, unit=unit, source=table.source(), grade=table.grade())
