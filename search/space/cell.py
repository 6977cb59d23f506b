"""The spiking cell in node-LIF form: every edge carries binary spikes, every node is one layer of LIF neurons.

    cell(s0, s1):  p0 = LIF(BN(conv(s0)))     p1 = LIF(BN(conv(s1)))
                   n_j = gates(LIF(attention(BN(sum over incoming edges of edge(spikes)))))     j = 1..4
                         (gates of those nodes that have them)
                   out = concat(n_1 .. n_4)

The currents of a node's edges meet at one membrane, as SpikeDHS retrains its cells (Che et al., NeurIPS 2022). Spikes
are [T, N, C, H, W]. Every layer of neurons is the attribute `lif` of its block: a population is named by its path.
"""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

from torch import Tensor, cat, nn

from ..settings.network import Attention
from .attention import ATTENTION
from .genotype import INPUTS, NODES, CellKind
from .layers import batch_norm, lif_neurons
from .primitives import Builder, FactorizedReduce, convolution
from .spike_gates import gates_behind


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """What a node is built from: source and builder of each incoming edge; whether it has the gates that the network's
    attention puts behind its spikes; the decay of its membranes in a step."""

    incoming: Sequence[tuple[int, Builder]]
    gated: bool = True
    decay: float = 0.5


class CellBuilder(Protocol):
    """Makes a module that maps (s0, s1) as `Cell` does; `place` is its number in the plan."""

    def __call__(
        self,
        *,
        kind: CellKind,
        place: int,
        in_channels: tuple[int, int],
        channels: int,
        attention: Attention,
        halve_s0: bool,
    ) -> nn.Module: ...


class Stem(nn.Module):
    """Images [N, C, H, W] -> spikes [T, N, channels, H / stride, W / stride]: one real-valued current in every step."""

    images_axis, place_axes = 1, (3, 4)  # of the spikes

    def __init__(self, in_channels: int, channels: int, time_steps: int, stride: int = 1) -> None:
        super().__init__()
        self.time_steps = time_steps
        self.conv = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.lif = lif_neurons()

    def forward(self, images: Tensor) -> Tensor:
        current = self.norm(self.conv(images))
        return cast(Tensor, self.lif(current.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)))


class FrameStem(nn.Module):
    """Frames of spikes [N, T, C, H, W] -> spikes [T, N, channels, H / stride, W / stride]: each step has its frame."""

    images_axis, place_axes = 1, (3, 4)  # of the spikes

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = convolution(in_channels, channels, 3, stride=stride)
        self.norm = batch_norm(channels)
        self.lif = lif_neurons()

    def forward(self, frames: Tensor) -> Tensor:
        return cast(Tensor, self.lif(self.norm(self.conv(frames.transpose(0, 1)))))


class Preprocess(nn.Module):
    """Brings a cell's input to the cell's channels and, after a reduction, to its size."""

    def __init__(self, in_channels: int, channels: int, *, halve: bool) -> None:
        super().__init__()
        self.conv = FactorizedReduce(in_channels, channels) if halve else convolution(in_channels, channels, 1)
        self.norm = batch_norm(channels)
        self.lif = lif_neurons()

    def forward(self, spikes: Tensor) -> Tensor:
        return cast(Tensor, self.lif(self.norm(self.conv(spikes))))


class Node(nn.Module):
    """Sums the currents of its edges at one layer of neurons; the edges are in the order of `sources`."""

    def __init__(self, plan: NodePlan, stride: Callable[[int], int], channels: int, attention: Attention) -> None:
        super().__init__()
        self.sources = tuple(source for source, _ in plan.incoming)
        self.edges = nn.ModuleList(build(channels, stride(source)) for source, build in plan.incoming)
        self.norm = batch_norm(channels)
        self.attention = ATTENTION[attention](channels)
        self.lif = lif_neurons(plan.decay)
        self.gates = gates_behind(attention if plan.gated else "none", channels)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        currents = [edge(states[source]) for source, edge in zip(self.sources, self.edges, strict=True)]
        spikes = self.lif(self.attention(self.norm(functools.reduce(operator.add, currents))))
        return cast(Tensor, self.gates(spikes))


def _stride(kind: CellKind, source: int) -> int:
    """Of an edge."""
    return 2 if kind == "reduce" and source < INPUTS else 1


class Cell(nn.Module):
    """(s0, s1), the outputs of the two cells before -> [T, N, 4 * channels, H, W], halved in a reduction cell.

    In a reduction cell the edges that leave the cell's inputs have stride 2. s0 is brought to the size of s1 where the
    cell between them was a reduction (`halve_s0`). `nodes` are the four, in their order.
    """

    images_axis, place_axes = 1, (3, 4)  # of the spikes

    def __init__(
        self,
        kind: CellKind,
        nodes: Sequence[NodePlan],
        in_channels: tuple[int, int],
        channels: int,
        attention: Attention,
        *,
        halve_s0: bool,
    ) -> None:
        super().__init__()
        self.p0 = Preprocess(in_channels[0], channels, halve=halve_s0)
        self.p1 = Preprocess(in_channels[1], channels, halve=False)
        self.nodes = [f"n{j + 1}" for j in range(NODES)]
        for name, plan in zip(self.nodes, nodes, strict=True):
            self.add_module(name, Node(plan, partial(_stride, kind), channels, attention))

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        states: list[Tensor] = [self.p0(s0), self.p1(s1)]
        for name in self.nodes:
            states.append(self.get_submodule(name)(states))
        return self.joined(states[2:])

    def joined(self, nodes: Sequence[Tensor]) -> Tensor:
        return cat(list(nodes), dim=2)

    def max_pools(self) -> Mapping[int, nn.Module]:
        """Source -> a module that gives its max-pool, where it has one."""
        nodes = [cast(Node, self.get_submodule(name)) for name in self.nodes]
        return {
            source: module
            for node in nodes
            for source, edge in zip(node.sources, node.edges, strict=True)
            for module in edge.modules()
            if isinstance(module, nn.MaxPool2d)
        }
