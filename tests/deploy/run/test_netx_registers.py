"""Decays and thresholds of each channel or neuron, wide weights, odd shapes: as Lava runs them, by every form."""

import runpy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.cost.profiles import find_profile
from spikeport.deploy.mapping.fit.narrow import narrowed
from spikeport.deploy.measure import measure_netx
from spikeport.deploy.netx_table import inspect_netx
from spikeport.deploy.run.any_form import run
from spikeport.deploy.run.forms import GraphRunner, TwinRunner
from spikeport.deploy.run.kernels.runner import compiled
from spikeport.deploy.run.lava import LavaResult
from spikeport.deploy.run.netx import Runner, run_netx, simulated
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.graph import REGISTERS, SpikingGraph
from spikeport.export.netx.chain import chain_of
from spikeport.export.netx.reader import read_netx
from spikeport.export.netx.writer import read_graph, write_netx
from spikeport.export.onnx.twin import write_twin
from spikeport.export.simulate import simulate

from .as_lava import AS_LAVA, LAVA_FAILS

GOLDEN = Path(__file__).parents[2] / "golden"
make = runpy.run_path(str(GOLDEN / "make.py"))
layer, neuron, write = make["layer"], make["neuron"], make["write"]

Layers = list[dict[str, Any]]
RUNNERS = pytest.mark.parametrize("runner", [simulated, compiled])


def golden(name: str, folder: Path) -> tuple[Path, dict[str, NDArray[Any]]]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        loaded = {key: arrays[key] for key in arrays.files}
    path = folder / f"{name}.net"
    path.write_bytes(loaded.pop("net").tobytes())
    return path, loaded


def differing(path: Path, spikes: NDArray[np.uint8], result: LavaResult, runner: Runner) -> int:
    made = run_netx(path, spikes, skip_input=True, reset_interval=spikes.shape[1], runner=runner)
    assert set(made.spikes) == set(result.spikes)
    wrong = sum(int((made.spikes[i].reshape(fired.shape) != fired).sum()) for i, fired in result.spikes.items())
    return wrong + int((made.membrane.reshape(result.membrane.shape) != result.membrane).sum())


def recorded(arrays: dict[str, NDArray[Any]]) -> LavaResult:
    spikes = {int(k.removeprefix("spikes_")): fired for k, fired in arrays.items() if k.startswith("spikes_")}
    return LavaResult(spikes=spikes, membrane=arrays["membrane"], seconds=0.0)


@RUNNERS
@pytest.mark.parametrize(
    ("index", "register", "at"),
    [
        (0, "iDecay", 1),
        (0, "vDecay", 3),
        (0, "vThMant", 1),
        (1, "iDecay", (2, 1, 0)),
        (1, "vDecay", (2, 0, 0)),
        (1, "vThMant", (2, 0)),
        (3, "iDecay", (0, 2)),
        (3, "vDecay", 2),
        (3, "vThMant", 2),
        (4, "iDecay", 1),
    ],
)
def test_one_broken_register_shows(tmp_path: Path, index: int, register: str, at: Any, runner: Runner) -> None:
    path, arrays = golden("channels", tmp_path)
    assert differing(path, arrays["spikes"], recorded(arrays), runner) == 0
    with h5py.File(path, "r+") as file:
        data = file[f"layer/{index}/neuron/{register}"]
        data[at] = (int(data[at]) + (30 if register == "vThMant" else 1500)) % 4096
    assert differing(path, arrays["spikes"], recorded(arrays), runner) > 0


def test_what_is_alike_is_one_number_and_what_a_channel_shares_is_per_channel(tmp_path: Path) -> None:
    path, _ = golden("channels", tmp_path)
    first, second, third, last = read_netx(path).graph.populations
    assert [np.shape(getattr(first, word)) for word in REGISTERS] == [(4,), (4,), (4,)]
    assert [np.shape(getattr(second, word)) for word in REGISTERS] == [(3, 4, 5)] * 3
    assert (second.bias.shape, np.shape(third.decay), np.shape(last.threshold)) == ((3, 4, 5), (5,), ())
    alike = write(tmp_path / "alike.net", [layer(b"dense", [2], 2 * np.eye(2), neuron([[7, 7]], [8, 8], [9, 9]))])
    (only,) = read_netx(alike).graph.populations
    assert (only.current_decay, only.decay, only.threshold) == (1 - 7 / 4096, 1 - 8 / 4096, 9)


def test_inspect_shows_the_smallest_and_the_largest(tmp_path: Path) -> None:
    path, _ = golden("channels", tmp_path)
    row = inspect_netx(path).rows[0]
    assert (row.threshold, row.membrane_forgets) == ((60, 200), (0.0, 1.0))
    assert row.current_forgets == (100 / 4096, 1.0)


# the other forms of a graph whose channels differ


@pytest.fixture
def channels(tmp_path: Path) -> tuple[SpikingGraph, NDArray[np.uint8]]:
    """conv 2x4x5 -> 4 channels -> dense 5 -> dense 2; registers for each channel and neuron."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return 2 * random.integers(-20, 40, shape)

    geometry = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": random.integers(0, 9, 4)}
    path = write(
        tmp_path / "channels.net",
        [
            layer(b"conv", [4, 4, 5], weights(4, 2, 3, 3), neuron([9, 4096, 70, 500], [0, 9, 3, 4096], 90), **geometry),
            {"type": b"flatten"},
            layer(b"dense", [5], weights(5, 80), neuron(4096, [0, 4096, 900, 20, 7], [90, 400, 900, 200, 2000])),
            layer(b"dense", [2], weights(2, 5), neuron([4096, 500], [0, 100], 131071)),
        ],
    )
    graph = read_netx(path, time_steps=6, input_shape=(2, 4, 5)).graph
    return graph, (random.random((6, 3, 2, 4, 5)) < 0.3).astype(np.uint8)


def same(one: SpikingGraph, other: SpikingGraph, spikes: NDArray[np.uint8]) -> bool:
    ran = [simulate(graph, {graph.inputs[0].name: spikes}) for graph in (one, other)]
    fired = [[trace.spikes[p.name] for p in g.populations] for g, trace in zip((one, other), ran, strict=True)]
    assert all(0 < spiked.mean() < 1 for spiked in fired[0][:-1])
    return all((a == b).all() for a, b in zip(*fired, strict=True)) and bool((ran[0].readout == ran[1].readout).all())


def test_a_written_file_is_read_alike_twice(tmp_path: Path, channels: Any) -> None:
    """Once as the layers, once as the graph that travels with them; another decay is seen."""
    graph, spikes = channels
    path = write_netx(tmp_path / "again.net", graph)
    layers = read_netx(path, time_steps=6, input_shape=(2, 4, 5)).graph
    assert same(graph, layers, spikes) and same(graph, read_graph(path), spikes)
    with h5py.File(path, "r+") as file:
        file["layer/3/neuron/vDecay"][1] += 1200
        file["spikeport/decay/2"][1] -= 1200 / 4096
    assert not same(graph, read_netx(path, time_steps=6, input_shape=(2, 4, 5)).graph, spikes)
    assert not same(graph, read_graph(path), spikes)


def test_the_twin_equals_the_graph(tmp_path: Path, channels: Any) -> None:
    graph, spikes = channels
    graph = replace(graph, populations=(*graph.populations[:-1], replace(graph.readout, role="readout")))
    write_twin(tmp_path / "twin.onnx", graph)
    found, wanted = TwinRunner(tmp_path / "twin.onnx", graph)(spikes), GraphRunner(graph)(spikes)
    for name, fired in wanted.spikes.items():
        np.testing.assert_array_equal(found.spikes[name], fired)
    for name, margin in wanted.margins.items():
        np.testing.assert_array_equal(found.margins[name], margin)
    np.testing.assert_array_equal(found.readout, wanted.readout)
    last = replace(graph.readout, current_decay=np.asarray(graph.readout.current_decay)[::-1])
    broken = replace(graph, populations=(*graph.populations[:-1], last))
    assert (GraphRunner(broken)(spikes).readout != wanted.readout).any()


def test_a_narrower_graph_keeps_the_numbers_of_its_channels(channels: Any) -> None:
    first, second, last = narrowed(channels[0], Fraction(1, 2)).populations
    np.testing.assert_array_equal(first.decay, channels[0].populations[0].decay[[0, 2]])
    np.testing.assert_array_equal(second.threshold, channels[0].populations[1].threshold[[0, 2]])
    np.testing.assert_array_equal(last.decay, channels[0].readout.decay)


def test_a_number_for_each_neuron_of_an_image_has_no_chain(tmp_path: Path) -> None:
    path, _ = golden("channels", tmp_path)
    graph = read_netx(path, input_shape=(2, 4, 5)).graph
    with pytest.raises(UnsupportedError, match=r"'layer1' has a number for each neuron of an image.*for each channel"):
        chain_of(graph)


# the samples of a run


def test_samples_that_lava_would_stream_are_named(tmp_path: Path) -> None:
    path, arrays = golden("recurrent", tmp_path)
    (caution,) = run_netx(path, arrays["spikes"]).cautions
    assert caution.startswith("layer/1, layer/2 has delays or recurrence and the 3 samples run independently")
    assert caution.endswith("give --reset-interval 7 for that")
    assert run_netx(path, arrays["spikes"], reset_interval=7).cautions == ()
    assert run_netx(path, arrays["spikes"][:1]).cautions == ()
    path, arrays = golden("axes", tmp_path)
    assert run_netx(path, arrays["spikes"]).cautions == ()


def test_an_offset_without_an_interval_is_refused(tmp_path: Path) -> None:
    path, arrays = golden("axes", tmp_path)
    with pytest.raises(InputError, match=r"A reset offset \(0\) shifts the resets of a stream.*give --reset-interval"):
        run_netx(path, arrays["spikes"], reset_offset=0)


def test_spikes_of_two_axes_enter_every_form(tmp_path: Path) -> None:
    path, arrays = golden("axes", tmp_path)
    record = run(path, arrays["spikes"].swapaxes(0, 1))
    np.testing.assert_array_equal(record.spikes["layer1"].swapaxes(0, 1), arrays["spikes_1"])
    prices = [find_profile("loihi1-davies2018")]
    found = [measure_netx(path, spikes, prices) for spikes in (arrays["spikes"], arrays["spikes"].reshape(3, 8, 8))]
    assert found[0] == found[1]


# where Lava fails we refuse or warn; what it runs stands in test_against_lava.py


@pytest.mark.parametrize("name", sorted(LAVA_FAILS))
def test_where_lava_fails_we_refuse_or_warn(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "fails.net", AS_LAVA[name])
    try:
        remarks = read_netx(path).remarks
    except InputError as error:
        assert "on which Lava fails" in str(error)
    else:
        assert any("on which Lava fails" in remark.text for remark in remarks)
