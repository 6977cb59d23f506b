"""The supernet: the cells with every candidate on every edge at once, mixed by the architecture weights alpha."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from .cell import batch_norm
from .genotype import CELL_KINDS, EDGES_PER_NODE, INPUTS, NODES, CellKind, Edge, Genotype
from .network import NetworkSettings, SpikingBackbone
from .primitives import NONE, PRIMITIVES, Builder, PrimitiveSet

EDGES: tuple[tuple[int, int], ...] = tuple((node, source) for node in range(NODES) for source in range(node + INPUTS))


class MixedEdge(nn.Module):
    """sum over primitives of weight * BN(primitive(spikes)), with weights [primitives] that belong to somebody else.

    The batch norms have no affine parameters, so that the weights compare like with like. `none` has a weight and no
    current.
    """

    def __init__(self, weights: Callable[[], Tensor], primitives: PrimitiveSet, channels: int, stride: int) -> None:
        super().__init__()
        self._weights = weights
        self.candidates = nn.ModuleDict(
            {
                name: nn.Sequential(build(channels, stride), batch_norm(channels, affine=False))
                for name, build in PRIMITIVES[primitives].items()
                if name != NONE
            }
        )
        self._rows = [row for row, name in enumerate(PRIMITIVES[primitives]) if name != NONE]

    def forward(self, spikes: Tensor) -> Tensor:
        weights = self._weights()
        candidates = self.candidates.values()
        currents = [weights[row] * candidate(spikes) for row, candidate in zip(self._rows, candidates, strict=True)]
        return torch.stack(currents).sum(0)


class Supernet(SpikingBackbone):
    """The network of `settings` with mixed edges; cells of a kind share `alphas[kind]`, [14 edges, primitives].

    An edge's weights are the softmax of its row. Rows are in the order of `EDGES`, columns as in the primitive set.
    """

    def __init__(self, primitives: PrimitiveSet, settings: NetworkSettings) -> None:
        def mixed(kind: CellKind, edge: int) -> Builder:
            return lambda channels, stride: MixedEdge(
                partial(self.edge_weights, kind, edge), primitives, channels, stride
            )

        def incoming(kind: CellKind, node: int) -> Sequence[tuple[int, Builder]]:
            return [(source, mixed(kind, EDGES.index((node, source)))) for source in range(node + INPUTS)]

        super().__init__(incoming, settings)
        self.primitives = primitives
        shape = (len(EDGES), len(PRIMITIVES[primitives]))
        self.alphas = nn.ParameterDict({kind: 1e-3 * torch.randn(shape) for kind in CELL_KINDS})

    def edge_weights(self, kind: CellKind, edge: int) -> Tensor:
        """[primitives], positive, sum 1."""
        return torch.softmax(self.alphas[kind][edge], dim=0)

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
