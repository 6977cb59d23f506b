"""The space of transformers: drawn, changed and crossed as in AutoST (arXiv 2307.00293); and as a code.

The code has the width and the depth, then for each block of the deepest its attention, heads and ratio. Numbers of
blocks that a transformer does not have, and of heads over channels, say nothing and are 0 in what `encode` gives; heads
that do not divide the width count through those that do. So several codes are one transformer, and each has one of its
own.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from ...errors import InputError
from ..space.transformer.genotype import Block, Transformer, to_json
from ..space.transformer.settings import TransformerSettings
from .space import Code

OF_A_GENE = 0.2  # chance that a choice of a block is drawn anew
OF_THE_SHAPE = 0.4  # the same of depth and width
SHAPE = 2  # numbers of the code before those of the blocks
OF_A_BLOCK = 3
LETTERS = 12  # of a key, in hex


class TransformerSpace:
    """All transformers of these choices. Every draw is of the generator that is given."""

    def __init__(self, settings: TransformerSettings) -> None:
        self.depths, self.widths = settings.numbers("depths"), settings.numbers("widths")
        self.ratios, self.heads, self.kinds = settings.numbers("ratios"), settings.numbers("heads"), settings.kinds

    name = "transformers"

    @property
    def radices(self) -> Code:
        block = (len(self.kinds), len(self.heads), len(self.ratios))
        return (len(self.widths), len(self.depths), *block * max(self.depths))

    @property
    def motifs(self) -> tuple[Code, ...]:
        """Width and depth, then each block."""
        starts = range(SHAPE, len(self.radices), OF_A_BLOCK)
        return (tuple(range(SHAPE)), *(tuple(range(start, start + OF_A_BLOCK)) for start in starts))

    def encode(self, found: Transformer) -> Code:
        """Raises InputError for a transformer of other choices."""
        code = [_place(self.widths, found.width), _place(self.depths, len(found.blocks))]
        for block in found.blocks:
            heads = _place(self.heads, block.heads) if self._has_heads(block, found.width) else 0
            code += [_place(self.kinds, block.attention), heads, _place(self.ratios, block.ratio)]
        whole = (*code, *[0] * (len(self.radices) - len(code)))
        if min(whole) < 0 or self.decode(whole) != found:
            raise InputError(
                f"A transformer of this space must have a width of {self.widths}, a depth of {self.depths}, heads of "
                f"{self.heads}, ratios of {self.ratios} and attention over {', '.join(self.kinds)}, but this one has "
                "others."
            )
        return whole

    def decode(self, code: Sequence[int]) -> Transformer:
        """Raises InputError for a code of another space."""
        radices = self.radices
        if len(code) != len(radices) or not all(0 <= n < most for n, most in zip(code, radices, strict=True)):
            raise InputError(
                f"A code of the space {self.name} must have {len(radices)} numbers below {radices}, but is "
                f"{tuple(code)}."
            )
        width, blocks = self.widths[code[0]], list[Block]()
        for start in range(SHAPE, SHAPE + OF_A_BLOCK * self.depths[code[1]], OF_A_BLOCK):
            kind, heads, ratio = code[start : start + OF_A_BLOCK]
            allowed = self._allowed(width) if self.kinds[kind] == "tokens" else (1,)
            some = self.heads[heads] if self.heads[heads] in allowed else allowed[heads % len(allowed)]
            attention: Any = self.kinds[kind]
            blocks.append(Block(attention=attention, heads=some, ratio=self.ratios[ratio]))
        return Transformer(width=width, blocks=tuple(blocks))

    def neighbours(self, found: Transformer) -> list[Transformer]:
        """All whose code differs in one number, and that are another transformer; each once."""
        code = self.encode(found)
        around = [
            self.decode((*code[:place], value, *code[place + 1 :]))
            for place, radix in enumerate(self.radices)
            for value in range(radix)
        ]
        return [one for one in dict.fromkeys(around) if one != found]

    def key(self, found: Transformer) -> str:
        return sha256(to_json(found).encode()).hexdigest()[:LETTERS]

    def _has_heads(self, block: Block, width: int) -> bool:
        """Whether its heads are one of the choices."""
        return block.attention == "tokens" and any(width % heads == 0 for heads in self.heads)

    def sample(self, rng: np.random.Generator) -> Transformer:
        width, depth = _one(rng, self.widths), _one(rng, self.depths)
        return Transformer(width=width, blocks=tuple(self._block(rng, width) for _ in range(depth)))

    def mutate(self, found: Transformer, rng: np.random.Generator) -> Transformer:
        width, depth = found.width, len(found.blocks)
        if rng.random() < OF_THE_SHAPE:
            width = _one(rng, self.widths)
        if rng.random() < OF_THE_SHAPE:
            depth = _one(rng, self.depths)
        blocks = [self._block(rng, width, found.blocks[i] if i < len(found.blocks) else None) for i in range(depth)]
        return Transformer(width=width, blocks=tuple(blocks))

    def cross(self, one: Transformer, two: Transformer, rng: np.random.Generator) -> Transformer:
        """Width of one parent, depth of one, each block of one that has it; heads that do not divide are drawn anew."""
        width = (one, two)[rng.integers(2)].width
        depth = len((one, two)[rng.integers(2)].blocks)
        blocks = []
        for i in range(depth):
            parents = [p.blocks[i] for p in (one, two) if i < len(p.blocks)]
            block = parents[rng.integers(len(parents))]
            if width % block.heads:
                block = replace(block, heads=self._heads(rng, width))
            blocks.append(block)
        return Transformer(width=width, blocks=tuple(blocks))

    def _block(self, rng: np.random.Generator, width: int, before: Block | None = None) -> Block:
        """A new one, or that before with a few choices drawn anew."""

        def gene(old: Any, choices: Sequence[Any]) -> Any:
            new = _one(rng, choices)
            return new if before is None or rng.random() < OF_A_GENE else old

        attention = gene(before and before.attention, self.kinds)
        ratio = gene(before and before.ratio, self.ratios)
        allowed = self._allowed(width) if attention == "tokens" else (1,)
        heads = gene(before and before.heads, allowed)
        return Block(attention=attention, heads=heads if heads in allowed else _one(rng, allowed), ratio=ratio)

    def _heads(self, rng: np.random.Generator, width: int) -> int:
        return int(_one(rng, self._allowed(width)))

    def _allowed(self, width: int) -> tuple[int, ...]:
        """One where none of the choices divides the width."""
        return tuple(h for h in self.heads if width % h == 0) or (1,)


def _place(choices: Sequence[Any], value: Any) -> int:
    """-1 where it is none of them."""
    return choices.index(value) if value in choices else -1


def _one(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]
