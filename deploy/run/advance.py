"""What a stream is run on, some steps at a time: plain here, compiled in `kernels/runner.py`; both carry a `State`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...export.graph import SpikingGraph, neurons
from ...export.simulate import Integers, Spikes, State, advance

BYTES_PER_NEURON_STEP = 64  # spikes, marks, membranes and their stacks, and the sums of a step

Advanced = tuple[Mapping[str, Spikes], Integers, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """run: spikes [steps, N, *shape] by input, state before -> (spikes by population, last membranes, state after).

    A readout has no spikes. step_bytes: of memory that it takes for each sample and step.
    """

    run: Callable[[Mapping[str, Spikes], State], Advanced]
    step_bytes: int


Runner = Callable[[SpikingGraph], Advance]


def simulated(graph: SpikingGraph) -> Advance:
    """The plain runner: `export/simulate.py`."""

    def run(inputs: Mapping[str, Spikes], state: State) -> Advanced:
        trace, after = advance(graph, inputs, state)
        fired = {p.name: trace.spikes[p.name] for p in graph.populations if p.name in trace.spikes}
        return fired, trace.readout.astype(np.int64), after

    return Advance(run=run, step_bytes=BYTES_PER_NEURON_STEP * sum(map(neurons, graph.shapes().values())))
