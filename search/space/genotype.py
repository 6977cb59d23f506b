"""Genotype: what a search finds. Two cells, each with four nodes, each node with two incoming edges; and their path.

In a cell, source 0 and 1 are the cell's inputs s0 and s1, and source j + 2 is node j. The path says of every cell of
the network which of the two it is and how wide; without one, the layout is the usual one (layout.py).

What else a genotype can say is optional; a file without it says what it always said:

    gates    which nodes have spike gates (spike_gates.py): rows of four, true or false, of the normal and of the
             reduction cell; without it all nodes of a network with `--attention spike` have them
"""

import json
import math
import sys
from collections.abc import Callable, Mapping
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
    gates: tuple[tuple[bool, ...], ...] | None = None  # of every node; None: the network's attention says it

    def __post_init__(self) -> None:
        primitive_set(self.primitives)
        if self.layers == ():
            raise InputError("A path must have at least one layer, but `layers` is empty; leave the key out.")
        for kind in CELL_KINDS:
            edges = self.cell(kind)
            for edge in edges:
                _check_edge(kind, edge, spiking_primitives(self.primitives))
            for node in range(NODES):
                found = sum(edge.node == node for edge in edges)
                if found != EDGES_PER_NODE:
                    raise InputError(
                        f"Every node must have {EDGES_PER_NODE} incoming edges, "
                        f"but node {node} of the {kind} cell has {found}."
                    )
        _check_rows("gates", self.gates, len(CELL_KINDS))

    def cell(self, kind: CellKind) -> tuple[Edge, ...]:
        cells: dict[CellKind, tuple[Edge, ...]] = {"normal": self.normal, "reduce": self.reduce}
        return cells[kind]

    def incoming(self, kind: CellKind, node: int) -> tuple[Edge, ...]:
        return tuple(edge for edge in self.cell(kind) if edge.node == node)

    def gated(self, kind: CellKind, node: int) -> bool | None:
        """Whether a node has spike gates; None: the genotype does not say."""
        return None if self.gates is None else self.gates[CELL_KINDS.index(kind)][node]


def _check_rows(name: str, rows: tuple[tuple[Any, ...], ...] | None, cells: int) -> None:
    if rows is not None and (len(rows) != cells or any(len(row) != NODES for row in rows)):
        raise InputError(
            f"`{name}` of a genotype must have {cells} rows, one for each cell, of {NODES} values, one for each node, "
            f"but it has {len(rows)} of {', '.join(str(len(row)) for row in rows) or 'none'}."
        )


def _check_edge(kind: CellKind, edge: Edge, choices: tuple[str, ...]) -> None:
    where = f"in the {kind} cell"
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


def _row_of_gates(data: object) -> tuple[bool, ...]:
    if not isinstance(data, list) or not all(isinstance(gated, bool) for gated in data):
        raise InputError(f"A row of `gates` of a genotype must be a list of true and false, but is {data!r}.")
    return tuple(data)


# key of a genotype that may be missing -> what makes an element of it from parsed JSON
OPTIONAL: Mapping[str, Callable[[Any], Any]] = {"layers": _layer, "gates": _row_of_gates}


def _fields(data: object, types: Mapping[str, type], what: str) -> dict[str, Any]:
    if not isinstance(data, dict) or data.keys() != types.keys():
        found = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise InputError(f"{what} must have exactly the keys {', '.join(types)}, but has {found or 'none'}.")
    for key, wanted in types.items():
        if type(data[key]) not in ((int, float) if wanted is float else (wanted,)):
            raise InputError(f"{what}: '{key}' must be {wanted.__name__}, but is {data[key]!r}.")
    return data


def random_genotype(
    rng: np.random.Generator,
    primitives: PrimitiveSet,
    allowed: frozenset[str] | None = None,
    *,
    gates: bool = False,
) -> Genotype:
    """Two different sources and two primitives (never `none`) for every node, all drawn uniformly from the allowed.

    gates: whether every node draws, too, if it has spike gates.

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

    normal, reduce = cell(), cell()
    drawn = tuple(tuple(row) for row in (rng.random((len(CELL_KINDS), NODES)) < 0.5).tolist()) if gates else None
    return Genotype(primitives, normal=normal, reduce=reduce, gates=drawn)
