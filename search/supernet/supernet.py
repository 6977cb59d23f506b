"""The supernet: the cells with every candidate on every edge at once, mixed by the architecture weights alpha.

Two forms of the same search space: `kernel` (kernel_space.py) mixes the candidates' kernels, `plain`
(plain.py) their currents. Here is what both have in common.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..machine.device import on
from ..settings.network import PrimitiveSet
from ..settings.supernet import Relaxation
from ..space.cell import CellBuilder
from ..space.genotype import CELL_KINDS, EDGES_PER_NODE, INPUTS, NODES, CellKind, Edge, Genotype
from ..space.layout import CellPlan
from ..space.network import NetworkConfig, SpikingBackbone
from ..space.primitives import NONE, PRIMITIVES, SKIP
from ..space.spike_gates import SpikeGates
from .relaxation import RELAXATIONS

EDGES: tuple[tuple[int, int], ...] = tuple((node, source) for node in range(NODES) for source in range(node + INPUTS))
SOURCES = INPUTS + NODES - 1  # the last node has nobody to tell


class Supernet(SpikingBackbone):
    """The network of `config` with mixed edges; cells of a kind share `alphas[kind]`, [14 edges, primitives].

    An edge's weights are the softmax of its row, or its sigmoids (`relaxation`). Rows are in the order of `EDGES`,
    columns as in the primitive set; the weights of primitives that are not `allowed` are 0. `skip_beside` is the weight
    of one more skip on every edge, which fades out over a search (relaxation.py).

    `search_also` adds what a search decides beside the edges: `gate_alphas[kind]`, [4 nodes], whose sigmoid p says how
    likely a node has spike gates.
    """

    relaxation: Relaxation = "softmax"
    allowed: frozenset[str] | None = None  # None: all
    skip_beside = 0.0

    def __init__(
        self,
        primitives: PrimitiveSet,
        config: NetworkConfig,
        build: CellBuilder,
        plan: Sequence[CellPlan] | None = None,
    ) -> None:
        super().__init__(build, config, config.plan() if plan is None else plan)
        self.primitives = primitives
        shape = (len(EDGES), len(PRIMITIVES[primitives]))
        self.alphas = nn.ParameterDict({kind: 1e-3 * torch.randn(shape) for kind in CELL_KINDS})
        self.gate_alphas = nn.ParameterDict()

    def search_also(self, *, gates: bool = False) -> None:
        """gates: decide for every node whether it has the spike gates of the network's attention; even at the start."""
        if not gates:
            return
        self.gate_alphas = nn.ParameterDict({kind: torch.zeros(NODES) for kind in CELL_KINDS})
        for cell, planned in zip(self.plan, self.planned_cells(), strict=True):
            for node in range(NODES):
                behind = planned.get_submodule(f"n{node + 1}.gates")
                cast(SpikeGates, behind).chance = partial(self.gate_chance, cell.kind, node)

    def gate_chance(self, kind: CellKind, node: int) -> Tensor:
        """Of a node whose gates are searched, a scalar, 0..1."""
        return torch.sigmoid(cast(Tensor, self.gate_alphas[kind])[node])

    def mixture(self, kind: CellKind) -> Tensor:
        """[14 edges, primitives], not negative; with softmax the sum of a row is 1."""
        return RELAXATIONS[self.relaxation](self.masked(kind))

    def masked(self, kind: CellKind) -> Tensor:
        """The alphas [14 edges, primitives], minus infinity where a primitive is not allowed."""
        alphas = cast(Tensor, self.alphas[kind])
        if self.allowed is None:
            return alphas
        columns = [name not in self.allowed for name in PRIMITIVES[self.primitives]]
        return alphas.masked_fill(on(alphas.device, *columns), -torch.inf)

    def choices(self) -> Tensor:
        """The alphas of all cells, [28 edges, primitives that are allowed]."""
        columns = [
            i for i, name in enumerate(PRIMITIVES[self.primitives]) if self.allowed is None or name in self.allowed
        ]
        return torch.cat([self.alphas[kind] for kind in CELL_KINDS])[:, columns]

    def edge_weights(self, kind: CellKind) -> Tensor:
        """What currents are multiplied by, [14 edges, primitives]: the mixture, and the skip beside it."""
        mixture = self.mixture(kind)
        if not self.skip_beside:
            return mixture
        skip = [name == SKIP for name in PRIMITIVES[self.primitives]]
        return mixture + self.skip_beside * on(mixture.device, *skip).to(mixture.dtype)

    def architecture(self) -> list[nn.Parameter]:
        """The alphas, and whatever else says what will be found."""
        return [*self.alphas.parameters(), *self.gate_alphas.parameters()]

    def weights(self) -> list[nn.Parameter]:
        """Everything that is trained but the architecture."""
        architecture = {id(parameter) for parameter in self.architecture()}
        return [parameter for parameter in self.parameters() if id(parameter) not in architecture]

    def genotype(self, rng: np.random.Generator | None = None) -> Genotype:
        """What the alphas have come to (see `derive`), and gates where p > 1/2.

        With `rng` it is drawn from them: alphas and Gumbel noise, gates with the chance p.
        """

        def alphas(kind: CellKind) -> Tensor:
            alphas = self.masked(kind).detach().cpu().double()
            return alphas if rng is None else alphas + torch.from_numpy(rng.gumbel(size=tuple(alphas.shape)))

        def gates(kind: CellKind) -> tuple[bool, ...]:
            logits = cast(Tensor, self.gate_alphas[kind]).detach().cpu().double()
            noise = 0.0 if rng is None else torch.from_numpy(rng.logistic(size=NODES))
            return tuple((logits + noise > 0).tolist())

        normal, reduce = (derive(alphas(kind), self.primitives, self.relaxation) for kind in CELL_KINDS)
        gated = tuple(gates(kind) for kind in CELL_KINDS) if self.gate_alphas else None
        return Genotype(self.primitives, normal, reduce, gates=gated)


def derive(alphas: Tensor, primitives: PrimitiveSet, relaxation: Relaxation = "softmax") -> tuple[Edge, ...]:
    """Alphas [14, primitives] -> the two strongest incoming edges of each node (arXiv 1806.09055, section 2.4).

    An edge is as strong as the weight of its strongest primitive other than `none`. Of equals the earlier wins.
    """
    names = list(PRIMITIVES[primitives])
    weights = RELAXATIONS[relaxation](alphas.double()).tolist()
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


def one_hot(genotype: Genotype, kind: CellKind) -> Tensor:
    """The weights [14, primitives] of a genotype: 1 at the primitive of each of its edges, else 0."""
    names = list(PRIMITIVES[genotype.primitives])
    weights = torch.zeros(len(EDGES), len(names), dtype=torch.float64)
    for edge in genotype.cell(kind):
        weights[EDGES.index((edge.node, edge.source)), names.index(edge.primitive)] = 1
    return weights
