"""Settings from a TOML file, from the data set and from the command line; the later wins.

seed = 1

[network]
channels = 8

[strategy]
name = "darts"        # may be left out where there is one table of a strategy, or none

[strategy.darts]
search_epochs = 6
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import read_json, read_text
from ...path_kind import SETTINGS, expected
from ..runs import Run
from .darts import DartsSettings
from .data import DATASET_DEFAULTS, DataSettings
from .run import (
    CONCERNS,
    PLACES,
    STRATEGIES,
    TABLES,
    SearchSettings,
    changed,
    choose,
    nearest_settings,
    place_of,
    readable,
    settings_from_dict,
)

ALONE = [name for name, table in PLACES.items() if not table]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """What a settings file says, by the names of the options. strategy: its name, if the file decides it."""

    options: Mapping[str, Any]
    strategy: str | None
    notes: tuple[str, ...] = ()  # what its reader should know, a sentence each


def read_settings(path: Path) -> FileSettings:
    """Raises InputError naming the file when it is no TOML, when a key is unknown or when a value is out of range."""
    expected(path, SETTINGS, "search --settings")
    try:
        data = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # of its syntax, of a number too long, of a nesting too deep
        raise InputError(f"'{path}' must be TOML, but is not ({error}); see the files in examples/.") from error
    try:
        flat = _is_flat(data)
        found = _flat(path, data) if flat else _tables(data)
        for name in STRATEGIES:  # also those that are not chosen
            choose(strategy=name, **readable(_without_strategy(found.options), name))
    except InputError as error:
        raise InputError(f"Settings file '{path}': {error}") from error
    return found


def resolve_settings(
    file: Path | None,
    given: Mapping[str, Any],
    started: SearchSettings | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> SearchSettings:
    """Defaults, those of the data set, those of the file, those given (not None): the later wins.

    Of a run that was `started` before, its own take the place of the first two. A strategy that is given rests the
    tables of a file that it does not read. `tell` hears what the reader of an old file should know.

    Raises InputError for an unusable file, for a value out of range, and for an option that the strategy ignores.
    """
    options = {name: value for name, value in given.items() if value is not None}
    read = FileSettings(options={}, strategy=None) if file is None else read_settings(file)
    for note in read.notes:
        tell(note)
    strategy = options.get("strategy") or read.strategy or (DartsSettings.name if started is None else None)
    of_file = _without_strategy(read.options)
    if started is not None:
        strategy = strategy or started.strategy.name
        return changed(started, **readable(of_file, strategy) | options | {"strategy": strategy})
    chosen = readable(of_file, str(strategy)) | options | {"strategy": strategy}
    dataset = chosen.get("dataset", DataSettings().dataset)
    kind = dataset.partition(":")[0] if isinstance(dataset, str) else ""
    return choose(**{**DATASET_DEFAULTS.get(kind, {}), **chosen})


def recorded(run: Run) -> dict[str, Any]:
    """What a run's manifest says of its settings, and of the genotype it was given. Raises InputError when damaged."""
    found = read_json(run.manifest).get("settings")
    if not isinstance(found, dict):
        raise InputError(f"'{run.manifest}' must hold `settings`; it is damaged: start again with another --out.")
    return found


def recorded_settings(run: Run) -> SearchSettings:
    """The settings a run was started with. Raises InputError when its manifest is damaged."""
    found = {key: value for key, value in recorded(run).items() if key != "genotype"}
    try:
        return settings_from_dict(found)
    except InputError as error:
        raise InputError(f"'{run.manifest}': {error} Start again with another --out.") from error


def as_toml(options: Mapping[str, Any], strategy: str | None = None) -> str:
    """Options as a settings file would have them, table by table."""
    lines = [f"{name} = {_value(options[name])}" for name in options if name in ALONE and name != "strategy"]
    if strategy is not None:
        lines += ["", "[strategy]", f"name = {_value(strategy)}"]
    for table in TABLES:
        inside = [f"{name} = {_value(value)}" for name, value in options.items() if PLACES[name] == table]
        lines += ["", f"[{table}]", *inside] if inside else []
    return "\n".join(lines).strip() + "\n"


def _value(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def _is_flat(data: Mapping[str, Any]) -> bool:
    """Whether settings stand outside of tables, as they did once."""
    alone = ("seed", "strategy")
    outside = [key for key, value in data.items() if key in PLACES and not isinstance(value, Mapping)]
    return isinstance(data.get("strategy"), str) or any(key not in alone for key in outside)


def _flat(path: Path, data: Mapping[str, Any]) -> FileSettings:
    outside = [key for key, value in data.items() if not isinstance(value, Mapping)]
    for key in outside:
        place_of(key)
    if len(outside) < len(data):
        first = next(key for key in outside if PLACES[key])
        raise InputError(f"`{first}` must stand in its table [{PLACES[first]}], as others do, but stands before all.")
    strategy = data.get("strategy")
    if strategy is not None:
        choose(strategy=strategy)
    form = as_toml(_without_strategy(data), strategy)
    note = (
        f"'{path}' has its settings outside of tables, as they were once; they are read, but now it would be:\n{form}"
    )
    return FileSettings(options=dict(data), strategy=strategy, notes=(note,))


def _tables(data: Mapping[str, Any]) -> FileSettings:
    options: dict[str, Any] = {}
    known = (*CONCERNS, "strategy")
    for key, values in data.items():
        if key == "seed":
            options[key] = values
        elif key not in known:
            raise InputError(f"Unknown setting or table '{key}'; {nearest_settings(key, known)}")
        elif not isinstance(values, Mapping):
            raise InputError(f"`{key}` must be a table, [{key}], but is {values!r}.")
        elif key != "strategy":
            options |= _table(key, values)
    strategies = data.get("strategy", {})
    name = strategies.get("name")
    if name is not None:
        choose(strategy=name)
    for key, values in strategies.items():
        if key == "name":
            continue
        if key not in STRATEGIES:
            raise InputError(f"Unknown strategy '{key}'; choose from {', '.join(STRATEGIES)}.")
        if name is not None and key != name:
            raise InputError(
                f"[strategy.{key}] belongs to the strategy {key}, but the file says name = '{name}', which would "
                "ignore it; take the table out, or leave the name to --strategy."
            )
        if not isinstance(values, Mapping):
            raise InputError(f"`strategy.{key}` must be a table, [strategy.{key}], but is {values!r}.")
        options |= _table(f"strategy.{key}", values)
    tables = [key for key in strategies if key != "name"]
    return FileSettings(options=options, strategy=name or (tables[0] if len(tables) == 1 else None))


def _table(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    for key in values:
        if key not in PLACES:
            raise InputError(f"Unknown setting '{key}' in [{table}]; {nearest_settings(key)}")
        if PLACES[key] != table:
            where = f"in [{PLACES[key]}]" if PLACES[key] else "before all tables"
            raise InputError(f"`{key}` must stand {where}, but stands in [{table}].")
    return dict(values)


def _without_strategy(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "strategy"}
