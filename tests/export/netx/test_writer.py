"""The NetX file as it lies on disk, the graph that travels in it, and every damage told in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.graph import Conv, Dense, SpikingGraph
from spikeport.export.netx import writer as netx
from spikeport.export.netx.chain import Chain, chain_of
from spikeport.export.netx.writer import check_netx, layer_indices, read_graph, write_netx
from spikeport.export.simulate import simulate


@pytest.fixture(scope="module")
def chain(quantized: SpikingGraph) -> Chain:
    return chain_of(quantized)


@pytest.fixture
def path(tmp_path: Path, chain: Chain, quantized: SpikingGraph) -> Path:
    found = tmp_path / "network.net"
    write_netx(found, quantized, chain)
    return found


def test_the_layers(path: Path, chain: Chain) -> None:
    with h5py.File(path) as file:
        layers = file["layer"]
        assert sorted(layers) == ["0", "1", "2", "3", "4"]
        assert [layers[str(i)]["type"][()] for i in range(5)] == [b"conv", b"conv", b"conv", b"flatten", b"dense"]
        assert layer_indices(chain) == {"layer0": 0, "layer1": 1, "layer2": 2, "readout": 4}
        for population, projection in zip(chain.graph.populations, chain.graph.projections, strict=True):
            layer = layers[str(layer_indices(chain)[population.name])]
            assert tuple(layer["shape"][()]) == population.shape
            assert np.array_equal(layer["weight"][()], projection.kernel.weight)
            assert layer["weight"].dtype == np.int16
            assert np.array_equal(layer["bias"][()], population.bias)
            neuron = layer["neuron"]
            assert neuron["type"][()] == b"CUBA"
            assert neuron["iDecay"][()] == 4096
            assert neuron["vDecay"][()] == (0 if population.name == "readout" else 2048)
            assert neuron["vThMant"][()] == population.threshold
            assert (neuron["refDelay"][()], neuron["wgtExp"][()]) == (1, 0)
            assert ("stride" in layer) == isinstance(projection.kernel, Conv)
            if isinstance(projection.kernel, Conv):
                for word in ("stride", "padding", "dilation"):
                    assert tuple(layer[word][()]) == getattr(projection.kernel, word)
                assert layer["groups"][()] == 1


def test_decays_are_what_a_step_forgets(tmp_path: Path, chain: Chain, quantized: SpikingGraph) -> None:
    changed = tuple(replace(p, decay=1000 / 4096, current_decay=3 / 4096) for p in chain.graph.populations)
    other = replace(chain, graph=replace(chain.graph, populations=changed))
    write_netx(tmp_path / "x.net", quantized, other)
    with h5py.File(tmp_path / "x.net") as file:
        assert file["layer/0/neuron/vDecay"][()] == 3096
        assert file["layer/0/neuron/iDecay"][()] == 4093


def test_the_graph_comes_back(path: Path, quantized: SpikingGraph, random_spikes: Any) -> None:
    found = read_graph(path)
    assert (found.inputs, found.time_steps, found.arithmetic) == (quantized.inputs, 3, "loihi")
    for a, b in zip(found.populations, quantized.populations, strict=True):
        assert np.array_equal(a.bias, b.bias)
        assert replace(a, bias=b.bias) == b
    for c, d in zip(found.projections, quantized.projections, strict=True):
        assert np.array_equal(c.kernel.weight, d.kernel.weight)
        assert replace(c, kernel=replace(c.kernel, weight=d.kernel.weight)) == d
    inputs = random_spikes(quantized)
    assert np.array_equal(simulate(found, inputs).readout, simulate(quantized, inputs).readout)


def test_a_changed_weight_in_the_file_shows(path: Path, quantized: SpikingGraph, random_spikes: Any) -> None:
    with h5py.File(path, "r+") as file:
        file["spikeport/weight/0"][...] = -file["spikeport/weight/0"][()]
    inputs = random_spikes(quantized)
    assert not np.array_equal(simulate(read_graph(path), inputs).readout, simulate(quantized, inputs).readout)


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path, path: Path, chain: Chain, quantized: SpikingGraph) -> None:
    write_netx(tmp_path / "again.net", quantized, chain)
    assert (tmp_path / "again.net").read_bytes() == path.read_bytes()


def test_a_failing_write_leaves_the_old_file(
    path: Path, chain: Chain, quantized: SpikingGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(netx, "_write_graph", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        write_netx(path, quantized, chain)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_float_graph_is_refused(tmp_path: Path, chain: Chain, random_graph: Any) -> None:
    with pytest.raises(UnsupportedError, match="the graph is float; quantize it first"):
        write_netx(tmp_path / "x.net", random_graph(), chain)


def test_a_matrix_without_positive_weights_is_refused(tmp_path: Path, chain: Chain, quantized: SpikingGraph) -> None:
    last = chain.graph.projections[-1]
    assert isinstance(last.kernel, Dense)
    negative = replace(last, kernel=Dense(weight=-np.abs(last.kernel.weight)))
    broken = replace(chain, graph=replace(chain.graph, projections=(*chain.graph.projections[:-1], negative)))
    for refuse in (lambda: check_netx(broken), lambda: write_netx(tmp_path / "x.net", quantized, broken)):
        with pytest.raises(UnsupportedError, match=r"'readout': lava-dl needs a positive weight .*train the network"):
            refuse()
    assert not list(tmp_path.glob("*x.net"))


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no '.*x\.net'; give a NetX file"):
        read_graph(tmp_path / "x.net")
    (tmp_path / "text.net").write_text("no HDF5")
    with pytest.raises(InputError, match=r"text\.net' is a text file, but a NetX file"):
        read_graph(tmp_path / "text.net")
    with h5py.File(tmp_path / "other.net", "w") as file:
        file["layer/0/type"] = b"dense"
    with pytest.raises(InputError, match=r"other.net .* /spikeport .*there is none"):
        read_graph(tmp_path / "other.net")
    with pytest.raises(InputError):
        read_graph(tmp_path)


def test_truncated_files(path: Path) -> None:
    whole = path.read_bytes()
    for size in (0, 1, 8, 100, *range(500, len(whole), 1500)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"network\.net' is (a damaged HDF5 file|an empty file|a text)"):
            read_graph(path)


def test_flipped_bytes_never_end_in_another_error(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 150):
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        try:
            read_graph(path)
        except InputError as error:
            assert "network.net" in str(error)
            refused += 1
    assert refused > 0


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with h5py.File(path, "r+") as file:
        group = file["spikeport"]
        head = json.loads(group["graph"][()])
        change(head)
        del group["graph"]
        group["graph"] = json.dumps(head)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head.update(format=2), "format 2 instead of 1"),
        (lambda head: head.pop("inputs"), "'inputs'"),
        (lambda head: head.pop("format"), "'format'"),
        (lambda head: head["populations"][0].pop("decay"), "decay"),
        (lambda head: head["populations"][0].update(surprise=1), "surprise"),
        (lambda head: head["populations"][0].update(role="neurone"), "'a': unknown role 'neurone'"),
        (lambda head: head["populations"][0].update(shape=[1]), "bias must have shape"),
        (lambda head: head["populations"].append(head["populations"][0]), "does not exist"),
        (lambda head: head["projections"][0].update(source="z"), "no node 'z'"),
        (lambda head: head["projections"][0].pop("padding"), "gives shape"),
        (lambda head: head.update(time_steps=0), "time_steps >= 1"),
    ],
)
def test_a_damaged_head(path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edited(path, change)
    with pytest.raises(
        InputError, match=rf"network.net is damaged in its group /spikeport .*{message}.*export it again"
    ):
        read_graph(path)


def test_damaged_json_and_missing_weights(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["spikeport/weight/0"]
    with pytest.raises(InputError, match=r"damaged in its group /spikeport"):
        read_graph(path)
    with h5py.File(path, "r+") as file:
        del file["spikeport/graph"]
        file["spikeport/graph"] = '{"format": 1, '
    with pytest.raises(InputError, match=r"damaged in its group /spikeport"):
        read_graph(path)
