"""Which transformers there are, and their neighbours: drawn, changed and crossed as in AutoST (arXiv 2307.00293)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .genotype import Block, Transformer
from .settings import TransformerSettings

OF_A_GENE = 0.2  # chance that a choice of a block is drawn anew
OF_THE_SHAPE = 0.4  # the same of depth and width


class Space:
    """All transformers of these choices. Every draw is of the generator that is given."""

    def __init__(self, settings: TransformerSettings) -> None:
        self.depths, self.widths = settings.numbers("depths"), settings.numbers("widths")
        self.ratios, self.heads, self.kinds = settings.numbers("ratios"), settings.numbers("heads"), settings.kinds

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


def _one(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]
