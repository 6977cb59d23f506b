"""What Lava's layers do before the stream reaches them: their biases may already make them fire.

Layer n (n = 0, 1, ...) answers the first step of the stream n + 1 steps after Lava starts; before that its inputs are
silent, but its biases work. Its spikes are then under way in recurrent and delayed synapses and arrive later; currents
and membranes stay until the next reset, which is at the first step of the stream where the phase is 0.
"""

import numpy as np
from numpy.typing import NDArray

from ...export.graph import Dense, Projection, SpikingGraph
from ...export.simulate import STEP, Spikes, State, apply, lag_of, silence

Lags = NDArray[np.int64]  # [O, I] steps between a spike and its arrival


def state_before(graph: SpikingGraph, samples: int, phase: int = 0) -> State:
    """The state of a chain as N equal streams reach it. phase: the step of the stream at which a window begins."""
    lag = lag_of(graph)
    if not lag and phase % graph.time_steps == 0:  # the reset at the first step leaves nothing of what was before
        return silence(graph, samples)
    before: dict[str, list[Spikes]] = {}
    currents, membranes = {}, {}
    step = STEP[graph.arithmetic]
    for n, population in enumerate(graph.populations):
        name = population.name
        u = v = np.zeros((1, *population.shape))
        fired = before[name] = []
        for t in range(-n - 1, 0):
            if (t - phase) % graph.time_steps == 0:
                u = v = np.zeros_like(u)
            a = np.zeros(u.shape)
            for projection in graph.incoming(name):
                a += _arriving(projection, before.get(projection.source, []), t, name == projection.source)
            u, _, fires, v = step(population, u, v, a)
            fired.append(fires[0].astype(np.uint8))
        currents[name], membranes[name] = u.repeat(samples, 0), v.repeat(samples, 0)
    spikes = {name: np.zeros((lag, samples, *shape), np.uint8) for name, shape in graph.shapes().items()}
    for name, known in before.items():
        for k, each in enumerate(reversed(known[len(known) - min(lag, len(known)) :]), start=1):
            spikes[name][-k] = each
    return State(step=-phase % graph.time_steps, currents=currents, membranes=membranes, spikes=spikes)


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
