"""Torch networks: neurons that were set otherwise, batch norms in training mode, images of another range."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikeport.deploy.diagnosis.diagnose import diagnose
from spikeport.deploy.run.any_form import run
from spikeport.deploy.run.record import Record
from spikeport.export.graph import SpikingGraph

from .small_torch import images, names, network


def test_every_population_is_alive(sound: nn.Module, spikes: np.ndarray) -> None:
    found = run(sound, images(8))
    assert all(0.05 < fired.mean() < 0.9 for fired in found.spikes.values())


def test_torch_and_its_graph_are_equal(sound: nn.Module, graph: SpikingGraph) -> None:
    assert diagnose(sound, graph, images(8)).verdict in ("equal", "equal but for ties")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"v_reset": None}, "resets by subtraction of the threshold"),
        ({"decay_input": True}, "scales its current by 1 - decay"),
        ({"tau": 1e12}, "does not leak"),
    ],
    ids=["v_reset", "decay_input", "tau"],
)
def test_neurons_of_torch_set_otherwise(sound: nn.Module, changed: dict[str, Any], says: str) -> None:
    found = diagnose(sound, network(sound, **changed), images(8))
    assert names(found) == [says] and found.causes[0].everywhere  # the encoder's neurons, too


class Strictly(nn.Module):
    """A spike needs v > threshold."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0).to(x)


def test_torch_neurons_that_fire_on_more_than_the_threshold(sound: nn.Module) -> None:
    """Weights of quarters and halved membranes: floats that are exact, so that many meet the threshold."""
    quarters = network(sound, tau=2.0)
    with torch.no_grad():
        for module in (quarters.stem[0], quarters.middle, quarters.readout):
            module.weight.copy_((8 * module.weight).round() / 4)
        quarters.stem[0].bias.zero_()
    quarters.stem[1] = nn.Identity()
    quarters.norm = nn.Identity()
    strict = copy.deepcopy(quarters)
    for neurons in (strict.first, strict.second):
        neurons.surrogate_function = Strictly()
    found = diagnose(quarters, strict, images(8).round())
    assert [(c.rule, c.name) for c in found.causes] == [("tie rule", "fires on v > threshold only")]
    assert found.verdict == "different"
    assert diagnose(quarters, copy.deepcopy(quarters), images(8).round()).verdict == "equal"


def test_a_batch_norm_in_training_mode(sound: nn.Module, graph: SpikingGraph) -> None:
    before = {name: value.clone() for name, value in sound.state_dict().items()}
    training = network(sound)
    for module in training.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    other = {name: value.clone() for name, value in training.state_dict().items()}
    for reference in (sound, graph):
        found = diagnose(reference, training, images(8))
        assert (found.rules, names(found)) == (("batch norm",), ["has batch norms in training mode"])
    assert all(m.training == isinstance(m, nn.BatchNorm2d) for m in training.modules())  # left as it was
    for module, kept in ((sound, before), (training, other)):
        assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())


def test_images_of_another_range(sound: nn.Module) -> None:
    found = diagnose(sound, run(sound, images(8) / 2), images(8))
    assert ("input scale", "gets half of the image") in {(c.rule, c.name) for c in found.causes}
    assert found.rules == ("input scale",)


def test_what_was_not_recorded_is_computed(sound: nn.Module, graph: SpikingGraph) -> None:
    """The candidate shows the encoder and its answer alone."""
    wrong = run(network(sound, v_reset=None), images(8))
    record = Record(spikes={"first": wrong.spikes["first"]}, readout=wrong.readout, margins={})
    found = diagnose(sound, record, images(8))
    assert "resets by subtraction of the threshold" in names(found)
    assert any("only the reference has them: second" in note for note in found.notes)
