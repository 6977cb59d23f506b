"""Which genotypes are the same network: those that differ in the numbers of their nodes and the order of their edges.

A node may have any number that is above those of its sources, and the cell's output is the nodes side by side, so that
another order only permutes channels of a network that is not trained yet. The canonical form of a cell is the least,
as a sorted list of edges, of all its renumberings; the key is a hash of that of both cells, the primitive set and the
path.
"""

import json
from hashlib import sha256
from itertools import permutations

from ..space.genotype import CELL_KINDS, INPUTS, NODES, CellKind, Edge, Genotype

LETTERS = 12  # of a key, in hex: two of a million cells share one with a chance of 2e-3

Edges = tuple[tuple[int, int, str], ...]  # (node, source, primitive), sorted


def canonical_cell(edges: tuple[Edge, ...]) -> Edges:
    """The least of all renumberings of the nodes."""
    return min(filter(None, (_renumbered(edges, order) for order in permutations(range(NODES)))))


def _renumbered(edges: tuple[Edge, ...], number: tuple[int, ...]) -> Edges:
    """With number[j] for node j; () where a node would come before one of its sources."""
    found = []
    for edge in edges:
        node, source = number[edge.node], edge.source
        if source >= INPUTS:
            if number[source - INPUTS] >= node:
                return ()
            source = INPUTS + number[source - INPUTS]
        found.append((node, source, edge.primitive))
    return tuple(sorted(found))


def canonical(genotype: Genotype) -> Genotype:
    """The genotype that stands for all that are the same network."""
    cells: dict[CellKind, tuple[Edge, ...]] = {
        kind: tuple(Edge(*edge) for edge in canonical_cell(genotype.cell(kind))) for kind in CELL_KINDS
    }
    return Genotype(genotype.primitives, cells["normal"], cells["reduce"], genotype.layers)


def key_of(genotype: Genotype) -> str:
    """Equal for genotypes that are the same network, and for no others."""
    cells = [canonical_cell(genotype.cell(kind)) for kind in CELL_KINDS]
    path = None if genotype.layers is None else [[layer.kind, layer.width] for layer in genotype.layers]
    text = json.dumps([genotype.primitives, *cells, path], separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:LETTERS]
