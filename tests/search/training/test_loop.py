"""The optimizer of the weights by hand."""

import pytest
import torch
from torch import nn

from spikeport.search.settings.training import TrainingSettings
from spikeport.search.training.loop import training_optimizer


def parameters() -> list[nn.Parameter]:
    """A weight and a bias, both 1."""
    return [nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.ones(1))]


def stepped(settings: TrainingSettings, gradients: list[float]) -> list[float]:
    weight, bias = parameters()
    optimizer = training_optimizer([weight, bias], settings)
    for gradient in gradients:
        for parameter in (weight, bias):
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
    return [weight.item(), bias.item()]


@pytest.mark.parametrize(("weights_only", "bias"), [(False, 0.95), (True, 1.0)])
def test_decay_of_weights_only(weights_only: bool, bias: float) -> None:
    """Without a gradient 1 - 0.1 * 0.5 * 1."""
    settings = TrainingSettings(weight_decay=0.5, train_learning_rate=0.1, decay_weights_only=weights_only)
    assert stepped(settings, [0.0]) == pytest.approx([0.95, bias])


@pytest.mark.parametrize(("nesterov", "found"), [(False, 1 - 0.1 - 0.15), (True, 1 - 0.15 - 0.175)])
def test_nesterov(nesterov: bool, found: float) -> None:
    """Momentum 0.5 and gradients 1: velocities 1 and 1.5; with Nesterov a step is gradient + 0.5 * velocity."""
    settings = TrainingSettings(momentum=0.5, weight_decay=0.0, train_learning_rate=0.1, nesterov=nesterov)
    assert stepped(settings, [1.0, 1.0]) == pytest.approx([found, found])
