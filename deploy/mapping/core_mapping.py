"""Populations -> cores: which part of the network lies where, and what it takes of its core.

A core holds neurons of one level of the graph only, for a level is one layer with one set of registers. The levels are
mapped from the last to the first, because a population's out-axons count the cores that hold its targets: it is cut
into boxes (`boxes.py`), and each box goes to the first core of its level where it fits together with what is there.
Cores are then numbered from the first level to the last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from ...errors import UnsupportedError
from ...export.graph import Shape, SpikingGraph
from ...export.passes.relays import levels
from ..synapses import Box
from .boxes import Axes, fewest_boxes, powers_of_two
from .capacity import CORES_PER_TILE, Chip, find_chip
from .core_demand import QUANTITIES, Load, MemoryRule, Site, TooLargeError, allowances, boxes_of, fraction
from .cores import Core, LevelCores, Part
from .memory import loihi1_memory, loihi2_memory
from .wiring import WEIGHT_BITS, Integers, wiring_of

TILES_PER_COLUMN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A box of a population on a core; the pieces of a core add up to what is taken of it.

    in_axons: source pixels that this piece reads and no piece before it on its core. out_axons: over its neurons, the
    cores that hold a target. memory_bits: with the index of as many bits as the core's neurons need.
    """

    core: int  # 0, 1, ... counted over all chips
    population: str  # a population, or an input that is on the chip
    box: Box  # [start, stop) per axis of the population's shape: (C, H, W) or (N,)
    neurons: int
    in_axons: int
    out_axons: int
    memory_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMapping:
    """The pieces of a network on the cores of one or more chips; pieces are in the order of their cores."""

    chip: Chip
    pieces: tuple[Piece, ...]

    @property
    def cores(self) -> int:
        """Cores that hold neurons."""
        return len({piece.core for piece in self.pieces})

    @property
    def chips(self) -> int:
        return len({self.tile_of(piece.core)[0] for piece in self.pieces})

    @property
    def tiles(self) -> int:
        return len({self.tile_of(piece.core) for piece in self.pieces})

    @property
    def columns(self) -> int:
        """Columns of tiles on a chip, along x."""
        return -(-self.cores_per_chip // (CORES_PER_TILE * TILES_PER_COLUMN))

    @property
    def cores_per_chip(self) -> int:
        return self.chip.limits["cores"].value

    @property
    def cores_per_tile(self) -> int:
        return CORES_PER_TILE

    def tile_of(self, core: int) -> tuple[int, int, int]:
        """(chip, x, y) of the tile that holds the core."""
        chip, place = divmod(core, self.cores_per_chip)
        return (chip, *divmod(place // CORES_PER_TILE, TILES_PER_COLUMN))

    def use(self, piece: Piece) -> dict[str, float]:
        """Share of each limited quantity of its core that the piece takes: neurons, in_axons, out_axons, memory."""
        load = Load(**{quantity: getattr(piece, quantity) for quantity in QUANTITIES})
        limited = {quantity for quantity, allowed in allowances(self.chip).items() if allowed.value < inf}
        shares = fraction(load, allowances(self.chip))
        return {quantity.removesuffix("_bits"): share for quantity, share in shares.items() if quantity in limited}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a chip's tool chain maps. mixes: may two boxes of one population share a core?"""

    cut: Callable[[Site], Axes]
    memory: MemoryRule
    mixes: bool


RULES: dict[str, Rule] = {
    "loihi1": Rule(cut=fewest_boxes, memory=loihi1_memory, mixes=True),
    "loihi2": Rule(cut=powers_of_two, memory=loihi2_memory, mixes=False),  # as Intel's mapping of PilotNet shows
}


def map_graph(graph: SpikingGraph, chip: Chip | str, *, on_chip_inputs: frozenset[str] = frozenset()) -> CoreMapping:
    """Map a graph to the cores of as many chips as it takes. chip: one that `find_chip` gives, its name or its file.

    on_chip_inputs: inputs whose neurons lie on the chip; they are mapped like populations without synapses. The spikes
    of the other inputs come from the host.

    Raises UnsupportedError for a chip whose rule says nothing about cores, for weights that a synapse cannot hold, and,
    as TooLargeError, for the first population that no cut brings onto the cores.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak=1.0)
    >>> spikeport.map_graph(graph, "loihi1").chips
    1
    """
    chip = find_chip(chip) if isinstance(chip, str) else chip
    if chip.rule not in RULES:
        raise UnsupportedError(
            f"What lies on which core of {chip.title} is not known, only its totals; compare those with `spikeport fit "
            f"--chip {chip.name}`, or map to a chip with the rule {' or '.join(RULES)}."
        )
    return _Mapper(graph, chip, on_chip_inputs).run()


class _Mapper:
    """level -> its cores, filled from the last level to the first."""

    def __init__(self, graph: SpikingGraph, chip: Chip, on_chip_inputs: frozenset[str]) -> None:
        self.graph, self.chip, self.rule, self.level = graph, chip, RULES[chip.rule], levels(graph)
        host = {node.name for node in graph.inputs} - on_chip_inputs
        self.shapes = {name: shape for name, shape in graph.shapes().items() if name not in host}
        most_bits = int(min(chip.allows("weight_bits"), WEIGHT_BITS[-1]))
        self.wirings = {name: [wiring_of(p, graph, most_bits) for p in graph.incoming(name)] for name in self.shapes}
        self.cores = {
            number: LevelCores(allowances(chip), mixes=self.rule.mixes)
            for number in sorted({self.level[name] for name in self.shapes})
        }
        self.fans: dict[str, Integers] = {}
        self.refused: list[TooLargeError] = []

    def run(self) -> CoreMapping:
        for number in reversed(self.cores):
            for name, shape in self.shapes.items():
                if self.level[name] == number:
                    self._place(name, shape, self.cores[number])
        if self.refused:
            raise min(self.refused, key=lambda error: self.level[error.population])
        pieces: list[Piece] = []
        for number, core in enumerate(core for level in self.cores.values() for core in level.cores):
            pieces += self._pieces(number, core)
        return CoreMapping(chip=self.chip, pieces=tuple(pieces))

    def _place(self, name: str, shape: Shape, here: LevelCores) -> None:
        later = {self.level[projection.target] for projection in self.graph.outgoing(name)} - {self.level[name]}
        self.fans[name] = sum((_reached(name, shape, self.cores[number]) for number in later), np.zeros(shape, int))
        site = Site(name, shape, self.wirings[name], self.fans[name], self.chip, self.rule.memory)
        try:
            axes = self.rule.cut(site)
        except TooLargeError as error:
            self.refused.append(error)
            return
        for box, out_axons in zip(boxes_of(axes), site.out_axons(axes).ravel().tolist(), strict=True):
            here.place(Part(site, box, out_axons))
        if site.recurrent:  # only now it is known which of its boxes share a core
            self.fans[name] = self.fans[name] + _reached(name, shape, here)

    def _pieces(self, number: int, core: Core) -> list[Piece]:
        return [
            Piece(
                core=number,
                population=part.site.name,
                box=part.box,
                neurons=part.load.neurons,
                in_axons=in_axons,
                out_axons=int(self.fans[part.site.name][tuple(slice(*span) for span in part.box)].sum()),
                memory_bits=part.memory.bits(core.load.neurons),
            )
            for part, in_axons in zip(core.parts, core.new_axons(), strict=True)
        ]


def _reached(name: str, shape: Shape, level: LevelCores) -> Integers:
    """[*shape]: for each neuron of that name, how many cores of the level hold a target of it."""
    number = np.zeros(shape, np.int64)
    for core in level.cores:
        readers = [(part.box, wiring) for part in core.parts for wiring in part.site.wirings if wiring.source == name]
        if len(readers) == 1:
            window, reached = readers[0][1].reaches_within(readers[0][0])
            number[window] += reached
        elif readers:
            number += np.any([wiring.reaches(box) for box, wiring in readers], axis=0)
    return number
