"""One setting, written once: its default, its range, and what the command line says of it.

    channels: int = setting(16, "Channels of a node in the first cell; doubled at each reduction.", at_least=1)

The classes of settings check themselves by it (`check_settings`), and options.py makes their options from it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .errors import InputError

LARGEST = 2**63  # whole numbers below it are what arrays count with
NEAREST = 3  # names that an unknown one may have meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """help: one sentence for the command line. The range is closed at `at_least`, open at `above` and `below`."""

    help: str
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    common: bool = False  # one that most people need: in --help; others are in --help-all
    spelled: str = ""  # its option, where that is not its name


def setting(default: Any, help: str, **more: Any) -> Any:
    """A field of a dataclass; `more` are the fields of `Setting`."""
    return field(default=default, metadata={"setting": Setting(help=help, **more)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A setting as it stands in its class."""

    name: str
    kind: Any  # its type: bool, int, float, str or a Literal
    default: Any
    setting: Setting

    @property
    def choices(self) -> tuple[str, ...]:
        """What a Literal allows; () for other types."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()


def settings_of(kind: type) -> Mapping[str, Known]:
    """The settings of a class by name, in their order."""
    assert isinstance(kind, type) and is_dataclass(kind)
    hints = get_type_hints(kind)
    return {
        f.name: Known(name=f.name, kind=hints[f.name], default=f.default, setting=f.metadata["setting"])
        for f in fields(kind)
        if "setting" in f.metadata
    }


def check_settings(settings: Any) -> None:
    """Raises InputError, with the invariant and the value, for the first that is of a wrong type or out of range."""
    for known in settings_of(type(settings)).values():
        _check(known, getattr(settings, known.name))


def require(settings: Any, name: str, holds: bool, invariant: str) -> None:
    """Raises InputError that states the invariant, and the value that breaks it, unless it holds."""
    if not holds:
        raise InputError(f"`{invariant}` must hold, but got {name}={getattr(settings, name)}.")


def chosen(name: str, value: str, choices: Iterable[str]) -> str:
    """The value, or InputError that lists the choices."""
    known = tuple(choices)
    if value not in known:
        raise InputError(f"Unknown {name.replace('_', ' ')} '{value}'; choose from {', '.join(known)}.")
    return value


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean 'a', 'b' or 'c'?", the nearest first."""
    *others, last = (f"'{near}'" for near in get_close_matches(name, list(known), n=NEAREST, cutoff=0.0))
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


def _check(known: Known, value: Any) -> None:
    name, limits = known.name, known.setting
    wanted = str if known.choices else known.kind
    accepted = (int, float) if wanted is float else (wanted,)
    if isinstance(value, bool) is not (wanted is bool) or not isinstance(value, accepted):
        raise InputError(f"`{name}` must be {wanted.__name__}, but is {value!r}.")
    if known.choices:
        chosen(name, str(value), known.choices)
    elif isinstance(value, int | float) and wanted is not bool:
        for word, limit, holds in (
            (">=", limits.at_least, limits.at_least is None or value >= limits.at_least),
            (">", limits.above, limits.above is None or value > limits.above),
            ("<", limits.below, limits.below is None or value < limits.below),
        ):
            if not holds:
                raise InputError(f"`{name} {word} {limit:g}` must hold, but got {name}={value}.")
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise InputError(f"`{name} < 2 ** 63` must hold, but it has {len(hex(abs(value))) * 4 - 8} bits.")
        if not math.isfinite(value):
            raise InputError(f"`{name}` must be a finite number, but got {name}={value}.")
