"""The whole network of a genotype as a graph of its populations: what an encoder reads.

Nodes are the stem, p0, p1 and n1..n4 of every cell, and the readout. An edge of the graph has a kind: a primitive, or
`reads`, from what a cell or the readout reads. A node knows what it is, not which number it has, so that renamed nodes
are the same graph in another order.

The genotype is taken as it is, not in canonical form: that the order does not matter is the encoder's doing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..space.genotype import INPUTS, NODES, USUAL_DECAY, Genotype
from ..space.layout import STEM_MULTIPLIER
from ..space.network import NetworkConfig
from ..space.primitives import spiking_primitives

READS = "reads"
PLACES = ("stem", "p0", "p1", "node", "readout")
PER_CELL = INPUTS + NODES


def network_graphs(
    genotypes: Sequence[Genotype], config: NetworkConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(features [genotypes, nodes, features], adjacency [genotypes, kinds, target nodes, source nodes]).

    Features are place, reduction cell or not, log2 of channels, halvings, decay of the membranes and spike gates.
    """
    pairs = [network_graph(genotype, config) for genotype in genotypes]
    return np.stack([features for features, _ in pairs]), np.stack([adjacency for _, adjacency in pairs])


def network_graph(genotype: Genotype, config: NetworkConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same of one genotype."""
    kinds = (*spiking_primitives(genotype.primitives), READS)
    plan = config.plan(genotype.layers)
    size = PER_CELL * len(plan) + 2
    adjacency = np.zeros((len(kinds), size, size))
    rows = [_features("stem", False, STEM_MULTIPLIER * config.channels, 0)]
    s0 = s1 = [0]  # what a cell reads
    for number, cell in enumerate(plan):
        first = 1 + PER_CELL * number
        for place, sources in enumerate((s0, s1)):
            adjacency[-1, first + place, sources] = 1
        for edge in genotype.cell(cell.kind, number):
            adjacency[kinds.index(edge.primitive), first + INPUTS + edge.node, first + edge.source] = 1
        reduces = cell.kind == "reduce"
        rows += [_features(name, reduces, cell.channels, cell.halvings_before) for name in ("p0", "p1")]
        for node in range(NODES):
            own = genotype.decay(cell.kind, node, number), bool(genotype.gated(cell.kind, node, number))
            rows.append(_features("node", reduces, cell.channels, cell.halvings, *own))
        s0, s1 = s1, list(range(first + INPUTS, first + PER_CELL))
    adjacency[-1, size - 1, s1] = 1
    rows.append(_features("readout", False, config.classes, plan[-1].halvings))
    return np.array(rows), adjacency


def _features(
    place: str, reduces: bool, channels: int, halvings: int, decay: float = USUAL_DECAY, gated: bool = False
) -> list[float]:
    numbers = (reduces, np.log2(channels), halvings, decay, gated)
    return [*(float(place == name) for name in PLACES), *map(float, numbers)]
