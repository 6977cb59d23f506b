"""The spaces of genotypes: whole primitive sets, and the closed one.

The code of a genotype has for each cell, the normal one first, for each node: which pair of sources it reads (node 1
has one, and no number), then the primitives of both edges. That are 22 numbers.
"""

from collections.abc import Callable, Mapping
from itertools import combinations

from ...errors import InputError
from ..settings.network import NetworkSettings, PrimitiveSet
from ..space.genotype import CELL_KINDS, INPUTS, NODES, Edge, Genotype, Layer
from ..space.legality import legality_of
from ..space.primitives import spiking_primitives
from .canonical import key_of
from .closed import PAIRS, PRIMITIVES, closed_cell
from .space import Code, CodedSpace

SOURCES = tuple(tuple(combinations(range(node + INPUTS), 2)) for node in range(NODES))


def genotype_space(
    primitives: PrimitiveSet, layers: tuple[Layer, ...] | None = None, allowed: frozenset[str] | None = None
) -> CodedSpace[Genotype]:
    """All cells of a primitive set on one path. allowed: the primitives that may be drawn, None for all."""
    names = tuple(name for name in spiking_primitives(primitives) if allowed is None or name in allowed)
    of_a_cell = tuple(
        radix for node in range(NODES) for radix in (*([len(SOURCES[node])] * (node > 0)), len(names), len(names))
    )

    def decode(code: Code) -> Genotype:
        half = len(code) // 2
        normal, reduce = (_cell(part, names) for part in (code[:half], code[half:]))
        return Genotype(primitives, normal, reduce, layers)

    def encode(genotype: Genotype) -> Code:
        if genotype.primitives != primitives or genotype.layers != layers:
            raise InputError(
                f"A genotype of this space must have the primitives {primitives} and the path {layers}, but has "
                f"{genotype.primitives} and {genotype.layers}."
            )
        return tuple(number for kind in CELL_KINDS for number in _code(genotype.cell(kind), names))

    return CodedSpace(
        name=primitives,
        radices=of_a_cell * len(CELL_KINDS),
        decoder=decode,
        encoder=encode,
        namer=key_of,
        parts=_motifs(len(of_a_cell)),
    )


def _motifs(numbers: int) -> tuple[Code, ...]:
    """The places of each node, in both cells of so many numbers."""
    nodes = [(0, 1), *((2 + 3 * node, 3 + 3 * node, 4 + 3 * node) for node in range(NODES - 1))]
    return tuple(tuple(start + place for place in node) for start in (0, numbers) for node in nodes)


def _cell(code: Code, names: tuple[str, ...]) -> tuple[Edge, ...]:
    left, edges = list(code), list[Edge]()
    for node in range(NODES):
        pair = SOURCES[node][left.pop(0) if node else 0]
        edges += [Edge(node, source, names[left.pop(0)]) for source in pair]
    return tuple(edges)


def _code(cell: tuple[Edge, ...], names: tuple[str, ...]) -> list[int]:
    code = []
    for node in range(NODES):
        edges = sorted((edge for edge in cell if edge.node == node), key=lambda edge: edge.source)
        pair = tuple(edge.source for edge in edges)
        if pair not in SOURCES[node] or any(edge.primitive not in names for edge in edges):
            raise InputError(
                f"A node of this space must read two sources by {', '.join(names)}, but node {node} reads "
                f"{', '.join(f'{edge.source} by {edge.primitive}' for edge in edges)}."
            )
        code += [SOURCES[node].index(pair)] * (node > 0) + [names.index(edge.primitive) for edge in edges]
    return code


def _closed_decode(code: Code) -> Genotype:
    a, b, c, d = (PRIMITIVES[number] for number in code[1:])
    return closed_cell(code[0], (a, b, c, d))


def _closed_encode(genotype: Genotype) -> Code:
    pair = tuple(edge.source for edge in genotype.incoming("normal", 1))
    names = [edge.primitive for node in (0, 1) for edge in genotype.incoming("normal", node)]
    known = pair in PAIRS and all(name in PRIMITIVES for name in names)
    code = (PAIRS.index(pair), *(PRIMITIVES.index(name) for name in names)) if known else ()
    if not code or _closed_decode(code) != genotype:
        raise InputError("A genotype of the closed space must be one of its 768 cells, but this one is not.")
    return code


CLOSED: CodedSpace[Genotype] = CodedSpace(
    name="closed",
    radices=(len(PAIRS), *[len(PRIMITIVES)] * 4),
    decoder=_closed_decode,
    encoder=_closed_encode,
    namer=key_of,
    parts=((1, 2), (0, 3, 4)),
)

# name -> the space, in a network of these settings
SPACES: Mapping[str, Callable[[NetworkSettings], CodedSpace[Genotype]]] = {
    "closed": lambda settings: CLOSED,
    "plain": lambda settings: genotype_space("plain", allowed=legality_of(settings.for_target).primitives),
    "darts": lambda settings: genotype_space("darts", allowed=legality_of(settings.for_target).primitives),
}
