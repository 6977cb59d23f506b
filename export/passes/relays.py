"""Every projection spans one level.

A chip layer reads the layer before it only. Level of a population: more than that of each of its sources (inputs: 0).
A spike needed later than on the next level is carried by relays, one per level:

    a(0) ------K------> c(2)      =>      a(0) --1--> a.relay1(1) --K--> c(2)

A relay has decay 0, one identity weight above its threshold and resets when it fires: its spikes are its source's.

Levels are free to choose between the first possible one and the depth of the graph. The cheapest choice carries as few
neurons over as few levels as it can, the linear program of register-minimizing retiming (Leiserson and Saxe 1991,
section 8). With last[s] the level up to which source s is carried and size[s] its neurons:

    minimize    sum of size[s] * (last[s] - level[s])
    subject to  level[t] >= level[s] + 1,  last[s] >= level[t] - 1        for every projection s -> t

Every row is a difference of two variables, so its solution is made of whole numbers. Populations that may not share a
level (`neighbours.py`) are put in an order first: one more such row for every two of them.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from ..graph import Population, Projection, Shape, SpikingGraph, neurons
from ..trace.linear import identity
from .neighbours import one_after_the_other

Levels = dict[str, int]


def levels(graph: SpikingGraph) -> Levels:
    """Name -> level, as soon as possible; the only choice once every projection spans one level."""
    found = {node.name: 0 for node in graph.inputs}
    for population in graph.populations:
        before = [p.source for p in graph.incoming(population.name) if p.source != population.name]
        found[population.name] = 1 + max((found[source] for source in before), default=0)
    return found


def cheapest_levels(graph: SpikingGraph) -> Levels:
    """Name -> level, with as few relay neurons as possible and the graph no deeper than it must be."""
    soonest, shapes = levels(graph), graph.shapes()
    apart = one_after_the_other(graph, soonest)
    if apart:
        soonest = _later(graph, soonest, apart)
    names = list(soonest)
    index = {name: i for i, name in enumerate(names)}
    n = len(names)  # variables: the level of every node, then `last` of every node
    joined = [(index[p.source], index[p.target]) for p in graph.projections if p.source != p.target]
    rows = [(source, target, -1.0) for source, target in joined]  # level[s] - level[t] <= -1
    rows += [(target, n + source, 1.0) for source, target in joined]  # level[t] - last[s] <= 1
    rows += [(index[before], index[after], -1.0) for before, after in apart]
    plus, minus, limits = zip(*rows, strict=True)
    number = np.arange(len(rows))
    matrix = coo_array(
        (np.repeat([1.0, -1.0], len(rows)), (np.tile(number, 2), np.array([*plus, *minus]))), (len(rows), 2 * n)
    )
    size = np.array([neurons(shapes[name]) if graph.outgoing(name) else 0 for name in names])
    depth = max(soonest.values())
    free = {p.target for p in graph.projections} - {graph.readout.name}  # what reads nothing stays where it is
    bounds = [(1, depth) if name in free else (soonest[name], soonest[name]) for name in names]
    found = linprog(
        np.concatenate([-size, size]),
        matrix.tocsr(),
        np.array(limits),
        bounds=bounds + [(0, depth)] * n,
        method="highs",
    )
    assert found.success, found.message  # the soonest levels are a solution
    return {name: round(value) for name, value in zip(names, found.x[:n], strict=True)}


def _later(graph: SpikingGraph, soonest: Levels, apart: list[tuple[str, str]]) -> Levels:
    """The first possible levels where some populations must lie before others, too."""
    found = dict.fromkeys(soonest, 0)
    before: dict[str, list[str]] = {name: [] for name in soonest}
    for source, target in [*((p.source, p.target) for p in graph.projections if p.source != p.target), *apart]:
        before[target].append(source)
    entering = {node.name for node in graph.inputs}
    for _ in soonest:  # as often as a path may be long
        moved = {n: 1 + max((found[s] for s in before[n]), default=0) if n not in entering else 0 for n in found}
        if moved == found:
            break
        found = moved
    return found


def insert_relays(graph: SpikingGraph, choose: Callable[[SpikingGraph], Levels] = cheapest_levels) -> SpikingGraph:
    """Carry each spike to the level before its reader. The readout is alone on the last level."""
    level, shapes = choose(graph), graph.shapes()
    level[graph.readout.name] = max(level.values()) + (_shares_last_level(graph, level))
    relays: dict[str, Population] = {}
    hops: list[Projection] = []
    projections: list[Projection] = []
    for projection in graph.projections:
        source = projection.source
        for step in range(1, level[projection.target] - level[projection.source]):
            name = f"{projection.source}.relay{step}"
            if name not in relays:
                relays[name] = _relay(name, shapes[projection.source])
                level[name] = level[projection.source] + step
                hops.append(Projection(source=source, target=name, kernel=identity(relays[name].shape)))
            source = name
        projections.append(replace(projection, source=source))
    populations = sorted((*graph.populations, *relays.values()), key=lambda p: level[p.name])
    order = {population.name: i for i, population in enumerate(populations)}
    projections = sorted((*hops, *projections), key=lambda p: order[p.target])
    return replace(graph, populations=tuple(populations), projections=tuple(projections))


def _shares_last_level(graph: SpikingGraph, level: dict[str, int]) -> int:
    last = max(level.values())
    return int(any(level[p.name] == last for p in graph.populations if p.role != "readout"))


def _relay(name: str, shape: Shape) -> Population:
    return Population(name=name, shape=shape, decay=0.0, threshold=0.5, bias=np.zeros(shape[0]), role="relay")
