"""What a mapped network moves: messages, hops between tiles, and the load of every core in every step.

    messages = sum over neurons i, steps t:  spikes_i[t] * |cores that hold a target of i|
    hops     = those messages times the tiles between sender and receiver, first along x, then along y

A spike sends one message to each core that holds a target of its neuron, the neuron's own core included, however many
synapses it has there. A spike from the host is delivered by messages like any other; its way to the first tile is
unknown and counts no hops.

Messages and hops are counted of all samples. The load of every core in every step is counted of the first ones only
where all would pass `LOADS_BYTES` or `LOADS_SUMS`: of 10,000 samples on 20,000 cores they would be 16 GB and hours.
What goes out of a neuron is a sparse matrix, neurons x cores.

Samples stream back to back, one after the other without end. A population on level l runs step t of a sample in the
chip's step t + l, so a chip step holds different samples on different levels. A message loads its receiver in the chip
step in which its spike was fired.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...export.graph import Shape, SpikingGraph, neurons
from ...export.passes.relays import levels
from ..mapping.core_mapping import CoreMapping
from ..synapses import KINDS, Box, SynapseKind, fan_out, kind_of
from .counts import Activity, check_activity

Integers = NDArray[np.int64]
Loads = NDArray[np.int32]

SENT = ("neuron_updates", "active_updates", "idle_updates", "spikes", "messages")
RECEIVED = ("messages", "synaptic_operations", *(f"synaptic_operations_{kind}" for kind in KINDS))
MOVED = ("messages", "hops_x", "hops_y")
LOADS_BYTES = 2**29  # of the loads of all cores in all steps
LOADS_SUMS = 2**36  # numbers that are added up for them: some minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """each: a name of MOVED -> int64 [samples, T]. of_population: source -> name of MOVED -> sum over samples, steps.

    sent, received: a name of SENT or RECEIVED -> int32 [chip steps, cores], the stream of the first `timed` samples;
    chip steps = timed * T. depth: levels of the graph, so that a sample takes T + depth chip steps.
    """

    mapping: CoreMapping
    depth: int
    timed: int
    each: Mapping[str, Integers]
    of_population: Mapping[str, Mapping[str, int]]
    sent: Mapping[str, Loads]
    received: Mapping[str, Loads]

    def per_sample(self, name: str) -> Integers:
        """[samples] of a name of MOVED."""
        return np.asarray(self.each[name].sum(1), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Home:
    """Where a population lies. cores: those that hold some of it; parts: sparse [cores, neurons] of 0 and 1."""

    cores: Integers
    parts: Any

    @property
    def sizes(self) -> Integers:
        """[cores] neurons."""
        return np.asarray(self.parts.sum(1), np.int64).ravel()

    def summed(self, values: NDArray[np.generic]) -> Integers:
        """[samples, T, neurons] -> [samples, T, cores]."""
        return _times(self.parts, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fans:
    """Where a source's spikes go. receivers: cores. reached: sparse [receivers, neurons], 1 where a neuron has a target
    there; of_kind: kind -> the same with its synapses. moved [neurons, MOVED]: what one spike of a neuron moves."""

    receivers: Integers
    reached: Any
    of_kind: Mapping[SynapseKind, Any]
    moved: NDArray[np.float64]


@dataclass(slots=True)
class _Batch:
    """int64 [samples, T] by name, and int32 [samples, T, cores] by name."""

    each: dict[str, Integers] = field(default_factory=dict)
    sent: dict[str, Loads] = field(default_factory=dict)
    received: dict[str, Loads] = field(default_factory=dict)


class TrafficCounter:
    """Counts what a graph, mapped to cores, moves; batch by batch, as `Counter` does."""

    def __init__(
        self,
        graph: SpikingGraph,
        mapping: CoreMapping,
        *,
        zeros: bool = False,
        loads_bytes: int = LOADS_BYTES,
        loads_sums: int = LOADS_SUMS,
    ) -> None:
        self.graph, self.mapping = graph, mapping
        self.shapes = graph.shapes()
        self.level = levels(graph)
        self.cores = 1 + max(piece.core for piece in mapping.pieces)
        self.boxes: dict[str, list[tuple[int, Box]]] = {name: [] for name in self.shapes}
        for piece in mapping.pieces:
            self.boxes[piece.population].append((piece.core, piece.box))
        self.tiles = np.array([_position(mapping, core) for core in range(self.cores)])  # [cores, (x, y)]
        self.homes = {name: self._home(name) for name, boxes in self.boxes.items() if boxes}
        self.fans = {name: found for name in self.shapes if (found := self._fans(name, zeros))}
        self.of_population = {name: dict.fromkeys(MOVED, 0) for name in self.shapes}
        self.batches: list[_Batch] = []
        a_sample = graph.time_steps * self.cores * np.dtype(np.int32).itemsize * (len(SENT) + len(RECEIVED))
        matrices = (matrix for fans in self.fans.values() for matrix in (fans.reached, *fans.of_kind.values()))
        sums = graph.time_steps * max(1, sum(matrix.nnz for matrix in matrices))  # of a sample
        self.untimed = max(1, min(loads_bytes // a_sample, loads_sums // sums))  # samples whose loads are to be counted
        self.timed = 0

    def add(self, activity: Mapping[str, Activity]) -> None:
        """Count one batch; raises InputError where it does not fit the graph."""
        samples, steps = check_activity(self.graph, activity), self.graph.time_steps
        kept = min(samples, self.untimed)
        self.untimed, self.timed = self.untimed - kept, self.timed + kept
        batch = _Batch(
            each={name: np.zeros((samples, steps), np.int64) for name in MOVED},
            sent={name: np.zeros((kept, steps, self.cores), np.int32) for name in SENT},
            received={name: np.zeros((kept, steps, self.cores), np.int32) for name in RECEIVED},
        )
        for name in self.shapes:
            fired = activity[name].spikes
            if kept and name in self.homes:
                self._work(name, activity[name], batch.sent)
            if fired is not None and name in self.fans:
                flat = np.swapaxes(fired, 0, 1).reshape(samples, steps, -1)
                self._move(name, flat, batch)
                if kept:
                    self._load(name, flat[:kept], batch)
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
            timed=self.timed,
            each={name: np.concatenate([b.each[name] for b in self.batches]) for name in MOVED},
            of_population=self.of_population,
            sent={name: _stream([b.sent[name] for b in self.batches], level) for name in SENT},
            received={name: _stream([b.received[name] for b in self.batches], before) for name in RECEIVED},
        )

    def _work(self, name: str, activity: Activity, sent: dict[str, Loads]) -> None:
        """Updates and spikes of a population's cores."""
        home, kept = self.homes[name], len(sent["spikes"])
        sizes = home.sizes

        def summed(values: NDArray[np.generic]) -> Integers:
            return home.summed(np.swapaxes(values[:, :kept], 0, 1).reshape(kept, len(values), -1))

        active = sizes if activity.active is None else summed(activity.active)
        sent["neuron_updates"][..., home.cores] += sizes.astype(np.int32)
        sent["active_updates"][..., home.cores] += active.astype(np.int32)
        sent["idle_updates"][..., home.cores] += (sizes - active).astype(np.int32)
        if activity.spikes is not None:
            sent["spikes"][..., home.cores] += summed(activity.spikes).astype(np.int32)

    def _move(self, name: str, fired: NDArray[np.uint8], batch: _Batch) -> None:
        """fired [samples, T, neurons]. All sums are whole numbers far below 2^53, so exact in float64."""
        moved = (fired.astype(np.float64) @ self.fans[name].moved).astype(np.int64)
        for word, number in zip(MOVED, np.moveaxis(moved, -1, 0), strict=True):
            batch.each[word] += number
            self.of_population[name][word] += int(number.sum())

    def _load(self, name: str, fired: NDArray[np.uint8], batch: _Batch) -> None:
        """What the cores get, and what a population's own send. fired [samples, T, neurons]."""
        fans = self.fans[name]
        batch.received["messages"][..., fans.receivers] += _times(fans.reached, fired).astype(np.int32)
        for kind, fan in fans.of_kind.items():
            operations = _times(fan, fired).astype(np.int32)
            batch.received[f"synaptic_operations_{kind}"][..., fans.receivers] += operations
            batch.received["synaptic_operations"][..., fans.receivers] += operations
        if name in self.homes:
            home = self.homes[name]
            messages = fired * fans.moved[:, MOVED.index("messages")].astype(np.int64)
            batch.sent["messages"][..., home.cores] += home.summed(messages).astype(np.int32)

    def _home(self, name: str) -> _Home:
        shape, boxes = self.shapes[name], self.boxes[name]
        cores = np.unique(np.array([core for core, _ in boxes], np.int64))
        places = [_places(shape, box) for _, box in boxes]
        rows = np.repeat(np.searchsorted(cores, [core for core, _ in boxes]), [len(each) for each in places])
        ones, size = np.ones(len(rows), np.int32), (len(cores), neurons(shape))
        return _Home(cores=cores, parts=sparse.csr_array((ones, (rows, np.concatenate(places))), size))

    def _fans(self, name: str, zeros: bool) -> _Fans | None:
        """None where no spike of this node reaches a core."""
        shape = self.shapes[name]
        found: dict[SynapseKind, dict[int, list[Any]]] = {kind: {} for kind in KINDS}  # kind -> core -> sparse rows
        for p in self.graph.outgoing(name):
            kind = kind_of(p)
            for core, box in self.boxes[p.target]:
                fan = fan_out(p, shape, self.shapes[p.target], box=box, zeros=zeros).reshape(1, -1)
                row = sparse.csr_array(fan.astype(np.int32))
                if row.nnz:
                    found[kind].setdefault(core, []).append(row)
        receivers = np.array(sorted({core for rows in found.values() for core in rows}), np.int64)
        if not len(receivers):
            return None
        nothing = sparse.csr_array((1, neurons(shape)), dtype=np.int32)
        of_kind = {
            kind: sparse.vstack([sum(rows.get(core, ()), nothing) for core in receivers.tolist()], format="csr")
            for kind, rows in found.items()
            if rows
        }
        reached = sum(of_kind.values(), sparse.csr_array((len(receivers), neurons(shape)), dtype=np.int32))
        reached.data[:] = 1
        home = np.full(neurons(shape), -1)
        if name in self.homes:
            parts = self.homes[name].parts.tocoo()
            home[parts.col] = self.homes[name].cores[parts.row]
            held = sparse.diags_array((home >= 0).astype(np.int32), dtype=np.int32)  # what is nowhere sends nothing
            reached = (reached @ held).tocsr()
            of_kind = {kind: (fan @ held).tocsr() for kind, fan in of_kind.items()}
        return _Fans(receivers=receivers, reached=reached, of_kind=of_kind, moved=self._moved(reached, receivers, home))

    def _moved(self, reached: Any, receivers: Integers, home: Integers) -> NDArray[np.float64]:
        """[neurons, MOVED]: messages of a spike, and the tiles that they pass; none from the host."""
        pairs = reached.tocoo()
        size = len(home)
        columns = [np.bincount(pairs.col, minlength=size)]
        far = np.abs(self.tiles[home[pairs.col]] - self.tiles[receivers[pairs.row]])
        far[home[pairs.col] < 0] = 0
        columns += [np.bincount(pairs.col, weights=far[:, axis], minlength=size) for axis in (0, 1)]
        return np.stack(columns, axis=1).astype(np.float64)


def _times(matrix: Any, fired: NDArray[np.generic]) -> Integers:
    """Sparse [cores, neurons], values [samples, T, neurons] -> [samples, T, cores]."""
    flat = fired.reshape(-1, fired.shape[-1])
    product = np.asarray(matrix @ np.ascontiguousarray(flat.T.astype(np.int64)))
    return product.T.reshape(*fired.shape[:2], -1)


def _position(mapping: CoreMapping, core: int) -> tuple[int, int]:
    """(x, y) of a core's tile, where the meshes of several chips stand in a row along x."""
    chip, x, y = mapping.tile_of(core)
    return chip * mapping.columns + x, y


def _places(shape: Shape, box: Box) -> Integers:
    inside: Integers = np.arange(neurons(shape)).reshape(shape)[tuple(slice(*ends) for ends in box)].ravel()
    return inside


def _stream(batches: list[Loads], level: Integers) -> Loads:
    """[samples, T, cores] by batch -> [samples * T, cores], every core as many steps later as its level says."""
    values = np.concatenate(batches)
    steps = values.shape[0] * values.shape[1]
    flat = values.reshape(steps, -1)
    found = np.empty_like(flat)
    for late in np.unique(level).tolist():
        some = np.flatnonzero(level == late)
        found[:, some] = np.roll(flat[:, some], late, axis=0)
    return found
