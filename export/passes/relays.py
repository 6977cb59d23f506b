"""Every projection spans one level.

A chip layer reads the layer before it only. Level of a population: 1 + the highest level among its sources (inputs: 0).
A spike needed later than on the next level is carried by relays, one per level:

    a(0) ------K------> c(2)      =>      a(0) --1--> a.relay1(1) --K--> c(2)

A relay has decay 0, one identity weight above its threshold and resets when it fires: its spikes are its source's.
"""

from dataclasses import replace

import numpy as np

from ..graph import Population, Projection, Shape, SpikingGraph
from ..linear import identity


def levels(graph: SpikingGraph) -> dict[str, int]:
    """Name -> level, as soon as possible."""
    found = {node.name: 0 for node in graph.inputs}
    for population in graph.populations:
        found[population.name] = 1 + max((found[p.source] for p in graph.incoming(population.name)), default=0)
    return found


def insert_relays(graph: SpikingGraph) -> SpikingGraph:
    """Carry each spike to the level before its reader. The readout is alone on the last level."""
    level, shapes = levels(graph), graph.shapes()
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
