"""A small space that a table can hold whole: 768 cells of plain primitives, which differ in their normal cell only.

    node 1   reads s0, s1;                       two primitives, free
    node 2   reads two of s0, s1, node 1, free;  two primitives, free
    node 3   reads s1 and node 1;                the primitives of node 1
    node 4   reads s0 and node 2;                the primitives of node 2

    3 pairs of sources * 4 primitives ^ 4 edges = 768

Every node of the reduction cell reads s0 by skip_connect and s1 by conv_3x3. The path is normal, reduce, normal: with
reductions at 1/3 and 2/3 of three cells a single one would be normal.
"""

from functools import cache
from itertools import combinations, product

from ..space.genotype import INPUTS, NODES, Edge, Genotype, Layer
from ..space.primitives import spiking_primitives

PRIMITIVES = spiking_primitives("plain")
PAIRS = tuple(combinations(range(INPUTS + 1), 2))  # sources of node 2
LAYERS = (Layer("normal", 1.0), Layer("reduce", 1.0), Layer("normal", 1.0))
REDUCE = tuple(
    Edge(node, source, primitive)
    for node in range(NODES)
    for source, primitive in ((0, "skip_connect"), (1, "conv_3x3"))
)


@cache
def closed_cell(pair: int, primitives: tuple[str, str, str, str]) -> Genotype:
    """pair: number of PAIRS. primitives: of the edges of node 1 and node 2. Kept: look-ups ask for each often."""
    sources = ((0, 1), PAIRS[pair], (1, INPUTS), (0, INPUTS + 1))
    names = (primitives[:2], primitives[2:]) * 2
    edges = tuple(
        Edge(node, source, name)
        for node in range(NODES)
        for source, name in zip(sources[node], names[node], strict=True)
    )
    return Genotype("plain", edges, REDUCE, LAYERS)


def closed_cells() -> list[Genotype]:
    """All of them, the pair of sources changing slowest."""
    choices = product(PRIMITIVES, repeat=4)
    cells = [(a, b, c, d) for a, b, c, d in choices]
    return [closed_cell(pair, four) for pair in range(len(PAIRS)) for four in cells]
