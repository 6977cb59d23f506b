"""The exported forms: what they compute, and one line for every file that is not what it has to be."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from spikeport.deploy.run import forms as runners
from spikeport.deploy.run.forms import EncoderRunner, GraphRunner, LavaRunner, OnnxRunner, StepRunner, TwinRunner
from spikeport.deploy.run.lava import LavaResult
from spikeport.deploy.run.record import Record
from spikeport.deploy.run.torch_network import TorchRunner
from spikeport.errors import InputError
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.chain import chain_of, packed
from spikeport.export.netx.writer import layer_indices
from spikeport.export.onnx.twin import write_twin
from spikeport.export.onnx.window import write_encoder, write_model, write_step
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate
from spikeport.export.targets import _example, traced
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Files:
    folder: Path
    network: SpikingNetwork
    graph: SpikingGraph  # quantized
    images: NDArray[np.float32]
    reference: Record  # of torch, on the images

    @property
    def spikes(self) -> NDArray[np.uint8]:
        return self.reference.spikes["stem"]


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory,
    spiking_network: Callable[..., SpikingNetwork],
    images_of: Callable[..., NDArray[np.float32]],
) -> Files:
    folder = tmp_path_factory.mktemp("runners")
    network = spiking_network(1, "plain", channels=2, time_steps=2, rows=8, columns=12, cells=2)
    images = images_of(network, 7)
    found = traced(network)
    graph = quantize(lower(found.graph), 5.0)
    example = _example(network)
    write_model(folder / "model.onnx", network, example, {})
    write_step(folder / "step.onnx", network, example, {})
    assert found.encoder is not None
    write_encoder(folder / "encoder.onnx", found.encoder, example, {})
    write_twin(folder / "twin.onnx", graph, {})
    return Files(folder, network, graph, images, TorchRunner(network)(images))


def test_model_onnx_gives_every_layer_and_the_logits(files: Files) -> None:
    record = OnnxRunner(files.folder / "model.onnx")(files.images)
    assert list(record.spikes) == list(files.reference.spikes)
    for name, spikes in record.spikes.items():
        assert spikes.dtype == np.uint8
        assert (spikes == files.reference.spikes[name]).all()
    assert record.readout == pytest.approx(files.reference.readout, abs=1e-5)
    assert record.margins == {} and record.readout_steps is None


def test_step_onnx_gives_what_the_whole_window_does(files: Files, tmp_path: Path) -> None:
    found = StepRunner(files.folder / "step.onnx")(files.images)
    assert list(found.spikes) == list(files.reference.spikes)
    for name, spikes in found.spikes.items():
        assert spikes.dtype == np.uint8 and (spikes == files.reference.spikes[name]).all()
    assert found.readout == pytest.approx(files.reference.readout, abs=1e-5)
    broken = onnx.load(str(files.folder / "step.onnx"))
    del broken.metadata_props[:]
    onnx.save(broken, str(tmp_path / "step.onnx"))
    assert "does not say its time steps" in refused("step.onnx", tmp_path / "step.onnx", files.graph)


def test_step_onnx_wants_as_many_frames_as_it_has_steps(tmp_path: Path) -> None:
    config = NetworkConfig(channels=2, cells=1, time_steps=3, classes=5, input_shape=(2, 8, 8), reads="spikes")
    network = SpikingNetwork(random_genotype(np.random.default_rng(0), "plain"), config).eval()
    step = StepRunner(write_step(tmp_path / "step.onnx", network, _example(network)))
    frames = np.zeros((2, 4, *network.config.input_shape), np.float32)
    with pytest.raises(
        InputError, match=r"step\.onnx' has 3 time steps, but the frames are of 4; bin the events into 3"
    ):
        step(frames)


def test_the_encoder_gives_the_same_in_batches(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = EncoderRunner(files.folder / "encoder.onnx")
    whole = encoder(files.images)
    assert whole.dtype == np.uint8 and whole.shape == files.spikes.shape
    assert (whole == files.spikes).all()
    monkeypatch.setattr(runners, "BATCH", 3)
    assert (encoder(files.images) == whole).all()


def test_the_float_graph_gives_torchs_spikes_and_margins(files: Files) -> None:
    record = GraphRunner(traced(files.network).graph)(files.spikes)
    for name, spikes in files.reference.spikes.items():
        assert (record.spikes[name] == spikes).all()
        if name != "stem":
            assert record.margins[name] == pytest.approx(files.reference.margins[name], abs=1e-4)
    assert record.readout == pytest.approx(files.reference.readout, abs=1e-5)
    assert record.readout_steps is not None and (record.readout_steps[-1] == record.readout).all()


def test_the_twin_gives_the_quantized_graphs_integers(files: Files) -> None:
    twin = TwinRunner(files.folder / "twin.onnx", files.graph)(files.spikes)
    graph = GraphRunner(files.graph)(files.spikes)
    assert list(twin.spikes) == list(graph.spikes)
    assert any(name.endswith(".relay1") for name in twin.spikes)
    for name, spikes in graph.spikes.items():
        assert (twin.spikes[name] == spikes).all()
    assert twin.margins.keys() == graph.margins.keys()
    for name, margins in graph.margins.items():
        assert (twin.margins[name] == margins).all()
        assert ((margins > 0) == graph.spikes[name]).all()  # the chip fires above 64 * threshold, not at it
    assert twin.readout_steps is not None and graph.readout_steps is not None
    assert (twin.readout_steps == graph.readout_steps).all() and (twin.readout == twin.readout_steps[-1]).all()


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_are_the_whole_in_parts(files: Files, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    runner = TwinRunner(files.folder / "twin.onnx", files.graph)
    record = runner(files.spikes)
    trace = simulate(files.graph, {"stem": files.spikes})
    monkeypatch.setattr(runners, "BATCH", batch)
    parts = list(runner.batches(files.spikes))
    assert np.concatenate([part.predictions for part, _ in parts]).tolist() == record.predictions.tolist()
    assert all(list(did) == list(files.graph.shapes()) for _, did in parts)
    for name, spikes in record.spikes.items():
        assert (np.concatenate([did[name].spikes for _, did in parts], axis=1) == spikes).all()
    assert all(did["stem"].active is None and did["readout"].spikes is None for _, did in parts)
    for p in files.graph.populations:
        active = np.concatenate([did[p.name].active for _, did in parts], axis=1)
        assert (active == trace.active[p.name]).all()
    assert any(not trace.active[p.name].all() and trace.active[p.name].any() for p in files.graph.populations)


def test_lavas_channels_become_populations(files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What Lava would record for the chain is packed as the layers have it, and comes back population by population."""
    graph, chain = files.graph, chain_of(files.graph)
    assert any(place.factor == (2, 2) for place in chain.places.values())
    wanted = GraphRunner(graph)(files.spikes)
    calls: list[Any] = []
    found = fake_result(files)

    def fake(path: Path, spikes: NDArray[np.uint8], **settings: Any) -> LavaResult:
        calls.append((path, spikes, settings))
        return found

    monkeypatch.setattr(runners, "run_lava", fake)
    told = calls.append
    record = LavaRunner(tmp_path / "network.net", graph, 12.0, told)(files.spikes)
    ((path, spikes, settings),) = calls
    assert path == tmp_path / "network.net" and settings == {"time_limit_s": 12.0, "progress": told}
    assert spikes.flags.c_contiguous and (spikes == np.swapaxes(files.spikes, 0, 1)).all()
    assert list(record.spikes) == list(wanted.spikes)
    for name, value in wanted.spikes.items():
        assert record.spikes[name].dtype == np.uint8 and (record.spikes[name] == value).all()
    assert record.readout_steps is not None and wanted.readout_steps is not None
    assert (record.readout_steps == wanted.readout_steps).all() and (record.readout == wanted.readout).all()
    assert record.margins == {}


def fake_result(files: Files) -> LavaResult:
    """The quantized graph's spikes, packed into the layers that Lava records: [S, T, C, H, W]."""
    chain, wanted = chain_of(files.graph), GraphRunner(files.graph)(files.spikes)
    indices = layer_indices(chain)
    layers = {indices[p.name]: np.zeros((7, 2, *p.shape), np.uint8) for p in chain.graph.populations}
    for name, place in chain.places.items():
        if place.layer >= 0 and name != "readout":
            values = packed(np.swapaxes(wanted.spikes[name], 0, 1), place)
            layer = layers[indices[chain.graph.populations[place.layer].name]]
            layer[:, :, place.start : place.start + values.shape[2]] = values
    assert wanted.readout_steps is not None
    return LavaResult(spikes=layers, membrane=np.swapaxes(wanted.readout_steps, 0, 1), seconds=0.0)


def test_layers_of_another_network_are_refused(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fake_result(files)
    del found.spikes[0]
    monkeypatch.setattr(runners, "run_lava", lambda *_, **__: found)
    with pytest.raises(InputError, match=r"^'network\.net' must have the layers \{0: \(.*, but has \{1: .*again\.$"):
        LavaRunner(Path("network.net"), files.graph, 12.0, lambda _: None)(files.spikes)


OPEN: dict[str, Callable[[Path, SpikingGraph], Any]] = {
    "model.onnx": lambda path, _: OnnxRunner(path),
    "step.onnx": lambda path, _: StepRunner(path),
    "encoder.onnx": lambda path, _: EncoderRunner(path),
    "twin.onnx": TwinRunner,
}


def refused(name: str, path: Path, graph: SpikingGraph) -> str:
    with pytest.raises(InputError) as raised:
        OPEN[name](path, graph)
    message = str(raised.value)
    assert "\n" not in message and f"'{path}'" in message and "export" in message
    return message


@pytest.mark.parametrize("name", OPEN)
def test_a_missing_file_is_named(files: Files, tmp_path: Path, name: str) -> None:
    assert refused(name, tmp_path / name, files.graph).startswith("There is no file")


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("damage", ["empty", "truncated", "text"])
def test_a_damaged_file_is_refused(files: Files, tmp_path: Path, name: str, damage: str) -> None:
    whole = (files.folder / name).read_bytes()
    path = tmp_path / name
    path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"no model at all\n"}[damage])
    refused(name, path, files.graph)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("model.onnx", "encoder.onnx"),
        ("step.onnx", "model.onnx"),
        ("encoder.onnx", "twin.onnx"),
        ("twin.onnx", "model.onnx"),
    ],
)
def test_another_model_is_refused(files: Files, tmp_path: Path, name: str, other: str) -> None:
    path = tmp_path / name
    path.write_bytes((files.folder / other).read_bytes())
    refused(name, path, files.graph)


def test_an_operator_that_onnx_runtime_has_not_is_refused(files: Files, tmp_path: Path) -> None:
    model = onnx.load(str(files.folder / "encoder.onnx"))
    model.graph.node[0].op_type = "Unheard"
    onnx.save(model, str(tmp_path / "encoder.onnx"))
    assert "cannot be run by ONNX Runtime" in refused("encoder.onnx", tmp_path / "encoder.onnx", files.graph)


def test_an_input_of_another_shape_is_refused(files: Files) -> None:
    model, twin = OnnxRunner(files.folder / "model.onnx"), TwinRunner(files.folder / "twin.onnx", files.graph)
    encoder = EncoderRunner(files.folder / "encoder.onnx")
    for run, values in (
        (model, files.images[..., :-1]),
        (encoder, files.images[:, :, :-1]),
        (twin, files.spikes[:-1]),
        (twin, files.spikes[:, :, :-1]),
        (twin, files.spikes.astype(np.float32)),
    ):
        with pytest.raises(
            InputError, match=r"^'.*\.onnx' refused its input \(.*\); export the run again\.$"
        ) as raised:
            run(values)
        assert "\n" not in str(raised.value)
