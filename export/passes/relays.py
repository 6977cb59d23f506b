"""Every projection spans one level.

A chip layer reads the layer before it only. Level of a population: more than that of each of its sources (inputs: 0).
A spike needed later than on the next level is carried by relays, one per level:

    a(0) ------K------> c(2)      =>      a(0) --1--> a.relay1(1) --K--> c(2)

A relay has decay 0, one identity weight above its threshold and resets when it fires: its spikes are its source's.
Neurons that nobody reads any more are not carried on (`waiting.py`).

Levels are free to choose between the first possible one and the depth of the graph. The cheapest choice carries as few
neurons over as few levels as it can, the linear program of register-minimizing retiming (Leiserson and Saxe 1991,
section 8). With last[p] the level up to which a part p of source s is carried, neurons that are read by the same:

    minimize    sum of size[p] * (last[p] - level[s])
    subject to  level[t] >= level[s] + 1        for every projection s -> t
                last[p] >= level[t] - 1         for every t that reads p

Every row is a difference of two variables, so its solution is made of whole numbers. Of solutions that carry equally
many that is taken in which all come as late as they can, because a pool fires more than what it pools. Populations that
may not share a level (`neighbours.py`) are put in an order first: one more such row for every two of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from ..graph import Population, Projection, Shape, SpikingGraph
from .neighbours import one_after_the_other
from .waiting import Form, Reader, hop, narrower, parts_of, read_from, readers_of, whole

Levels = dict[str, int]
Parts = Callable[[Sequence[Reader], Shape], list[tuple[int, list[Reader]]]]  # as `parts_of`


def levels(graph: SpikingGraph) -> Levels:
    """Name -> level, as soon as possible; the only choice once every projection spans one level."""
    found = {node.name: 0 for node in graph.inputs}
    for population in graph.populations:
        before = [p.source for p in graph.incoming(population.name) if p.source != population.name]
        found[population.name] = 1 + max((found[source] for source in before), default=0)
    return found


def cheapest_levels(graph: SpikingGraph, parts: Parts = parts_of) -> Levels:
    """Name -> level, with as few relay neurons as possible and the graph no deeper than it must be."""
    soonest, shapes = levels(graph), graph.shapes()
    apart = one_after_the_other(graph, soonest)
    if apart:
        soonest = _later(graph, soonest, apart)
    index = {name: i for i, name in enumerate(soonest)}  # variables: the level of every node, then `last` of every part
    rows = [(index[p.source], index[p.target], -1.0) for p in graph.projections if p.source != p.target]
    rows += [(index[before], index[after], -1.0) for before, after in apart]  # level[before] - level[after] <= -1
    cost = [0.0] * len(index)
    for name, shape in shapes.items():
        for size, readers in parts(readers_of(graph, name), shape):
            rows += [(index[reader.projection.target], len(cost), 1.0) for reader in readers]  # level[t] - last <= 1
            cost[index[name]] -= size
            cost.append(size)
    depth = max(soonest.values())
    late = -0.5 / (len(index) * depth)  # all of it together less than one neuron
    cost = [each + late * (i < len(index)) for i, each in enumerate(cost)]
    free = {p.target for p in graph.projections} - {graph.readout.name}  # what reads nothing stays where it is
    bounds = [(1, depth) if name in free else (soonest[name], soonest[name]) for name in index]
    found = solved(cost, rows, bounds + [(0, depth)] * (len(cost) - len(index)))
    return {name: round(value) for name, value in zip(index, found, strict=False)}


def solved(cost: list[float], rows: list[tuple[int, int, float]], bounds: list[tuple[int, int]]) -> list[float]:
    """The cheapest variables with x[plus] - x[minus] <= limit for every row (plus, minus, limit)."""
    plus, minus, limits = zip(*rows, strict=True)
    number = np.arange(len(rows))
    places = (np.tile(number, 2), np.array([*plus, *minus]))
    matrix = coo_array((np.repeat([1.0, -1.0], len(rows)), places), (len(rows), len(cost)))
    found = linprog(np.array(cost), matrix.tocsr(), np.array(limits), bounds=bounds, method="highs")
    assert found.success, found.message  # the soonest levels are a solution
    return list(found.x)


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


def insert_relays(
    graph: SpikingGraph,
    choose: Callable[[SpikingGraph], Levels] = cheapest_levels,
    left: Callable[[Form, Sequence[Reader]], Form] = narrower,
) -> SpikingGraph:
    """Carry each spike to the level before its reader. The readout is alone on the last level.

    left: what is held of a population, and who waits for it -> what the next relay holds.
    """
    level, shapes = choose(graph), graph.shapes()
    level[graph.readout.name] = max(level.values()) + (_shares_last_level(graph, level))
    relays: list[Population] = []
    hops: list[Projection] = []
    moved: dict[int, Projection] = {}
    for name, shape in shapes.items():
        readers = readers_of(graph, name)
        steps = {id(r.projection): level[r.projection.target] - level[name] - 1 for r in readers}
        source, form = name, whole(shape)
        for step in range(1, max(steps.values(), default=0) + 1):
            before, held = source, form
            source = f"{name}.relay{step}"
            form = left(held, [r for r in readers if steps[id(r.projection)] >= step])
            relays.append(_relay(source, form.shape))
            level[source] = level[name] + step
            hops.append(Projection(source=before, target=source, kernel=hop(held, form)))
            for reader in readers:
                if steps[id(reader.projection)] == step:
                    read = read_from(form, reader.projection, shapes[reader.projection.target])
                    moved[id(reader.projection)] = replace(read, source=source)
    projections = [moved.get(id(p), p) for p in graph.projections]
    populations = sorted((*graph.populations, *relays), key=lambda p: level[p.name])
    order = {population.name: i for i, population in enumerate(populations)}
    projections = sorted((*hops, *projections), key=lambda p: order[p.target])
    return replace(graph, populations=tuple(populations), projections=tuple(projections))


def _shares_last_level(graph: SpikingGraph, level: dict[str, int]) -> int:
    last = max(level.values())
    return int(any(level[p.name] == last for p in graph.populations if p.role != "readout"))


def _relay(name: str, shape: Shape) -> Population:
    return Population(name=name, shape=shape, decay=0.0, threshold=0.5, bias=np.zeros(shape[0]), role="relay")
