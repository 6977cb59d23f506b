"""Only what is read waits: relays of some channels and of every other pixel, and spikes that stay as they were."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.export.graph import Conv, Dense, Kernel, Population, Projection, Role, SpikeInput, SpikingGraph, check
from spikeport.export.netx.chain import chain_of, unpacked
from spikeport.export.passes import lower
from spikeport.export.passes.fold import fold
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import insert_relays
from spikeport.export.passes.waiting import Form, parts_of, readers_of, whole
from spikeport.export.simulate import apply, simulate
from spikeport.export.trace.walk import trace
from spikeport.export.tuning.agreement import run_graph
from spikeport.search.space.genotype import Edge, Genotype, random_genotype

Choose = Callable[[int, int], int]


def population(name: str, shape: tuple[int, ...], role: Role = "neuron") -> Population:
    return Population(
        name=name,
        shape=shape,
        decay=1.0 if role == "readout" else 0.5,
        threshold=np.inf if role == "readout" else 2.0,
        bias=np.full(shape[0], 0.25),
        role=role,
    )


def waiting_graph(choose: Choose) -> SpikingGraph:
    """image -> a -> b -> c -> d, each of whole weights, and readers of a and of the image at any of their levels.

    A late reader takes some channels, by a stride of 1, 2 or 4 and a dilation of 1 or 2, or is the flat readout.
    """
    rng = np.random.default_rng(choose(0, 2**31 - 1))

    def conv(out: int, inside: int, size: int, stride: int = 1, dilation: int = 1) -> Conv:
        padding = dilation * (size // 2)
        weight = rng.integers(-2, 4, (out, inside, size, size)).astype(np.float64)
        return Conv(weight=weight, stride=(stride, stride), padding=(padding, padding), dilation=(dilation, dilation))

    channels = {"image": choose(1, 3)} | {name: choose(1, 4) for name in "abcd"}
    populations = [population(name, (channels[name], 8, 8)) for name in "abcd"]
    pairs = zip(("image", "a", "b", "c"), "abcd", strict=True)
    projections = [Projection(source=s, target=t, kernel=conv(channels[t], channels[s], 1)) for s, t in pairs]
    late = []
    for number in range(choose(1, 3)):
        source, beside = ("image", "a")[choose(0, 1)], "bcd"[choose(0, 2)]
        stride, name = (1, 2, 2, 4)[choose(0, 3)], f"late{number}"
        kernel = conv(2, channels[source], (1, 2, 3, 5)[choose(0, 3)], stride, choose(1, 2))
        kernel.weight[:, choose(0, channels[source]) :] = 0.0  # of so many channels at least
        shape = kernel.output_shape((channels[source], 8, 8))
        if shape[1] != 8 // stride:
            continue
        late.append(population(name, shape))
        ticking = conv(2, channels[beside], 1, stride)  # it waits for this one
        projections.append(Projection(source=source, target=name, kernel=kernel))
        projections.append(Projection(source=beside, target=name, kernel=ticking))
    read = [*populations[-1:], *late, *populations[: choose(0, 1)]]
    for one in read:
        weight = rng.integers(-2, 3, (3, int(np.prod(one.shape)))).astype(np.float64)
        projections.append(Projection(source=one.name, target="readout", kernel=Dense(weight=weight)))
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(channels["image"], 8, 8)),),
            populations=(*populations, *late, population("readout", (3,), "readout")),
            projections=tuple(projections),
            time_steps=2,
        )
    )


def spikes_for(graph: SpikingGraph) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {graph.inputs[0].name: (rng.random((2, 3, *graph.inputs[0].shape)) < 0.4).astype(np.uint8)}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.data())
def test_every_spike_stays_and_so_it_does_in_the_chain(data: Any) -> None:
    graph = fold(waiting_graph(lambda low, high: data.draw(st.integers(low, high))))
    inputs = spikes_for(graph)
    lowered = check(insert_relays(graph))
    before, after = simulate(graph, inputs), simulate(lowered, inputs)
    for name, fired in before.spikes.items():
        assert np.array_equal(after.spikes[name], fired), name
    assert np.array_equal(after.readout, before.readout)
    chip = quantize(lowered, 100.0)
    exact, chain = simulate(chip, inputs), chain_of(chip)
    found = simulate(chain.graph, inputs)
    assert np.array_equal(found.readout, exact.readout)
    for one in chip.populations[:-1]:
        place = chain.places[one.name]
        there = unpacked(found.spikes[chain.graph.populations[place.layer].name], place)
        assert np.array_equal(there, exact.spikes[one.name]), one.name


def strided(kernel: Kernel, target: tuple[int, int, int], late: int = 3) -> SpikingGraph:
    """image 2x4x4 -> a 2x4x4, and a chain of one neuron per pixel beside which a waits for its late reader."""
    chain = [population(f"t{i}", (1, 4, 4)) for i in range(late)]
    one = Conv(weight=np.ones((1, 1, 1, 1)))
    names = ["a", *(p.name for p in chain)]
    steps = [Projection(source=s, target=t, kernel=one) for s, t in pairwise(names[1:])]
    halve = Conv(weight=np.ones((target[0], 1, 2, 2)), stride=(2, 2))
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(2, 4, 4)),),
            populations=(
                population("a", (2, 4, 4)),
                *chain,
                population("late", target),
                population("readout", (2,), "readout"),
            ),
            projections=(
                Projection(source="image", target="a", kernel=Conv(weight=np.eye(2)[:, :, None, None] * 3)),
                Projection(source="a", target="t0", kernel=Conv(weight=np.ones((1, 2, 1, 1)))),
                *steps,
                Projection(source="a", target="late", kernel=kernel),
                Projection(source=names[-1], target="late", kernel=halve),
                Projection(source="late", target="readout", kernel=Dense(weight=np.ones((2, int(np.prod(target)))))),
            ),
            time_steps=2,
        )
    )


DILATED = Conv(weight=np.ones((1, 2, 3, 3)), stride=(2, 2), padding=(2, 2), dilation=(2, 2))
TWO_TAPS = Conv(weight=np.eye(2)[None] * np.ones((1, 2, 1, 1)), stride=(2, 2))
ONE_CHANNEL = Conv(weight=np.array([1.0, 0.0])[None, :, None, None] * np.ones((3, 3)), stride=(2, 2), padding=(1, 1))


@pytest.mark.parametrize(
    ("kernel", "shape"),
    [(DILATED, (2, 2, 2)), (TWO_TAPS, (4, 2, 2)), (ONE_CHANNEL, (1, 4, 4))],
    ids=["a quarter of the pixels", "half of them", "one channel"],
)
def test_what_waits_is_what_is_read(kernel: Conv, shape: tuple[int, ...]) -> None:
    graph = strided(kernel, (1, 2, 2))
    lowered = insert_relays(graph)
    assert [(p.name, p.shape) for p in lowered.populations if p.name.startswith("a.")] == [
        (f"a.relay{i}", shape) for i in (1, 2, 3)
    ]
    inputs = spikes_for(graph)
    before, after = simulate(graph, inputs), simulate(lowered, inputs)
    a, held = before.spikes["a"], after.spikes["a.relay3"]
    rows = {(2, 2, 2): a[..., ::2, ::2], (1, 4, 4): a[:, :, :1]}
    if shape in rows:
        assert np.array_equal(held, rows[shape])
    else:  # channel by channel: pixels (0, 0), then (1, 1)
        pair = np.stack([a[..., ::2, ::2], a[..., 1::2, 1::2]], 3)
        assert np.array_equal(held, pair.reshape(*held.shape))
    assert 0 < held.mean() < 1
    assert np.array_equal(before.spikes["late"], after.spikes["late"]) and 0 < before.spikes["late"].mean() < 1


def test_a_weight_that_changes_is_seen(broken: Any) -> None:
    graph = strided(TWO_TAPS, (1, 2, 2))
    inputs = spikes_for(graph)
    wrong = simulate(broken(insert_relays(graph), "a.relay3", "late"), inputs)
    assert not np.array_equal(wrong.spikes["late"], simulate(graph, inputs).spikes["late"])


def test_a_relay_that_holds_the_wrong_pixels_is_seen() -> None:
    graph = strided(TWO_TAPS, (1, 2, 2))
    lowered = insert_relays(graph)
    shifted = tuple(
        replace(p, kernel=replace(p.kernel, weight=np.roll(p.kernel.weight, 1, 3)))
        if (p.source, p.target) == ("a", "a.relay1")
        else p
        for p in lowered.projections
    )
    inputs = spikes_for(graph)
    wrong = simulate(replace(lowered, projections=shifted), inputs)
    assert not np.array_equal(wrong.spikes["late"], simulate(graph, inputs).spikes["late"])


def test_parts_are_neurons_of_the_same_readers() -> None:
    graph = strided(DILATED, (1, 2, 2))
    near, late = readers_of(graph, "a")
    assert near.projection.target == "t0" and near.mask.all()  # of stride 1
    assert late.mask.shape == (2, 2, 2) and late.mask[:, 0, 0].all() and late.mask.sum() == 2
    parts = parts_of([near, late], (2, 4, 4))
    assert [(size, [r.projection.target for r in found]) for size, found in parts] == [
        (24, ["t0"]),
        (8, ["t0", "late"]),
    ]
    assert [size for size, _ in parts_of([late], (2, 4, 4))] == [8]  # what nobody reads is in none


def test_flat_neurons_that_nobody_reads_later_stay_behind() -> None:
    """Of three neurons the last layer reads two; delays go with the synapses."""
    weight = np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    names = ["x", "a", "b", "readout"]
    kernels = [np.eye(3), np.ones((1, 3)), np.ones((2, 1))]
    steps = zip(names, names[1:], kernels, strict=False)
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="x", shape=(3,)),),
            populations=(population("a", (3,)), population("b", (1,)), population("readout", (2,), "readout")),
            projections=(
                *(Projection(source=s, target=t, kernel=Dense(weight=k)) for s, t, k in steps),
                Projection(
                    source="a", target="readout", kernel=Dense(weight=weight), delay=np.array([[0, 0, 1], [2, 0, 0]])
                ),
            ),
            time_steps=3,
        )
    )
    lowered = check(insert_relays(graph))
    (carried,) = [p for p in lowered.populations if p.role == "relay"]
    assert carried.shape == (2,)
    assert next(p.delay for p in lowered.incoming("readout") if p.delay is not None).tolist() == [[0, 1], [2, 0]]
    x = np.random.default_rng(0).integers(0, 2, (3, 4, 3)).astype(np.uint8)
    assert np.array_equal(simulate(lowered, {"x": x}).readout, simulate(graph, {"x": x}).readout)


def test_a_form_that_holds_all_is_the_source() -> None:
    assert whole((3, 4, 4)).is_whole and whole((5,)).is_whole
    part = Form(source=(1, 4, 4), block=(2, 2), mask=np.eye(2, dtype=bool)[None])
    assert part.shape == (2, 2, 2) and not part.is_whole


@pytest.fixture(scope="module")
def found_cell(lively: Any) -> Any:
    """A network whose reduction cell has dilated and factorized edges from its inputs to the last node."""
    late = tuple(
        Edge(node, source, "dil_conv_3x3" if source < 2 else "sep_conv_3x3")
        for node in range(4)
        for source in ((0, 1) if node in (0, 3) else (0, node + 1))
    )
    normal = random_genotype(np.random.default_rng(3), "darts").normal
    return lively(Genotype("darts", normal=normal, reduce=late))


def test_a_found_cell_on_the_whole_road(found_cell: Any, recorded: Any, same_spikes: Any) -> None:
    """torch, the graph, its relays, torch's run of them and the chip's integers."""
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    record = recorded(found_cell, images)
    traced = trace(found_cell, images[:1], 3)
    graph = lower(traced.graph)
    some = [p for p in graph.populations if p.role == "relay" and p.shape[1:] != _shape_of_source(graph, p.name)[1:]]
    assert some  # relays of some pixels
    inputs = {graph.inputs[0].name: record.spikes[graph.inputs[0].name]}
    found = simulate(graph, inputs).spikes
    assert same_spikes(found, record.spikes, least=len(record.spikes))
    fired, _ = run_graph(graph, torch.from_numpy(inputs[graph.inputs[0].name].astype(np.float32)))
    assert same_spikes({name: value.numpy().astype(np.uint8) for name, value in fired.items()}, found, least=10)
    assert any(p.name in fired for p in some)


def _shape_of_source(graph: SpikingGraph, relay: str) -> tuple[int, ...]:
    return graph.shapes()[relay.rsplit(".relay", 1)[0]]


def test_reading_what_is_held_gives_the_same_currents() -> None:
    """By hand: a kernel of stride 2 on a 1x4x4 map, and on the two phases that it reads."""
    graph = strided(TWO_TAPS, (1, 2, 2))
    lowered = insert_relays(graph)
    (read,) = [p for p in lowered.incoming("late") if p.source == "a.relay3"]
    assert isinstance(read.kernel, Conv) and read.kernel.weight.shape == (1, 4, 1, 1) and read.kernel.stride == (1, 1)
    spikes = np.random.default_rng(0).integers(0, 2, (5, 2, 4, 4))
    held = np.stack([spikes[..., ::2, ::2], spikes[..., 1::2, 1::2]], 2).reshape(5, 4, 2, 2)
    assert np.array_equal(apply(read.kernel, held), apply(TWO_TAPS, spikes))
