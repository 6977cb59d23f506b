"""Transformer: what a search of this space finds. Its width, and of each block the attention, its heads and its MLP.

The choices are those of AutoST (arXiv 2307.00293): depth, width, heads and MLP ratio, here of each block its own, and
which of two attentions of spikes it has (network.py). The sum of `channels` gives one gate for each channel whatever
the heads are, so that such a block has one head.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ....errors import InputError
from ....files import read_text
from ....setting import chosen

AttentionOf = Literal["tokens", "channels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """ratio: of the MLP's hidden channels to the width. Raises InputError for what no block can be."""

    attention: AttentionOf
    heads: int
    ratio: int

    def __post_init__(self) -> None:
        chosen("attention", self.attention, get_args(AttentionOf))
        for name in ("heads", "ratio"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name} >= 1` must hold, but a block has {name}={getattr(self, name)}.")
        if self.attention == "channels" and self.heads != 1:
            raise InputError(
                "Attention over channels has a gate for each channel whatever its heads are, but a block has "
                f"{self.heads}; say 1 head, or attention over tokens."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """Raises InputError where there is no block, and where heads do not divide the width."""

    width: int
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if self.width < 1 or not self.blocks:
            raise InputError(
                "A transformer must have at least one channel and one block, but has "
                f"width={self.width} and {len(self.blocks)} blocks."
            )
        for number, block in enumerate(self.blocks):
            if self.width % block.heads:
                raise InputError(
                    f"Heads must divide the width, but block {number} has {block.heads} heads of {self.width} channels."
                )


def to_dict(found: Transformer) -> dict[str, Any]:
    return {"width": found.width, "blocks": [asdict(block) for block in found.blocks]}


def to_json(found: Transformer) -> str:
    """Equal transformers give equal bytes."""
    return json.dumps(to_dict(found), indent=2) + "\n"


def from_json(text: str) -> Transformer:
    """The inverse of `to_json`. Raises InputError when the text is damaged or the transformer impossible."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"A transformer must be JSON, but is not: {error}.") from error
    return from_dict(data)


def from_file(path: Path) -> Transformer:
    """Of a JSON file. Raises InputError that names it."""
    try:
        return from_json(read_text(path))
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error


def from_dict(data: object) -> Transformer:
    """From parsed JSON. Raises InputError that names the key that is wrong."""
    fields = _fields(data, {"width": int, "blocks": list}, "A transformer")
    kinds = {"attention": str, "heads": int, "ratio": int}
    blocks = tuple(Block(**_fields(block, kinds, "A block of a transformer")) for block in fields["blocks"])
    return Transformer(width=fields["width"], blocks=blocks)


def _fields(data: object, types: dict[str, type], what: str) -> dict[str, Any]:
    if not isinstance(data, dict) or data.keys() != types.keys():
        found = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise InputError(f"{what} must have exactly the keys {', '.join(types)}, but has {found or 'none'}.")
    for key, wanted in types.items():
        if type(data[key]) is not wanted:
            raise InputError(f"{what}: '{key}' must be {wanted.__name__}, but is {data[key]!r}.")
    return data
