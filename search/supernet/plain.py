"""The supernet of the paper: one module per candidate, their currents mixed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..settings.network import PrimitiveSet
from ..space.cell import Cell, NodePlan
from ..space.genotype import INPUTS, NODES, CellKind
from ..space.layers import batch_norm
from ..space.layout import CellPlan
from ..space.network import NetworkConfig
from ..space.primitives import NONE, PRIMITIVES, Builder
from .supernet import EDGES, Supernet


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


class PlainSupernet(Supernet):
    """Cells as the derived network has them, with a mixed edge from every state to every node behind it."""

    def __init__(self, primitives: PrimitiveSet, config: NetworkConfig, plan: Sequence[CellPlan] | None = None) -> None:
        def mixed(kind: CellKind, place: int, edge: int) -> Builder:
            weights = partial(self._edge_weights, kind, place, edge)
            return lambda channels, stride: MixedEdge(weights, primitives, channels, stride)

        def build(*, kind: CellKind, place: int, **options: Any) -> nn.Module:
            def node(j: int) -> NodePlan:
                sources = range(j + INPUTS)
                return NodePlan(incoming=[(source, mixed(kind, place, EDGES.index((j, source)))) for source in sources])

            return Cell(kind, [node(j) for j in range(NODES)], **options)

        super().__init__(primitives, config, build, plan)

    def _edge_weights(self, kind: CellKind, place: int, edge: int) -> Tensor:
        return self.edge_weights(kind, place)[edge]
