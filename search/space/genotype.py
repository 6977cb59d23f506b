"""Genotype: what a search finds. Two cells, each with four nodes, each node with two incoming edges; and their path.

In a cell, source 0 and 1 are the cell's inputs s0 and s1, and source j + 2 is node j. The path says of every cell of
the network which of the two it is and how wide; without one, the layout is the usual one (layout.py).

What else a genotype can say is optional; a file without it says what it always said:

    cells    of every layer of the path a cell of its own (D-DARTS, arXiv 2108.09306), in networks of this depth;
             `normal` and `reduce` are then those of the first layer of their kind
    gates    which nodes have spike gates (spike_gates.py): rows of four, true or false, of the normal and of the
             reduction cell, or of every layer's; without it all nodes of a network with `--attention spike` have them
    decays   by what the membranes of a node are multiplied in every step, rows of four of DECAYS as those of `gates`;
             without it by 1/2, as those of all other neurons
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ...errors import InputError
from ...files import read_text
from ..settings.network import PrimitiveSet, primitive_set
from .primitives import spiking_primitives

CellKind = Literal["normal", "reduce"]
CELL_KINDS: tuple[CellKind, ...] = get_args(CellKind)
NODES = 4
INPUTS = 2
EDGES_PER_NODE = 2
DECAYS = (0.25, 0.5, 0.75, 0.875)  # of a membrane, in a step; all are exact in the chip's twelve bits
USUAL_DECAY = 0.5


@dataclass(frozen=True, slots=True)
class Edge:
    """The primitive that leads from `source` to `node`."""

    node: int  # 0..3
    source: int  # 0..node + 1: the cell's inputs, then the nodes before
    primitive: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One cell of a path. Raises InputError for an unknown kind and a width that is none."""

    kind: CellKind
    width: float  # 0 < width <= 1, of the channels at its place

    def __post_init__(self) -> None:
        if self.kind not in CELL_KINDS:
            raise InputError(f"Unknown kind of cell '{self.kind}' in a path; choose from {', '.join(CELL_KINDS)}.")
        if not 0 < self.width <= 1:
            raise InputError(
                f"`0 < width <= 1` must hold (of the channels at its place), but a layer has width={self.width}."
            )


@dataclass(frozen=True, slots=True)
class Genotype:
    """Both cells and their path. Raises InputError when an edge, the number of edges or the path is wrong."""

    primitives: PrimitiveSet
    normal: tuple[Edge, ...]
    reduce: tuple[Edge, ...]
    layers: tuple[Layer, ...] | None = None  # None: the usual layout, in networks of any depth
    cells: tuple[tuple[Edge, ...], ...] | None = None  # of every layer its own; None: `normal` or `reduce`
    gates: tuple[tuple[bool, ...], ...] | None = None  # of every node; None: the network's attention says it
    decays: tuple[tuple[float, ...], ...] | None = None  # of every node; None: 1/2

    def __post_init__(self) -> None:
        primitive_set(self.primitives)
        if self.layers == ():
            raise InputError("A path must have at least one layer, but `layers` is empty; leave the key out.")
        for where, edges in self._named_cells():
            for edge in edges:
                _check_edge(where, edge, spiking_primitives(self.primitives))
            for node in range(NODES):
                found = sum(edge.node == node for edge in edges)
                if found != EDGES_PER_NODE:
                    raise InputError(
                        f"Every node must have {EDGES_PER_NODE} incoming edges, but node {node} of {where} has {found}."
                    )
        if self.cells is not None and len(self.cells) != (self.depth or 1):
            raise InputError(
                "A genotype with a cell for every layer must have as many cells as its path has layers, but it has "
                f"{len(self.cells)} cells and {self.depth or 'no'} layers."
            )
        for name, rows in (("gates", self.gates), ("decays", self.decays)):
            _check_rows(name, rows, len(self.cells or CELL_KINDS))
        for decay in {decay for row in self.decays or () for decay in row} - {*DECAYS}:
            raise InputError(
                f"The decays of a genotype must be among {', '.join(map(str, DECAYS))}, but one of them is {decay}."
            )

    @property
    def depth(self) -> int | None:
        """Cells of the networks that it is for; None: any number."""
        own = self.layers if self.layers is not None else self.cells
        return None if own is None else len(own)

    def _named_cells(self) -> Iterator[tuple[str, tuple[Edge, ...]]]:
        yield from ((f"the {kind} cell", self.cell(kind)) for kind in CELL_KINDS)
        yield from ((f"the cell of layer {place}", cell) for place, cell in enumerate(self.cells or ()))

    def cell(self, kind: CellKind, place: int | None = None) -> tuple[Edge, ...]:
        """Of a layer, by its place in the path: its own, or that of its kind; without a place that of the kind."""
        if self.cells is not None and place is not None:
            return self.cells[place]
        cells: dict[CellKind, tuple[Edge, ...]] = {"normal": self.normal, "reduce": self.reduce}
        return cells[kind]

    def incoming(self, kind: CellKind, node: int, place: int | None = None) -> tuple[Edge, ...]:
        return tuple(edge for edge in self.cell(kind, place) if edge.node == node)

    def gated(self, kind: CellKind, node: int, place: int) -> bool | None:
        """Whether a node of a layer has spike gates; None: the genotype does not say."""
        return None if self.gates is None else self.gates[self._row(kind, place)][node]

    def decay(self, kind: CellKind, node: int, place: int) -> float:
        """Of the membranes of a node of a layer."""
        return USUAL_DECAY if self.decays is None else self.decays[self._row(kind, place)][node]

    def _row(self, kind: CellKind, place: int) -> int:
        return CELL_KINDS.index(kind) if self.cells is None else place


def _check_rows(name: str, rows: tuple[tuple[Any, ...], ...] | None, cells: int) -> None:
    if rows is not None and (len(rows) != cells or any(len(row) != NODES for row in rows)):
        raise InputError(
            f"`{name}` of a genotype must have {cells} rows, one for each cell, of {NODES} values, one for each node, "
            f"but it has {len(rows)} of {', '.join(str(len(row)) for row in rows) or 'none'}."
        )


def _check_edge(cell: str, edge: Edge, choices: tuple[str, ...]) -> None:
    where = f"in {cell}"
    if not 0 <= edge.node < NODES:
        raise InputError(f"`0 <= node < {NODES}` must hold, but an edge {where} has node={edge.node}.")
    if not 0 <= edge.source <= edge.node + 1:
        raise InputError(
            f"`0 <= source <= node + 1` must hold (a node reads only what comes before it), "
            f"but an edge {where} has node={edge.node}, source={edge.source}."
        )
    if edge.primitive not in choices:
        raise InputError(f"Unknown primitive '{edge.primitive}' {where}; choose from {', '.join(choices)}.")


def to_dict(genotype: Genotype) -> dict[str, Any]:
    """As JSON gives it back; there is no key of what it does not say."""
    return {key: _listed(value) for key, value in asdict(genotype).items() if value is not None}


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, tuple) else value


def to_json(genotype: Genotype) -> str:
    """The genotype as text; equal genotypes give equal bytes."""
    return json.dumps(to_dict(genotype), indent=2) + "\n"


def from_json(text: str) -> Genotype:
    """The inverse of `to_json`. Raises InputError when the text is damaged or the genotype impossible."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"A genotype must be JSON, but line {error.lineno} is not: {error.msg}.") from error
    except (ValueError, RecursionError) as error:  # a number too long, a nesting too deep
        raise InputError(f"A genotype must be JSON, but is not: {error}.") from error
    return from_dict(data)


def from_file(path: Path) -> Genotype:
    """Of a JSON file. Raises InputError that names it."""
    try:
        return from_json(read_text(path))
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error


def from_dict(data: object) -> Genotype:
    """A genotype from parsed JSON. Raises InputError that names the key that is wrong."""
    said = [key for key in OPTIONAL if isinstance(data, dict) and key in data]
    types = {"primitives": str, "normal": list, "reduce": list} | dict.fromkeys(said, list)
    fields = _fields(data, types, "A genotype")
    return Genotype(
        primitives=primitive_set(fields["primitives"]),
        normal=_cell(fields["normal"]),
        reduce=_cell(fields["reduce"]),
        **{key: tuple(OPTIONAL[key](one) for one in fields[key]) for key in said},
    )


def _cell(data: list[Any]) -> tuple[Edge, ...]:
    return tuple(_edge(edge) for edge in data)


def _edge(data: object) -> Edge:
    return Edge(**_fields(data, {"node": int, "source": int, "primitive": str}, "An edge of a genotype"))


def _layer(data: object) -> Layer:
    fields = _fields(data, {"kind": str, "width": float}, "A layer of a genotype")
    width = fields["width"]
    return Layer(fields["kind"], math.inf if width > sys.float_info.max else float(width))


def _own_cell(data: object) -> tuple[Edge, ...]:
    if not isinstance(data, list):
        raise InputError(f"Every cell in `cells` of a genotype must be a list of edges, but one is {data!r}.")
    return _cell(data)


def _row_of_gates(data: object) -> tuple[bool, ...]:
    if not isinstance(data, list) or not all(isinstance(gated, bool) for gated in data):
        raise InputError(f"A row of `gates` of a genotype must be a list of true and false, but is {data!r}.")
    return tuple(data)


def _row_of_decays(data: object) -> tuple[float, ...]:
    if not isinstance(data, list) or not all(type(decay) in (int, float) for decay in data):
        raise InputError(f"A row of `decays` of a genotype must be a list of numbers, but is {data!r}.")
    return tuple(data)


# key of a genotype that may be missing -> what makes an element of it from parsed JSON
OPTIONAL: Mapping[str, Callable[[Any], Any]] = {
    "layers": _layer,
    "cells": _own_cell,
    "gates": _row_of_gates,
    "decays": _row_of_decays,
}


def _fields(data: object, types: Mapping[str, type], what: str) -> dict[str, Any]:
    if not isinstance(data, dict) or data.keys() != types.keys():
        found = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise InputError(f"{what} must have exactly the keys {', '.join(types)}, but has {found or 'none'}.")
    for key, wanted in types.items():
        if type(data[key]) not in ((int, float) if wanted is float else (wanted,)):
            raise InputError(f"{what}: '{key}' must be {wanted.__name__}, but is {data[key]!r}.")
    return data


def genotype_of(
    primitives: PrimitiveSet, cells: Sequence[tuple[Edge, ...]], kinds: Sequence[CellKind] | None = None, **more: Any
) -> Genotype:
    """Of a normal and a reduction cell or, where `kinds` are those of layers, of the cells of these; `more` are the
    other fields."""
    if kinds is None:
        normal, reduce = cells
        return Genotype(primitives, normal, reduce, **more)
    normal, reduce = (cells[kinds.index(kind) if kind in kinds else 0] for kind in CELL_KINDS)
    return Genotype(primitives, normal, reduce, cells=tuple(cells), **more)


def random_genotype(
    rng: np.random.Generator,
    primitives: PrimitiveSet,
    allowed: frozenset[str] | None = None,
    *,
    gates: bool = False,
    decays: bool = False,
    layers: Sequence[CellKind] | None = None,
) -> Genotype:
    """Two different sources and two primitives (never `none`) for every node, all drawn uniformly from the allowed.

    gates, decays: whether every node draws, too, if it has spike gates, and its decay. layers: their kinds, if each is
    to have a cell of its own.

    >>> import numpy
    >>> spikeport.random_genotype(numpy.random.default_rng(0), "plain").primitives
    'plain'
    """
    choices = [name for name in spiking_primitives(primitive_set(primitives)) if allowed is None or name in allowed]

    def cell() -> tuple[Edge, ...]:
        return tuple(
            Edge(node, int(source), choices[rng.integers(len(choices))])
            for node in range(NODES)
            for source in np.sort(rng.choice(node + INPUTS, EDGES_PER_NODE, replace=False))
        )

    drawn = [cell() for _ in (CELL_KINDS if layers is None else layers)]
    rows = tuple(tuple(row) for row in (rng.random((len(drawn), NODES)) < 0.5).tolist()) if gates else None
    leaks = rng.choice(DECAYS, (len(drawn), NODES)).tolist() if decays else None
    more = {"gates": rows, "decays": None if leaks is None else tuple(tuple(row) for row in leaks)}
    return genotype_of(primitives, drawn, layers, **more)
