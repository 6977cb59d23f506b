"""Energy and time against a walk over every spike and every synapse, message by message, on mapped random graphs.

The walk knows nothing of fan-outs, boxes or patterns: it keeps a list of synapses for each neuron and a core for each
neuron, and goes through the chip's steps with the spikes that `export/simulate.py` gave.
"""

from collections import defaultdict
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.cost.counts import Activity, Counter
from spikeport.deploy.cost.energy import estimate
from spikeport.deploy.cost.latency import step_times
from spikeport.deploy.cost.profiles import find_profile
from spikeport.deploy.cost.traffic import TrafficCounter
from spikeport.deploy.equivalence.conformance import SAMPLES, random_case
from spikeport.deploy.mapping.capacity import Chip, find_chip
from spikeport.deploy.mapping.core_mapping import CoreMapping, map_graph
from spikeport.deploy.synapses import SynapseKind, kind_of
from spikeport.export.graph import Dense, SpikingGraph, neurons
from spikeport.export.passes.relays import levels
from spikeport.export.simulate import simulate

Neuron = tuple[str, int]  # population, place in C-order
NS, PJ = 1e-9, 1e-12
SOP_PJ: dict[SynapseKind, float] = {"conv": 24.0, "dense": 35.5, "sparse": 33.6}
SOP_NS: dict[SynapseKind, float] = {"conv": 3.1, "dense": 3.8, "sparse": 4.7}
SYNC_US = {1: 0.6, 2: 1.0, 4: 1.4, 29: 1.8}
close = partial(pytest.approx, rel=1e-12, abs=0.0)


def synapses_of(graph: SpikingGraph) -> dict[Neuron, list[tuple[Neuron, SynapseKind]]]:
    """Every synapse of non-zero weight, by the neuron it leaves: target by target, tap by tap."""
    shapes = graph.shapes()
    found: dict[Neuron, list[tuple[Neuron, SynapseKind]]] = defaultdict(list)
    for p in graph.projections:
        source, target, kernel = shapes[p.source], shapes[p.target], p.kernel
        if isinstance(kernel, Dense):
            for o, i in zip(*np.nonzero(kernel.weight), strict=True):
                found[p.source, int(i)].append(((p.target, int(o)), kind_of(p)))
            continue
        outputs, inputs = kernel.weight.shape[:2]
        for o, i, k, c in zip(*np.nonzero(kernel.weight), strict=True):
            channel = o // (outputs // kernel.groups) * inputs + i
            for y in range(target[1]):
                for x in range(target[2]):
                    row = y * kernel.stride[0] - kernel.padding[0] + k * kernel.dilation[0]
                    column = x * kernel.stride[1] - kernel.padding[1] + c * kernel.dilation[1]
                    if 0 <= row < source[1] and 0 <= column < source[2]:
                        at = int(np.ravel_multi_index((channel, row, column), source))
                        to = int(np.ravel_multi_index((o, y, x), target))
                        found[p.source, at].append(((p.target, to), "conv"))
    return found


def cores_of(graph: SpikingGraph, mapping: CoreMapping) -> dict[Neuron, int]:
    shapes = graph.shapes()
    found = {}
    for piece in mapping.pieces:
        shape = shapes[piece.population]
        places = np.arange(neurons(shape)).reshape(shape)[tuple(slice(*ends) for ends in piece.box)]
        found |= {(piece.population, int(place)): piece.core for place in places.ravel()}
    return found


def walk(
    graph: SpikingGraph, mapping: CoreMapping, activity: dict[str, Activity]
) -> tuple[float, list[float], list[float]]:
    """Joules of all samples, seconds of each chip step of the stream, seconds of latency of each sample."""
    synapses, core, level = synapses_of(graph), cores_of(graph, mapping), levels(graph)
    steps, chip_steps = graph.time_steps, graph.time_steps * SAMPLES
    sender: dict[tuple[int, int], float] = defaultdict(float)
    receiver: dict[tuple[int, int], float] = defaultdict(float)
    picojoules = 0.0
    for name, shape in graph.shapes().items():
        for sample in range(SAMPLES):
            for t in range(steps):
                now = (sample * steps + t + level[name]) % chip_steps
                for place in range(neurons(shape)):
                    spikes, active = activity[name].spikes, activity[name].active
                    index = (t, sample, *np.unravel_index(place, shape))
                    here = core.get((name, place))
                    if here is not None:
                        picojoules += 51.2
                        sender[now, here] += 6.0
                        if active is not None and active[index]:
                            picojoules += 21.6
                            sender[now, here] += 3.7
                    if spikes is None or not spikes[index]:
                        continue
                    if here is not None:
                        picojoules += 69.3
                        sender[now, here] += 30.0
                    messages: dict[int, list[SynapseKind]] = defaultdict(list)
                    for target, kind in synapses[name, place]:
                        messages[core[target]].append(kind)
                    for there, kinds in messages.items():
                        picojoules += 111.0
                        receiver[now, there] += 16.0
                        for kind in kinds:
                            picojoules += SOP_PJ[kind]
                            receiver[now, there] += SOP_NS[kind]
                        if here is not None:
                            sender[now, here] += 5.1
                            (_, x, y), (_, to_x, to_y) = mapping.tile_of(here), mapping.tile_of(there)
                            picojoules += 3.0 * abs(to_x - x) + 4.2 * abs(to_y - y)
    tiles = len({mapping.tile_of(number) for number in core.values()})
    sync = max(time for least, time in SYNC_US.items() if least <= tiles) * 1000
    times = []
    for now in range(chip_steps):
        busy = [load for (when, _), load in [*sender.items(), *receiver.items()] if when == now]
        times.append((sync + max(busy)) * NS)
    taken = steps + max(level.values())
    latency = [sum(times[(s * steps + k) % chip_steps] for k in range(taken)) for s in range(SAMPLES)]
    return picojoules * PJ, times, latency


def small_cores() -> Chip:
    """Loihi 1 with 24 neurons to a core, so that a small graph takes many cores and tiles."""
    chip = find_chip("loihi1")
    return replace(chip, limits=chip.limits | {"neurons_per_core": replace(chip.limits["neurons_per_core"], value=24)})


def did(graph: SpikingGraph, spikes: NDArray[np.uint8]) -> dict[str, Activity]:
    trace = simulate(graph, {graph.inputs[0].name: spikes})
    return {graph.inputs[0].name: Activity(spikes=spikes)} | {
        p.name: Activity(spikes=trace.spikes.get(p.name), active=trace.active[p.name]) for p in graph.populations
    }


@pytest.mark.parametrize("seed", [0, 2, 4, 6])
def test_a_walk_over_every_spike_and_synapse_gives_the_same(seed: int) -> None:
    case = random_case(seed)
    graph, activity = case.graph, did(case.graph, case.spikes)
    mapping, profile = map_graph(graph, small_cores()), find_profile("loihi1-sanafe")
    counter, moved = Counter(graph), TrafficCounter(graph, mapping)
    for part in (counter, moved):
        part.add(activity)
    counts, traffic = counter.counts(), moved.traffic()
    times = step_times(profile, traffic, samples=SAMPLES, time_steps=graph.time_steps, depth=traffic.depth)
    energy, steps, latency = walk(graph, mapping, activity)
    assert mapping.tiles > 1 and counts.total.spikes > 0 and traffic.each["hops_y"].sum() > 0 and times is not None
    assert float(estimate(profile, counts, traffic, times, 1).dynamic.sum()) == close(energy)
    assert times.steps.tolist() == close(steps)
    assert times.latency.tolist() == close(latency)


def test_one_synapse_less_shows() -> None:
    case = random_case(0)
    graph, activity = case.graph, did(case.graph, case.spikes)
    mapping = map_graph(graph, small_cores())
    before, _, _ = walk(graph, mapping, activity)
    first = graph.projections[0]
    weight = first.kernel.weight.copy()
    weight[tuple(np.argwhere(weight)[0])] = 0.0
    fewer = replace(
        graph, projections=(replace(first, kernel=replace(first.kernel, weight=weight)), *graph.projections[1:])
    )
    counter, moved = Counter(fewer), TrafficCounter(fewer, mapping)
    for part in (counter, moved):
        part.add(activity)
    profile = find_profile("loihi1-sanafe")
    assert float(estimate(profile, counter.counts(), moved.traffic(), None, 1).dynamic.sum()) < before * (1 - 1e-9)
