"""Float graphs of every role, lowered."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.passes import lower
from spikeport.export.trace.linear import identity

SHAPE = (3, 6, 4)


def gated(seed: int = 0, *, decay: float = 0.5, time_steps: int = 3) -> SpikingGraph:
    """x -> a -> b; b AND NOT a, and b -> beside on the same level, -> c;
    a OR b -> c -> d (stride 2), a -> d (skips two levels) -> readout."""
    rng = np.random.default_rng(seed)

    def neurons(name: str, shape: tuple[int, ...] = SHAPE, **more: object) -> Population:
        bias = rng.normal(0.1, 0.2, shape[0])
        one = Population(name=name, shape=shape, decay=decay, threshold=float(rng.uniform(0.5, 1.5)), bias=bias)
        return replace(one, **more)  # type: ignore[arg-type]

    def conv(out: int, size: int, stride: int = 1, groups: int = 1) -> Conv:
        weight = rng.normal(0.15, 0.5, (out, SHAPE[0] // groups, size, size))
        weight[rng.random(weight.shape) < 0.3] = 0.0
        return Conv(weight=weight, stride=(stride, stride), padding=(size // 2, size // 2), groups=groups)

    one = identity(SHAPE)
    minus = replace(one, weight=-one.weight)
    graph = SpikingGraph(
        inputs=(SpikeInput(name="x", shape=SHAPE),),
        populations=(
            neurons("a"),
            neurons("b"),
            neurons("not.a", decay=0.0, threshold=1.5, bias=np.ones(SHAPE[0]), role="and"),
            neurons("any", decay=0.0, threshold=0.5, bias=np.zeros(SHAPE[0]), role="or"),
            neurons("beside"),
            neurons("c"),
            neurons("d", (2, 3, 2)),
            neurons("readout", (4,), decay=1.0, threshold=np.inf, role="readout"),
        ),
        projections=(
            Projection(source="x", target="a", kernel=conv(3, 3)),
            Projection(source="a", target="b", kernel=conv(3, 3, groups=3)),
            Projection(source="x", target="b", kernel=conv(3, 1)),
            Projection(source="b", target="not.a", kernel=one),
            Projection(source="a", target="not.a", kernel=minus),
            Projection(source="a", target="any", kernel=one),
            Projection(source="b", target="any", kernel=one),
            Projection(source="b", target="beside", kernel=conv(3, 3)),
            Projection(source="beside", target="c", kernel=conv(3, 1)),
            Projection(source="not.a", target="c", kernel=conv(3, 3)),
            Projection(source="any", target="c", kernel=conv(3, 1)),
            Projection(source="c", target="d", kernel=conv(2, 3, 2)),
            Projection(source="a", target="d", kernel=conv(2, 3, 2)),
            Projection(source="d", target="readout", kernel=Dense(weight=rng.normal(size=(4, 12)))),
            Projection(source="b", target="readout", kernel=Dense(weight=rng.normal(size=(4, 72)))),
        ),
        time_steps=time_steps,
    )
    return lower(check(graph))


def spikes_of(graph: SpikingGraph, samples: int = 6, seed: int = 0) -> NDArray[np.uint8]:
    shape = (graph.time_steps, samples, *graph.inputs[0].shape)
    return (np.random.default_rng(seed).random(shape) < 0.4).astype(np.uint8)
