"""One form for all genotypes that are the same network but for the names of their nodes.

A node's name is its place 0..3. Two nodes of which neither reads the other, directly or through others, may change
places; the cell's output is the concatenation of all nodes, so only the order of its channels changes, and a trained
network undoes that in the weights that read them. The form is the least, as tuples of (source, primitive) node by node,
of all orders of the four nodes in which each reads earlier ones.
"""

from dataclasses import replace
from itertools import permutations

from ..space.genotype import INPUTS, NODES, Edge, Genotype

Node = tuple[tuple[int, str], ...]  # (source, primitive) of its edges, sorted


def canonical(genotype: Genotype) -> Genotype:
    """The genotype with its nodes in canonical order, and its path as it was."""
    return replace(genotype, normal=_canonical(genotype.normal), reduce=_canonical(genotype.reduce))


def orders(edges: tuple[Edge, ...]) -> list[tuple[int, ...]]:
    """All orders of the nodes in which each stands behind those that it reads; the first is the given one."""
    before = {(edge.source - INPUTS, edge.node) for edge in edges if edge.source >= INPUTS}
    return [
        order
        for order in permutations(range(NODES))
        if all(order.index(first) < order.index(then) for first, then in before)
    ]


def reordered(edges: tuple[Edge, ...], order: tuple[int, ...]) -> tuple[Edge, ...]:
    """The same cell with its nodes in another order, as `orders` gives them: order[i] is the old name of node i."""
    return tuple(
        Edge(node, source, primitive)
        for node, incoming in enumerate(_nodes(edges, order))
        for source, primitive in incoming
    )


def _canonical(edges: tuple[Edge, ...]) -> tuple[Edge, ...]:
    return reordered(edges, min(orders(edges), key=lambda order: _nodes(edges, order)))


def _nodes(edges: tuple[Edge, ...], order: tuple[int, ...]) -> tuple[Node, ...]:
    place = {source: source for source in range(INPUTS)} | {INPUTS + old: INPUTS + new for new, old in enumerate(order)}
    return tuple(
        tuple(sorted((place[edge.source], edge.primitive) for edge in edges if edge.node == old)) for old in order
    )
