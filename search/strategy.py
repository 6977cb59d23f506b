"""How a cell is found: by gradients (search.py), or as the best of random ones (random_cells.py)."""

from typing import Literal, cast, get_args

from ..errors import InputError

Strategy = Literal["darts", "random"]


def strategy_name(name: str) -> Strategy:
    """The name as a known strategy, or InputError that lists them."""
    if name not in get_args(Strategy):
        raise InputError(f"Unknown strategy '{name}'; choose from {', '.join(get_args(Strategy))}.")
    return cast(Strategy, name)
