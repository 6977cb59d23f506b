"""A graph as a chain: the same spikes at the places that it names, whatever resolutions lie side by side."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikeport.errors import UnsupportedError
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.netx import chain as chain_module
from spikeport.export.netx.chain import Chain, Place, chain_of, packed, unpacked
from spikeport.export.netx.phases import Phases
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate


def differing(graph: SpikingGraph, chain: Chain, inputs: Any) -> int:
    """Spikes of all populations and readout membranes of all steps that differ."""
    expected, found = simulate(graph, inputs), simulate(chain.graph, inputs)
    count = int((expected.readout != found.readout).sum())
    for population in graph.populations[:-1]:
        place = chain.places[population.name]
        layer = chain.graph.populations[place.layer].name
        count += int((expected.spikes[population.name] != unpacked(found.spikes[layer], place)).sum())
    return count


def wide(seed: int = 0, *, size: tuple[int, int] = (8, 12)) -> SpikingGraph:
    """Factors 4, 2 and 1 in one level, and a dilated kernel between space-to-depth tensors.

    x(2, 8x12) -> fine(2, 8x12) -> also(3, 8x12)                -> readout
                  fine -> half(2, 4x6, stride 2) -> ...         -> readout
                  fine -> quarter(2, 2x3, stride 4)             -> readout
    """
    rng = np.random.default_rng(seed)
    rows, columns = size

    def neurons(name: str, channels: int, by: int) -> Population:
        bias = rng.normal(0.2, 0.2, channels)
        return Population(name=name, shape=(channels, rows // by, columns // by), decay=0.5, threshold=1.0, bias=bias)

    def join(source: str, target: str, channels: tuple[int, int], kernel: int, stride: int, dilation: int = 1) -> Any:
        weight = rng.normal(0.1, 0.5, (*channels, kernel, kernel))
        padding = dilation * (kernel // 2)
        conv = Conv(weight=weight, stride=(stride, stride), padding=(padding, padding), dilation=(dilation, dilation))
        return Projection(source=source, target=target, kernel=conv)

    shapes = {"also": 3 * rows * columns, "half": rows * columns // 2, "quarter": rows * columns // 8}
    readout = Population(name="readout", shape=(3,), decay=1.0, threshold=np.inf, bias=np.zeros(3), role="readout")
    graph = SpikingGraph(
        inputs=(SpikeInput(name="x", shape=(2, rows, columns)),),
        populations=(
            neurons("fine", 2, 1),
            neurons("also", 3, 1),
            neurons("half", 2, 2),
            neurons("quarter", 2, 4),
            neurons("half2", 2, 2),
            readout,
        ),
        projections=(
            join("x", "fine", (2, 2), 3, 1),
            join("fine", "also", (3, 2), 3, 1, dilation=2),
            join("fine", "half", (2, 2), 5, 2),
            join("fine", "quarter", (2, 2), 3, 4),
            join("half", "half2", (2, 2), 3, 1),
            join("also", "half2", (2, 3), 3, 2),
            *(
                Projection(source=name, target="readout", kernel=Dense(weight=rng.normal(size=(3, n))))
                for name, n in (shapes | {"half2": shapes["half"]}).items()
            ),
        ),
        time_steps=3,
    )
    return quantize(lower(check(graph)), peak=20.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_computes_the_same(seed: int, random_graph: Any, random_spikes: Any) -> None:
    graph = quantize(lower(random_graph(seed)), peak=8.0)
    assert differing(graph, chain_of(graph), random_spikes(graph, seed=seed)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_three_resolutions_on_one_level(seed: int, random_spikes: Any) -> None:
    graph = wide(seed)
    chain = chain_of(graph)
    assert chain.places["also"].factor == (4, 4) and chain.places["half"].factor == (2, 2)
    assert chain.places["quarter"].factor == (1, 1)
    inputs = random_spikes(graph, seed=seed)
    spikes = simulate(graph, inputs).spikes
    assert all(0.01 < spikes[name].mean() < 0.99 for name in ("fine", "also", "half", "quarter", "half2"))
    assert differing(graph, chain, inputs) == 0


def test_it_is_a_chain(quantized: SpikingGraph) -> None:
    chain = chain_of(quantized)
    names = [chain.graph.inputs[0].name, *(p.name for p in chain.graph.populations)]
    assert [(p.source, p.target) for p in chain.graph.projections] == list(pairwise(names))
    assert chain.places["input"] == Place(layer=-1, start=0, factor=(1, 1), shape=(2, 8, 6))
    # of a every other row and column waits
    assert [p.shape for p in chain.graph.populations] == [(3, 8, 6), (3 + 3 + 2, 4, 3), (2 + 2, 4, 3), (4,)]


def test_a_broken_weight_shows(random_spikes: Any, broken: Callable[..., SpikingGraph]) -> None:
    graph = wide()
    wrong = chain_of(broken(graph, "fine", "half"))
    assert differing(graph, wrong, random_spikes(graph)) > 0


def test_a_wrong_phase_shows(random_spikes: Any) -> None:
    graph = wide()
    chain = chain_of(graph)
    place = chain.places["half"]
    shifted = replace(chain, places=chain.places | {"half": replace(place, start=place.start - 1)})
    assert differing(graph, shifted, random_spikes(graph)) > 0


def test_grouped_kernels_fold_into_the_block_matrix(random_spikes: Any) -> None:
    rng = np.random.default_rng(0)
    a = Population(name="a", shape=(4, 4, 4), decay=0.5, threshold=100.0, bias=np.zeros(4))
    readout = Population(name="readout", shape=(1,), decay=1.0, threshold=2.0**17 - 1, bias=np.zeros(1), role="readout")
    kernel = Conv(weight=2.0 * rng.integers(-50, 100, (4, 1, 3, 3)), padding=(1, 1), groups=2)
    graph = SpikingGraph(
        inputs=(SpikeInput(name="x", shape=(2, 4, 4)),),
        populations=(a, readout),
        projections=(
            Projection(source="x", target="a", kernel=kernel),
            Projection(source="a", target="readout", kernel=Dense(weight=np.full((1, 64), 2.0))),
        ),
        time_steps=2,
        arithmetic="loihi",
    )
    inputs = random_spikes(check(graph))
    assert simulate(graph, inputs).spikes["a"].any()
    assert differing(graph, chain_of(graph), inputs) == 0


def test_space_to_depth_and_back() -> None:
    values = np.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    place = Place(layer=0, start=0, factor=(2, 3), shape=(3, 4, 6))
    deep = packed(values, place)
    assert deep.shape == (2, 18, 2, 2)
    assert deep[0, 4].tolist() == [[7, 10], [19, 22]]  # channel 0, row phase 1, column phase 1
    assert np.array_equal(unpacked(deep, place), values)
    flat = Place(layer=0, start=2, factor=(1, 1), shape=(3,))
    assert unpacked(np.arange(8), flat).tolist() == [2, 3, 4]
    assert packed(np.arange(3), flat).tolist() == [0, 1, 2]


def two(first: tuple[int, ...], second: tuple[int, ...], kernels: tuple[Any, Any], source: Any) -> SpikingGraph:
    """x -> a, x -> b, side by side on one level."""
    shared: dict[str, Any] = {"decay": 0.5, "threshold": 9.0}
    readout = Population(name="readout", shape=(1,), decay=1.0, threshold=9.0, bias=np.zeros(1), role="readout")
    a = Population(name="a", shape=first, bias=np.zeros(first[0]), **shared)
    b = Population(name="b", shape=second, bias=np.zeros(second[0]), **shared)
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="x", shape=source),),
            populations=(a, b, readout),
            projections=(
                Projection(source="x", target="a", kernel=kernels[0]),
                Projection(source="x", target="b", kernel=kernels[1]),
                Projection(source="a", target="readout", kernel=Dense(weight=np.ones((1, int(np.prod(first)))))),
            ),
            time_steps=1,
            arithmetic="loihi",
        )
    )


def conv(size: int = 1, stride: int = 1) -> Conv:
    return Conv(weight=np.ones((1, 1, size, size)), stride=(stride, stride), padding=(size // 2, size // 2))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (two((1, 7, 7), (1, 4, 4), (conv(), conv(3, 2)), (1, 7, 7)), "'a' has 7x7 .* 4x4 of its level; pad the images"),
        (two((1, 6, 6), (1, 2, 2), (conv(), conv(1, 4)), (1, 6, 6)), "'b'.*strides .*pad the images"),
        (two((1, 4, 4), (2,), (conv(), Dense(weight=np.ones((2, 16)))), (1, 4, 4)), "some flat and some images"),
        (
            two((1, 9, 9), (1, 9, 9), (conv(), Dense(weight=np.arange(81.0**2).reshape(81, 81))), (1, 9, 9)),
            "'b': a full matrix into an image has no NetX layer, unless it repeats in blocks of up to 8x8; put",
        ),
    ],
)
def test_what_no_chain_can_be_is_refused_with_advice(graph: SpikingGraph, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        chain_of(graph)


def test_several_inputs_are_refused(quantized: SpikingGraph) -> None:
    more = replace(quantized, inputs=(*quantized.inputs, SpikeInput(name="y", shape=(1, 8, 6))))
    with pytest.raises(UnsupportedError, match="one input, but the graph has 2"):
        chain_of(more)


def test_unequal_registers_are_refused(quantized: SpikingGraph) -> None:
    changed = tuple(replace(p, decay=0.25) if p.name == "b" else p for p in quantized.populations)
    with pytest.raises(UnsupportedError, match="must share one layer's registers"):
        chain_of(replace(quantized, populations=changed))


def test_projections_over_several_levels_are_a_defect(random_graph: Any) -> None:
    with pytest.raises(ValueError, match="span one level"):
        chain_of(random_graph())


@pytest.mark.parametrize("defect", ["phase", "stride"])
def test_defects_in_the_placing_show(defect: str, random_spikes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A twin of the equality above: phases in the wrong order, or a tap one off, must be seen."""
    graph = wide()
    right = chain_module._place_taps

    def wrong(taps: Any, form: Phases, source: Place, target: Place, channels: tuple[int, int]) -> None:
        if defect == "phase":
            start = source.start + (source.factor[0] > 1)
            source = replace(source, start=min(start, channels[1] - source.shape[0] * int(np.prod(source.factor))))
        elif form.stride[0] > 1:
            late = {phase: {(y - 1, x): w for (y, x), w in each.items()} for phase, each in form.taps.items()}
            form = replace(form, taps=late)
        right(taps, form, source, target, channels)

    monkeypatch.setattr(chain_module, "_place_taps", wrong)
    assert differing(graph, chain_of(graph), random_spikes(graph)) > 0
