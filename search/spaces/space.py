"""What a strategy must know of a space: draw, change, cross, name a candidate; and a space whose candidates are codes.

A code is a tuple of whole numbers, the i-th in 0 .. radices[i] - 1, and every such tuple is a legal candidate. That is
enough for every population method: none of our variables depends on another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from ...errors import InputError

G = TypeVar("G")  # a candidate: a genotype, or what stands for one in a test
Code = tuple[int, ...]


class Space(Protocol[G]):
    """Everything that draws takes its random numbers as an argument."""

    @property
    def name(self) -> str: ...

    @property
    def radices(self) -> Code: ...

    def sample(self, rng: np.random.Generator) -> G: ...

    def mutate(self, candidate: G, rng: np.random.Generator) -> G:
        """One of its neighbours."""
        ...

    def cross(self, one: G, other: G, rng: np.random.Generator) -> G: ...

    def neighbours(self, candidate: G) -> list[G]:
        """All that differ in one number of the code, in a fixed order."""
        ...

    def encode(self, candidate: G) -> Code: ...

    def decode(self, code: Sequence[int]) -> G: ...

    def key(self, candidate: G) -> str:
        """The same for candidates that are the same network."""
        ...

    @property
    def motifs(self) -> tuple[Code, ...]:
        """Places of the code that belong together, as those of a node."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedSpace(Generic[G]):
    """A space by its code. decoder and encoder: each other's inverse; namer: candidate -> key; parts: see `motifs`."""

    name: str
    radices: Code
    decoder: Callable[[Code], G]
    encoder: Callable[[G], Code]
    namer: Callable[[G], str]
    parts: tuple[Code, ...] = ()

    @property
    def motifs(self) -> tuple[Code, ...]:
        """Where nobody says which, each place by itself."""
        return self.parts or tuple((place,) for place in range(len(self.radices)))

    def sample(self, rng: np.random.Generator) -> G:
        """Uniform over codes."""
        return self.decode(rng.integers(self.radices).tolist())

    def mutate(self, candidate: G, rng: np.random.Generator) -> G:
        """One number of the code, drawn uniformly from those that can change, becomes another, drawn uniformly."""
        code = list(self.encode(candidate))
        free = [place for place, radix in enumerate(self.radices) if radix > 1]
        place = free[int(rng.integers(len(free)))]
        code[place] = (code[place] + 1 + int(rng.integers(self.radices[place] - 1))) % self.radices[place]
        return self.decode(code)

    def cross(self, one: G, other: G, rng: np.random.Generator) -> G:
        """Each number of the code from either, with even chances."""
        pairs = zip(self.encode(one), self.encode(other), rng.random(len(self.radices)) < 0.5, strict=True)
        return self.decode([theirs if swap else ours for ours, theirs, swap in pairs])

    def neighbours(self, candidate: G) -> list[G]:
        code = self.encode(candidate)
        return [
            self.decode((*code[:place], value, *code[place + 1 :]))
            for place, radix in enumerate(self.radices)
            for value in range(radix)
            if value != code[place]
        ]

    def encode(self, candidate: G) -> Code:
        """Raises InputError for a candidate of another space."""
        return self.encoder(candidate)

    def decode(self, code: Sequence[int]) -> G:
        """Raises InputError for a code of another space."""
        if len(code) != len(self.radices) or not all(
            0 <= value < radix for value, radix in zip(code, self.radices, strict=True)
        ):
            raise InputError(
                f"A code of the space {self.name} must have {len(self.radices)} numbers below {self.radices}, "
                f"but is {tuple(code)}."
            )
        return self.decoder(tuple(map(int, code)))

    def key(self, candidate: G) -> str:
        return self.namer(candidate)
