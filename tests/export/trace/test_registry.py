"""A module that nobody here knows says what it is, or is given a rule."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from spikeport.errors import UnsupportedError
from spikeport.export.simulate import simulate
from spikeport.export.trace import registry
from spikeport.export.trace.linear import Expression, scaled
from spikeport.export.trace.registry import register
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.small_network import lif

STEPS = 3


class Doubled(nn.Module):
    """Twice its input, told by a convolution."""

    def forward(self, spikes: Tensor) -> Tensor:
        return 2 * spikes

    def as_convolution(self) -> nn.Conv2d:
        convolution = nn.Conv2d(2, 2, 1, bias=False)
        convolution.weight.data = 2 * torch.eye(2)[:, :, None, None]
        return convolution


class Tripled(Doubled):
    """A subclass that computes something else and says nothing of its own: what it inherits is wrong of it."""

    def forward(self, spikes: Tensor) -> Tensor:
        return 3 * spikes


class Gated(nn.Module):
    not_a_synapse = "it asks the weather; ask nobody"

    def forward(self, spikes: Tensor) -> Tensor:
        return spikes * spikes.mean()


class Halved(nn.Module):
    def forward(self, spikes: Tensor) -> Tensor:
        return spikes / 2


def network(module: nn.Module) -> nn.Module:
    """Spikes [T, N, 2, 4, 4] -> the module -> neurons -> readout."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.middle, self.lif, self.readout = module, lif(), nn.Linear(32, 3)

        def forward(self, spikes: Tensor) -> Tensor:
            return self.readout(self.lif(self.middle(spikes)).flatten(2)).mean(0)

    return Net().eval()


def same(net: nn.Module) -> bool:
    spikes = (torch.rand(STEPS, 5, 2, 4, 4, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    graph = trace(net, spikes[:, :1], STEPS, reads_spikes=True).graph
    functional.reset_net(net)
    with torch.no_grad():
        expected = net(spikes).numpy()
    functional.reset_net(net)
    found = simulate(graph, {graph.inputs[0].name: spikes.numpy().astype(np.uint8)}).readout[-1]
    return bool(np.allclose(found, expected, atol=1e-6))


def test_a_module_says_which_convolution_it_is() -> None:
    assert same(network(Doubled()))


def test_what_it_says_is_not_what_a_subclass_computes() -> None:
    assert same(network(Tripled()))  # its forward pass is traced instead


def test_a_module_that_is_no_synapse_says_why() -> None:
    with pytest.raises(UnsupportedError, match="Layer 'middle': Gated cannot be a synapse: it asks the weather"):
        same(network(Gated()))


def test_a_rule_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RULES", dict(registry.RULES))

    @register(Halved)
    def _halved(x: Expression, module: nn.Module) -> Expression:
        return scaled(x, 0.5)

    assert same(network(Halved()))

    @register(Halved)
    def _wrong(x: Expression, module: nn.Module) -> Expression:
        return scaled(x, 2.5)

    assert not same(network(Halved()))
