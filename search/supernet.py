"""The supernet: the cells with every candidate on every edge at once, mixed by the architecture weights alpha.

Two forms of the same search space: `kernel` (kernel_supernet.py) mixes the candidates' kernels, `plain`
(plain_supernet.py) their currents. Here is what both have in common.
"""

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from ..errors import InputError
from .cell import CellBuilder
from .genotype import CELL_KINDS, EDGES_PER_NODE, INPUTS, NODES, CellKind, Edge, Genotype
from .network import NetworkSettings, SpikingBackbone
from .primitives import NONE, PRIMITIVES, PrimitiveSet

SupernetForm = Literal["kernel", "plain"]

EDGES: tuple[tuple[int, int], ...] = tuple((node, source) for node in range(NODES) for source in range(node + INPUTS))
SOURCES = INPUTS + NODES - 1  # the last node has nobody to tell


def supernet_form(name: str) -> SupernetForm:
    """The name as a known form of the supernet, or InputError that lists the forms."""
    if name not in get_args(SupernetForm):
        raise InputError(f"Unknown supernet '{name}'; choose from {', '.join(get_args(SupernetForm))}.")
    return cast(SupernetForm, name)


class Supernet(SpikingBackbone):
    """The network of `settings` with mixed edges; cells of a kind share `alphas[kind]`, [14 edges, primitives].

    An edge's weights are the softmax of its row. Rows are in the order of `EDGES`, columns as in the primitive set.
    """

    def __init__(self, primitives: PrimitiveSet, settings: NetworkSettings, build: CellBuilder) -> None:
        super().__init__(build, settings)
        self.primitives = primitives
        shape = (len(EDGES), len(PRIMITIVES[primitives]))
        self.alphas = nn.ParameterDict({kind: 1e-3 * torch.randn(shape) for kind in CELL_KINDS})

    def mixture(self, kind: CellKind) -> Tensor:
        """[14 edges, primitives], positive, the sum of a row is 1."""
        return torch.softmax(self.alphas[kind], dim=1)

    def architecture(self) -> list[nn.Parameter]:
        """The alphas."""
        return list(self.alphas.parameters())

    def weights(self) -> list[nn.Parameter]:
        """Everything that is trained but the alphas."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("alphas.")]

    def genotype(self) -> Genotype:
        """What the alphas have come to (see `derive`)."""
        normal, reduce = (derive(self.alphas[kind].detach(), self.primitives) for kind in CELL_KINDS)
        return Genotype(self.primitives, normal, reduce)


def derive(alphas: Tensor, primitives: PrimitiveSet) -> tuple[Edge, ...]:
    """Alphas [14, primitives] -> the two strongest incoming edges of each node (arXiv 1806.09055, section 2.4).

    An edge is as strong as the softmax weight of its strongest primitive other than `none`. Of equals the earlier wins.
    """
    names = list(PRIMITIVES[primitives])
    weights = torch.softmax(alphas.double(), dim=1).tolist()
    spiking = [column for column, name in enumerate(names) if name != NONE]
    cell: list[Edge] = []
    for node in range(NODES):
        ranked: list[tuple[float, Edge]] = []
        for row, (target, source) in enumerate(EDGES):
            if target == node:
                best = max(spiking, key=weights[row].__getitem__)
                ranked.append((weights[row][best], Edge(node, source, names[best])))
        strongest = sorted(ranked, key=lambda pair: -pair[0])[:EDGES_PER_NODE]
        cell.extend(sorted((edge for _, edge in strongest), key=lambda edge: edge.source))
    return tuple(cell)
