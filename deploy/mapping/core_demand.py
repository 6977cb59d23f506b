"""A population on its way to the cores: what any box of it would take of a core, and what a core allows."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import prod

import numpy as np

from ...errors import UnsupportedError
from ...export.graph import Shape
from ..synapses import Box
from .capacity import Chip
from .memory import Memory
from .wiring import Integers, Span, Wiring, box_neurons

MemoryRule = Callable[[Sequence[Wiring], Box], Memory]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is taken of a core."""

    neurons: int
    in_axons: int
    out_axons: int
    memory_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a box needs that does not depend on other boxes; memory_bits with a core for itself."""

    in_axons: int
    memory: Memory
    memory_bits: int


QUANTITIES = tuple(field.name for field in fields(Load))

# quantity of a Load -> the limits of a chip that bound it, where the chip has them
LIMITS: dict[str, tuple[str, ...]] = {
    "neurons": ("neurons_per_core", "lif_neurons_per_core"),
    "in_axons": ("in_axons_per_core",),
    "out_axons": ("out_axons_per_core",),
    "memory_bits": ("synapse_bits_per_core",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The most that one quantity of a core may be; infinite where the chip's file has no such limit."""

    limit: str  # its name in the chip's file
    value: float


class TooLargeError(UnsupportedError):
    """A population that no cut brings onto the chip's cores."""

    def __init__(self, population: str, limit: str, needed: int, allowed: float, why: str) -> None:
        super().__init__(
            f"Population '{population}': {why} needs {needed:,} of {limit}, but a core has {allowed:,.0f}; "
            "make its sources narrower, or take another chip."
        )
        self.population, self.limit, self.needed, self.allowed, self.why = population, limit, needed, allowed, why


def allowances(chip: Chip) -> dict[str, Allowed]:
    """Quantity -> the smallest limit that bounds it."""
    return {
        quantity: min((Allowed(limit=name, value=chip.allows(name)) for name in names), key=lambda a: a.value)
        for quantity, names in LIMITS.items()
    }


def fraction(load: Load, allowed: Mapping[str, Allowed]) -> dict[str, float]:
    """Quantity -> used share of what is allowed; over 1 does not fit."""
    return {quantity: getattr(load, quantity) / allowed[quantity].value for quantity in QUANTITIES}


def fits(load: Load, allowed: Mapping[str, Allowed]) -> bool:
    return all(getattr(load, quantity) <= allowed[quantity].value for quantity in QUANTITIES)


def boxes_of(axes: Sequence[Sequence[Span]]) -> list[Box]:
    """All boxes of a cut, which is given as its spans along each axis; in C-order."""
    return list(product(*axes))


class Site:
    """One population, or one input on the chip, before it is cut.

    fans [*shape]: for each neuron the cores, already known, that hold a target of it. What a box needs is computed once
    for all boxes of the same class.
    """

    def __init__(
        self, name: str, shape: Shape, wirings: Sequence[Wiring], fans: Integers, chip: Chip, rule: MemoryRule
    ) -> None:
        self.name, self.shape, self.wirings, self.fans, self.rule = name, shape, wirings, fans, rule
        self.allowed = allowances(chip)
        self.recurrent = [wiring for wiring in wirings if wiring.source == name]
        self._of_class: dict[Hashable, Needs] = {}
        self._of_box: dict[Box, Needs] = {}

    def needs(self, box: Box) -> Needs:
        """What the box needs of a core that it has for itself."""
        if box not in self._of_box:
            key = (box_neurons(box), *(wiring.class_of(box) for wiring in self.wirings))
            if key not in self._of_class:
                memory = self.rule(self.wirings, box)
                self._of_class[key] = Needs(
                    in_axons=self.in_axons(box), memory=memory, memory_bits=memory.bits(box_neurons(box))
                )
            self._of_box[box] = self._of_class[key]
        return self._of_box[box]

    def out_axons(self, axes: Sequence[Sequence[Span]]) -> Integers:
        """[pieces along each axis]: the out-axons of every box of a cut, each box on a core of its own."""
        fans = self.fans
        for wiring in self.recurrent:
            fans = fans + np.sum([wiring.reaches(box) for box in boxes_of(axes)], axis=0)
        for axis, spans in enumerate(axes):
            fans = np.add.reduceat(fans, [start for start, _ in spans], axis=axis)
        return fans

    def load(self, box: Box, out_axons: int) -> Load:
        """What a box takes of a core that it has for itself."""
        needs = self.needs(box)
        return Load(
            neurons=box_neurons(box), in_axons=needs.in_axons, out_axons=out_axons, memory_bits=needs.memory_bits
        )

    def fits(self, axes: Sequence[Sequence[Span]]) -> bool:
        """Does every box of the cut fit on a core?"""
        boxes, out_axons = boxes_of(axes), self.out_axons(axes).ravel()
        if out_axons.max() > self.allowed["out_axons"].value:
            return False
        return all(fits(self.load(boxes[i], int(out_axons[i])), self.allowed) for i in _middle_first(axes))

    def too_large(self, axes: Sequence[Sequence[Span]], why: str) -> TooLargeError:
        """The error for a cut that does not fit: its first box that does not, and the limit it exceeds most."""
        boxes, out_axons = boxes_of(axes), self.out_axons(axes).ravel()
        for i in _middle_first(axes):
            load = self.load(boxes[i], int(out_axons[i]))
            if not fits(load, self.allowed):
                used = fraction(load, self.allowed)
                worst = max(used, key=used.__getitem__)
                allowed = self.allowed[worst]
                return TooLargeError(self.name, allowed.limit, getattr(load, worst), allowed.value, why)
        raise ValueError("too_large takes a cut that does not fit")

    def in_axons(self, box: Box) -> int:
        """One for each source pixel with a synapse onto the box, of each source."""
        by_source: dict[str, list[Wiring]] = {}
        for wiring in self.wirings:
            by_source.setdefault(wiring.source, []).append(wiring)
        return sum(
            wirings[0].in_axons(box)
            if len(wirings) == 1
            else int(np.count_nonzero(np.any([wiring.pixels(box) for wiring in wirings], axis=0)))
            for wirings in by_source.values()
        )


def _middle_first(axes: Sequence[Sequence[Span]]) -> list[int]:
    """Indices of the boxes of a cut, that of the one in the middle first: it reads most."""
    sizes = [len(spans) for spans in axes]
    middle = int(np.ravel_multi_index([size // 2 for size in sizes], sizes))
    return [middle, *range(middle), *range(middle + 1, prod(sizes))]
