"""The supernet: the cells with every candidate on every edge at once, mixed by the architecture weights alpha.

Two forms of the same search space: `kernel` (kernel_space.py) mixes the candidates' kernels, `plain`
(plain.py) their currents. Here is what both have in common.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..loops.window_lif import mixed_lif
from ..machine.device import on
from ..settings.network import PrimitiveSet
from ..settings.supernet import Relaxation
from ..space.cell import CellBuilder
from ..space.genotype import (
    CELL_KINDS,
    DECAYS,
    EDGES_PER_NODE,
    INPUTS,
    NODES,
    CellKind,
    Edge,
    Genotype,
    Layer,
    genotype_of,
    random_genotype,
)
from ..space.layout import CellPlan
from ..space.network import NetworkConfig, SpikingBackbone
from ..space.primitives import NONE, PRIMITIVES, SKIP
from ..space.spike_gates import SpikeGates
from .relaxation import RELAXATIONS

EDGES: tuple[tuple[int, int], ...] = tuple((node, source) for node in range(NODES) for source in range(node + INPUTS))
SOURCES = INPUTS + NODES - 1  # the last node has nobody to tell
START = 1.0  # by how much the primitives of a genotype that a search begins with are ahead, in alphas


class Supernet(SpikingBackbone):
    """The network of `config` with mixed edges; cells of a kind share `alphas[kind]`, [14 edges, primitives].

    An edge's weights are the softmax of its row, or its sigmoids (`relaxation`). Rows are in the order of `EDGES`,
    columns as in the primitive set; the weights of primitives that are not `allowed` are 0. `skip_beside` is the weight
    of one more skip on every edge, which fades out over a search (relaxation.py). In train mode `noise` is added to the
    rows before all is divided by the `temperature`, and with a genotype that was `drawn` its cells are all there is:
    weights of 0 and 1, whatever the alphas are.

    `search_also` adds what a search decides beside the edges: `gate_alphas[kind]`, [4 nodes], whose sigmoid p says how
    likely a node has spike gates; `decay_alphas[kind]`, [4 nodes, decays], whose softmax says how its membranes leak;
    and `own`, of every layer what its weights are more than those of its kind, so that
    it has a cell of its own (D-DARTS, arXiv 2108.09306). While `nested` they rest, and the cells of a kind are one;
    then those of the kinds rest.
    """

    relaxation: Relaxation = "softmax"
    allowed: frozenset[str] | None = None  # None: all
    skip_beside = 0.0
    temperature = 1.0
    drawn: Genotype | None = None
    nested = False
    layers: tuple[Layer, ...] | None = None  # a path that is no usual one

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
        self.gate_alphas, self.decay_alphas = nn.ParameterDict(), nn.ParameterDict()
        self.own = nn.ModuleDict()
        self.noise: dict[tuple[CellKind, int | None], Tensor] = {}

    def search_also(
        self,
        *,
        gates: bool = False,
        decays: bool = False,
        cells_per_layer: bool = False,
        start: Genotype | None = None,
    ) -> None:
        """gates: decide for every node whether it has the spike gates of the network's attention; even at the start.
        decays: and how its membranes leak. cells_per_layer: every layer has a cell of its own. start: a genotype whose
        primitives are ahead by START."""
        if start is not None:
            self.layers = start.layers
            for kind, alphas in self.alphas.items():
                alphas.data += START * one_hot(start, cast(CellKind, kind)).to(alphas)
        if gates:
            self.gate_alphas = nn.ParameterDict({kind: torch.zeros(NODES) for kind in CELL_KINDS})
            for block, where in self._nodes():
                cast(SpikeGates, block.gates).chance = partial(self.gate_chance, *where)
        if decays:
            self.decay_alphas = nn.ParameterDict({kind: 1e-3 * torch.randn(NODES, len(DECAYS)) for kind in CELL_KINDS})
            for block, where in self._nodes():
                block.lif = mixed_lif(getattr(block.lif, "axis", 0), DECAYS, partial(self.decay_chances, *where))
        if cells_per_layer:
            shared = {"alphas": self.alphas, "gate_alphas": self.gate_alphas, "decay_alphas": self.decay_alphas}
            self.own = nn.ModuleDict(
                {
                    name: nn.ParameterList(torch.zeros_like(of_kind[cell.kind]) for cell in self.plan)
                    for name, of_kind in shared.items()
                    if of_kind
                }
            )

    def _nodes(self) -> Iterator[tuple[nn.Module, tuple[CellKind, int, int]]]:
        """The block of every node, with its kind of cell, its number there, and the place of the cell."""
        for place, (cell, planned) in enumerate(zip(self.plan, self.planned_cells(), strict=True)):
            for node in range(NODES):
                yield planned.get_submodule(f"n{node + 1}"), (cell.kind, node, place)

    def weights_of(self, name: str, kind: CellKind, place: int | None = None) -> Tensor:
        """Of the cell of a layer the `alphas`, `gate_alphas` or `decay_alphas`; without a place the kind's."""
        shared = cast(Tensor, getattr(self, name)[kind])
        if self.nested or place is None or name not in self.own:
            return shared
        return shared.detach() + cast(Tensor, cast(nn.ParameterList, self.own[name])[place])

    def gate_chance(self, kind: CellKind, node: int, place: int = 0) -> Tensor:
        """Of a node whose gates are searched, a scalar, 0..1."""
        if self.drawn is not None and self.training:
            return torch.tensor(float(self.drawn.gated(kind, node, place) is not False), device=self._device)
        return torch.sigmoid(self.weights_of("gate_alphas", kind, place)[node])

    def decay_chances(self, kind: CellKind, node: int, place: int = 0) -> Tensor:
        """Of a node whose decay is searched, [decays], their sum is 1."""
        if self.drawn is not None and self.training:
            found = self.drawn.decay(kind, node, place)
            return torch.tensor([float(decay == found) for decay in DECAYS], device=self._device)
        return torch.softmax(self.weights_of("decay_alphas", kind, place)[node], dim=0)

    def mixture(self, kind: CellKind, place: int | None = None) -> Tensor:
        """Of the cell of a layer, or of its kind, [14 edges, primitives], not negative; with softmax the sum of a row
        is 1."""
        if self.drawn is not None and self.training:
            return one_hot(self.drawn, kind, place).to(self.weights_of("alphas", kind, place))
        alphas = self.masked(kind, place)
        if self.noise and self.training:
            alphas = (alphas + self.noise[kind, place if self._has_own_cells else None]) / self.temperature
        return RELAXATIONS[self.relaxation](alphas)

    def draw_noise(self, rng: np.random.Generator) -> None:
        """Gumbel noise for every cell that is searched, until it is drawn anew; of the relaxation `gumbel`."""
        self.drawn = None
        for kind, place in self.places() if self._has_own_cells else [(kind, None) for kind in CELL_KINDS]:
            like = self.weights_of("alphas", kind, place)
            self.noise[kind, place] = torch.from_numpy(rng.gumbel(size=tuple(like.shape))).to(like)

    def draw_cells(self, rng: np.random.Generator) -> None:
        """Cells, all alike, in whose place the mixtures stand from now on, until `drawn` is None again."""
        kinds = [cell.kind for cell in self.plan] if self.own else None
        also = {"gates": bool(self.gate_alphas), "decays": bool(self.decay_alphas)}
        self.drawn = random_genotype(rng, self.primitives, self.allowed, layers=kinds, **also)

    @property
    def _device(self) -> torch.device:
        return self.architecture()[0].device

    @property
    def _has_own_cells(self) -> bool:
        return bool(self.own) and not self.nested

    def masked(self, kind: CellKind, place: int | None = None) -> Tensor:
        """The alphas [14 edges, primitives], minus infinity where a primitive is not allowed."""
        alphas = self.weights_of("alphas", kind, place)
        if self.allowed is None:
            return alphas
        columns = [name not in self.allowed for name in PRIMITIVES[self.primitives]]
        return alphas.masked_fill(on(alphas.device, *columns), -torch.inf)

    def places(self) -> list[tuple[CellKind, int | None]]:
        """Of every cell that is searched its kind and, where it is a layer's own, its place."""
        if not self.own:
            return [(kind, None) for kind in CELL_KINDS]
        return [(cell.kind, place) for place, cell in enumerate(self.plan)]

    def choices(self) -> Tensor:
        """The alphas of all cells, [14 edges of each, primitives that are allowed]."""
        columns = [
            i for i, name in enumerate(PRIMITIVES[self.primitives]) if self.allowed is None or name in self.allowed
        ]
        return torch.cat([self.weights_of("alphas", *cell) for cell in self.places()])[:, columns]

    def edge_weights(self, kind: CellKind, place: int | None = None) -> Tensor:
        """What currents are multiplied by, [14 edges, primitives]: the mixture, and the skip beside it."""
        mixture = self.mixture(kind, place)
        if not self.skip_beside:
            return mixture
        skip = [name == SKIP for name in PRIMITIVES[self.primitives]]
        return mixture + self.skip_beside * on(mixture.device, *skip).to(mixture.dtype)

    def architecture(self) -> list[nn.Parameter]:
        """The alphas, and whatever else says what will be found."""
        tables = (self.alphas, self.gate_alphas, self.decay_alphas, self.own)
        return [parameter for table in tables for parameter in table.parameters()]

    def weights(self) -> list[nn.Parameter]:
        """Everything that is trained but the architecture."""
        architecture = {id(parameter) for parameter in self.architecture()}
        return [parameter for parameter in self.parameters() if id(parameter) not in architecture]

    def genotype(self, rng: np.random.Generator | None = None) -> Genotype:
        """What the alphas have come to (see `derive`), gates where p > 1/2, and of the decays the likeliest.

        With `rng` it is drawn from them: alphas and Gumbel noise, gates with the chance p.
        """

        def alphas(kind: CellKind, place: int | None) -> Tensor:
            alphas = self.masked(kind, place).detach().cpu().double()
            return alphas if rng is None else alphas + torch.from_numpy(rng.gumbel(size=tuple(alphas.shape)))

        def gates(kind: CellKind, place: int | None) -> tuple[bool, ...]:
            logits = self.weights_of("gate_alphas", kind, place).detach().cpu().double()
            noise = 0.0 if rng is None else torch.from_numpy(rng.logistic(size=NODES))
            return tuple((logits + noise > 0).tolist())

        def decays(kind: CellKind, place: int | None) -> tuple[float, ...]:
            logits = self.weights_of("decay_alphas", kind, place).detach().cpu().double()
            noise = 0.0 if rng is None else torch.from_numpy(rng.gumbel(size=tuple(logits.shape)))
            return tuple(DECAYS[best] for best in (logits + noise).argmax(1).tolist())

        cells = [derive(alphas(*place), self.primitives, self.relaxation) for place in self.places()]
        gated = tuple(gates(*place) for place in self.places()) if self.gate_alphas else None
        leaks = tuple(decays(*place) for place in self.places()) if self.decay_alphas else None
        kinds = [cell.kind for cell in self.plan] if self.own else None
        return genotype_of(self.primitives, cells, kinds, layers=self.layers, gates=gated, decays=leaks)


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


def one_hot(genotype: Genotype, kind: CellKind, place: int | None = None) -> Tensor:
    """The weights [14, primitives] of a cell of a genotype: 1 at the primitive of each of its edges, else 0."""
    names = list(PRIMITIVES[genotype.primitives])
    weights = torch.zeros(len(EDGES), len(names), dtype=torch.float64)
    for edge in genotype.cell(kind, place):
        weights[EDGES.index((edge.node, edge.source)), names.index(edge.primitive)] = 1
    return weights
