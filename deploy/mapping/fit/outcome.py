"""What comes of putting a network on so many chips: what it takes, level by level, and what breaks first."""

from collections.abc import Mapping
from dataclasses import dataclass

from ....export.graph import SpikingGraph
from ....export.passes.relays import levels
from ..core_mapping import CoreMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The first thing that does not fit."""

    layer: int  # level of the graph; 1 is the first behind the inputs
    population: str
    limit: str  # its name in the chip's file
    needed: int
    allowed: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFit:
    """One level. use: the share of its limit that the fullest core uses; of a total, the share this level takes."""

    layer: int
    populations: tuple[str, ...]
    neurons: int
    cores: int | None  # None: not mapped
    limit: str | None  # the one that is used most; None: not mapped
    use: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """cores, chips: how many the network takes, None where that is not known or no number would do."""

    cores: int | None
    chips: int | None
    first_break: Break | None
    layers: tuple[LayerFit, ...]
    mapping: CoreMapping | None = None


def by_level(graph: SpikingGraph, on_chip_inputs: frozenset[str] = frozenset()) -> Mapping[int, tuple[str, ...]]:
    """level -> what lies on it, in the order of the graph; inputs on the chip are level 0."""
    level = levels(graph)
    host = {node.name for node in graph.inputs} - on_chip_inputs
    names = [name for name in graph.shapes() if name not in host]
    return {number: tuple(n for n in names if level[n] == number) for number in sorted({level[n] for n in names})}
