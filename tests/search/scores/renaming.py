"""The same cells with their nodes in another order."""

from itertools import permutations
from operator import attrgetter

from spikeport.search.space.genotype import INPUTS, NODES, Edge

PLACE = attrgetter("node", "source")


def renamings(cell: tuple[Edge, ...]) -> list[tuple[Edge, ...]]:
    """The cell under every order of its nodes in which each stands behind its sources; the first is as it was."""
    numbers = [(*range(INPUTS), *(INPUTS + place for place in order)) for order in permutations(range(NODES))]
    moved = [
        tuple(sorted((Edge(n[INPUTS + e.node] - INPUTS, n[e.source], e.primitive) for e in cell), key=PLACE))
        for n in numbers
    ]
    return [edges for edges in moved if all(edge.source < INPUTS + edge.node for edge in edges)]
