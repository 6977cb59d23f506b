"""model.onnx and encoder.onnx in ONNX Runtime equal torch in every spike, for any batch size. One export of each."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional

from spikeport.export.onnx import window
from spikeport.export.onnx.window import with_spikes, write_encoder, write_model
from spikeport.export.trace.walk import spiking_layers, symbolic, trace
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import SpikingNetwork

EXAMPLE = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def run(path: Path, images: torch.Tensor) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(str(path))
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))


def images(samples: int) -> torch.Tensor:
    return torch.rand(samples, 1, 8, 8, generator=torch.Generator().manual_seed(samples))


@pytest.fixture(scope="module")
def network(lively: Any) -> SpikingNetwork:
    genotype = random_genotype(np.random.default_rng(4), "plain")
    return lively(genotype, seed=4, time_steps=2, cells=2, attention="cbam")


@pytest.fixture(scope="module")
def model(network: SpikingNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_model(path, network, EXAMPLE, {"run": "x", "time_steps": "2"})
    return path


@pytest.mark.parametrize("samples", [1, 7])
def test_the_model_equals_torch(samples: int, model: Path, network: SpikingNetwork, recorded: Any) -> None:
    record = recorded(network, images(samples))
    found = run(model, images(samples))
    assert 0.03 < record.rate < 0.6
    assert list(found) == ["logits", *(f"{name}/spikes" for name in record.spikes)]
    for name, spikes in record.spikes.items():
        assert np.array_equal(found[f"{name}/spikes"], spikes), name
    np.testing.assert_allclose(found["logits"], record.logits, atol=1e-5)


def test_a_broken_weight_shows(model: Path, network: SpikingNetwork, recorded: Any) -> None:
    weight = network.cells[0].p1.conv.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[0] = -weight[0]
        record = recorded(network, images(7))
        weight.copy_(kept)
    assert not np.array_equal(run(model, images(7))["cells.0.p1/spikes"], record.spikes["cells.0.p1"])


def test_the_model_file(model: Path) -> None:
    loaded = onnx.load(str(model))
    onnx.checker.check_model(loaded, full_check=True)
    metadata = {p.key: p.value for p in loaded.metadata_props}
    assert (metadata["run"], metadata["time_steps"]) == ("x", "2")
    assert next(opset.version for opset in loaded.opset_import if opset.domain == "") >= 18
    assert [node.name for node in loaded.graph.input] == ["images"]


def test_the_encoder_equals_torch(lively: Any, uniform: Any, tmp_path: Path) -> None:
    network = lively(uniform("plain", "conv_3x3"), time_steps=2)
    encoder = trace(network, EXAMPLE[:1], 2).encoder
    path = tmp_path / "encoder.onnx"
    write_encoder(path, encoder, EXAMPLE, {"run": "x"})
    for samples in (1, 7):
        functional.reset_net(network)
        with torch.no_grad():
            expected = network.stem(images(samples)).numpy()
        functional.reset_net(network)
        found = run(path, images(samples))
        assert list(found) == ["spikes"] and 0.0 < expected.mean() < 1.0
        assert np.array_equal(found["spikes"], expected)
    assert [p.name for p in tmp_path.iterdir()] == ["encoder.onnx"]


def test_with_spikes_leaves_the_network_as_it_is(network: SpikingNetwork, recorded: Any) -> None:
    record = recorded(network, images(2))
    module = with_spikes(network)
    with torch.no_grad():
        logits, *spikes = module(images(2))
    functional.reset_net(module)
    assert np.array_equal(logits.numpy(), record.logits)
    for (name, expected), found in zip(record.spikes.items(), spikes, strict=True):
        assert np.array_equal(found.numpy(), expected), name
    assert list(spiking_layers(symbolic(network))) == list(record.spikes)
    assert isinstance(network(images(1)), torch.Tensor)
    functional.reset_net(network)


def test_frames_of_spikes_are_read_as_they_are(lively: Any, recorded: Any, tmp_path: Path) -> None:
    """images [batch, T, C, H, W]; written node by node, so that torch's exporter is not needed."""
    genotype = random_genotype(np.random.default_rng(4), "plain")
    network = lively(genotype, seed=4, time_steps=3, cells=2, reads="spikes", input_shape=(2, 8, 8))
    frames = (torch.rand(7, 3, 2, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "_by_torch", None)
        write_model(tmp_path / "model.onnx", network, frames[:2])
    record, found = recorded(network, frames), run(tmp_path / "model.onnx", frames)
    assert 0.03 < record.rate < 0.6
    assert all(np.array_equal(found[f"{name}/spikes"], spikes) for name, spikes in record.spikes.items())
    np.testing.assert_allclose(found["logits"], record.logits, atol=1e-5)
