"""The quantized SpikingGraph on compiled integer kernels: the fast run, equal to `export/simulate.py` bit for bit.

Spikes stay packed, one bit each. Memory is bounded: samples are taken in chunks, and a stream that is too long for one
chunk in chunks of time steps, with the state carried over. Beside the input and what the caller asks to keep, a chunk's
bits and states take at most CHUNK_BYTES, or what one sample needs for one step if that is more.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UnsupportedError
from ..export.graph import Conv, Dense, Population, Projection, Shape, SpikingGraph, neurons
from ..export.simulate import DECAY_UNITY, MANTISSA_SHIFT, STATE_LIMIT, Spikes, apply
from . import kernels
from .counts import Activity
from .kernels import LANES, RUN, WORD, Program, Span, Work

CHUNK_BYTES = 256 * 2**20
CACHE_LINE = 64  # bytes
INT32_MAX = 2**31 - 1
INT16_MAX = 2**15 - 1

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelResult:
    """What a run left behind. `spikes` unpacks one population; it needs a run with keep=True."""

    readout: Integers  # [T, N, *shape]: the readout's membrane after each step and its reset
    totals: Mapping[str, Integers]  # input or population -> spikes of each neuron, over steps and samples, [*shape]
    active: Mapping[str, int]  # population -> neuron-steps with a current or a membrane before the reset that is not 0
    layout: Mapping[str, "Node"]
    bits: NDArray[np.uint64] | None  # [N, T, words]

    @property
    def predictions(self) -> Integers:
        """[N] the class of each sample, where the stream is one window."""
        return np.asarray(self.readout[-1].argmax(1), np.int64)

    def spikes(self, name: str) -> Spikes:
        """uint8 [T, N, *shape] of an input or population other than the readout."""
        if self.bits is None:
            raise ValueError("spikes were not kept; run with keep=True")
        node = self.layout[name]
        words = np.ascontiguousarray(self.bits[:, :, node.at : node.at + node.rows * node.words])
        flat = np.unpackbits(words.astype("<u8").view(np.uint8), axis=-1, bitorder="little")
        return np.ascontiguousarray(np.swapaxes(flat[..., node.places], 0, 1)).reshape(
            words.shape[1], words.shape[0], *node.shape
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Where an input or a population lies among the words of a step."""

    shape: Shape
    rows: int
    words: int  # in a row
    at: int
    places: Integers  # [neurons in C-order: channel, row, column] -> place in the node's padded rows

    @property
    def size(self) -> int:
        """Neurons, dead ones included."""
        return self.rows * self.words * WORD


class KernelRunner:
    """A quantized graph, compiled to tables. Raises UnsupportedError for what is not integer or leaves 32 bits."""

    def __init__(self, graph: SpikingGraph, chunk_bytes: int = CHUNK_BYTES) -> None:
        if graph.arithmetic != "loihi":
            raise ValueError("KernelRunner takes a quantized graph")
        self.graph, self.chunk_bytes = graph, chunk_bytes
        self.scratch: dict[str, NDArray[Any]] = {}
        self.layout = _layout(graph)
        lags = [lag for p in graph.projections for lag, _ in _by_lag(p)]
        self.history = max(lags, default=0)
        self.recurrent = np.array([any(q.source == p.name for q in graph.incoming(p.name)) for p in graph.populations])
        self.program = _Compiler(graph, self.layout).program()

    def run(
        self, spikes: Spikes | Mapping[str, Spikes], windows: int = 1, *, keep: bool = True, totals: bool = True
    ) -> KernelResult:
        """Run spikes [windows * T, N, *shape], or one such array per input; `windows` as in `simulate`.

        With `keep` every spike is kept, packed; with `totals` they are counted for each neuron.
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
        for some, times, work in self._chunks(samples, steps, kept):
            span = Span(times.start, self.graph.time_steps, self.history, times.stop - times.start < steps)
            self._pack({name: value[times, some] for name, value in inputs.items()}, work)
            self.compute(work, span)
            readout[times, some] = work.readout.swapaxes(0, 1)
            active += work.active.sum((0, 1))
            if totals:
                kernels.count(work.bits, self.history, counted)
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
        )

    def measure(self, spikes: Spikes) -> tuple[NDArray[np.int64], dict[str, Activity]]:
        """Run any number of samples: predictions [N] and what every population did, summed over them."""
        result = self.run(spikes, keep=False)
        activity = {
            name: Activity(spikes=total, active_updates=result.active.get(name, 0))
            for name, total in result.totals.items()
        }
        return result.predictions, activity

    def compute(self, work: Work, span: Span, first: int = 0, last: int | None = None) -> None:
        """Populations first..last of packed inputs."""
        last = len(self.graph.populations) if last is None else last
        if len(work.bits) >= len(work.sums):
            kernels.run_samples(self.program, work, span, first, last)
        else:
            kernels.run_bands(self.program, work, span, first, last, self.recurrent)

    def work(self, bits: NDArray[np.uint64], *, carry: bool = False) -> Work:
        """The arrays for a chunk with these bits [N, history + steps, words]. The next call uses them again."""
        samples, steps, words = bits.shape
        threads = numba.get_num_threads()
        slots = max(samples, threads) if carry else threads
        general = not self.program.populations[:, kernels.NARROW].all()
        size = words * WORD
        return Work(
            bits=bits,
            sums=self._array("sums", (threads, size), self.program.weights.dtype),
            current=self._array("current", (slots, size if general else 0), np.dtype(np.int64)),
            membrane=self._array("membrane", (slots, size), np.dtype(np.int32)),
            active=np.zeros((samples, threads, len(self.graph.populations)), np.int64),
            readout=np.zeros((samples, steps - self.history, self.layout[self.graph.readout.name].size), np.int32),
        )

    def _array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """What the last call left behind, if it fits: fresh memory costs more than a short run."""
        found = self.scratch.get(name)
        if found is None or found.shape != shape:
            found = self.scratch[name] = _aligned(shape, dtype)
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
            if kernels.pack(image, work.bits, words, node.at, self.history) > 1:
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


def _layout(graph: SpikingGraph) -> dict[str, Node]:
    found: dict[str, Node] = {}
    at = 0
    inputs = {node.name for node in graph.inputs}
    for name, shape in graph.shapes().items():
        if len(shape) == 1:
            rows, words, places = _ceil(shape[0], WORD), 1, np.arange(shape[0])
        else:
            channels, rows, columns = shape
            c, y, x = np.ogrid[:channels, :rows, :columns]
            if name in inputs:
                words, inside = _ceil(channels * columns, WORD), c * columns + x
            else:
                deep = _deep(channels)
                words, inside = _ceil(columns * deep + deep % RUN, WORD), x * deep + c
            places = (y * words * WORD + inside).reshape(-1)
        found[name] = Node(shape=shape, rows=rows, words=words, at=at, places=places.astype(np.int64))
        at += rows * words
    return found


def _by_lag(projection: Projection) -> list[tuple[int, Projection]]:
    """A projection as such without delays: (steps it looks back, projection)."""
    back = int(projection.source == projection.target)
    if projection.delay is None:
        return [(back, projection)]
    parts = []
    for delay in np.unique(projection.delay).tolist():
        weight = np.where(projection.delay == delay, projection.kernel.weight, 0.0)
        parts.append((back + delay, replace(projection, kernel=Dense(weight=weight), delay=None)))
    return parts


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _deep(channels: int) -> int:
    """Channels of a population's image, dead ones included: whole lanes, so that rows of weights lie side by side."""
    return _ceil(channels, LANES) * LANES


class _Compiler:
    """Fills the tables of a Program."""

    def __init__(self, graph: SpikingGraph, layout: Mapping[str, Node]) -> None:
        self.graph, self.layout = graph, layout
        self.index = {name: i for i, name in enumerate(layout)}
        self.projections: list[list[int]] = []
        self.weights = _Table(1)
        self.answers = _Table(1)
        self.bias = _Table(1)
        self.reach = _Table(4)
        self.tap_ends = _Table(1)
        self.taps = _Table(3)

    def program(self) -> Program:
        nodes = [[n.rows, n.words, n.at, neurons(n.shape)] for n in self.layout.values()]
        populations = [self._population(p) for p in self.graph.populations]
        bound = max(_bound(self.graph, p) for p in self.graph.populations)
        if bound > INT32_MAX:
            raise UnsupportedError(f"The weights of a neuron add up to {bound}, but must stay below 2^31.")
        weights = np.int16 if bound <= INT16_MAX else np.int32
        return Program(
            nodes=np.array(nodes, np.int64),
            populations=np.array(populations, np.int64),
            projections=np.array(self.projections, np.int64).reshape(-1, kernels.LENGTH + 1),
            masks=self._masks(),
            bias=self.bias.array(np.int32),
            weights=self.weights.array(weights),
            answers=self.answers.array(weights),
            reach=self.reach.array(np.int32),
            tap_ends=self.tap_ends.array(np.int64),
            taps=self.taps.array(np.int64),
        )

    def _masks(self) -> NDArray[np.uint64]:
        flat = np.zeros(sum(node.size for node in self.layout.values()), np.uint8)
        for node in self.layout.values():
            flat[node.at * WORD + node.places] = 1
        return np.packbits(flat, bitorder="little").view("<u8").astype(np.uint64)

    def _population(self, p: Population) -> list[int]:
        node = self.layout[p.name]
        first = len(self.projections)
        for projection in self.graph.incoming(p.name):
            for lag, part in _by_lag(projection):
                self._projection(part, lag)
        bias = np.zeros(node.size, np.int64)
        bias[node.places] = np.repeat(p.bias.astype(np.int64) << MANTISSA_SHIFT, neurons(p.shape[1:]))
        image = len(p.shape) == 3  # one bias per channel: the rows of an image are alike
        bias_at = self.bias.add(bias[: node.words * WORD] if image else bias)
        decay, current_decay = round(p.decay * DECAY_UNITY), round(p.current_decay * DECAY_UNITY)
        shift = 12
        while shift and decay % 2 == 0:
            decay, shift = decay // 2, shift - 1
        low, high = -STATE_LIMIT, STATE_LIMIT
        threshold = min(max(int(p.threshold) << MANTISSA_SHIFT, low), high)
        narrow = (
            current_decay == 0
            and _bound(self.graph, p) << MANTISSA_SHIFT < STATE_LIMIT
            and decay * STATE_LIMIT < INT32_MAX
            and int(np.abs(bias).max()) < 2**29
        )
        readout = p.name == self.graph.readout.name
        return [
            self.index[p.name], first, len(self.projections), decay, shift, current_decay, threshold,
            bias_at, 0 if image else WORD, int(narrow), int(readout),
        ]  # fmt: skip

    def _projection(self, projection: Projection, lag: int) -> None:
        source, target, kernel = self.layout[projection.source], self.layout[projection.target], projection.kernel
        if not np.array_equal(kernel.weight, np.rint(kernel.weight)):
            raise UnsupportedError(
                f"Projection '{projection.source}' -> '{projection.target}': weights must be integers."
            )
        answer = np.zeros(target.size, np.int64)
        answer[target.places] = apply(kernel, np.ones((1, *source.shape))).reshape(-1)
        row = {"source": self.index[projection.source], "lag": lag, "answer": self.answers.add(answer)}
        if isinstance(kernel, Dense):
            length = _ceil(int(target.places.max()) + 1, RUN) * RUN
            matrix = np.zeros((source.size, length), np.int64)
            matrix[np.ix_(source.places, target.places)] = kernel.weight.T
            weights_at = self.weights.add(matrix.reshape(-1))
            self.projections.append(
                [row["source"], 1, lag, weights_at, row["answer"], 0, 0, target.words * WORD, length]
            )
            return
        self._convolution(kernel, source, target, row)

    def _convolution(self, kernel: Conv, source: Node, target: Node, row: Mapping[str, int]) -> None:
        """Tables: what a neuron at each place of a source row reaches, and which rows a source row reaches."""
        out, per_group, height, width = kernel.weight.shape
        group_out = out // kernel.groups
        channels, rows, columns = source.shape
        # [I, kh, kw, O / groups]: what one input channel says to its group, output channels last
        weight = kernel.weight.astype(np.int64).reshape(kernel.groups, group_out, per_group, height, width)
        weight = weight.transpose(0, 2, 3, 4, 1).reshape(channels, height, width, group_out)
        down = [_reached(y, 0, kernel, target.shape[1]) for y in range(rows)]
        across = [_reached(x, 1, kernel, target.shape[2]) for x in range(columns)]
        spacing = {b[0] - a[0] for taps in across for a, b in itertools.pairwise(taps)}
        joined = kernel.groups == 1 and spacing <= {1}  # neighbours in a row: one run of weights reaches them all
        deep = _deep(out)
        wide = deep if joined else group_out  # weights to one target column
        longest = max(len(taps) for taps in across)
        step = _ceil(longest * wide, RUN) * RUN  # from one kernel row to the next
        variants: dict[tuple[int, ...], int] = {}
        reach = np.zeros((source.words * WORD, 4), np.int64)
        place = source.places.reshape(source.shape)[:, 0, :]  # of [channel, column] in the first row
        for x, taps in enumerate(across):
            kept = tuple(k for _, k in taps)
            if not kept:
                continue
            if kept not in variants:
                block = np.zeros((channels, height, step), np.int64)
                part = block[:, :, : longest * wide].reshape(channels, height, longest, wide)
                part[:, :, : len(kept), :group_out] = weight[:, :, kept, :]
                block[:, :, : longest * wide] = part.reshape(channels, height, -1)
                variants[kept] = self.weights.add(block.reshape(-1))
            room = target.words * WORD - taps[0][0] * deep  # where it fits, all runs are equally long: zeros follow
            run = step if step <= room else _ceil(len(kept) * wide, RUN) * RUN
            length, segments = (run, 1) if joined else (wide, len(kept))
            c = np.arange(channels)
            reach[place[:, x], 0] = taps[0][0] * deep + c // per_group * group_out
            reach[place[:, x], 1] = variants[kept] + c * height * step
            reach[place[:, x], 2:] = length, segments
        ends = np.cumsum([0, *(len(taps) for taps in down)]) + self.taps.length
        flat = [[to, to * target.words * WORD, k * step] for taps in down for to, k in taps]
        self.taps.add(np.array(flat, np.int64).reshape(-1, 3))
        apart = deep * min(spacing, default=1)
        self.projections.append(
            [
                row["source"],
                0,
                row["lag"],
                0,
                row["answer"],
                self.reach.add(reach),
                self.tap_ends.add(ends),
                apart,
                int(joined),
            ]
        )


class _Table:
    """Pieces of a flat table; `add` answers where a piece begins."""

    def __init__(self, columns: int) -> None:
        self.columns, self.length = columns, 0
        self.pieces: list[Integers] = []

    def add(self, piece: Integers) -> int:
        at = self.length
        self.pieces.append(piece)
        self.length += len(piece)
        return at

    def array(self, dtype: type[np.signedinteger]) -> NDArray[np.signedinteger]:
        shape = (0,) if self.columns == 1 else (0, self.columns)
        whole = np.concatenate([np.zeros(shape, np.int64), *self.pieces])
        array = _aligned(whole.shape, np.dtype(dtype))
        array[...] = whole
        return array


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that begin on a cache line: vectors that straddle two lines are several times slower."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE
    return memory[begin : begin + size].view(dtype).reshape(shape)


def _reached(place: int, axis: int, kernel: Conv, size: int) -> list[tuple[int, int]]:
    """(target, tap of the kernel) along one axis for a source at `place`, targets ascending."""
    stride, padding, dilation = kernel.stride[axis], kernel.padding[axis], kernel.dilation[axis]
    found = []
    for tap in range(kernel.weight.shape[2 + axis]):
        target, rest = divmod(place + padding - tap * dilation, stride)
        if rest == 0 and 0 <= target < size:
            found.append((target, tap))
    return sorted(found)


def _bound(graph: SpikingGraph, p: Population) -> int:
    """No sum of weights of arriving spikes is larger."""
    rows = [np.abs(q.kernel.weight).reshape(len(q.kernel.weight), -1).sum(1) for q in graph.incoming(p.name)]
    return sum(int(row.max()) for row in rows)


def compiled(graph: SpikingGraph, spikes: Mapping[str, Spikes], windows: int) -> tuple[dict[str, Spikes], Integers]:
    """The runner of `netx_run`: (spikes of every population, the last one's membranes)."""
    result = KernelRunner(graph).run(spikes, windows, totals=False)
    return {p.name: result.spikes(p.name) for p in graph.populations}, result.readout
