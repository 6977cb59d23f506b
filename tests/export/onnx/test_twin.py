"""The twin in ONNX Runtime equals `simulate` in every integer: spikes, membranes, counts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from spikeport.errors import UnsupportedError
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.onnx.twin import Builder, twin_of, with_spikes, write_twin
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import STATE_LIMIT, simulate
from spikeport.export.trace.walk import trace
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.primitives import PRIMITIVES


def run(model: onnx.ModelProto, inputs: Any) -> dict[str, NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_reuse = False
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return dict(zip([node.name for node in session.get_outputs()], session.run(None, inputs), strict=True))


def differing(graph: SpikingGraph, model: onnx.ModelProto, inputs: Any) -> int:
    """Integers that differ: all spikes, membranes, readout steps and counts."""
    expected = simulate(graph, inputs)
    found = run(with_spikes(model, graph), inputs)
    pairs = [(expected.readout, found["readout/membrane"]), (expected.readout[-1], found["readout"])]
    for population in graph.populations:
        name = population.name
        v = expected.membranes[name]
        active = (v != 0) | (currents(graph, population, expected.spikes) != 0)
        pairs.append((per_sample(active), found[f"active/{name}"]))
        if population.role != "readout":
            pairs.append((v, found[f"{name}/v_before"]))
            pairs.append((expected.spikes[name], found[f"{name}/spikes"]))
            pairs.append((per_sample(expected.spikes[name]), found[f"spikes/{name}"]))
    return sum(int((a != b).sum()) for a, b in pairs)


def per_sample(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).sum(1, dtype=np.int64)


def currents(graph: SpikingGraph, population: Population, spikes: Any) -> NDArray[np.int64]:
    """u after each step, [T, N, *shape]: what `simulate` leaves in a neuron that forgets its membrane."""
    still = replace(population, name="still", decay=0.0, bias=np.zeros_like(population.bias), threshold=2.0**18)
    readout = replace(graph.readout, name="none", shape=(1,), bias=np.zeros(1))
    joins = tuple(replace(p, target="still") for p in graph.incoming(population.name))
    sources = {p.source for p in joins}
    shapes = graph.shapes()
    alone = SpikingGraph(
        inputs=tuple(SpikeInput(name=name, shape=shapes[name]) for name in sources),
        populations=(replace(still, role="neuron"), readout),
        projections=joins,
        time_steps=graph.time_steps,
        arithmetic="loihi",
    )
    return np.asarray(simulate(alone, {name: spikes[name] for name in sources}).membranes["still"])


def integers(
    seed: int,
    *,
    time_steps: int = 3,
    decay: int = 2048,
    current_decay: int = 0,
    weight: int = 254,
    bias: int = 400,
    threshold: int = 300,
) -> SpikingGraph:
    """x(2, 6x5) -> a(3, 6x5) -> b(4, grouped, stride 2, dilation 2) -> c(7) -> readout(3); a -> c, too"""
    rng = np.random.default_rng(seed)

    def neurons(name: str, *shape: int) -> Population:
        return Population(
            name=name,
            shape=shape,
            decay=decay / 4096,
            current_decay=current_decay / 4096,
            threshold=float(threshold),
            bias=rng.integers(-bias, bias + 1, shape[0]).astype(float),
        )

    def weights(*shape: int) -> NDArray[np.float64]:
        return 2.0 * rng.integers(-(weight // 4), weight // 2 + 1, shape)

    readout = replace(neurons("readout", 3), decay=1.0, threshold=2.0**17 - 1, role="readout")
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="x", shape=(2, 6, 5)),),
            populations=(neurons("a", 3, 6, 5), neurons("b", 4, 3, 3), neurons("c", 7), readout),
            projections=(
                Projection(source="x", target="a", kernel=Conv(weight=weights(3, 2, 3, 3), padding=(1, 1))),
                Projection(source="x", target="a", kernel=Conv(weight=weights(3, 2, 1, 3), padding=(0, 1))),
                Projection(source="x", target="b", kernel=Conv(weight=weights(4, 2, 1, 1), stride=(2, 2))),
                Projection(
                    source="x",
                    target="b",
                    kernel=Conv(weight=weights(4, 1, 3, 3), stride=(2, 2), padding=(2, 2), dilation=(2, 2), groups=2),
                ),
                Projection(source="b", target="c", kernel=Dense(weight=weights(7, 36))),
                Projection(source="a", target="c", kernel=Dense(weight=weights(7, 90))),
                Projection(source="c", target="readout", kernel=Dense(weight=weights(3, 7))),
            ),
            time_steps=time_steps,
            arithmetic="loihi",
        )
    )


GRAPHS = {
    "plain": integers(0),
    "one step": integers(1, time_steps=1),
    "current decay": integers(2, current_decay=1365, time_steps=4),
    "other decays": integers(3, decay=1023, current_decay=3000),
    "forgets all": integers(4, decay=0),
    "keeps all": integers(5, decay=4096, current_decay=4096, threshold=3000),
    "wraps": integers(6, weight=80_000, threshold=90_000),
    "wraps and clips": integers(7, weight=200_000, bias=120_000, current_decay=2000, decay=4000, threshold=100_000),
    "wide bias": integers(8, bias=4095, threshold=5000),
}


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_twin_is_simulate(name: str, samples: int, random_spikes: Any) -> None:
    graph = GRAPHS[name]
    inputs = random_spikes(graph, samples=samples, seed=samples)
    trace = simulate(graph, inputs)
    rate = np.mean([trace.spikes[p].mean() for p in "abc"])
    assert 0.0 < rate < 1.0
    assert differing(graph, twin_of(graph, {}), inputs) == 0


def test_the_graphs_above_do_wrap_and_clip(random_spikes: Any) -> None:
    graph = GRAPHS["wraps and clips"]
    trace = simulate(graph, random_spikes(graph, samples=5, seed=5))
    assert any((np.abs(v) == STATE_LIMIT - 1).any() for v in trace.membranes.values())
    arrives = [currents(replace(graph, arithmetic="loihi"), p, trace.spikes) for p in graph.populations[:3]]
    bound = [Builder(graph)._bound(p) << 6 for p in graph.populations[:3]]
    assert all(b > STATE_LIMIT for b in bound) and all(np.abs(u).max() <= 2 * STATE_LIMIT for u in arrives)


def test_the_quantized_cell(quantized: SpikingGraph, random_spikes: Any) -> None:
    inputs = random_spikes(quantized)
    assert differing(quantized, twin_of(quantized, {}), inputs) == 0


@pytest.mark.parametrize("primitives", PRIMITIVES)
def test_random_genotypes(primitives: Any, lively: Any, random_spikes: Any) -> None:
    network = lively(random_genotype(np.random.default_rng(7), primitives), seed=7, time_steps=2)
    graph = quantize(lower(trace(network, torch.rand(1, 1, 8, 8), 2).graph), peak=1.0)
    inputs = random_spikes(graph, samples=2)
    spikes = simulate(graph, inputs).spikes
    assert 0.02 < np.mean([value.mean() for value in spikes.values()]) < 0.6
    assert differing(graph, twin_of(graph, {}), inputs) == 0


def tied() -> SpikingGraph:
    """x(1) -0-> a(2) -> readout(3): in the first step one membrane is at the threshold, the other just above."""
    plain = GRAPHS["plain"]
    a = Population(name="a", shape=(2,), decay=0.5, threshold=10.0, bias=np.array([10.0, 11.0]))
    return check(
        replace(
            plain,
            inputs=(SpikeInput(name="x", shape=(1,)),),
            populations=(a, plain.readout),
            projections=(
                Projection(source="x", target="a", kernel=Dense(weight=np.zeros((2, 1)))),
                Projection(source="a", target="readout", kernel=Dense(weight=np.full((3, 2), 2.0))),
            ),
        )
    )


def test_ties_do_not_fire(random_spikes: Any) -> None:
    inputs = random_spikes(tied())
    assert simulate(tied(), inputs).spikes["a"][0, 0].tolist() == [0, 1]
    assert differing(tied(), twin_of(tied(), {}), inputs) == 0


def test_the_ends_of_the_24_bit_range() -> None:
    """Currents of 64 * 2^17 = 2^23, its negative, and one weight more and less."""
    weights = [s * (2**17 + d) for s in (1, -1) for d in (-1, 0, 1)]
    plain = GRAPHS["plain"]
    a = Population(name="a", shape=(6,), decay=0.5, threshold=2.0**17 - 1, bias=np.zeros(6))
    graph = replace(
        tied(),
        populations=(a, plain.readout),
        projections=(
            Projection(source="x", target="a", kernel=Dense(weight=np.array(weights, float)[:, None])),
            Projection(source="a", target="readout", kernel=Dense(weight=np.full((3, 6), 2.0))),
        ),
    )
    inputs = {"x": np.ones((3, 1, 1), np.uint8)}
    assert differing(check(graph), twin_of(graph, {}), inputs) == 0


def test_a_broken_weight_shows(random_spikes: Any, broken: Callable[..., SpikingGraph]) -> None:
    graph = GRAPHS["plain"]
    inputs = random_spikes(graph)
    assert differing(graph, twin_of(broken(graph, "a", "c"), {}), inputs) > 0


@pytest.mark.parametrize(
    ("graph", "node", "instead"),
    [
        (tied(), "a/fires/0:Greater", "GreaterOrEqual"),
        (GRAPHS["plain"], "b/v_kept/1:Div", "Mul"),
        (GRAPHS["wraps and clips"], "c/v/1:Clip", "Identity"),
    ],
)
def test_a_broken_operator_shows(graph: SpikingGraph, node: str, instead: str, random_spikes: Any) -> None:
    """The twin of the equality: `>=` for `>`, a wrong decay, a membrane that does not clip."""
    model = twin_of(graph, {})
    inputs = random_spikes(graph, samples=5, seed=5)
    (found,) = [n for n in model.graph.node if n.name == node]
    found.op_type = instead
    if instead == "Identity":
        del found.input[1:]
    assert differing(graph, model, inputs) > 0


def test_the_file(tmp_path: Path, quantized: SpikingGraph) -> None:
    path = tmp_path / "loihi" / "twin.onnx"
    write_twin(path, quantized, {"run": "x"})
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    told = {p.key: p.value for p in model.metadata_props}
    assert {key: told[key] for key in ("time_steps", "run")} == {"time_steps": "3", "run": "x"}
    assert told.keys() == {"time_steps", "run", "spikeport.graph"}
    assert [i.name for i in model.graph.input] == ["input"]
    names = [p.name for p in quantized.populations]
    assert [o.name for o in model.graph.output] == [
        "readout",
        *(f"spikes/{name}" for name in names[:-1]),
        *(f"active/{name}" for name in names),
    ]
    assert len({n.name for n in model.graph.node}) == len(model.graph.node)
    assert model.SerializeToString() == twin_of(quantized, {"run": "x"}).SerializeToString()


def test_with_spikes_leaves_the_model_as_it_is(quantized: SpikingGraph) -> None:
    model = twin_of(quantized, {})
    before = model.SerializeToString()
    with_spikes(model, quantized)
    assert model.SerializeToString() == before


def test_sums_beyond_float32_are_refused() -> None:
    graph = integers(0, weight=2**23)
    with pytest.raises(UnsupportedError, match=r"'a': its weights add up to \d+, but float32 is exact below 16777216"):
        twin_of(graph, {})


def test_what_no_twin_can_be_is_refused(random_graph: Any) -> None:
    with pytest.raises(ValueError, match="quantized"):
        twin_of(random_graph(), {})
    lonely = replace(GRAPHS["plain"], projections=GRAPHS["plain"].projections[2:])
    with pytest.raises(UnsupportedError, match="'a' has no incoming projection; connect or remove it"):
        twin_of(lonely, {})
