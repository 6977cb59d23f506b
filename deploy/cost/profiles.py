"""Price lists of chips and of arithmetic: what an operation costs in energy and time, and what no price is known for.

A profile is one published list, one TOML file in `profiles/`; two lists of the same chip are two profiles and are never
mixed. A price has its unit, source and grade of evidence beside it: P primary text, data or code seen; S quoted in a
secondary source; D derived or measured from P. What is only remembered (M) is no price.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ...errors import InputError
from ...path_kind import PRICES, expected
from ..sourced_numbers import Grade, Table, not_negative, read_table

JOULES = {"pJ": 1e-12, "nJ": 1e-9, "uJ": 1e-6, "J": 1.0}
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
WATTS = {"uW": 1e-6, "mW": 1e-3, "W": 1.0}

KINDS = ("synaptic_operations_conv", "synaptic_operations_dense", "synaptic_operations_sparse")
UPDATES = ("neuron_updates", "active_updates", "idle_updates")
MOVED = ("messages", "hops_x", "hops_y")  # counted on a mapping to cores
ENERGY = ("synaptic_operations", *KINDS, *UPDATES, "spikes", "input_spikes", *MOVED)
SENDER = (*UPDATES, "spikes", "messages")  # what a core does for its own neurons
RECEIVER = ("messages", "synaptic_operations", *KINDS)  # what arrives at a core
TWICE = (*(("synaptic_operations", kind) for kind in KINDS), UPDATES)  # together they count the same events twice

Bound = Literal["low", "value", "high"]  # of a price's range
BOUNDS: tuple[Bound, ...] = get_args(Bound)
NOTE = "say what the number is, or leave the key out"
FOLDER = Path(__file__).with_name("profiles")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The energy or time of one event, or a power. low and high: the range that the source supports, if it does."""

    value: float
    unit: str  # a key of JOULES, SECONDS or WATTS; low and high have it, too
    source: str
    grade: Grade
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def joules(self) -> float:
        return self.value * JOULES[self.unit]

    @property
    def seconds(self) -> float:
        return self.value * SECONDS[self.unit]

    @property
    def watts(self) -> float:
        return self.value * WATTS[self.unit]

    def at(self, bound: Bound) -> "Price":
        """One end of the range as a price without a range; the value where the source supports no such end."""
        end = {"low": self.low, "value": self.value, "high": self.high}[bound]
        return replace(self, value=self.value if end is None else end, low=None, high=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """The time that ends a step, by the number of tiles the network is mapped to.

    points: (tiles, time), ascending. "table": the time of the largest entry that is not above the mapped tiles; "line":
    on the straight line through the two points, also beyond them.
    """

    points: tuple[tuple[int, float], ...]
    form: Literal["table", "line"]
    unit: str  # a key of SECONDS
    source: str
    grade: Grade
    note: str = ""

    def seconds(self, tiles: int) -> float:
        """Raises InputError for fewer than one tile."""
        if tiles < 1:
            raise InputError(f"`tiles >= 1` must hold, but tiles={tiles}; map the network to cores first.")
        if self.form == "table":
            time = [time for least, time in self.points if least <= tiles][-1]
        else:
            (first, short), (last, long) = self.points
            time = short + (long - short) * (tiles - first) / (last - first)
        return time * SECONDS[self.unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One published price list.

    energy: a name of ENERGY -> price of one event. sender, receiver: a name of SENDER or RECEIVER -> the time that one
    event keeps its core busy. step: the time of a step that is fixed whatever happens. static, host: power per chip.
    """

    name: str
    title: str  # of the chip, for people
    technology: str
    evidence: str  # what kind of numbers these are
    unpriced: tuple[str, ...]
    chip: str | None = None  # whose mapping to cores gives messages, hops and time; None: no mapping needed
    energy: Mapping[str, Price] = field(default_factory=dict)
    sender: Mapping[str, Price] = field(default_factory=dict)
    receiver: Mapping[str, Price] = field(default_factory=dict)
    barrier: Barrier | None = None
    step: Price | None = None
    static: Price | None = None
    host: Price | None = None

    def barrier_seconds(self, tiles: int) -> float:
        """Seconds of the barrier. Raises InputError for a profile without one."""
        if self.barrier is None:
            raise InputError(f"Profile '{self.name}' has no barrier; give it [time.barrier].")
        return self.barrier.seconds(tiles)


def builtin_profiles() -> dict[str, Path]:
    """Name -> file of the price lists that come with spikeport, in the order of their names."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def find_profile(name_or_path: str) -> Profile:
    """A builtin profile by its name, or a user's by the path of its TOML file.

    Raises InputError where there is none, where the file is not a profile, or where it has the name of a builtin one.
    """
    builtin = builtin_profiles()
    if name_or_path in builtin:
        return load_profile(builtin[name_or_path])
    path = Path(name_or_path)
    if not path.exists() and path.suffix != ".toml":
        raise InputError(
            f"Unknown profile '{name_or_path}'; choose from {', '.join(builtin)}, or give the path of a TOML file."
        )
    profile = load_profile(expected(path, PRICES, "--profiles"))
    if profile.name in builtin and path.resolve() != builtin[profile.name].resolve():
        raise InputError(f"'{path}': the name '{profile.name}' is a builtin profile's; give yours a name of its own.")
    return profile


def load_profile(path: Path) -> Profile:
    """Read one price list. Raises InputError naming file, key and value where it is wrong or incomplete."""
    file = read_table(path)
    file.only(("name", "chip", "title", "technology", "evidence", "unpriced", "energy", "time", "power"))
    time, power = file.table("time"), file.table("power")
    time.only(("sender", "receiver", "barrier", "step"))
    power.only(("static", "host"))
    profile = Profile(
        name=file.text("name", "name the price list"),
        title=file.text("title", "name the chip"),
        technology=file.text("technology", 'name the process, "14 nm", or say "not published"'),
        evidence=file.text("evidence", "say what kind of numbers these are"),
        unpriced=file.texts("unpriced", "say what the list leaves out, a sentence each, or [] for nothing"),
        chip=file.optional_text("chip", "name the chip that is mapped to, or leave the key out"),
        energy=_prices(file.table("energy"), ENERGY, JOULES),
        sender=_prices(time.table("sender"), SENDER, SECONDS),
        receiver=_prices(time.table("receiver"), RECEIVER, SECONDS),
        barrier=_barrier(time.table("barrier")) if "barrier" in time.values else None,
        step=_optional(time, "step", SECONDS),
        static=_optional(power, "static", WATTS),
        host=_optional(power, "host", WATTS),
    )
    _check(path, profile)
    return profile


def source_row(term: str, price: Price) -> dict[str, Any]:
    """A price with its evidence, JSON-ready."""
    return {
        "term": term,
        "value": price.value,
        "unit": price.unit,
        "low": price.low,
        "high": price.high,
        "source": price.source,
        "grade": price.grade,
        "note": price.note,
    }


def _prices(table: Table, quantities: tuple[str, ...], units: Mapping[str, float]) -> dict[str, Price]:
    table.only(quantities)
    return {name: _price(table.table(name), units) for name in quantities if name in table.values}


def _optional(table: Table, name: str, units: Mapping[str, float]) -> Price | None:
    return _price(table.table(name), units) if name in table.values else None


def _price(table: Table, units: Mapping[str, float]) -> Price:
    table.only(("value", "unit", "source", "grade", "low", "high", "note"))
    low, high = (table.number(end) if end in table.values else None for end in ("low", "high"))
    value = table.number("value")
    if (low is not None and low > value) or (high is not None and high < value):
        raise InputError(
            f"'{table.file}': `low <= value <= high` must hold for `{table.key}`, but got low={low}, value={value}, "
            f"high={high}; correct the range, or leave out the end that the source does not give."
        )
    return Price(
        value=value,
        unit=table.unit(units),
        source=table.source(),
        grade=table.grade(),
        low=low,
        high=high,
        note=table.optional_text("note", NOTE) or "",
    )


def _barrier(table: Table) -> Barrier:
    table.only(("tiles", "from", "to", "unit", "source", "grade", "note"))
    if ("tiles" in table.values) == ("from" in table.values or "to" in table.values):
        raise InputError(
            f"'{table.file}': `{table.key}` must have either `tiles` or both `from` and `to`, but has "
            f"{', '.join(table.values) or 'nothing'}; write tiles = {{1 = 0.6}} or from = [1, 113], to = [32, 465]."
        )
    return Barrier(
        points=_entries(table) if "tiles" in table.values else (_end(table, "from"), _end(table, "to", above="from")),
        form="table" if "tiles" in table.values else "line",
        unit=table.unit(SECONDS),
        source=table.source(),
        grade=table.grade(),
        note=table.optional_text("note", NOTE) or "",
    )


def _entries(table: Table) -> tuple[tuple[int, float], ...]:
    tiles = table.table("tiles")
    if "1" not in tiles.values or not all(key.isdecimal() and int(key) >= 1 for key in tiles.values):
        raise table.wrong("tiles", "a table from numbers of tiles, beginning with 1, to times", "write {1 = 0.6}")
    return tuple(sorted((int(key), tiles.number(key)) for key in tiles.values))


def _end(table: Table, name: str, above: str | None = None) -> tuple[int, float]:
    end = table.values.get(name)
    if not isinstance(end, list) or len(end) != 2 or not isinstance(end[0], int) or end[0] < 1:
        raise table.wrong(name, "[tiles, time] with at least 1 tile", "write from = [1, 113], to = [32, 465]")
    if above is not None and end[0] <= table.values[above][0]:
        raise table.wrong(name, f"at more tiles than `{above}`, which is {table.values[above]}", "correct the ends")
    return end[0], not_negative(table, name, end[1])


def _check(file: Path, profile: Profile) -> None:
    """Raises InputError where the parts of a profile do not go together."""
    if not (profile.energy or profile.static or profile.host or profile.chip):
        raise InputError(
            f"'{file}': a profile must have [energy], [power] or a chip, but '{profile.name}' has none; add its prices."
        )
    _check_together(file, "energy", profile.energy)
    _check_together(file, "time.sender", profile.sender)
    _check_together(file, "time.receiver", profile.receiver)
    moved = [name for name in MOVED if name in profile.energy] + ["time"] * bool(profile.sender or profile.receiver)
    if moved and profile.chip is None:
        raise InputError(
            f"'{file}': '{profile.name}' must name a chip, because the prices of {', '.join(moved)} need a mapping to "
            'cores; write chip = "loihi1".'
        )
    modelled = [bool(profile.sender), bool(profile.receiver), profile.barrier is not None]
    if any(modelled) and (profile.step is not None or not all(modelled)):
        raise InputError(
            f"'{file}': [time] of '{profile.name}' must have `step` alone, or all of `sender`, `receiver` and "
            "`barrier`; price what is missing, or leave the time out."
        )


def _check_together(file: Path, key: str, prices: Mapping[str, Price]) -> None:
    for names in TWICE:
        if all(name in prices for name in names):
            raise InputError(
                f"'{file}': [{key}] prices the same events twice with {' and '.join(names)}; leave one out."
            )
    missing = [name for name in KINDS if name not in prices]
    if 0 < len(missing) < len(KINDS):
        raise InputError(
            f"'{file}': [{key}] must price all kinds of synaptic operations or none, but lacks {', '.join(missing)}; "
            "price them, or use `synaptic_operations` alone."
        )
