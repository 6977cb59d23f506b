"""One verb runs every form of a network; what it answers is equal, and not where a weight is broken."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spikeport
from spikeport.errors import InputError
from spikeport.export.graph import SpikingGraph

pytestmark = pytest.mark.slow

TIME_STEPS = 4


@pytest.fixture(scope="module")
def graph() -> SpikingGraph:
    network, images = spikeport.example_network()
    return spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], TIME_STEPS).graph), peak=1.0)


BUSIEST = 2  # channel of the input that spikes most


def broken(graph: SpikingGraph) -> SpikingGraph:
    """The largest weight from the busiest channel of the input, turned round."""
    first, *others = graph.projections
    weight = first.kernel.weight.copy()
    heard = weight[:, BUSIEST]
    heard[np.unravel_index(np.abs(heard).argmax(), heard.shape)] *= -1
    return replace(graph, projections=(replace(first, kernel=replace(first.kernel, weight=weight)), *others))


def test_every_integer_form_answers_alike(graph: SpikingGraph, tmp_path: Path) -> None:
    network, images = spikeport.example_network()
    spikes = spikeport.encode(network, images)
    definition = spikeport.run(graph, spikes)
    for form, more in (
        (spikeport.write_netx(tmp_path / "own.net", graph), None),
        (spikeport.write_twin(tmp_path / "twin.onnx", graph), graph),
    ):
        assert spikeport.compare(definition, spikeport.run(form, spikes, more)).verdict == "pass", form
    for form, more in (
        (spikeport.write_netx(tmp_path / "broken.net", broken(graph)), None),
        (spikeport.write_twin(tmp_path / "broken.onnx", broken(graph)), broken(graph)),
    ):
        check = spikeport.compare(definition, spikeport.run(form, spikes, more))
        assert check.verdict == "fail" and check.first_divergence is not None, form
        assert check.first_divergence["population"] == "hidden"


def test_every_float_form_answers_alike(tmp_path: Path) -> None:
    network, images = spikeport.example_network()
    reference, spikes = spikeport.run(network, images), spikeport.encode(network, images)
    model = spikeport.write_model(tmp_path / "model.onnx", network, images[:2])
    assert spikeport.compare(reference, spikeport.run(model, images.numpy())).verdict == "pass"
    traced = spikeport.trace(network, images[:1], TIME_STEPS)
    assert spikeport.compare(reference, spikeport.run(traced.graph, spikes)).verdict == "pass"
    assert spikeport.compare(reference, spikeport.run(broken(traced.graph), spikes)).verdict == "fail"


def test_every_encoder_gives_the_same_spikes(tmp_path: Path) -> None:
    network, images = spikeport.example_network()
    encoder = spikeport.trace(network, images[:1], TIME_STEPS).encoder
    file = spikeport.write_encoder(tmp_path / "encoder.onnx", encoder, images[:2])
    whole = spikeport.encode(network, images)
    assert whole.any() and not whole.all()
    for other in (encoder, file, str(file)):
        np.testing.assert_array_equal(spikeport.encode(other, images), whole)


def test_a_file_of_others_answers_by_its_layers(graph: SpikingGraph, tmp_path: Path) -> None:
    import h5py

    path = spikeport.write_netx(tmp_path / "own.net", graph)
    network, images = spikeport.example_network()
    spikes = spikeport.encode(network, images)
    ours = spikeport.run(path, spikes)
    with h5py.File(path, "r+") as file:
        del file["spikeport"]
    theirs = spikeport.run(path, spikes)
    assert list(theirs.spikes) == ["input", "layer0", "layer2"]  # a last layer of neurons; its membrane is what is read
    np.testing.assert_array_equal(theirs.spikes["layer0"], ours.spikes["hidden"])
    np.testing.assert_array_equal(theirs.readout_steps, ours.readout_steps)


def test_images_are_no_spikes(graph: SpikingGraph) -> None:
    with pytest.raises(InputError, match=r"reads spikes, 0 or 1, but got other values; `spikeport.encode` makes them"):
        spikeport.run(graph, np.full((TIME_STEPS, 1, 8, 8, 8), 0.5, np.float32))
