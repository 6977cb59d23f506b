"""A float graph in ONNX Runtime equals its definition, and comes back from the file as it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from spikeport.deploy.run.any_form import run
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.onnx.carried import graph_in
from spikeport.export.onnx.float_graph import write_graph
from spikeport.export.onnx.twin import write_twin
from spikeport.export.parts import parts_of


def drawn(seed: int) -> SpikingGraph:
    """An image, a strided and a grouped convolution, a skip, a dense readout; every kind of neuron once."""
    draw = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        return draw.normal(size=shape) * 2 / np.sqrt(np.prod(shape[1:]))

    def population(name: str, shape: tuple[int, ...], **more: object) -> Population:
        told = {"decay": 0.5, "threshold": 0.7, "bias": 0.3 * draw.normal(size=shape[0])} | more
        return Population(name=name, shape=shape, **told)

    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="seen", shape=(2, 6, 6)),),
            populations=(
                population("leaky", (4, 3, 3)),
                population("slow", (4, 3, 3), current_decay=0.25, decay=0.75),
                population("soft", (4, 3, 3), reset="subtract", decay=1.0),
                population("flat", (5,), decay=0.0, threshold=0.1),
                population("readout", (3,), decay=1.0, threshold=np.inf, role="readout"),
            ),
            projections=(
                Projection(
                    source="seen", target="leaky", kernel=Conv(weight=weight(4, 2, 3, 3), stride=(2, 2), padding=(1, 1))
                ),
                Projection(
                    source="leaky", target="slow", kernel=Conv(weight=weight(4, 2, 3, 3), padding=(1, 1), groups=2)
                ),
                Projection(source="leaky", target="soft", kernel=Conv(weight=weight(4, 4, 1, 1))),
                Projection(
                    source="slow",
                    target="soft",
                    kernel=Conv(weight=weight(4, 4, 2, 2), padding=(1, 1), dilation=(2, 2)),
                ),
                Projection(source="soft", target="flat", kernel=Dense(weight=weight(5, 36))),
                Projection(source="slow", target="readout", kernel=Dense(weight=weight(3, 36))),
                Projection(source="flat", target="readout", kernel=Dense(weight=weight(3, 5))),
            ),
            time_steps=4,
        )
    )


def spikes(graph: SpikingGraph) -> np.ndarray:
    return (np.random.default_rng(7).random((4, 6, *graph.inputs[0].shape)) < 0.4).astype(np.uint8)


def same(a: SpikingGraph, b: SpikingGraph) -> bool:
    (head, arrays), (other, others) = parts_of(a), parts_of(b)
    return (
        head == other and arrays.keys() == others.keys() and all(np.array_equal(arrays[n], others[n]) for n in arrays)
    )


@pytest.mark.parametrize("seed", range(6))
def test_it_computes_the_same_and_is_read_back(seed: int, tmp_path: Path) -> None:
    graph = drawn(seed)
    path = write_graph(tmp_path / "graph.onnx", graph)
    found, expected = run(path, spikes(graph)), run(graph, spikes(graph))
    assert found.spikes.keys() == expected.spikes.keys()
    for name in expected.spikes:
        assert np.array_equal(found.spikes[name], expected.spikes[name])
        assert 0.01 < expected.spikes[name].mean() < 0.99
    assert np.allclose(found.readout, expected.readout, atol=1e-5)
    again = graph_in(path)
    assert again is not None and same(again, graph)


def test_a_membrane_at_its_threshold_fires(tmp_path: Path) -> None:
    """1/2 + 1/4 meets 3/4 exactly, also in float32; the next number below does not."""
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="in", shape=(1,)),),
            populations=(
                Population(name="at", shape=(2,), decay=0.5, threshold=0.75, bias=np.zeros(2)),
                Population(name="readout", shape=(1,), decay=1.0, threshold=np.inf, bias=np.zeros(1), role="readout"),
            ),
            projections=(
                Projection(source="in", target="at", kernel=Dense(weight=np.array([[0.5], [0.4999999]]))),
                Projection(source="at", target="readout", kernel=Dense(weight=np.ones((1, 2)))),
            ),
            time_steps=2,
        )
    )
    found = run(write_graph(tmp_path / "graph.onnx", graph), np.ones((2, 1, 1), np.uint8))
    assert found.spikes["at"][:, 0].tolist() == [[0, 0], [1, 0]]


def test_a_broken_weight_is_seen(tmp_path: Path) -> None:
    graph = drawn(0)
    first = graph.projections[0]
    broken = first.kernel.weight.copy()
    broken[0, 0, 1, 1] += 3
    changed = (replace(first, kernel=replace(first.kernel, weight=broken)), *graph.projections[1:])
    path = write_graph(tmp_path / "graph.onnx", replace(graph, projections=changed))
    found, expected = run(path, spikes(graph)), run(graph, spikes(graph))
    assert (found.spikes["leaky"] != expected.spikes["leaky"]).any()
    assert not same(graph_in(path) or graph, graph)


def test_a_twin_carries_its_graph(tmp_path: Path, quantized: SpikingGraph) -> None:
    path = write_twin(tmp_path / "twin.onnx", quantized)
    again = graph_in(path)
    assert again is not None and same(again, quantized)
    given = (np.random.default_rng(0).random((quantized.time_steps, 3, *quantized.inputs[0].shape)) < 0.5).astype(
        np.uint8
    )
    assert np.array_equal(run(path, given).readout, run(quantized, given).readout)


def test_other_files_carry_none(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "graph.onnx", drawn(0))
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(path))
    assert graph_in(path) is None


@pytest.mark.parametrize("change", [("0.5", "7.5"), ('"format": 1', '"format": 2'), ("[[", "[{"), ('"leaky"', "3")])
def test_damaged_metadata(change: tuple[str, str], tmp_path: Path) -> None:
    path = write_graph(tmp_path / "graph.onnx", drawn(0))
    model = onnx.load(str(path))
    (prop,) = [p for p in model.metadata_props if p.key == "spikeport.graph"]
    prop.value = prop.value.replace(*change) if change[0] in prop.value else "{"
    onnx.save(model, str(path))
    with pytest.raises(InputError, match=r"is damaged in its metadata spikeport\.graph .*; write it again"):
        graph_in(path)


def test_what_it_cannot_hold(quantized: SpikingGraph, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="A quantized graph is written as its twin"):
        write_graph(tmp_path / "graph.onnx", quantized)
    graph = drawn(0)
    loop = Projection(source="flat", target="flat", kernel=Dense(weight=np.eye(5)))
    with pytest.raises(
        UnsupportedError, match="'flat' -> 'flat' is recurrent or delayed, which an ONNX graph cannot hold"
    ):
        write_graph(tmp_path / "graph.onnx", replace(graph, projections=(*graph.projections, loop)))
