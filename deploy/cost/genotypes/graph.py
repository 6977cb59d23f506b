"""Genotype -> SpikingGraph without a network: the populations and projections that the trace of it would give.

Every weight that a training may change is 1, so that a synapse is where one would be. Populations, their order, their
names and the taps of every kernel are those of `export/trace/walk.py` on the network of the genotype; the weights are
not, and nothing can be simulated with them.
"""

from collections.abc import Callable, Mapping, Sequence
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
    walk = _Walk(genotype)
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
    inputs: list[SpikeInput] = field(default_factory=list)
    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    pools: dict[tuple[str, int], Expression] = field(default_factory=dict)

    def stem(self, config: NetworkConfig) -> Expression:
        channels = STEM_MULTIPLIER * config.channels
        if config.reads == "images":  # real-valued, and on the host
            return self._input(STEM, (channels, *config.stem_size))
        frames = self._input(FRAMES, config.input_shape)
        return self._populate(STEM, _convolved(frames, channels, 3, stride=config.stem_stride))

    def cell(self, place: int, plan: CellPlan, s0: Expression, s1: Expression) -> Expression:
        """The nodes, side by side."""
        name = f"cells.{place}"
        states = [
            self._populate(
                f"{name}.p0", _halved(s0, plan.channels) if plan.halve_s0 else _pointwise(s0, plan.channels)
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
        mean = linear.flattened(linear.convolved(x, _of_each(channels, window, stride=window, padding=(0, 0))))
        answer = linear.averaged(linear.multiplied(mean, np.ones((classes, channels))))
        self._add("readout", answer, 1.0, np.inf, "readout")

    def _edge(self, name: str, primitive: str, x: Expression, stride: int) -> Expression:
        if primitive == MAX_POOL:
            return self._max_pool(name, x, stride)
        return EDGES[primitive](x, stride)

    def _max_pool(self, name: str, x: Expression, stride: int) -> Expression:
        key = (x.terms[0].source, stride)
        if key not in self.pools:
            y = linear.convolved(x, _of_each(x.shape[0], (3, 3), stride=(stride, stride), padding=(1, 1)))
            self.pools[key] = self._add(name, y, *OR, "or")
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


def _convolved(x: Expression, channels: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> Expression:
    weight = np.ones((channels, x.shape[0], kernel, kernel))
    padding = dilation * (kernel // 2)
    return linear.convolved(
        x, Conv(weight=weight, stride=(stride, stride), padding=(padding, padding), dilation=(dilation, dilation))
    )


def _pointwise(x: Expression, channels: int) -> Expression:
    return _convolved(x, channels, 1)


def _halved(x: Expression, channels: int) -> Expression:
    """The factorized reduce: half of the output channels read the pixels (0, 0) of 2x2 blocks, the others (1, 1)."""
    weight, half = np.zeros((channels, x.shape[0], 2, 2)), (channels + 1) // 2
    weight[:half, :, 0, 0] = 1
    weight[half:, :, 1, 1] = 1
    return linear.convolved(x, Conv(weight=weight, stride=(2, 2)))


def _of_each(
    channels: int, size: Sequence[int], *, stride: tuple[int, int], padding: tuple[int, int], dilation: int = 1
) -> Conv:
    """A window of ones over each channel by itself."""
    weight = np.ones((channels, 1, *size))
    return Conv(weight=weight, stride=stride, padding=padding, dilation=(dilation, dilation), groups=channels)


def _depthwise_separable(kernel: int, dilation: int = 1) -> "Edge":
    def edge(x: Expression, stride: int) -> Expression:
        padding = dilation * (kernel // 2)
        window = _of_each(
            x.shape[0], (kernel, kernel), stride=(stride, stride), padding=(padding, padding), dilation=dilation
        )
        return _pointwise(linear.convolved(x, window), x.shape[0])

    return edge


def _full(kernel: int) -> "Edge":
    return lambda x, stride: _convolved(x, x.shape[0], kernel, stride=stride)


def _skip(x: Expression, stride: int) -> Expression:
    return x if stride == 1 else _halved(x, x.shape[0])


def _mean(x: Expression, stride: int) -> Expression:
    return linear.convolved(x, _of_each(x.shape[0], (3, 3), stride=(stride, stride), padding=(1, 1)))


Edge = Callable[[Expression, int], Expression]
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
