"""Which genotypes are the same network: those that differ in the numbers of their nodes and the order of their edges.

A node may have any number that is above those of its sources, and the cell's output is the nodes side by side, so that
another order only permutes channels of a network that is not trained yet. The canonical form of a cell is the least of
all its renumberings: its sorted edges, then what its nodes have of their own (gates, decays) in the new order. The key
is a hash of that of all cells, the primitive set and the path.
"""

import json
from dataclasses import replace
from hashlib import sha256
from itertools import permutations
from typing import Any

from ..space.genotype import CELL_KINDS, INPUTS, NODES, Edge, Genotype

LETTERS = 12  # of a key, in hex: two of a million cells share one with a chance of 2e-3

Edges = tuple[tuple[int, int, str], ...]  # (node, source, primitive), sorted
Marks = tuple[tuple[Any, ...], ...]  # of each node what it has of its own
Cell = tuple[Edges, Marks]


def canonical_cell(edges: tuple[Edge, ...], marks: Marks = ()) -> Cell:
    """The least of all renumberings of the nodes. marks: in the order of the nodes, or none."""
    return min(filter(None, (_renumbered(edges, marks, order) for order in permutations(range(NODES)))))


def _renumbered(edges: tuple[Edge, ...], marks: Marks, number: tuple[int, ...]) -> Cell | None:
    """With number[j] for node j; None where a node would come before one of its sources."""
    found = []
    for edge in edges:
        node, source = number[edge.node], edge.source
        if source >= INPUTS:
            if number[source - INPUTS] >= node:
                return None
            source = INPUTS + number[source - INPUTS]
        found.append((node, source, edge.primitive))
    moved = [mark for _, mark in sorted(zip(number, marks, strict=True))] if marks else []
    return tuple(sorted(found)), tuple(moved)


def _cells(genotype: Genotype) -> list[Cell]:
    """Canonical: the normal and the reduction cell, or that of every layer."""
    cells = genotype.cells or (genotype.normal, genotype.reduce)
    columns = [rows for rows in (genotype.gates, genotype.decays) if rows is not None]
    return [
        canonical_cell(cell, tuple(zip(*(rows[place] for rows in columns), strict=True)) if columns else ())
        for place, cell in enumerate(cells)
    ]


def canonical(genotype: Genotype) -> Genotype:
    """The genotype that stands for all that are the same network."""
    found = _cells(genotype)
    cells = [tuple(Edge(*edge) for edge in edges) for edges, _ in found]
    columns = iter(range(len(found[0][1][0]) if found[0][1] else 0))
    more: dict[str, Any] = {}
    for name in ("gates", "decays"):
        if getattr(genotype, name) is not None:
            column = next(columns)
            more[name] = tuple(tuple(mark[column] for mark in marks) for _, marks in found)
    if genotype.cells is None:
        return replace(genotype, normal=cells[0], reduce=cells[1], **more)
    of_kind = {
        name: genotype.cells.index(getattr(genotype, name))
        for name in CELL_KINDS
        if getattr(genotype, name) in genotype.cells
    }
    own: dict[str, Any] = {name: cells[place] for name, place in of_kind.items()}
    return replace(genotype, cells=tuple(cells), **own, **more)


def key_of(genotype: Genotype) -> str:
    """Equal for genotypes that are the same network, and for no others."""
    found = _cells(genotype)
    path = None if genotype.layers is None else [[layer.kind, layer.width] for layer in genotype.layers]
    parts: list[Any] = [genotype.primitives, *(edges for edges, _ in found), path]
    own = {"cells": genotype.cells, "gates": genotype.gates, "decays": genotype.decays}
    said = [name for name, value in own.items() if value is not None]
    if said:
        parts += [said, [marks for _, marks in found]]
    return sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:LETTERS]
