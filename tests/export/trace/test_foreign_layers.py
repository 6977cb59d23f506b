"""Layers of other people's networks: SpikingJelly's own containers and norms, voters, pools of any size."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn

from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.small_network import IMAGES, lif

pytestmark = pytest.mark.slow

T = 3


class Layers(nn.Module):
    """image -> stem -> LIF -> middle -> LIF -> flat -> last, the mean over time."""

    def __init__(self, middle: list[nn.Module], neurons: int, last: list[nn.Module]) -> None:
        super().__init__()
        self.stem, self.stem_lif = nn.Conv2d(1, 4, 3, padding=1), lif()
        self.middle, self.lif = nn.Sequential(*middle), lif()
        self.flat, self.last = layer.Flatten(), nn.Sequential(layer.Linear(neurons, 8), *last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem_lif(self.stem(images).unsqueeze(0).repeat(T, 1, 1, 1, 1))
        return self.last(self.flat(self.lif(self.middle(x)))).mean(0)


def conv(**more: Any) -> nn.Module:
    return layer.Conv2d(4, 4, 3, padding=1, **more)


# name -> (what stands in the middle, neurons there, what stands behind the last linear layer)
NETWORKS: dict[str, tuple[Callable[[], list[nn.Module]], int, Callable[[], list[nn.Module]]]] = {
    "voters": (lambda: [conv()], 256, lambda: [layer.VotingLayer(2)]),
    "voters that are not all asked": (lambda: [conv()], 256, lambda: [layer.VotingLayer(3)]),
    "container": (lambda: [layer.SeqToANNContainer(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))], 256, list),
    "container that flattens": (
        lambda: [layer.SeqToANNContainer(nn.Flatten(), nn.Linear(256, 16), nn.BatchNorm1d(16))],
        16,
        list,
    ),
    "pool behind a convolution": (
        lambda: [conv(bias=False), layer.AvgPool2d(2, 2), layer.BatchNorm2d(4)],
        64,
        list,
    ),
    "unpadded convolution behind a padded one of stride 2": (
        lambda: [conv(stride=2), layer.Conv2d(4, 4, 3), layer.BatchNorm2d(4)],
        16,
        list,
    ),
    "batch norm of a linear layer": (
        lambda: [layer.Flatten(), layer.Linear(256, 16), layer.BatchNorm1d(16)],
        16,
        list,
    ),
    "threshold-dependent batch norm": (lambda: [conv(), layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 4)], 256, list),
    "standardised weights": (lambda: [layer.WSConv2d(4, 4, 3, padding=1)], 256, lambda: [layer.WSLinear(8, 8)]),
    "pool to a part of the size": (lambda: [layer.AdaptiveAvgPool2d((4, 2)), layer.Conv2d(4, 4, 2)], 12, list),
    "pool to a larger size": (
        lambda: [layer.Conv2d(4, 4, 8), lif(), layer.AdaptiveAvgPool2d((3, 2)), layer.Conv2d(4, 4, 1)],
        24,
        list,
    ),
}


def ready(name: str) -> nn.Module:
    """In eval mode, with batch norms that saw spikes and neurons that fire."""
    torch.manual_seed(2)
    middle, neurons, last = NETWORKS[name]
    network = Layers(middle(), neurons, last())
    functional.set_step_mode(network, "m")
    nn.init.uniform_(network.stem.weight, 0.0, 0.4)
    for module in network.middle.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            nn.init.constant_(module.bias, 0.4)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.uniform_(module.weight, -0.2, 0.4)
    with torch.no_grad():
        network(IMAGES)
    functional.reset_net(network)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_spike_is_that_of_torch(name: str, recorded: Any, same_spikes: Any) -> None:
    network = ready(name)
    record = recorded(network, IMAGES)
    traced = trace(network, IMAGES[:1], T)
    inputs = {"stem_lif": record.spikes["stem_lif"]}
    assert 0.03 < record.spikes["lif"].mean() < 0.97
    found = simulate(traced.graph, inputs)
    assert same_spikes(found.spikes, record.spikes)
    np.testing.assert_allclose(found.readout[-1], record.logits, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_changed_weight_is_seen(name: str, recorded: Any) -> None:
    """In front of the neurons, and behind them."""
    network = ready(name)
    record = recorded(network, IMAGES)
    inputs = {"stem_lif": record.spikes["stem_lif"]}
    first = next((m for m in network.middle.modules() if isinstance(m, nn.Conv2d | nn.Linear)), None)
    if first is not None:
        before = first.weight.detach().clone()
        with torch.no_grad():
            first.weight[0].neg_()  # of one channel
        broken = simulate(trace(network, IMAGES[:1], T).graph, inputs)
        assert not np.array_equal(broken.spikes["lif"], record.spikes["lif"])
        first.weight = nn.Parameter(before)
    with torch.no_grad():
        network.last[0].weight[0] += 0.5
    changed = simulate(trace(network, IMAGES[:1], T).graph, inputs).readout[-1]
    assert not np.allclose(changed, record.logits, atol=1e-5)
