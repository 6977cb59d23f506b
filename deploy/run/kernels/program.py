"""Compiles a quantized SpikingGraph into the tables of the kernels: where neurons lie, and what their spikes add."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import UnsupportedError
from ....export.graph import Conv, Dense, Population, Projection, Shape, SpikingGraph, neurons, per_neuron
from ....export.simulate import MANTISSA_SHIFT, STATE_LIMIT, apply, in_membrane_units, in_registers
from .tables import LANES, LENGTH, RUN, WORD, Integers, Program

CACHE_LINE = 64  # bytes
INT32_MAX = 2**31 - 1
INT16_MAX = 2**15 - 1


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

    def placed(self, values: Integers) -> Integers:
        """What broadcasts over [*shape] -> [size], dead neurons with 0."""
        placed = np.zeros(self.size, np.int64)
        placed[self.places] = np.broadcast_to(values, self.shape).reshape(-1)
        return placed


def layout_of(graph: SpikingGraph) -> dict[str, Node]:
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


def by_lag(projection: Projection) -> list[tuple[int, Projection]]:
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


class Compiler:
    """Fills the tables of a Program."""

    def __init__(self, graph: SpikingGraph, layout: Mapping[str, Node]) -> None:
        self.graph, self.layout = graph, layout
        self.index = {name: i for i, name in enumerate(layout)}
        self.projections: list[list[int]] = []
        self.weights = _Table(1)
        self.answers = _Table(1)
        self.bias = _Table(1)
        self.each = _Table(3)
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
            projections=np.array(self.projections, np.int64).reshape(-1, LENGTH + 1),
            masks=self._masks(),
            bias=self.bias.array(np.int32),
            each=self.each.array(np.int32),
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
            for lag, part in by_lag(projection):
                self._projection(part, lag)
        bias = node.placed(in_membrane_units(per_neuron(p.bias, p.shape)))
        alike = p.bias.ndim < len(p.shape)  # one bias per channel: the rows of an image are alike
        bias_at = self.bias.add(bias[: node.words * WORD] if alike else bias)
        each_at, decay, current_decay, threshold = self._registers(p)
        shift = 12
        while shift and decay % 2 == 0:
            decay, shift = decay // 2, shift - 1
        narrow = (
            each_at < 0
            and current_decay == 0
            and _bound(self.graph, p) << MANTISSA_SHIFT < STATE_LIMIT
            and decay * STATE_LIMIT < INT32_MAX
            and int(np.abs(bias).max()) < 2**29
        )
        readout = p.name == self.graph.readout.name
        return [
            self.index[p.name], first, len(self.projections), decay, shift, current_decay, threshold,
            bias_at, 0 if alike else node.words * WORD, int(narrow), int(readout), each_at,
        ]  # fmt: skip

    def _registers(self, p: Population) -> tuple[int, int, int, int]:
        """(where the numbers of each neuron begin, or -1 if all share the rest; decay, current decay, threshold)."""
        # no membrane passes the limit, so any threshold beyond it does the same
        threshold = np.clip(in_membrane_units(per_neuron(p.threshold, p.shape)), -STATE_LIMIT, STATE_LIMIT)
        decays = (in_registers(per_neuron(value, p.shape)) for value in (p.current_decay, p.decay))
        registers = [*decays, threshold]
        if not any(value.ndim for value in registers):
            current_decay, decay, limit = (int(value) for value in registers)
            return -1, decay, current_decay, limit
        node = self.layout[p.name]
        return self.each.add(np.stack([node.placed(value) for value in registers], axis=1)), 0, 0, 0

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
        array = aligned(whole.shape, np.dtype(dtype))
        array[...] = whole
        return array


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
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
