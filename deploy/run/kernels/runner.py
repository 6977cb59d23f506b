"""The quantized SpikingGraph on compiled integer kernels: the fast run, equal to `export/simulate.py` bit for bit.

Spikes stay packed, one bit each. Memory is bounded: samples are taken in chunks, and a stream that is too long for one
chunk in chunks of time steps, with the state carried over. Beside the input and what the caller asks to keep, a chunk's
bits and states take at most CHUNK_BYTES, or what one sample needs for one step if that is more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ....errors import InputError, UnsupportedError
from ....export.graph import Population, SpikingGraph, neurons
from ....export.simulate import Spikes, State
from ..advance import Advance, simulated
from . import integer
from .program import Compiler, Node, aligned, by_lag, layout_of
from .tables import NARROW, WORD, Integers, Span, Work

CHUNK_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelResult:
    """What a run left behind. `spikes` unpacks one population; it needs a run with keep=True."""

    readout: Integers  # [T, N, *shape]: the readout's membrane after each step and its reset
    totals: Mapping[str, Integers]  # input or population -> spikes of each neuron, over steps and samples, [*shape]
    active: Mapping[str, int]  # population -> neuron-steps with a current or a membrane before the reset that is not 0
    layout: Mapping[str, Node]
    bits: NDArray[np.uint64] | None  # [N, T, words]
    moved: NDArray[np.uint64] | None = None  # likewise, of the neurons that were active

    @property
    def predictions(self) -> Integers:
        """[N] the class of each sample, where the stream is one window."""
        return np.asarray(self.readout[-1].argmax(1), np.int64)

    def spikes(self, name: str) -> Spikes:
        """uint8 [T, N, *shape] of an input or population other than the readout."""
        if self.bits is None:
            raise ValueError("spikes were not kept; run with keep=True")
        return np.ascontiguousarray(unpacked(self.bits, self.layout[name]))

    def active_in(self, name: str) -> NDArray[np.bool_]:
        """[T, N, *shape] of a population: current or membrane before the reset were not 0."""
        if self.moved is None:
            raise ValueError("active neurons were not kept; run with note=True")
        return np.ascontiguousarray(unpacked(self.moved, self.layout[name])).view(np.bool_)


def unpacked(bits: NDArray[np.uint64], node: Node) -> Spikes:
    """[N, T, words] -> uint8 [T, N, *shape], in memory the samples first."""
    words = np.ascontiguousarray(bits[:, :, node.at : node.at + node.rows * node.words])
    flat = np.unpackbits(words.astype("<u8").view(np.uint8), axis=-1, bitorder="little")
    return np.swapaxes(flat[..., node.places].reshape(*words.shape[:2], *node.shape), 0, 1)


def packed(spikes: Spikes, node: Node) -> NDArray[np.uint64]:
    """uint8 [T, N, *shape] -> [N, T, words]; plain, for the few steps that a synapse looks back."""
    flat = np.zeros((spikes.shape[1], spikes.shape[0], node.size), np.uint8)
    flat[..., node.places] = np.swapaxes(spikes, 0, 1).reshape(*flat.shape[:2], len(node.places))
    return np.packbits(flat, axis=-1, bitorder="little").view("<u8").astype(np.uint64)


class KernelRunner:
    """A quantized graph, compiled to tables. Raises UnsupportedError for what is not integer or leaves 32 bits."""

    def __init__(self, graph: SpikingGraph, chunk_bytes: int = CHUNK_BYTES) -> None:
        if graph.arithmetic != "loihi":
            raise ValueError("KernelRunner takes a quantized graph")
        self.graph, self.chunk_bytes = graph, chunk_bytes
        self.scratch: dict[str, NDArray[Any]] = {}
        self.layout = layout_of(graph)
        lags = [lag for p in graph.projections for lag, _ in by_lag(p)]
        self.history = max(lags, default=0)
        self.recurrent = np.array([any(q.source == p.name for q in graph.incoming(p.name)) for p in graph.populations])
        self.program = Compiler(graph, self.layout).program()

    def run(
        self,
        spikes: Spikes | Mapping[str, Spikes],
        windows: int = 1,
        *,
        keep: bool = True,
        totals: bool = True,
        note: bool = False,
    ) -> KernelResult:
        """Run spikes [windows * T, N, *shape], or one such array per input; `windows` as in `simulate`.

        With `keep` every spike is kept, packed, and with `note` which neurons were active; with `totals` spikes are
        counted for each neuron.
        Raises InputError when an input is missing, has another shape or is not 0 or 1.
        """
        inputs = dict(spikes) if isinstance(spikes, Mapping) else {self.graph.inputs[0].name: spikes}
        steps, samples = self._check(inputs, windows)
        last = self.layout[self.graph.readout.name]
        words = len(self.program.masks)
        readout = np.zeros((steps, samples, last.size), np.int32)
        counted = np.zeros((words, WORD), np.int64)
        active = np.zeros(len(self.graph.populations), np.int64)
        kept = np.zeros((samples, self.history + steps, words), np.uint64) if keep else None
        if note and not keep:
            raise ValueError("active neurons are noted of a run that keeps its spikes")
        moved = np.zeros((samples, steps, words), np.uint64) if note else None
        for some, times, work in self._chunks(samples, steps, kept):
            if moved is not None:
                work = work._replace(moved=moved[some])
            span = Span(times.start, self.graph.time_steps, self.history, times.stop - times.start < steps)
            self._pack({name: value[times, some] for name, value in inputs.items()}, work)
            self.compute(work, span)
            readout[times, some] = work.readout.swapaxes(0, 1)
            active += work.active.sum((0, 1))
            if totals:
                integer.count(work.bits, self.history, counted)
        return KernelResult(
            readout=readout[..., last.places].astype(np.int64).reshape(steps, samples, *last.shape),
            totals={
                name: counted[n.at : n.at + n.rows * n.words].reshape(-1)[n.places].reshape(n.shape)
                for name, n in self.layout.items()
            }
            if totals
            else {},
            active={p.name: int(a) for p, a in zip(self.graph.populations, active, strict=True)},
            layout=self.layout,
            bits=None if kept is None else kept[:, self.history :],
            moved=moved,
        )

    @property
    def step_bytes(self) -> int:
        """What `advance` takes for a sample and a step, with what it returns: words, a node unpacked, membranes."""
        last = self.layout[self.graph.readout.name]
        seen = sum(map(neurons, self.graph.shapes().values()))
        return 8 * len(self.program.masks) + 2 * max(n.size for n in self.layout.values()) + 8 * last.size + 20 * seen

    def advance(self, inputs: Mapping[str, Spikes], state: State) -> tuple[dict[str, Spikes], Integers, State]:
        """Go on from a state, as `export/simulate.py` defines it, on spikes [steps, N, *shape] per input.

        Returns the spikes of every population but a readout, the last one's membranes [steps, N, *shape], and the state
        after it.
        """
        steps, samples = next(iter(inputs.values())).shape[:2]
        window = self.graph.time_steps
        bits = self._array("bits", (samples, self.history + steps, len(self.program.masks)), np.dtype(np.uint64))
        work = self.work(bits, carry=True)
        work.membrane[:] = 0
        work.current[:] = 0
        for name, node in self.layout.items():
            bits[:, : self.history, node.at : node.at + node.rows * node.words] = packed(state.spikes[name], node)
        places = {p.name: self.layout[p.name].at * WORD + self.layout[p.name].places for p in self.graph.populations}
        for name, where in places.items():
            work.membrane[:samples, where] = state.membranes[name].reshape(samples, -1)
            if work.current.shape[1]:  # else every population forgets it at once
                work.current[:samples, where] = state.currents[name].reshape(samples, -1)
        self._pack(inputs, work)
        first = state.step % window + -(-self.history // window) * window  # never before the beginning of a stream
        self.compute(work, Span(first, window, self.history, True))
        last = self.layout[self.graph.readout.name]
        readout = work.readout[..., last.places].astype(np.int64).reshape(samples, steps, *last.shape)

        def kept(values: NDArray[Any], population: Population) -> NDArray[Any]:
            found = values[:samples, places[population.name]] if values.shape[1] else np.zeros(1, np.int64)
            return np.array(np.broadcast_to(found, (samples, neurons(population.shape)))).reshape(-1, *population.shape)

        after = State(
            step=state.step + steps,
            currents={p.name: kept(work.current, p) for p in self.graph.populations},
            membranes={p.name: kept(work.membrane, p) for p in self.graph.populations},
            spikes={name: unpacked(bits[:, steps:][:, : self.history], node) for name, node in self.layout.items()},
        )
        fired = {
            p.name: unpacked(bits[:, self.history :], self.layout[p.name])
            for p in self.graph.populations
            if p.role != "readout"
        }
        return fired, np.swapaxes(readout, 0, 1), after

    def compute(self, work: Work, span: Span, first: int = 0, last: int | None = None) -> None:
        """Populations first..last of packed inputs."""
        last = len(self.graph.populations) if last is None else last
        if len(work.bits) >= len(work.sums):
            integer.run_samples(self.program, work, span, first, last)
        else:
            integer.run_bands(self.program, work, span, first, last, self.recurrent)

    def work(self, bits: NDArray[np.uint64], *, carry: bool = False) -> Work:
        """The arrays for a chunk with these bits [N, history + steps, words]. The next call uses them again."""
        samples, steps, words = bits.shape
        threads = numba.get_num_threads()
        slots = max(samples, threads) if carry else threads
        general = not self.program.populations[:, NARROW].all()
        size = words * WORD
        return Work(
            bits=bits,
            sums=self._array("sums", (threads, size), self.program.weights.dtype),
            current=self._array("current", (slots, size if general else 0), np.dtype(np.int64)),
            membrane=self._array("membrane", (slots, size), np.dtype(np.int32)),
            active=np.zeros((samples, threads, len(self.graph.populations)), np.int64),
            moved=np.zeros((0, 0, 0), np.uint64),
            readout=np.zeros((samples, steps - self.history, self.layout[self.graph.readout.name].size), np.int32),
        )

    def _array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """What the last call left behind, if it fits: fresh memory costs more than a short run."""
        found = self.scratch.get(name)
        if found is None or found.shape != shape:
            found = self.scratch[name] = aligned(shape, dtype)
        return found

    def _chunks(self, samples: int, steps: int, kept: NDArray[np.uint64] | None) -> Iterator[tuple[slice, slice, Work]]:
        """(samples, steps, arrays) of every chunk. Kept spikes are in memory anyway, so only samples are cut."""
        words = len(self.program.masks)
        state = 12 * WORD * words  # bytes of current and membrane
        many = max(1, self.chunk_bytes // (8 * words * (self.history + steps)))
        some = min(samples, many)
        long = steps if kept is not None or many > 1 else max(1, (self.chunk_bytes - state) // (8 * words))
        if long >= steps:
            long = steps
        for first in range(0, samples, some):
            chosen = slice(first, min(first + some, samples))
            work = None
            for start in range(0, steps, long):
                times = slice(start, min(start + long, steps))
                if kept is not None:
                    bits = kept[chosen]
                else:
                    shape = (chosen.stop - chosen.start, self.history + times.stop - times.start, words)
                    bits = self._array(f"bits {start % (2 * long)}", shape, np.dtype(np.uint64))
                fresh = self.work(bits, carry=long < steps)
                if work is not None:
                    bits[:, : self.history] = work.bits[:, work.bits.shape[1] - self.history :]
                    fresh = fresh._replace(current=work.current, membrane=work.membrane)
                work = fresh
                yield chosen, times, work

    def _pack(self, inputs: Mapping[str, Spikes], work: Work) -> None:
        for name, value in inputs.items():
            node = self.layout[name]
            image = value if value.ndim == 5 else value[:, :, None, None, :]
            words = node.words if value.ndim == 5 else node.rows * node.words
            if integer.pack(image, work.bits, words, node.at, self.history) > 1:
                raise InputError(f"Input '{name}' must be spikes, 0 or 1, but has other values.")

    def _check(self, inputs: Mapping[str, Spikes], windows: int) -> tuple[int, int]:
        wanted = {node.name for node in self.graph.inputs}
        if set(inputs) != wanted:
            raise InputError(f"The graph reads the inputs {sorted(wanted)}, but was given {sorted(inputs)}.")
        steps = windows * self.graph.time_steps
        samples = {value.shape[1] for value in inputs.values() if value.ndim > 1}
        for node in self.graph.inputs:
            value = inputs[node.name]
            if value.shape[:1] != (steps,) or value.shape[2:] != node.shape or len(samples) != 1:
                raise InputError(
                    f"Input '{node.name}' must have shape [{steps}, N, {', '.join(map(str, node.shape))}], "
                    f"but has {list(value.shape)}."
                )
            if value.dtype != np.uint8:
                raise InputError(f"Input '{node.name}' must be uint8, but is {value.dtype}.")
        return steps, samples.pop()


def compiled(graph: SpikingGraph) -> Advance:
    """What `run_netx` and `stream_netx` run a graph on.

    The weights of a neuron may add up to more than 32 bits hold; such a graph takes the plain runner.
    """
    try:
        runner = KernelRunner(graph)
    except UnsupportedError:
        return simulated(graph)
    return Advance(run=runner.advance, step_bytes=runner.step_bytes)
