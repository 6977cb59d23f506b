"""Random graphs through the whole chip path, each compared with the definition of its arithmetic and with real Lava.

Two families, because NetX has two kinds of layers. `image_graph` draws a graph of convolutions (branches, skips, joins,
strides, dilations, groups, mixed resolutions, OR populations, biases, decays) and sends it through fold, relays and
quantization. `dense_graph` draws a chain of full matrices with recurrent and delayed synapses, in integers. A graph is
drawn by a function that chooses whole numbers, so that a property-based test can draw, and shrink, it too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...export.graph import Array, Conv, Dense, Population, Projection, Role, SpikeInput, SpikingGraph, check, neurons
from ...export.netx.writer import write_netx
from ...export.passes import lower
from ...export.passes.quantize import quantize
from ...export.simulate import DECAY_UNITY, advance, simulate
from ...export.weight_scale import THRESHOLD_MAX
from ..run.forms import lava_records
from ..run.record import Record, Spikes
from ..run.warm_up import state_before
from .verdict import Check, compare_integers

Choose = Callable[[int, int], int]  # (low, high) -> a whole number in low..high

SAMPLES = 3  # per graph, streamed back to back
PRIMES = ((1, 1), (2, 1), (3, 1), (3, 2), (5, 1))  # (kernel, dilation) of a convolution of stride 1 or 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A quantized graph and the spikes [T, N, *shape] of its input."""

    graph: SpikingGraph
    spikes: Spikes


def image_graph(choose: Choose) -> Case:
    """Three to seven populations on an 8x8, 8x4 or 4x8 grid and its halves, then a readout."""
    rng = np.random.default_rng(choose(0, 2**31 - 1))
    rows, columns = ((8, 8), (8, 4), (4, 8))[choose(0, 2)]
    entry = SpikeInput(name="input", shape=(choose(1, 3), rows, columns))
    shapes = {entry.name: entry.shape}
    decay = choose(0, DECAY_UNITY) / DECAY_UNITY
    populations: list[Population] = []
    projections: list[Projection] = []
    for number in range(choose(3, 7)):
        name = f"p{number}"
        first = list(shapes)[choose(max(0, len(shapes) - 3), len(shapes) - 1)]
        stride = 2 if min(shapes[first][1:]) > 2 and choose(0, 3) == 0 else 1
        size = (shapes[first][1] // stride, shapes[first][2] // stride)
        pooled = choose(0, 5) == 0
        shape = (shapes[first][0] if pooled else choose(1, 4), *size)
        others = [] if pooled else [s for s in shapes if s != first and shapes[s][1] % size[0] == 0][: choose(0, 2)]
        others = [s for s in others if shapes[s][1] // size[0] == shapes[s][2] // size[1] in (1, 2)]
        for source in (first, *others):
            kernel = _window(shapes[source]) if pooled else _convolution(choose, rng, shapes[source], shape)
            kernel = replace(kernel, stride=(stride, stride)) if pooled else kernel
            projections.append(Projection(source=source, target=name, kernel=kernel))
        populations.append(_population(name, shape, 0.0 if pooled else decay, rng, "or" if pooled else "neuron"))
        shapes[name] = shape
    read = [name for name in shapes if not any(p.source == name for p in projections)]
    classes = choose(2, 4)
    for source in read:
        weight = rng.normal(size=(classes, neurons(shapes[source])))
        projections.append(Projection(source=source, target="readout", kernel=Dense(weight=weight)))
    populations.append(
        Population(
            name="readout", shape=(classes,), decay=1.0, threshold=np.inf, bias=rng.normal(size=classes), role="readout"
        )
    )
    time_steps = choose(1, 4)
    graph = check(
        SpikingGraph(
            inputs=(entry,), populations=tuple(populations), projections=tuple(projections), time_steps=time_steps
        )
    )
    spikes = (rng.random((time_steps, SAMPLES, *entry.shape)) < choose(5, 95) / 100).astype(np.uint8)
    peak = float(np.abs(simulate(graph, {entry.name: spikes}).readout).max())
    return Case(graph=quantize(lower(graph), peak), spikes=spikes)


def dense_graph(choose: Choose) -> Case:
    """Two to four layers of full matrices, any decays; some recurrent, some delayed; the last is the readout."""
    rng = np.random.default_rng(choose(0, 2**31 - 1))
    entry = SpikeInput(name="input", shape=(choose(1, 12),))
    before: tuple[str, int] = (entry.name, entry.shape[0])
    populations: list[Population] = []
    projections: list[Projection] = []
    depth = choose(2, 4)
    for number in range(depth):
        last = number == depth - 1
        name, size = "readout" if last else f"p{number}", choose(1, 12)
        wiring = choose(0, 2)  # plain, delayed, recurrent
        delay = rng.integers(0, choose(0, 5) + 1, (size, before[1])) if wiring == 1 else None
        projections.append(
            Projection(source=before[0], target=name, kernel=Dense(weight=_integers(rng, size, before[1])), delay=delay)
        )
        if wiring == 2:
            projections.append(Projection(source=name, target=name, kernel=Dense(weight=_integers(rng, size, size))))
        populations.append(
            Population(
                name=name,
                shape=(size,),
                decay=choose(0, DECAY_UNITY) / DECAY_UNITY,
                current_decay=choose(0, DECAY_UNITY) / DECAY_UNITY if choose(0, 1) else 0.0,
                threshold=float(THRESHOLD_MAX if last and choose(0, 1) else choose(1, 400)),
                bias=rng.integers(-100, 200, size).astype(np.float64),
                role="readout" if last else "neuron",
            )
        )
        before = (name, size)
    time_steps = choose(1, 6)
    graph = SpikingGraph(
        inputs=(entry,),
        populations=tuple(populations),
        projections=tuple(projections),
        time_steps=time_steps,
        arithmetic="loihi",
    )
    spikes = (rng.random((time_steps, SAMPLES, *entry.shape)) < choose(5, 95) / 100).astype(np.uint8)
    return Case(graph=check(graph), spikes=spikes)


def random_case(seed: int) -> Case:
    """Families in turn."""
    rng = np.random.default_rng(seed)
    draw = (image_graph, dense_graph)[seed % 2]
    return draw(lambda low, high: int(rng.integers(low, high + 1)))


def against_lava(cases: list[Case], time_limit_s: float, tell: Callable[[str], None]) -> list[Check]:
    """Every spike of every population and the readout's membrane of each case, in the definition and in real Lava."""
    with TemporaryDirectory(prefix="spikeport-conformance-") as folder:
        paths = [Path(folder, f"{i}.net") for i in range(len(cases))]
        for path, case in zip(paths, cases, strict=True):
            write_netx(path, case.graph)
        jobs = [(path, case.graph, case.spikes) for path, case in zip(paths, cases, strict=True)]
        records = lava_records(jobs, time_limit_s, tell)
    return [
        compare_integers("loihi", "SpikingGraph", "Lava", streamed(case), record)
        for case, record in zip(cases, records, strict=True)
    ]


def streamed(case: Case) -> Record:
    """The definition's record of the samples one after the other in one stream, as Lava runs them.

    Spikes under way in delayed and recurrent synapses reach into the next sample, and those that biases caused before
    the stream began reach into the first one.
    """
    steps, samples = case.spikes.shape[:2]
    entry = case.graph.inputs[0].name
    stream = np.swapaxes(case.spikes, 0, 1).reshape(samples * steps, 1, *case.spikes.shape[2:])
    trace, _ = advance(case.graph, {entry: stream}, state_before(case.graph, 1))

    def apart(values: NDArray[Any]) -> NDArray[Any]:
        return np.swapaxes(values.reshape(samples, steps, *values.shape[2:]), 0, 1)

    return Record(
        spikes={name: apart(fired) for name, fired in trace.spikes.items()},
        readout=apart(trace.readout)[-1],
        readout_steps=apart(trace.readout),
        margins={},
    )


def _population(
    name: str, shape: tuple[int, int, int], decay: float, rng: np.random.Generator, role: Role
) -> Population:
    if role == "or":
        return Population(name=name, shape=shape, decay=0.0, threshold=0.5, bias=np.zeros(shape[0]), role="or")
    bias = 0.2 * rng.normal(size=shape[0])
    return Population(name=name, shape=shape, decay=decay, threshold=1.0, bias=bias)


def _convolution(
    choose: Choose, rng: np.random.Generator, source: tuple[int, ...], target: tuple[int, int, int]
) -> Conv:
    size, dilation = PRIMES[choose(0, len(PRIMES) - 1)]
    stride = source[1] // target[1]
    if size == 2:
        size, padding = (2, 0) if stride == 2 else (1, 0)
    else:
        padding = dilation * (size // 2)
    common = int(np.gcd(source[0], target[0]))
    groups = common if choose(0, 3) == 0 else 1
    weight = rng.normal(size=(target[0], source[0] // groups, size, size))
    weight *= choose(2, 12) / 4 / np.sqrt(weight[0].size)
    return Conv(
        weight=weight,
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(dilation, dilation),
        groups=groups,
    )


def _window(shape: tuple[int, ...]) -> Conv:
    return Conv(weight=np.ones((shape[0], 1, 3, 3)), padding=(1, 1), groups=shape[0])


def _integers(rng: np.random.Generator, outputs: int, inputs: int) -> Array:
    """Even weights of both signs, so that lava-dl loads them as they are."""
    weight = 2.0 * rng.integers(-60, 80, (outputs, inputs)).astype(np.float64)
    weight[0, 0] = 2.0 * rng.integers(1, 80)
    return weight
