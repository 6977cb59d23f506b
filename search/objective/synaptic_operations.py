"""Synaptic operations (SOPs) of a network per cell, and of a mixture of primitives those that are to be expected.

An SOP is one spike that meets one synapse. Counted are, of each cell, the synapses that lead to its neurons:

    p0, p1      every spike of the cell's inputs times the channels (the factorized reduce reads every other pixel)
    edges       sum over edges e and primitives o of weight[e, o] * sum over y, x of spikes[y, x] * fan_out_o[y, x]
    max-pools   their OR populations: the edges that leave one state share one, which is there with the probability
                1 - product over these edges of (1 - weight of max-pool); on an edge each of its spikes is one SOP
    gates       of `--attention spike`: what they hear, and the products that let spikes pass (spike_maps.py)
    readout     every spike of the last cell times the classes

Where the weights are 0 and 1 this is what an exported network does but for relays, which depend on how its levels are
chosen (export/passes/relays.py). Between 0 and 1 it is the expectation if each edge drew its primitive by itself. A
stem that reads images is real-valued and stays on the host: its spikes count where they arrive. One that reads events
is on the chip: `stem` is every event times its synapses. Differentiable by weights and by spikes.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..space.genotype import INPUTS, CellKind
from ..space.primitives import MAX_POOL
from ..supernet.supernet import EDGES, SOURCES
from .fan_out import FAN_OUT, Size, factorized_reduce
from .spike_maps import CellSpikes, NetworkSpikes

FROM = [source for _, source in EDGES]
LEAVING = [[edge for edge, source in enumerate(FROM) if source == state] for state in range(SOURCES)]


def sops_per_cell(
    spikes: NetworkSpikes, mixture: Callable[[CellKind, int], Tensor], names: Sequence[str], classes: int
) -> dict[str, Tensor]:
    """SOPs per image: `stem` of events, `cells.<i>`, `readout`; `mixture(kind, i)`: weights [14 edges, primitives]."""
    found = {} if spikes.stem_sops is None else {"stem": spikes.stem_sops}
    s0 = s1 = spikes.stem.double()
    for i, cell in enumerate(spikes.cells):
        found[f"cells.{i}"] = cell_sops(cell, (s0,), s1, mixture(cell.kind, i).double(), names)
        s0, s1 = s1, cell.output
    return found | {"readout": classes * s1.sum()}


def cell_sops(cell: CellSpikes, ways: Sequence[Tensor], s1: Tensor, weights: Tensor, names: Sequence[str]) -> Tensor:
    """SOPs of one cell, of weights [14, primitives], float64; s0 is the sum of its `ways`, maps of either size."""
    inputs = [_preprocess(s0, cell.states[0], cell.channels) for s0 in ways]
    inputs.append(_preprocess(s1, cell.states[1], cell.channels))
    gates = cell.gate_sops.to(s1.device)
    return torch.stack(inputs).sum() + _edges(cell, weights, tuple(names)) + gates


def _preprocess(inputs: Tensor, state: Tensor, channels: int) -> Tensor:
    if inputs.shape == state.shape:
        return channels * inputs.sum()
    return (_reduce((inputs.shape[0], inputs.shape[1]), channels).to(inputs.device) * inputs).sum()


def _edges(cell: CellSpikes, weights: Tensor, names: tuple[str, ...]) -> Tensor:
    """Weights [14, P], float64 -> SOPs of the edges and of the OR populations."""
    nodes = cell.states[INPUTS].shape
    leaving = []
    for source in range(SOURCES):
        spikes = cell.states[source]
        size = (spikes.shape[0], spikes.shape[1])
        fans = _fans(names, size, cell.channels, size[1] // nodes[1]).to(spikes.device)
        leaving.append(fans @ spikes.flatten())
    costs = torch.stack(leaving)  # [sources, P]
    weights = weights.to(costs.device)
    if MAX_POOL not in names:
        return (weights * costs[FROM]).sum()
    pool = names.index(MAX_POOL)
    pooled = torch.stack([cell.pooled.get(source, costs.new_zeros(())) for source in range(SOURCES)])
    others = torch.arange(len(names), device=costs.device) != pool
    on_edges = torch.where(others, costs, pooled[:, None])
    absent = torch.stack([(1 - weights[LEAVING[source], pool]).prod() for source in range(SOURCES)])
    return (weights * on_edges[FROM]).sum() + ((1 - absent) * costs[:, pool]).sum()


@functools.cache
def _reduce(size: Size, channels: int) -> Tensor:
    return factorized_reduce(size, channels)


@functools.cache
def _fans(names: tuple[str, ...], size: Size, channels: int, stride: int) -> Tensor:
    """[P, H * W]."""
    return torch.stack([FAN_OUT[name](size, channels, stride).flatten() for name in names])
