"""What Lava's layers do before the stream reaches them: their biases may already make them fire.

Layer n (n = 0, 1, ...) answers the first step of the stream n + 1 steps after Lava starts; before that its inputs are
silent, but its biases work. At the first step of the stream currents and membranes are set to zero, yet spikes are
under way in recurrent and delayed synapses and arrive later. Here they become inputs of the graph: for each such
projection and each k = 1, 2, ... an input that fires once, at the first step, for the spikes of step -k,

    arrival at -k + delay (+ 1 if recurrent)  ->  delay' = delay (+ 1) - k, without the synapses where it is negative
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...export.graph import Dense, Projection, SpikeInput, SpikingGraph
from ...export.simulate import STEP, Spikes, apply

Lags = NDArray[np.int64]  # [O, I] steps between a spike and its arrival


def with_warm_up(graph: SpikingGraph) -> tuple[SpikingGraph, dict[str, Spikes]]:
    """(the chain with an input for each step whose spikes are still under way, [*shape] spikes of each such input)."""
    lagging = [p for p in graph.projections if isinstance(p.kernel, Dense) and _lags(p).any()]
    if not lagging:
        return graph, {}
    before = _warm_up(graph)
    inputs: dict[str, Spikes] = {}
    projections: list[Projection] = []
    for projection in lagging:
        lags = _lags(projection)
        for k, fired in enumerate(reversed(before.get(projection.source, [])), start=1):
            late = (lags >= k) & (projection.kernel.weight != 0)
            if fired.any() and late.any():
                name = f"{projection.source} to {projection.target}, {k} before"
                inputs[name] = fired
                kernel = Dense(weight=np.where(late, projection.kernel.weight, 0.0))
                delay = np.where(late, lags - k, 0)
                projections.append(Projection(source=name, target=projection.target, kernel=kernel, delay=delay))
    nodes = tuple(SpikeInput(name=name, shape=fired.shape) for name, fired in inputs.items())
    return replace(graph, inputs=graph.inputs + nodes, projections=graph.projections + tuple(projections)), inputs


def _warm_up(graph: SpikingGraph) -> dict[str, list[Spikes]]:
    """population -> its spikes [*shape] of steps -(n + 1) ... -1."""
    before: dict[str, list[Spikes]] = {}
    step = STEP[graph.arithmetic]
    for n, population in enumerate(graph.populations):
        u = v = np.zeros((1, *population.shape))
        fired = before[population.name] = []
        for t in range(-n - 1, 0):
            if t % graph.time_steps == 0:
                u = v = np.zeros_like(u)
            a = np.zeros(u.shape)
            for projection in graph.incoming(population.name):
                a += _arriving(projection, before.get(projection.source, []), t, fired is before.get(projection.source))
            u, _, fires, v = step(population, u, v, a)
            fired.append(fires[0].astype(np.uint8))
    return before


def _arriving(projection: Projection, spikes: list[Spikes], t: int, recurrent: bool) -> NDArray[np.float64]:
    """At step t < 0, from a source whose last known spike is that of step t - 1 (recurrent) or -1."""
    total = np.zeros(1)
    if not isinstance(projection.kernel, Dense):
        return total if len(spikes) < -t else apply(projection.kernel, spikes[t][None])
    lags = _lags(projection)
    for lag in np.unique(lags).tolist():
        back = lag - 1 if recurrent else lag - t - 1  # counted from the last known spike
        if back < len(spikes):
            weight = np.where(lags == lag, projection.kernel.weight, 0.0)
            total = total + apply(Dense(weight=weight), spikes[-1 - back][None])
    return total


def _lags(projection: Projection) -> Lags:
    lags = np.zeros(projection.kernel.weight.shape, np.int64) if projection.delay is None else projection.delay
    return lags + int(projection.source == projection.target)
