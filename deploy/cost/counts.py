"""What a network did: spikes, synaptic operations and neuron updates of every population, exact integers.

A synaptic operation (SOP) is one spike that meets one synapse of non-zero weight. It is counted where it arrives, at
the population that receives the spike:

    SOPs(target) = sum over projections into the target, over neurons i of the source:  spikes_i * fan_out_i

A neuron update is one neuron in one step; the whole population is updated in every step:  T * neurons * samples.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...export.graph import Conv, Dense, Projection, Role, Shape, SpikingGraph, neurons

CountedRole = Literal["input"] | Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What one population did in a run, summed over steps and samples.

    spikes [shape of the population]; active_updates: neuron-steps in which current or membrane was not zero (0 for an
    input, which has neither).
    """

    spikes: NDArray[np.int64]
    active_updates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts that add up. Neurons and synapses are sizes, the rest are sums over steps and samples."""

    neurons: int = 0
    synapses: int = 0  # incoming, of non-zero weight
    spikes: int = 0
    synaptic_operations: int = 0
    neuron_updates: int = 0
    active_updates: int = 0

    @property
    def idle_updates(self) -> int:
        return self.neuron_updates - self.active_updates


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationCounts:
    """The tally of one input or population."""

    name: str
    role: CountedRole
    shape: Shape
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Every input and population of a graph, in its order, over `samples` samples of `time_steps` steps."""

    populations: tuple[PopulationCounts, ...]
    samples: int
    time_steps: int

    @property
    def total(self) -> Tally:
        """All populations together; the inputs add their spikes, not their neurons: those are not on the chip."""
        return _sum(p.tally for p in self.populations)

    @property
    def by_role(self) -> dict[CountedRole, Tally]:
        """What relays, OR populations, the readout and the inputs contribute to the total."""
        roles = dict.fromkeys(p.role for p in self.populations)
        return {role: _sum(p.tally for p in self.populations if p.role == role) for role in roles}

    @property
    def spikes_per_synapse(self) -> float:
        """Spikes that pass a synapse in one inference, on average over all synapses; 0 without synapses.

        The break-even against an efficient ANN lies between 0.15 and 1.38 (Dampfhoffer et al. 2023).
        """
        total = self.total
        return total.synaptic_operations / (total.synapses * self.samples) if total.synapses else 0.0


def per_sample(tally: Tally, samples: int) -> dict[str, float]:
    """The counts of one inference: means over the samples, with the sizes left out."""
    counted = ("spikes", "synaptic_operations", "neuron_updates", "active_updates", "idle_updates")
    return {name: getattr(tally, name) / samples for name in counted}


def fan_out(projection: Projection, source_shape: Shape, target_shape: Shape) -> NDArray[np.int64]:
    """Synapses of non-zero weight that leave each source neuron; int64 of `source_shape`.

    For a convolution the sum over kernel rows k and columns l of

        nonzero[c, k, l] * rows[k, y] * columns[l, x]

    where nonzero counts the target channels of the group of channel c, and rows[k, y] is 1 where some target row q has
    q * stride + k * dilation - padding = y: exact at borders and for every stride, padding, dilation and group.
    """
    kernel = projection.kernel
    if isinstance(kernel, Dense):
        leaving: NDArray[np.int64] = np.count_nonzero(kernel.weight, axis=0).reshape(source_shape).astype(np.int64)
        return leaving
    outputs, inputs_per_group, *taps = kernel.weight.shape
    per_group = (kernel.groups, outputs // kernel.groups, inputs_per_group, *taps)
    nonzero = np.count_nonzero(kernel.weight.reshape(per_group), axis=1).reshape(source_shape[0], *taps)  # [C, kh, kw]
    rows, columns = (_reaches(kernel, axis, source_shape, target_shape) for axis in (0, 1))
    spread: NDArray[np.int64] = np.einsum("ckl,ky,lx->cyx", nonzero.astype(np.int64), rows, columns)
    return spread


def synapses(projection: Projection, source_shape: Shape, target_shape: Shape) -> int:
    """Synapses of non-zero weight of a projection; taps on the zero padding are none."""
    return int(fan_out(projection, source_shape, target_shape).sum())


def count(graph: SpikingGraph, activity: Mapping[str, Activity], samples: int) -> Counts:
    """Count what `graph` did on `samples` samples.

    `activity` names every input and population of the graph, and nothing else; the readout's spikes are zeros. Raises
    InputError where names, shapes or ranges do not fit.
    """
    if samples < 1:
        raise InputError(f"`samples >= 1` must hold, but samples={samples}; run the network on at least one sample.")
    _check_names(graph, activity)
    counted = [_count_input(node.name, node.shape, activity, graph, samples) for node in graph.inputs]
    shapes = graph.shapes()
    for population in graph.populations:
        _check_activity(population.name, population.shape, population.role, activity[population.name], graph, samples)
        joined = graph.incoming(population.name)
        fans = [(fan_out(p, shapes[p.source], population.shape), activity[p.source].spikes) for p in joined]
        size = neurons(population.shape)
        tally = Tally(
            neurons=size,
            synapses=sum(int(fan.sum()) for fan, _ in fans),
            spikes=int(activity[population.name].spikes.sum()),
            synaptic_operations=sum(int((fan * spikes).sum()) for fan, spikes in fans),
            neuron_updates=graph.time_steps * size * samples,
            active_updates=int(activity[population.name].active_updates),
        )
        counted.append(
            PopulationCounts(name=population.name, role=population.role, shape=population.shape, tally=tally)
        )
    return Counts(populations=tuple(counted), samples=samples, time_steps=graph.time_steps)


def _count_input(
    name: str, shape: Shape, activity: Mapping[str, Activity], graph: SpikingGraph, samples: int
) -> PopulationCounts:
    _check_activity(name, shape, "input", activity[name], graph, samples)
    tally = Tally(spikes=int(activity[name].spikes.sum()))
    return PopulationCounts(name=name, role="input", shape=shape, tally=tally)


def _reaches(kernel: Conv, axis: int, source_shape: Shape, target_shape: Shape) -> NDArray[np.int64]:
    """[taps, source size] of 0 and 1: does this tap carry this source row (axis 0) or column (axis 1) to a target?"""
    tap = np.arange(kernel.weight.shape[2 + axis])[:, None]
    place = np.arange(source_shape[1 + axis])[None, :]
    reached, phase = np.divmod(place + kernel.padding[axis] - tap * kernel.dilation[axis], kernel.stride[axis])
    hits: NDArray[np.int64] = ((phase == 0) & (reached >= 0) & (reached < target_shape[1 + axis])).astype(np.int64)
    return hits


def _sum(tallies: Iterable[Tally]) -> Tally:
    rows = list(tallies)
    return Tally(
        neurons=sum(t.neurons for t in rows),
        synapses=sum(t.synapses for t in rows),
        spikes=sum(t.spikes for t in rows),
        synaptic_operations=sum(t.synaptic_operations for t in rows),
        neuron_updates=sum(t.neuron_updates for t in rows),
        active_updates=sum(t.active_updates for t in rows),
    )


def _check_names(graph: SpikingGraph, activity: Mapping[str, Activity]) -> None:
    wanted, found = set(graph.shapes()), set(activity)
    if wanted != found:
        raise InputError(
            f"The activity must name every input and population of the graph, but lacks {sorted(wanted - found)} "
            f"and has {sorted(found - wanted)} too many; record the run of this very graph."
        )


def _check_activity(
    name: str, shape: Shape, role: CountedRole, activity: Activity, graph: SpikingGraph, samples: int
) -> None:
    spikes, steps = activity.spikes, graph.time_steps * samples
    most_spikes = 0 if role == "readout" else steps
    most_active = 0 if role == "input" else steps * neurons(shape)
    if spikes.shape != shape or not np.issubdtype(spikes.dtype, np.integer):
        raise InputError(
            f"Activity of '{name}': spikes must be integers of shape {shape}, but are {spikes.dtype} of shape "
            f"{spikes.shape}; sum them over steps and samples only."
        )
    if spikes.min() < 0 or spikes.max() > most_spikes:
        raise InputError(
            f"Activity of '{name}': `0 <= spikes <= {most_spikes}` must hold for a neuron ({role}, {graph.time_steps} "
            f"steps, {samples} samples), but they reach from {spikes.min()} to {spikes.max()}; record the run again."
        )
    if not 0 <= activity.active_updates <= most_active:
        raise InputError(
            f"Activity of '{name}': `0 <= active_updates <= {most_active}` must hold ({role}, {neurons(shape)} "
            f"neurons, {graph.time_steps} steps, {samples} samples), but active_updates={activity.active_updates}; "
            "record the run again."
        )
