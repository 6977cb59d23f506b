"""What a network did: spikes, synaptic operations and neuron updates of every population, exact integers.

A synaptic operation (SOP) is one spike that meets one synapse. It is counted where it arrives, at the population that
receives the spike, in the step in which the spike was fired:

    SOPs(target) = sum over projections into the target, over neurons i of the source:  spikes_i * fan_out_i

Synapses of weight zero are none, or are counted like all others with `zeros`; the SOPs of a convolution then are
conv(spikes, ones_like(weight)).sum(). A neuron update is one neuron in one step; the whole population is updated in
every step: T * neurons for each sample.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...export.graph import Role, Shape, SpikingGraph, neurons
from ..synapses import KINDS, fan_out, kind_of

CountedRole = Literal["input"] | Role
Integers = NDArray[np.int64]

COUNTED = (  # of one sample; what a price can be for, beside messages and hops
    "spikes",
    "input_spikes",
    "synaptic_operations",
    "synaptic_operations_conv",
    "synaptic_operations_dense",
    "synaptic_operations_sparse",
    "neuron_updates",
    "active_updates",
    "idle_updates",
)
SPREAD = ("spikes", "synaptic_operations", "active_updates")  # of one population in one sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What one input or population did in a batch of samples.

    spikes [T, N, *shape] of 0 and 1 (None: a readout). active [T, N, *shape]: current or membrane was not zero (None:
    an input).
    """

    spikes: NDArray[np.uint8] | None = None
    active: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts that add up. Neurons and synapses are sizes, the rest are sums over steps and samples."""

    neurons: int = 0
    synapses: int = 0  # incoming
    spikes: int = 0  # of neurons on the chip
    input_spikes: int = 0  # that come from the host
    synaptic_operations_conv: int = 0
    synaptic_operations_dense: int = 0
    synaptic_operations_sparse: int = 0
    neuron_updates: int = 0
    active_updates: int = 0

    @property
    def synaptic_operations(self) -> int:
        return self.synaptic_operations_conv + self.synaptic_operations_dense + self.synaptic_operations_sparse

    @property
    def idle_updates(self) -> int:
        return self.neuron_updates - self.active_updates

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationCounts:
    """One input or population. spikes_of, fired_of [*shape]: spikes of each neuron, and samples in which it spiked.

    each: "spikes" (an input's too), "synaptic_operations" and "active_updates" of each sample, int64 [samples].
    """

    name: str
    role: CountedRole
    shape: Shape
    tally: Tally
    spikes_of: Integers
    fired_of: Integers
    each: Mapping[str, Integers]

    @property
    def spikes(self) -> int:
        return int(self.spikes_of.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Every input and population of a graph, in its order, over `samples` samples of `time_steps` steps.

    each: a name of COUNTED -> [samples, T], all populations together.
    """

    populations: tuple[PopulationCounts, ...]
    samples: int
    time_steps: int
    each: Mapping[str, Integers]

    @property
    def total(self) -> Tally:
        return sum((p.tally for p in self.populations), Tally())

    @property
    def by_role(self) -> dict[CountedRole, Tally]:
        """What relays, OR populations, the readout and the inputs contribute to the total."""
        roles = dict.fromkeys(p.role for p in self.populations)
        return {role: sum((p.tally for p in self.populations if p.role == role), Tally()) for role in roles}

    @property
    def spikes_per_synapse(self) -> float:
        """Spikes that pass a synapse in one inference, on average over all synapses; 0 without synapses."""
        total = self.total
        return total.synaptic_operations / (total.synapses * self.samples) if total.synapses else 0.0

    def per_sample(self, name: str) -> Integers:
        """[samples] of a name of COUNTED."""
        return np.asarray(self.each[name].sum(1), np.int64)


def spread(values: NDArray[np.generic]) -> dict[str, float]:
    """Of one number for each sample: mean, standard deviation over the samples (as a population), least and largest."""
    mean, std = float(values.mean()), float(values.std())
    return {"mean": mean, "std": std, "min": values.min().item(), "max": values.max().item()}


class Counter:
    """Counts what `graph` does, batch by batch.

    on_chip_inputs: inputs whose neurons lie on the chip and are updated in every step; the others come from the host.
    zeros: synapses of weight zero count, too.
    """

    def __init__(
        self, graph: SpikingGraph, *, on_chip_inputs: frozenset[str] = frozenset(), zeros: bool = False
    ) -> None:
        self.graph, self.on_chip_inputs = graph, on_chip_inputs
        self.shapes = graph.shapes()
        self.roles: dict[str, CountedRole] = {n.name: "input" for n in graph.inputs}
        self.roles |= {p.name: p.role for p in graph.populations}
        # source -> its projections' (target, kind, fan-out of each source neuron)
        self.fans = {
            name: [
                (p.target, kind_of(p), fan_out(p, shape, self.shapes[p.target], zeros=zeros).ravel())
                for p in graph.outgoing(name)
            ]
            for name, shape in self.shapes.items()
        }
        self.synapses = dict.fromkeys(self.shapes, 0)
        for target, _, fan in (one for fans in self.fans.values() for one in fans):
            self.synapses[target] += int(fan.sum())
        self.totals = {name: dict.fromkeys((f.name for f in fields(Tally)), 0) for name in self.shapes}
        self.spikes_of = {name: np.zeros(shape, np.int64) for name, shape in self.shapes.items()}
        self.fired_of = {name: np.zeros(shape, np.int64) for name, shape in self.shapes.items()}
        self.each: list[dict[str, Integers]] = []
        self.of_each: list[dict[str, dict[str, Integers]]] = []  # by batch: population -> a name of SPREAD -> [samples]

    def add(self, activity: Mapping[str, Activity]) -> None:
        """Count one batch. `activity` names every input and population; raises InputError where it does not fit."""
        samples = check_activity(self.graph, activity, self.on_chip_inputs)
        steps = self.graph.time_steps
        each = {name: np.zeros((samples, steps), np.int64) for name in COUNTED}
        of_each = {name: {word: np.zeros(samples, np.int64) for word in SPREAD} for name in self.shapes}
        for name, shape in self.shapes.items():
            of_each[name]["active_updates"] += self._updates(
                name, activity[name], each, samples * steps * neurons(shape)
            )
            fired = activity[name].spikes
            if fired is None:
                continue
            self.spikes_of[name] += fired.sum((0, 1), dtype=np.int64)
            self.fired_of[name] += fired.any(0).sum(0, dtype=np.int64)
            flat = np.swapaxes(fired, 0, 1).reshape(samples, steps, -1)
            word = "spikes" if self._on_chip(name) else "input_spikes"
            each[word] += flat.sum(-1, dtype=np.int64)
            of_each[name]["spikes"] += flat.sum((1, 2), dtype=np.int64)
            self.totals[name][word] += int(flat.sum(dtype=np.int64))
            if self.fans[name]:
                fans = np.stack([fan for *_, fan in self.fans[name]], 1)
                arriving = flat.astype(np.float64) @ fans.astype(np.float64)
                for (target, kind, _), sops in zip(self.fans[name], np.moveaxis(arriving, -1, 0), strict=True):
                    each[f"synaptic_operations_{kind}"] += sops.astype(np.int64)  # exact: far below 2^53
                    self.totals[target][f"synaptic_operations_{kind}"] += int(sops.sum())
                    of_each[target]["synaptic_operations"] += sops.sum(1).astype(np.int64)
        each["synaptic_operations"] = sum(each[f"synaptic_operations_{kind}"] for kind in KINDS)  # type: ignore[assignment]
        each["idle_updates"] = each["neuron_updates"] - each["active_updates"]
        self.each.append(each)
        self.of_each.append(of_each)

    def counts(self) -> Counts:
        """Of all batches so far. Raises InputError when there is none."""
        if not self.each:
            raise InputError("`samples >= 1` must hold, but samples=0; run the network on at least one sample.")
        each = {name: np.concatenate([batch[name] for batch in self.each]) for name in COUNTED}
        return Counts(
            populations=tuple(self._population(name) for name in self.shapes),
            samples=len(each["spikes"]),
            time_steps=self.graph.time_steps,
            each=each,
        )

    def _on_chip(self, name: str) -> bool:
        return self.roles[name] != "input" or name in self.on_chip_inputs

    def _updates(
        self, name: str, activity: Activity, each: dict[str, Integers], updates: int
    ) -> NDArray[np.int64] | int:
        """Active updates of each sample."""
        if not self._on_chip(name):
            return 0
        samples, steps = each["neuron_updates"].shape
        each["neuron_updates"] += neurons(self.shapes[name])
        self.totals[name]["neuron_updates"] += updates
        # the neurons of an input layer are driven by their bias in every step
        always = np.full((steps, samples, 1), neurons(self.shapes[name]))
        active = always if activity.active is None else activity.active
        number = active.reshape(steps, samples, -1).sum(-1, dtype=np.int64).T
        each["active_updates"] += number
        self.totals[name]["active_updates"] += int(number.sum())
        return np.asarray(number.sum(1), np.int64)

    def _population(self, name: str) -> PopulationCounts:
        size = neurons(self.shapes[name]) if self._on_chip(name) else 0
        return PopulationCounts(
            name=name,
            role=self.roles[name],
            shape=self.shapes[name],
            tally=Tally(**self.totals[name] | {"neurons": size, "synapses": self.synapses[name]}),
            spikes_of=self.spikes_of[name].copy(),
            fired_of=self.fired_of[name].copy(),
            each={word: np.concatenate([batch[name][word] for batch in self.of_each]) for word in SPREAD},
        )


def check_activity(graph: SpikingGraph, activity: Mapping[str, Activity], on_chip_inputs: Iterable[str] = ()) -> int:
    """The number of samples of a batch. Raises InputError where it is not one of this graph."""
    shapes = graph.shapes()
    if set(shapes) != set(activity):
        missing, unknown = sorted(set(shapes) - set(activity)), sorted(set(activity) - set(shapes))
        raise InputError(
            f"The activity must name every input and population of the graph, but lacks {missing} and has {unknown} "
            "too many; record the run of this very graph."
        )
    roles = {p.name: p.role for p in graph.populations}
    samples = {value.shape[1] for one in activity.values() for value in (one.spikes, one.active) if value is not None}
    if len(samples) != 1 or 0 in samples:
        raise InputError(f"A batch must have one number of samples, at least 1, but has {sorted(samples)}.")
    number = int(samples.pop())
    for name, shape in shapes.items():
        one, wanted = activity[name], (graph.time_steps, number, *shape)
        spiking, updated = roles.get(name) != "readout", name in roles
        for word, value, needed in (("spikes", one.spikes, spiking), ("active", one.active, updated)):
            if value is None and needed:
                raise InputError(f"Activity of '{name}': `{word}` is missing; record it with the run.")
            if value is not None and value.shape != wanted:
                raise InputError(
                    f"Activity of '{name}': `{word}` must have shape {wanted}, but has {value.shape}; "
                    "record the run of this very graph."
                )
        if one.spikes is not None and (not spiking or one.spikes.dtype != np.uint8 or one.spikes.max(initial=0) > 1):
            raise InputError(
                f"Activity of '{name}': spikes must be uint8, 0 or 1, of a population that spikes, but are "
                f"{one.spikes.dtype} up to {one.spikes.max(initial=0)} of {roles.get(name, 'an input')}."
            )
    return number
