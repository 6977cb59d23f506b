"""The compiled kernels equal the definition bit for bit: spikes of every population, the readout's membrane, counts."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.run.kernels.runner import KernelResult, KernelRunner, compiled
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.simulate import silence, simulate

DENSITIES = (0.0, 0.05, 0.5, 0.95, 1.0)
DECAYS = (0, 4096, 2048, 3072, 123, 4095, 1)


def spikes_of(
    graph: SpikingGraph, density: float, windows: int = 1, samples: int = 2, seed: int = 0
) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    shape = (windows * graph.time_steps, samples, *graph.inputs[0].shape)
    return (rng.random(shape) < density).astype(np.uint8)


def check_equal(graph: SpikingGraph, result: KernelResult, spikes: NDArray[np.uint8], windows: int = 1) -> None:
    trace = simulate(graph, {graph.inputs[0].name: spikes}, windows)
    for name, fired in trace.spikes.items():
        assert (result.spikes(name) == fired).all(), name
        assert (result.totals[name] == fired.sum((0, 1), dtype=np.int64)).all(), name
    assert result.readout.shape == trace.readout.shape
    assert (result.readout == trace.readout).all()


def compare(graph: SpikingGraph, density: float, windows: int = 1, samples: int = 2, seed: int = 0) -> None:
    spikes = spikes_of(graph, density, windows, samples, seed)
    check_equal(graph, KernelRunner(check(graph)).run(spikes, windows), spikes, windows)


def conv(
    rng: np.random.Generator, out: int, per_group: int, size: tuple[int, int], largest: int = 40, **of: object
) -> Conv:
    weight = rng.integers(-largest, largest + 1, (out, per_group, *size)).astype(float)
    return Conv(weight=weight, **of)  # type: ignore[arg-type]


def neurons(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], decay: int, current_decay: int = 0, largest: int = 20
) -> Population:
    bias = rng.integers(-largest, largest + 1, shape[0]).astype(float)
    threshold = float(rng.integers(0, 60))
    return Population(
        name=name, shape=shape, decay=decay / 4096, current_decay=current_decay / 4096, threshold=threshold, bias=bias
    )


def branching(seed: int, *, decay: int, current_decay: int = 0, time_steps: int = 3, largest: int = 40) -> SpikingGraph:
    """input (3, 9, 7) -> a (5), b (6, stride 2), both and the input -> c (20, stride 2 again) -> readout (4)."""
    rng = np.random.default_rng(seed)
    a = neurons(rng, "a", (5, 9, 7), decay, current_decay)
    b = neurons(rng, "b", (6, 5, 4), decay, current_decay)
    c = neurons(rng, "c", (20, 3, 2), decay, current_decay)
    out = Population(
        name="readout", shape=(4,), decay=1.0, threshold=131071.0, bias=np.array([1.0, -2.0, 3.0, 0.0]), role="readout"
    )
    projections = (
        Projection(source="input", target="a", kernel=conv(rng, 5, 3, (3, 3), largest, padding=(1, 1))),
        Projection(source="input", target="b", kernel=conv(rng, 6, 3, (5, 3), largest, stride=(2, 2), padding=(2, 1))),
        Projection(source="a", target="b", kernel=conv(rng, 6, 5, (1, 1), largest, stride=(2, 2))),
        Projection(source="b", target="c", kernel=conv(rng, 20, 6, (3, 3), largest, stride=(2, 2), padding=(1, 1))),
        Projection(source="a", target="c", kernel=Dense(weight=rng.integers(-9, 10, (120, 315)).astype(float))),
        Projection(source="c", target="readout", kernel=Dense(weight=rng.integers(-30, 31, (4, 120)).astype(float))),
        Projection(source="input", target="readout", kernel=Dense(weight=rng.integers(-5, 6, (4, 189)).astype(float))),
    )
    return SpikingGraph(
        inputs=(SpikeInput(name="input", shape=(3, 9, 7)),),
        populations=(a, b, c, out),
        projections=projections,
        time_steps=time_steps,
        arithmetic="loihi",
    )


def chain(
    source: tuple[int, ...], populations: list[Population], kernels: list[Conv | Dense], steps: int = 3
) -> SpikingGraph:
    """input -> populations one after another -> readout (3)."""
    names = ["input", *(p.name for p in populations)]
    last = int(np.prod(populations[-1].shape))
    rng = np.random.default_rng(1)
    out = Population(name="out", shape=(3,), decay=1.0, threshold=131071.0, bias=np.zeros(3), role="readout")
    projections = [Projection(source=s, target=t, kernel=k) for s, t, k in zip(names, names[1:], kernels, strict=False)]
    projections.append(
        Projection(source=names[-1], target="out", kernel=Dense(weight=rng.integers(-9, 10, (3, last)).astype(float)))
    )
    return SpikingGraph(
        inputs=(SpikeInput(name="input", shape=source),),
        populations=(*populations, out),
        projections=tuple(projections),
        time_steps=steps,
        arithmetic="loihi",
    )


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("samples", [1, 5])
def test_equals_the_definition_at_every_density(density: float, samples: int) -> None:
    for seed in range(3):
        compare(branching(seed, decay=3072, time_steps=2 * seed + 1), density, samples=samples, seed=seed)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("current_decay", [0, 3000, 4096])
def test_equals_the_definition_for_every_decay(decay: int, current_decay: int) -> None:
    compare(branching(7, decay=decay, current_decay=current_decay, time_steps=5), 0.4)


@pytest.mark.parametrize(
    "of",
    [
        {"stride": (1, 2), "padding": (0, 1)},
        {"stride": (3, 1), "padding": (2, 2)},
        {"dilation": (2, 2), "padding": (2, 2)},
        {"dilation": (2, 3), "stride": (2, 2), "padding": (1, 3)},
        {"dilation": (2, 4), "stride": (1, 2), "padding": (2, 4)},
        {"groups": 2, "padding": (1, 1)},
        {"groups": 6, "stride": (2, 2), "padding": (1, 1)},
        {"groups": 3, "dilation": (2, 2), "padding": (2, 2)},
    ],
)
@pytest.mark.parametrize("density", [0.3, 0.9])
def test_equals_the_definition_for_every_geometry(of: dict[str, object], density: float) -> None:
    rng = np.random.default_rng(3)
    kernel = conv(rng, 12, 6 // int(str(of.get("groups", 1))), (3, 3), **of)
    shape = kernel.output_shape((6, 11, 13))
    compare(chain((6, 11, 13), [neurons(rng, "a", shape, 2048)], [kernel]), density)


def test_wide_sums_currents_that_wrap_and_membranes_that_clip() -> None:
    """Weights beyond 16 bits, currents once around 2^23, biases at the end of their register."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-256, 255, (70, 400)).astype(float) * 40
    loud = replace(neurons(rng, "a", (70,), 4000), threshold=100000.0, bias=rng.integers(-4096, 4096, 70).astype(float))
    for density in DENSITIES:
        compare(chain((400,), [loud], [Dense(weight=weight)], steps=5), density)
        kept = replace(loud, current_decay=4000 / 4096)
        compare(chain((400,), [kept], [Dense(weight=weight)], steps=5), density)
        compare(branching(2, decay=2048, largest=30000), density)


def test_vectors_of_any_length() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (63, 64), (64, 65), (200, 130)):
        weight = rng.integers(-9, 10, (m, n)).astype(float)
        compare(chain((n,), [neurons(rng, "a", (m,), 3072)], [Dense(weight=weight)]), 0.3, samples=1)


def test_or_and_relay_fire_in_the_same_step() -> None:
    identity, window = np.zeros((4, 4, 1, 1)), np.zeros((4, 4, 3, 3))
    identity[range(4), range(4)] = window[range(4), range(4)] = 2.0
    relay = Population(name="relay", shape=(4, 6, 6), decay=0.0, threshold=1.0, bias=np.zeros(4), role="relay")
    pool = replace(relay, name="pool", shape=(4, 3, 3), role="or")
    graph = chain((4, 6, 6), [relay, pool], [Conv(weight=identity), Conv(weight=window, stride=(2, 2), padding=(1, 1))])
    spikes = spikes_of(graph, 0.1)
    result = KernelRunner(graph).run(spikes)
    assert (result.spikes("relay") == spikes).all()
    check_equal(graph, result, spikes)


@pytest.mark.parametrize("samples", [1, 5])
def test_recurrent_and_delayed_projections_over_several_windows(samples: int) -> None:
    """input -> a (a image, reads itself) -> b (delays, and reads itself with delays) -> readout, 3 windows of 4."""
    rng = np.random.default_rng(5)
    graph = chain(
        (2, 5, 5),
        [neurons(rng, "a", (3, 5, 5), 3072), neurons(rng, "b", (150,), 2048, 1000)],
        [conv(rng, 3, 2, (3, 3), padding=(1, 1)), Dense(weight=rng.integers(-40, 41, (150, 75)).astype(float))],
        steps=4,
    )
    into_b = replace(graph.projections[1], delay=rng.integers(0, 6, (150, 75)))
    loops = (
        Projection(source="a", target="a", kernel=conv(rng, 3, 3, (3, 3), padding=(1, 1))),
        Projection(
            source="b",
            target="b",
            kernel=Dense(weight=rng.integers(-40, 41, (150, 150)).astype(float)),
            delay=rng.integers(0, 3, (150, 150)),
        ),
    )
    graph = replace(graph, projections=(graph.projections[0], into_b, *loops, *graph.projections[2:]))
    compare(graph, 0.3, windows=3, samples=samples)
    spikes = spikes_of(graph, 0.3, 3, samples)
    whole = KernelRunner(graph).run(spikes, 3, keep=False)
    tiny = KernelRunner(graph, chunk_bytes=1).run(spikes, 3, keep=False)
    assert (whole.readout == tiny.readout).all()
    assert whole.active == tiny.active
    assert all((whole.totals[name] == tiny.totals[name]).all() for name in whole.totals)


@pytest.mark.parametrize("chunk_bytes", [1, 3000, 20000])
def test_chunks_change_nothing(chunk_bytes: int) -> None:
    graph = branching(1, decay=3072, current_decay=100, time_steps=5)
    spikes = spikes_of(graph, 0.3, samples=7)
    check_equal(graph, KernelRunner(graph, chunk_bytes=chunk_bytes).run(spikes), spikes)
    whole, parts = KernelRunner(graph).run(spikes, keep=False), KernelRunner(graph, chunk_bytes).run(spikes, keep=False)
    assert (whole.readout == parts.readout).all()
    assert whole.active == parts.active


def test_active_updates_are_currents_or_membranes_that_are_not_zero() -> None:
    """One neuron, threshold 3, decay 1/2, unit 64: input 1 1 0 with weight 2 gives v = 2, 3, 1.5: it never fires.

    Its opposite with bias 0 gets nothing at all; a third one gets weight -2 and bias 2: current, but no membrane.
    """
    neuron = Population(name="a", shape=(3,), decay=0.5, threshold=3.0, bias=np.array([0.0, 0.0, 2.0]))
    graph = chain((1,), [neuron], [Dense(weight=np.array([[2.0], [0.0], [-2.0]]))])
    spikes = np.array([1, 1, 0], np.uint8).reshape(3, 1, 1)
    result = KernelRunner(graph).run(spikes)
    assert result.active["a"] == 3 + 0 + 3
    assert result.totals["a"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("current_decay", [0, 3000])
@pytest.mark.parametrize("chunk_bytes", [3000, 2**20])
def test_which_neurons_were_active_is_what_the_simulation_says(current_decay: int, chunk_bytes: int) -> None:
    graph = branching(4, decay=2048, current_decay=current_decay)
    spikes = spikes_of(graph, 0.1, samples=6)
    trace = simulate(graph, {"input": spikes})
    result = KernelRunner(graph, chunk_bytes).run(spikes, note=True)
    for name, active in trace.active.items():
        assert (result.active_in(name) == active).all(), name
    with pytest.raises(ValueError, match="note=True"):
        KernelRunner(graph).run(spikes).active_in("a")


def test_totals_are_what_the_simulation_counts() -> None:
    graph = branching(4, decay=2048)
    spikes = spikes_of(graph, 0.4, samples=6)
    trace = simulate(graph, {"input": spikes})
    result = KernelRunner(graph).run(spikes, keep=False)
    assert (result.predictions == trace.readout[-1].argmax(1)).all()
    assert (result.totals["b"] == trace.spikes["b"].sum((0, 1))).all()
    assert list(result.totals) == ["input", "a", "b", "c", "readout"]


@pytest.mark.parametrize("full", [False, True])
def test_registers_of_each_channel_or_neuron(full: bool) -> None:
    """Images of several words in a row and vectors; another decay of one neuron is seen."""
    rng, graph = np.random.default_rng(0), branching(3, decay=2048, time_steps=5)
    populations = []
    for p in graph.populations:
        shape = p.shape if full else p.shape[:1]
        decays = [rng.integers(0, 4097, shape) / 4096 for _ in range(2)]
        threshold = rng.integers(-5, 60, shape).astype(np.float64)
        bias = rng.integers(-5, 9, shape).astype(np.float64)
        populations.append(replace(p, decay=decays[0], current_decay=decays[1], threshold=threshold, bias=bias))
    graph = replace(graph, populations=tuple(populations))
    compare(graph, 0.4, windows=2)
    last = np.array(graph.readout.current_decay)
    last[0] = (last[0] + 0.5) % 1
    broken = replace(graph, populations=(*graph.populations[:-1], replace(graph.readout, current_decay=last)))
    spikes = spikes_of(graph, 0.4, 2, 2)
    one, other = (KernelRunner(g).run(spikes, 2).readout for g in (graph, broken))
    assert (one != other).any()


def test_one_broken_weight_shows() -> None:
    graph = branching(1, decay=3072)
    weight = graph.projections[2].kernel.weight.copy()
    weight[0, 0] += 2
    broken = replace(graph.projections[2], kernel=replace(graph.projections[2].kernel, weight=weight))
    spikes = spikes_of(graph, 0.5, samples=6)
    result = KernelRunner(replace(graph, projections=(*graph.projections[:2], broken, *graph.projections[3:]))).run(
        spikes
    )
    with pytest.raises(AssertionError, match="b"):
        check_equal(graph, result, spikes)


def test_refuses_what_is_no_spike_and_what_it_cannot_hold() -> None:
    graph = branching(1, decay=3072)
    runner = KernelRunner(graph)
    spikes = spikes_of(graph, 0.5)
    with pytest.raises(InputError, match="0 or 1"):
        runner.run(spikes * np.uint8(2))
    with pytest.raises(InputError, match="must have shape"):
        runner.run(spikes[:-1])
    with pytest.raises(InputError, match="uint8"):
        runner.run(spikes.astype(np.int64))
    huge = replace(graph.projections[0], kernel=Conv(weight=np.full((5, 3, 3, 3), 2.0**30), padding=(1, 1)))
    with pytest.raises(UnsupportedError, match="2\\^31"):
        KernelRunner(replace(graph, projections=(huge, *graph.projections[1:])))
    half = replace(graph.projections[0], kernel=Conv(weight=np.full((5, 3, 3, 3), 0.5), padding=(1, 1)))
    with pytest.raises(UnsupportedError, match="integers"):
        KernelRunner(replace(graph, projections=(half, *graph.projections[1:])))


@pytest.mark.parametrize("largest", [40.0, 2.0**30])
def test_a_graph_beyond_32_bits_takes_the_plain_runner(largest: float) -> None:
    """The same populations and numbers either way; 2^30 is what the kernels refuse."""
    graph = branching(1, decay=3072)
    loud = replace(graph.projections[0], kernel=Conv(weight=np.full((5, 3, 3, 3), largest), padding=(1, 1)))
    graph = replace(graph, projections=(loud, *graph.projections[1:]))
    inputs = {"input": spikes_of(graph, 0.3, windows=2)}
    fired, readout, state = compiled(graph).run(inputs, silence(graph, inputs["input"].shape[1]))
    assert state.step == len(inputs["input"])
    trace = simulate(graph, inputs, 2)
    assert list(fired) == ["a", "b", "c"]
    assert all((fired[name] == trace.spikes[name]).all() for name in fired)
    assert readout.dtype == np.int64
    assert (readout == trace.readout).all()
