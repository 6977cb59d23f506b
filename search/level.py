"""What a search decides: the cell (micro), the path of a given cell (macro, trellis.py), or both together."""

from typing import Literal, cast, get_args

from ..errors import InputError

Level = Literal["micro", "macro", "both"]


def level_name(name: str) -> Level:
    """The name as a known level, or InputError that lists them."""
    if name not in get_args(Level):
        raise InputError(f"Unknown level '{name}'; choose from {', '.join(get_args(Level))}.")
    return cast(Level, name)
