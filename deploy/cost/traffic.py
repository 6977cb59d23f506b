"""What a mapped network moves: messages, hops between tiles, and the load of every core in every step.

    messages = sum over neurons i, steps t:  spikes_i[t] * |cores that hold a target of i|
    hops     = those messages times the tiles between sender and receiver, first along x, then along y

A spike sends one message to each core that holds a target of its neuron, the neuron's own core included, however many
synapses it has there. A spike from the host is delivered by messages like any other; its way to the first tile is
unknown and counts no hops.

Samples stream back to back, one after the other without end. A population on level l runs step t of a sample in the
chip's step t + l, so a chip step holds different samples on different levels. A message loads its receiver in the chip
step in which its spike was fired.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...export.graph import Shape, SpikingGraph, neurons
from ...export.passes.relays import levels
from ..mapping.core_mapping import CoreMapping
from ..synapses import KINDS, Box, SynapseKind, fan_out, kind_of
from .counts import Activity, check_activity

Integers = NDArray[np.int64]

SENT = ("neuron_updates", "active_updates", "idle_updates", "spikes", "messages")
RECEIVED = ("messages", "synaptic_operations", *(f"synaptic_operations_{kind}" for kind in KINDS))
MOVED = ("messages", "hops_x", "hops_y")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """each: a name of MOVED -> int64 [samples, T]. of_population: source -> name of MOVED -> sum over samples, steps.

    sent, received: a name of SENT or RECEIVED -> int64 [chip steps, cores], the stream of all samples; chip steps =
    samples * T. depth: levels of the graph, so that a sample takes T + depth chip steps.
    """

    mapping: CoreMapping
    depth: int
    each: Mapping[str, Integers]
    of_population: Mapping[str, Mapping[str, int]]
    sent: Mapping[str, Integers]
    received: Mapping[str, Integers]

    def per_sample(self, name: str) -> Integers:
        """[samples] of a name of MOVED."""
        return np.asarray(self.each[name].sum(1), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The neurons of one source on one core (None: the host). fans: kind -> [neurons, receivers]."""

    core: int | None
    places: Integers  # of the neurons in the population's C-order
    reached: NDArray[np.float64]  # [neurons, receivers], 1 where the neuron has a target there
    fans: Mapping[SynapseKind, NDArray[np.float64]]
    receivers: Integers  # cores
    hops: Mapping[str, Integers]  # "hops_x", "hops_y" -> [receivers]


@dataclass(slots=True)
class _Batch:
    """int64 [samples, T] by name, and [samples, T, cores] by name."""

    each: dict[str, Integers] = field(default_factory=dict)
    sent: dict[str, Integers] = field(default_factory=dict)
    received: dict[str, Integers] = field(default_factory=dict)


class TrafficCounter:
    """Counts what a graph, mapped to cores, moves; batch by batch, as `Counter` does."""

    def __init__(self, graph: SpikingGraph, mapping: CoreMapping, *, zeros: bool = False) -> None:
        self.graph, self.mapping = graph, mapping
        self.shapes = graph.shapes()
        self.level = levels(graph)
        self.cores = 1 + max(piece.core for piece in mapping.pieces)
        self.boxes: dict[str, list[tuple[int, Box]]] = {name: [] for name in self.shapes}
        for piece in mapping.pieces:
            self.boxes[piece.population].append((piece.core, piece.box))
        self.parts = {name: self._parts(name, zeros) for name in self.shapes}
        self.of_population = {name: dict.fromkeys(MOVED, 0) for name in self.shapes}
        self.batches: list[_Batch] = []

    def add(self, activity: Mapping[str, Activity]) -> None:
        """Count one batch; raises InputError where it does not fit the graph."""
        samples, steps = check_activity(self.graph, activity), self.graph.time_steps
        batch = _Batch(
            each={name: np.zeros((samples, steps), np.int64) for name in MOVED},
            sent={name: np.zeros((samples, steps, self.cores), np.int32) for name in SENT},
            received={name: np.zeros((samples, steps, self.cores), np.int32) for name in RECEIVED},
        )
        for name in self.shapes:
            self._work(name, activity[name], batch.sent)
            fired = activity[name].spikes
            if fired is not None:
                flat = np.swapaxes(fired, 0, 1).reshape(samples, steps, -1)
                for part in self.parts[name]:
                    self._send(name, part, flat[..., part.places].astype(np.float64), batch)
        self.batches.append(batch)

    def traffic(self) -> Traffic:
        """Of all batches so far."""
        level = np.zeros(self.cores, np.int64)
        for piece in self.mapping.pieces:
            level[piece.core] = self.level[piece.population]
        before = np.maximum(level - 1, 0)  # what arrives was fired on the level before
        return Traffic(
            mapping=self.mapping,
            depth=max(self.level.values()),
            each={name: np.concatenate([b.each[name] for b in self.batches]) for name in MOVED},
            of_population=self.of_population,
            sent={name: _stream([b.sent[name] for b in self.batches], level) for name in SENT},
            received={name: _stream([b.received[name] for b in self.batches], before) for name in RECEIVED},
        )

    def _work(self, name: str, activity: Activity, sent: dict[str, Integers]) -> None:
        """Updates and spikes of a population's cores."""
        for core, box in self.boxes[name]:
            inside = (slice(None), slice(None), *(slice(*ends) for ends in box))
            size = int(np.prod([stop - start for start, stop in box]))
            axes = tuple(range(2, 2 + len(box)))
            active = size if activity.active is None else activity.active[inside].sum(axes, dtype=np.int64).T
            sent["neuron_updates"][..., core] += size
            sent["active_updates"][..., core] += active
            sent["idle_updates"][..., core] += size - active
            if activity.spikes is not None:
                sent["spikes"][..., core] += activity.spikes[inside].sum(axes, dtype=np.int64).T

    def _send(self, name: str, part: _Part, fired: NDArray[np.float64], batch: _Batch) -> None:
        """fired [samples, T, neurons of the part]. All sums are whole numbers far below 2^53, so exact in float64."""
        messages = (fired @ part.reached).astype(np.int64)  # [samples, T, receivers]
        batch.received["messages"][..., part.receivers] += messages
        for kind, fan in part.fans.items():
            operations = (fired @ fan).astype(np.int64)
            batch.received[f"synaptic_operations_{kind}"][..., part.receivers] += operations
            batch.received["synaptic_operations"][..., part.receivers] += operations
        if part.core is not None:
            batch.sent["messages"][..., part.core] += messages.sum(-1)
        moved = {"messages": messages.sum(-1)} | {word: messages @ far for word, far in part.hops.items()}
        for word, number in moved.items():
            batch.each[word] += number
            self.of_population[name][word] += int(number.sum())

    def _parts(self, name: str, zeros: bool) -> list[_Part]:
        shape = self.shapes[name]
        targets = [
            (core, kind_of(p), fan_out(p, shape, self.shapes[p.target], box=box, zeros=zeros).ravel())
            for p in self.graph.outgoing(name)
            for core, box in self.boxes[p.target]
        ]
        receivers = np.array(sorted({core for core, _, fan in targets if fan.any()}), np.int64)
        column = {core: i for i, core in enumerate(receivers.tolist())}
        fans = {kind: np.zeros((neurons(shape), len(receivers))) for kind in KINDS}
        for core, kind, fan in targets:
            if core in column:
                fans[kind][:, column[core]] += fan
        reached = (np.sum([*fans.values()], axis=0) > 0).astype(np.float64)
        whole: list[tuple[int | None, Integers]] = [(None, np.arange(neurons(shape), dtype=np.int64))]
        home = [(core, _places(shape, box)) for core, box in self.boxes[name]] or whole
        return [
            _Part(
                core=core,
                places=places,
                reached=reached[places],
                fans={kind: fan[places] for kind, fan in fans.items() if fan.any()},
                receivers=receivers,
                hops=self._hops(core, receivers),
            )
            for core, places in home
            if len(receivers)
        ]

    def _hops(self, core: int | None, receivers: Integers) -> dict[str, Integers]:
        if core is None:
            return {}
        here = np.array(_position(self.mapping, core))
        there = np.array([_position(self.mapping, receiver) for receiver in receivers.tolist()]).reshape(-1, 2)
        far = np.abs(there - here)
        return {"hops_x": far[:, 0], "hops_y": far[:, 1]}


def _position(mapping: CoreMapping, core: int) -> tuple[int, int]:
    """(x, y) of a core's tile, where the meshes of several chips stand in a row along x."""
    chip, x, y = mapping.tile_of(core)
    return chip * mapping.columns + x, y


def _places(shape: Shape, box: Box) -> Integers:
    inside: Integers = np.arange(neurons(shape)).reshape(shape)[tuple(slice(*ends) for ends in box)].ravel()
    return inside


def _stream(batches: list[Integers], level: Integers) -> Integers:
    """[samples, T, cores] by batch -> [samples * T, cores], every core as many steps later as its level says."""
    values = np.concatenate(batches)
    steps = values.shape[0] * values.shape[1]
    rows = (np.arange(steps)[:, None] - level[None, :]) % steps
    return np.take_along_axis(values.reshape(steps, -1), rows, axis=0)
