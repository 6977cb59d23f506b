"""From one format to another and back: nothing is lost, and what cannot be held is refused."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.deploy.equivalence.conformance import random_case
from spikeport.deploy.run.any_form import run
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.convert import Wishes, convert
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.writer import read_graph, write_netx
from spikeport.export.nir.writer import write_nir
from spikeport.export.onnx.carried import graph_in
from spikeport.export.onnx.float_graph import write_graph
from spikeport.export.parts import parts_of
from spikeport.export.passes import lower
from spikeport.export.trace.walk import trace
from spikeport.search.space.example import example_network
from spikeport.tests.cli.invoking import invoke

GOLDEN = Path(__file__).parents[1] / "golden"


def same(a: SpikingGraph, b: SpikingGraph) -> bool:
    (head, arrays), (other, others) = parts_of(a), parts_of(b)
    return (
        head == other and arrays.keys() == others.keys() and all(np.array_equal(arrays[n], others[n]) for n in arrays)
    )


@pytest.fixture
def float_graph() -> SpikingGraph:
    network, images = example_network()
    return trace(network, images[:1], 4).graph


def spikes(graph: SpikingGraph, samples: int = 4) -> np.ndarray:
    """[S, T, ...] as files have them."""
    draw = np.random.default_rng(0).random((samples, graph.time_steps, *graph.inputs[0].shape))
    return (draw < 0.4).astype(np.uint8)


def test_float_graphs_go_round(float_graph: SpikingGraph, tmp_path: Path) -> None:
    nir = write_nir(tmp_path / "a.nir", float_graph)
    onnx = convert(nir, tmp_path / "b.onnx").path
    again = convert(onnx, tmp_path / "c.nir").path
    assert same(graph_in(onnx) or lower(float_graph), float_graph)
    assert nir.read_bytes() == again.read_bytes()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_integers_go_round(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """NetX to ONNX and back: the same graph, the same file, the same spikes."""
    folder = tmp_path_factory.mktemp("round")
    case = random_case(2 * seed)  # images
    net = write_netx(folder / "a.net", case.graph)
    onnx = convert(net, folder / "b.onnx").path
    again = convert(onnx, folder / "c.net").path
    assert same(read_graph(again), case.graph)
    assert again.read_bytes() == net.read_bytes()
    assert np.array_equal(run(onnx, case.spikes).readout, run(net, case.spikes).readout)


def test_a_float_graph_becomes_integers_by_what_was_given(float_graph: SpikingGraph, tmp_path: Path) -> None:
    source, given = write_graph(tmp_path / "a.onnx", float_graph), spikes(float_graph)
    by_input = convert(source, tmp_path / "b.net", Wishes(spikes=given))
    peak = float(np.abs(run(float_graph, np.swapaxes(given, 0, 1)).readout).max())
    assert by_input.notes == (f"quantized for readouts up to {peak:.6g}",)
    by_peak = convert(source, tmp_path / "c.net", Wishes(peak=peak))
    assert by_input.path.read_bytes() == by_peak.path.read_bytes()
    other = convert(source, tmp_path / "d.net", Wishes(peak=1000 * peak))
    assert not same(other.graph, by_peak.graph)


def test_integers_become_nir_where_they_are_exact(float_graph: SpikingGraph, tmp_path: Path) -> None:
    net = convert(write_nir(tmp_path / "a.nir", float_graph), tmp_path / "b.net", Wishes(peak=2.0)).path
    found = convert(net, tmp_path / "c.nir")
    assert "exact as real numbers here" in found.notes[-1]
    back, entering = convert(found.path, tmp_path / "d.onnx"), np.swapaxes(spikes(float_graph), 0, 1)
    a, b = run(net, entering), run(back.graph, entering)
    assert all(np.array_equal(a.spikes[name], b.spikes[name]) for name in a.spikes)
    assert np.array_equal(a.readout, b.readout)


def test_an_old_file_of_somebody_else(tmp_path: Path) -> None:
    with np.load(GOLDEN / "image.npz") as recorded:
        (tmp_path / "old.net").write_bytes(recorded["net"].tobytes())
        given = recorded["spikes"]
    steps = given.shape[1]
    found = convert(tmp_path / "old.net", tmp_path / "new.onnx", Wishes(time_steps=steps, input_shape=given.shape[2:]))
    entering = np.swapaxes(given, 0, 1)
    assert np.array_equal(run(found.path, entering).readout, run(found.graph, entering).readout)


def test_what_a_nir_file_cannot_say_is_said(float_graph: SpikingGraph, tmp_path: Path) -> None:
    """The same file of somebody else, read as its framework computes: at the threshold, or above it alone."""
    path = write_nir(tmp_path / "a.nir", float_graph)
    with h5py.File(path, "r+") as file:
        del file["node/metadata"]
    wishes = Wishes(time_steps=4, dt=1e-4)
    above = convert(path, tmp_path / "b.onnx", wishes).graph
    at = convert(path, tmp_path / "c.onnx", replace(wishes, fires=">=")).graph
    assert at.populations[0].threshold == float_graph.populations[0].threshold
    assert above.populations[0].threshold == np.nextafter(at.populations[0].threshold, np.inf)
    soft = convert(path, tmp_path / "d.onnx", replace(wishes, reset="subtract")).graph
    assert (at.populations[0].reset, soft.populations[0].reset) == ("zero", "subtract")
    mean = convert(path, tmp_path / "e.onnx", replace(wishes, answer="mean")).graph
    assert np.allclose(4 * mean.projections[-1].kernel.weight, at.projections[-1].kernel.weight)


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("a.nir", "b.txt", r"'.*b\.txt' must end in \.net, \.nir, \.onnx, which says its format"),
        ("a.txt", "b.net", r"must be the folder of a run or end in \.net, \.nir, \.onnx"),
        ("a.nir", "b.net", "its readout needs to know the largest answer: give typical --input SPIKES.npy, or --peak"),
        ("model.onnx", "b.net", "carries no spiking graph, as twin.onnx and what `spikeport convert` writes do"),
    ],
)
def test_what_is_not_known(source: str, out: str, said: str, float_graph: SpikingGraph, tmp_path: Path) -> None:
    write_nir(tmp_path / "a.nir", float_graph)
    if source == "model.onnx":
        import onnx

        model = onnx.load(str(write_graph(tmp_path / "model.onnx", float_graph)))
        del model.metadata_props[:]
        onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(InputError, match=said):
        convert(tmp_path / source, tmp_path / out)
    assert not (tmp_path / out).exists()


def test_spikes_of_another_network(float_graph: SpikingGraph, tmp_path: Path) -> None:
    source = write_nir(tmp_path / "a.nir", float_graph)
    with pytest.raises(InputError, match=r"The spikes must be 0 or 1 of shape \[S, 4, 8, 8, 8\], but the file has"):
        convert(source, tmp_path / "b.net", Wishes(spikes=np.zeros((2, 3, 8, 8, 8))))


def test_recurrent_synapses_do_not_become_onnx(tmp_path: Path) -> None:
    with np.load(GOLDEN / "recurrent.npz") as recorded:
        (tmp_path / "old.net").write_bytes(recorded["net"].tobytes())
        wishes = Wishes(time_steps=recorded["spikes"].shape[1], input_shape=recorded["spikes"].shape[2:])
    with pytest.raises(UnsupportedError, match="is recurrent or delayed, which an ONNX twin cannot hold"):
        convert(tmp_path / "old.net", tmp_path / "new.onnx", wishes)


def test_the_command(float_graph: SpikingGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_nir(tmp_path / "a.nir", float_graph)
    np.save(tmp_path / "spikes.npy", spikes(float_graph))
    assert invoke(monkeypatch, "convert", source, tmp_path / "b.net", "--input", tmp_path / "spikes.npy") == 0
    assert invoke(monkeypatch, "convert", source, tmp_path / "c.net", "--input-shape", "2y3") == 1
    assert invoke(monkeypatch, "convert", source, tmp_path) == 1
