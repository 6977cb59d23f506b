"""Relays that a cell needs on a chip that reads chains: how many neurons, and which spikes pass through them.

A spike that is read more than one level after its neuron waits in relays, one for each level between; the export
chooses the levels with which the fewest neurons wait, of equals the latest, and lets go what nobody reads any more
(export/passes/relays.py, waiting.py). Here is the same rule for a genotype, before there are weights. Its nodes are the
stem, of every cell p0, p1, n1 .. n4 and the max-pools of these states; the readout comes last. All edges read all
channels, and of the pixels

    all                       but behind a stride of 2
    phases (0, 0) and (1, 1)  the skip and p0 of a halved s0, factorized reduces; of one channel (0, 0) alone
    phase (0, 0)              a dilated convolution, whose taps are two pixels apart

Of signals of one row the phases are (0, 0) and (0, 1), both of which a factorized reduce reads.

A trained network needs no more than that, and less only where all weights of a channel are 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import NamedTuple

from torch import Tensor

from ..space.genotype import INPUTS, NODES, Genotype
from ..space.layout import STEM_MULTIPLIER, CellPlan, size_over
from ..space.network import NetworkConfig
from ..space.primitives import MAX_POOL, SKIP
from .spike_maps import NetworkSpikes

Phase = tuple[int, int]  # row and column of a block of 2x2 pixels
ALL: frozenset[Phase] = frozenset({(0, 0), (0, 1), (1, 0), (1, 1)})
OF_ONE_ROW: frozenset[Phase] = frozenset({(0, 0), (0, 1)})
FIRST: frozenset[Phase] = frozenset({(0, 0)})


class Node(NamedTuple):
    """A population: of a state (0, 1: p0, p1; 2 .. 5: nodes) of a cell, or its max-pool."""

    cell: int
    state: int
    pooled: bool = False


STEM, READOUT = Node(-1, 0), Node(-1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Some pixels of a population of all its channels, and the relays through which their spikes pass."""

    node: Node
    phases: frozenset[Phase]
    neurons: int  # of one relay
    hops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    source: Node
    target: Node
    phases: frozenset[Phase]


def _skip_phases(channels: int) -> frozenset[Phase]:
    return ALL - {(0, 1), (1, 0)} if channels > 1 else FIRST


# what an edge of stride 2 reads, of so many channels; all of it where nothing is said
STRIDED: Mapping[str, Callable[[int], frozenset[Phase]]] = {
    SKIP: _skip_phases,
    "dil_conv_3x3": lambda channels: FIRST,
    "dil_conv_5x5": lambda channels: FIRST,
}


@lru_cache(maxsize=1024)  # a search draws the same cells again and again, and many more once
def relays_of(genotype: Genotype, config: NetworkConfig) -> tuple[Waiting, ...]:
    """What waits in the network of a genotype, as the export would have it. Without gates made of spikes."""
    plan = config.plan(genotype.layers)
    everything = _readings(genotype, plan)
    if config.one_row:
        everything = [replace(reading, phases=frozenset((0, x) for _, x in reading.phases)) for reading in everything]
    sizes, readings = _alive(_sizes(config, plan), everything)
    parts = _parts(readings)
    block = len(OF_ONE_ROW if config.one_row else ALL)
    level, last = _cheapest(sizes, readings, parts, block)
    found = []
    for (node, phases, _), end in zip(parts, last, strict=True):
        if end > level[node]:
            neurons = sizes[node] * len(phases) // block
            found.append(Waiting(node=node, phases=phases, neurons=neurons, hops=end - level[node]))
    return tuple(found)


def relay_neurons(waiting: tuple[Waiting, ...]) -> int:
    return sum(each.neurons * each.hops for each in waiting)


def relay_spikes(waiting: tuple[Waiting, ...], spikes: NetworkSpikes) -> Tensor:
    """How many spikes of an image relays send on, a scalar, float64."""
    total = spikes.stem.new_zeros(()).double()
    for each in waiting:
        total = total + each.hops * _spikes(each, spikes)
    return total


def _spikes(each: Waiting, spikes: NetworkSpikes) -> Tensor:
    node = each.node
    if node == STEM:
        maps = spikes.stem.double()
    elif node.pooled:
        return spikes.cells[node.cell].pooled.get(node.state, spikes.stem.new_zeros(()).double())
    else:
        maps = spikes.cells[node.cell].states[node.state]
    if each.phases == ALL:
        return maps.sum()
    return sum((maps[row::2, column::2].sum() for row, column in sorted(each.phases)), maps.new_zeros(()))


def _sizes(config: NetworkConfig, plan: tuple[CellPlan, ...]) -> dict[Node, int]:
    """Neurons of every population that there may be."""

    def neurons(channels: int, halvings: int) -> int:
        rows, columns = size_over(config.stem_size, 2**halvings)
        return channels * rows * columns

    sizes = {STEM: neurons(STEM_MULTIPLIER * config.channels, 0), READOUT: config.classes}
    for i, cell in enumerate(plan):
        for state in range(INPUTS + NODES):
            before = cell.halvings_before if state < INPUTS else cell.halvings
            sizes[Node(i, state)] = neurons(cell.channels, before)
            sizes[Node(i, state, pooled=True)] = neurons(cell.channels, cell.halvings)
    return sizes


def _readings(genotype: Genotype, plan: tuple[CellPlan, ...]) -> list[Reading]:
    s0, s1 = [STEM], [STEM]
    found: list[Reading] = []
    for i, cell in enumerate(plan):
        halved = _skip_phases(cell.channels) if cell.halve_s0 else ALL
        found += [Reading(source=source, target=Node(i, 0), phases=halved) for source in s0]
        found += [Reading(source=source, target=Node(i, 1), phases=ALL) for source in s1]
        pools: set[int] = set()
        for edge in genotype.cell(cell.kind, i):
            source, target = Node(i, edge.source), Node(i, INPUTS + edge.node)
            if edge.primitive == MAX_POOL:
                pool = Node(i, edge.source, pooled=True)
                if edge.source not in pools:
                    found.append(Reading(source=source, target=pool, phases=ALL))
                pools.add(edge.source)
                found.append(Reading(source=pool, target=target, phases=ALL))
                continue
            strided = STRIDED.get(edge.primitive) if cell.kind == "reduce" and edge.source < INPUTS else None
            phases = strided(cell.channels) if strided else ALL
            found.append(Reading(source=source, target=target, phases=phases))
        s0, s1 = s1, [Node(i, INPUTS + node) for node in range(NODES)]
    return [*found, *(Reading(source=source, target=READOUT, phases=ALL) for source in s1)]


def _alive(sizes: dict[Node, int], readings: list[Reading]) -> tuple[dict[Node, int], list[Reading]]:
    """Without what does not reach the readout."""
    alive = {READOUT}
    for _ in readings:
        more = {r.source for r in readings if r.target in alive} - alive
        if not more:
            break
        alive |= more
    kept = {node: size for node, size in sizes.items() if node in alive or node == STEM}
    return kept, [r for r in readings if r.target in alive]


def _parts(readings: list[Reading]) -> list[tuple[Node, frozenset[Phase], frozenset[Node]]]:
    """(source, phases, who reads them) of pixels that are read by the same."""
    readers: dict[tuple[Node, Phase], set[Node]] = {}
    for reading in readings:
        for phase in sorted(reading.phases):
            readers.setdefault((reading.source, phase), set()).add(reading.target)
    alike: dict[tuple[Node, frozenset[Node]], set[Phase]] = {}
    for (node, phase), who in readers.items():
        alike.setdefault((node, frozenset(who)), set()).add(phase)
    return [(node, frozenset(phases), who) for (node, who), phases in alike.items()]


def _cheapest(
    sizes: dict[Node, int],
    readings: list[Reading],
    parts: list[tuple[Node, frozenset[Phase], frozenset[Node]]],
    block: int,
) -> tuple[dict[Node, int], list[int]]:
    """The level of every population and the last one to which each part is carried, in a network no deeper than it
    must be: the linear program of register-minimizing retiming (Leiserson and Saxe 1991, section 8)."""
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    index = {node: i for i, node in enumerate(sizes)}
    cost = [0.0] * len(index)
    rows = [(index[r.source], index[r.target], -1.0) for r in readings]  # level[s] - level[t] <= -1
    for node, phases, readers in parts:
        rows += [(index[reader], len(cost), 1.0) for reader in sorted(readers)]  # level[t] - last <= 1
        size = sizes[node] * len(phases) / block
        cost[index[node]] -= size
        cost.append(size)
    depth = _depth(readings)
    late = -0.5 / (len(index) * depth)  # all of it together less than one neuron
    cost = [each + late * (i < len(index)) for i, each in enumerate(cost)]
    fixed = {STEM: 0, READOUT: depth}
    bounds = [(fixed.get(node, 1), fixed.get(node, depth)) for node in index]
    plus, minus, limits = zip(*rows, strict=True)
    places = (np.tile(np.arange(len(rows)), 2), np.array([*plus, *minus]))
    matrix = coo_array((np.repeat([1.0, -1.0], len(rows)), places), (len(rows), len(cost)))
    bounds += [(0, depth)] * len(parts)
    found = linprog(np.array(cost), matrix.tocsr(), np.array(limits), bounds=bounds, method="highs")
    assert found.success, found.message  # levels as soon as possible are a solution
    values = [round(value) for value in found.x]
    return dict(zip(index, values, strict=False)), values[len(index) :]


def _depth(readings: list[Reading]) -> int:
    """The level of the readout, where every population comes as soon as it can."""

    @cache
    def level(node: Node) -> int:
        return 0 if node == STEM else 1 + max(level(r.source) for r in readings if r.target == node)

    return level(READOUT)
