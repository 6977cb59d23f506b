"""Genotype -> SpikingGraph without a network: the populations and projections that the trace of it would give.

Every weight that a training may change is 1, so that a synapse is where one would be. Populations, their order, their
names and the taps of every kernel are those of `export/trace/walk.py` on the network of the genotype, of signals of one
row those of 1 x k kernels; the weights are not, and nothing can be simulated with them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ....errors import UnsupportedError
from ....export.graph import Conv, Population, Projection, Role, Shape, SpikeInput, SpikingGraph, check
from ....export.trace import linear
from ....export.trace.linear import Expression
from ....search.space.genotype import INPUTS, NODES, USUAL_DECAY, Genotype
from ....search.space.layout import STEM_MULTIPLIER, CellPlan
from ....search.space.network import NetworkConfig

STEM, FRAMES = "stem", "inputs"
THRESHOLD = 1.0  # search/space/layers.py
OR = (0.0, 0.5)  # decay and threshold


def graph_of(genotype: Genotype, config: NetworkConfig) -> SpikingGraph:
    """The graph of an untrained network of these cells, as `export/targets.py` traces it.

    Raises UnsupportedError for a network with attention: gates of real numbers are no synapses, and gates of spikes
    are not built here.
    """
    if config.attention != "none":
        raise UnsupportedError(
            f"The cost of a genotype is known without attention only, but the network has attention="
            f"'{config.attention}'; say none, or export the network and deploy it."
        )
    config.check_genotype(genotype)
    walk = _Walk(genotype, config.one_row)
    s0 = s1 = walk.stem(config)
    for number, plan in enumerate(config.plan(genotype.layers)):
        s0, s1 = s1, walk.cell(number, plan, s0, s1)
    walk.readout(s1, config.classes)
    return check(
        SpikingGraph(
            inputs=tuple(walk.inputs),
            populations=tuple(walk.populations),
            projections=tuple(walk.projections),
            time_steps=config.time_steps,
        )
    )


@dataclass(slots=True)
class _Walk:
    """What was built so far. pools: the same max-pool twice is one population."""

    genotype: Genotype
    one_row: bool
    inputs: list[SpikeInput] = field(default_factory=list)
    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    pools: dict[tuple[str, int], Expression] = field(default_factory=dict)

    def stem(self, config: NetworkConfig) -> Expression:
        channels = STEM_MULTIPLIER * config.channels
        if config.reads == "images":  # real-valued, and on the host
            return self._input(STEM, (channels, *config.stem_size))
        frames = self._input(FRAMES, config.input_shape)
        return self._populate(STEM, _convolved(frames, channels, _Window(self.one_row, 3, config.stem_stride)))

    def cell(self, place: int, plan: CellPlan, s0: Expression, s1: Expression) -> Expression:
        """The nodes, side by side."""
        name = f"cells.{place}"
        states = [
            self._populate(
                f"{name}.p0",
                _halved(s0, plan.channels, self.one_row) if plan.halve_s0 else _pointwise(s0, plan.channels),
            ),
            self._populate(f"{name}.p1", _pointwise(s1, plan.channels)),
        ]
        for node in range(NODES):
            currents = [
                self._edge(
                    f"{name}.n{node + 1}.edges.{number}",
                    edge.primitive,
                    states[edge.source],
                    2 if plan.kind == "reduce" and edge.source < INPUTS else 1,
                )
                for number, edge in enumerate(self.genotype.incoming(plan.kind, node, place))
            ]
            decay = self.genotype.decay(plan.kind, node, place)
            states.append(self._populate(f"{name}.n{node + 1}", linear.added(*currents), decay))
        return linear.concatenated(states[INPUTS:])

    def readout(self, x: Expression, classes: int) -> None:
        channels, *size = x.shape
        window = (size[0], size[1])
        mean = linear.flattened(
            linear.convolved(x, Conv(weight=np.ones((channels, 1, *window)), stride=window, groups=channels))
        )
        answer = linear.averaged(linear.multiplied(mean, np.ones((classes, channels))))
        self._add("readout", answer, 1.0, np.inf, "readout")

    def _edge(self, name: str, primitive: str, x: Expression, stride: int) -> Expression:
        if primitive == MAX_POOL:
            return self._max_pool(name, x, stride)
        return EDGES[primitive](x, stride, self.one_row)

    def _max_pool(self, name: str, x: Expression, stride: int) -> Expression:
        key = (x.terms[0].source, stride)
        if key not in self.pools:
            self.pools[key] = self._add(name, _summed(x, _Window(self.one_row, 3, stride)), *OR, "or")
        return self.pools[key]

    def _input(self, name: str, shape: Shape) -> Expression:
        self.inputs.append(SpikeInput(name=name, shape=shape))
        return linear.spikes_of(name, shape)

    def _populate(self, name: str, x: Expression, decay: float = USUAL_DECAY) -> Expression:
        return self._add(name, x, decay, THRESHOLD, "neuron")

    def _add(self, name: str, x: Expression, decay: float, threshold: float, role: Role) -> Expression:
        bias = np.zeros(x.shape[0])
        self.populations.append(
            Population(name=name, shape=x.shape, decay=decay, threshold=threshold, bias=bias, role=role)
        )
        for term in linear.merged(x.terms):
            self.projections.append(Projection(source=term.source, target=name, kernel=term.kernel))
        return linear.spikes_of(name, x.shape)


@dataclass(frozen=True, slots=True)
class _Window:
    """A padded kernel of so many columns and, but of signals of one row, rows."""

    one_row: bool
    kernel: int
    stride: int = 1
    dilation: int = 1

    def conv(self, channels: int, heard: int, groups: int = 1) -> Conv:
        """Ones, [channels, heard, rows, columns]."""
        return Conv(
            weight=np.ones((channels, heard, *self._both(1, self.kernel))),
            stride=self._both(1, self.stride),
            padding=self._both(0, self.dilation * (self.kernel // 2)),
            dilation=self._both(1, self.dilation),
            groups=groups,
        )

    def _both(self, of_one_row: int, of_columns: int) -> tuple[int, int]:
        return of_one_row if self.one_row else of_columns, of_columns


def _convolved(x: Expression, channels: int, window: _Window) -> Expression:
    return linear.convolved(x, window.conv(channels, x.shape[0]))


def _summed(x: Expression, window: _Window) -> Expression:
    """Over the window, each channel by itself."""
    return linear.convolved(x, window.conv(x.shape[0], 1, groups=x.shape[0]))


def _pointwise(x: Expression, channels: int) -> Expression:
    return _convolved(x, channels, _Window(False, 1))


def _halved(x: Expression, channels: int, one_row: bool) -> Expression:
    """The factorized reduce: half of the output channels read the pixels (0, 0) of 2x2 blocks, the others (1, 1); of
    one row (0, 0) and (0, 1) of 1x2."""
    block = (1 if one_row else 2, 2)
    weight, half = np.zeros((channels, x.shape[0], *block)), (channels + 1) // 2
    weight[:half, :, 0, 0] = 1
    weight[half:, :, -1, -1] = 1
    return linear.convolved(x, Conv(weight=weight, stride=block))


def _depthwise_separable(kernel: int, dilation: int = 1) -> "Edge":
    return lambda x, stride, one_row: _pointwise(_summed(x, _Window(one_row, kernel, stride, dilation)), x.shape[0])


def _full(kernel: int) -> "Edge":
    return lambda x, stride, one_row: _convolved(x, x.shape[0], _Window(one_row, kernel, stride))


def _skip(x: Expression, stride: int, one_row: bool) -> Expression:
    return x if stride == 1 else _halved(x, x.shape[0], one_row)


def _mean(x: Expression, stride: int, one_row: bool) -> Expression:
    return _summed(x, _Window(one_row, 3, stride))


Edge = Callable[[Expression, int, bool], Expression]  # stride; whether it is of signals of one row
MAX_POOL = "max_pool_3x3"  # a population of its own
EDGES: Mapping[str, Edge] = {
    "skip_connect": _skip,
    "avg_pool_3x3": _mean,
    "sep_conv_3x3": _depthwise_separable(3),
    "sep_conv_5x5": _depthwise_separable(5),
    "dil_conv_3x3": _depthwise_separable(3, dilation=2),
    "dil_conv_5x5": _depthwise_separable(5, dilation=2),
    "conv_3x3": _full(3),
    "conv_5x5": _full(5),
}
