"""Spiking multiscale attention: its gates by hand, zone-out by attention in training alone, no word left out."""

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.trace.walk import trace
from spikeport.search.settings.run import choose
from spikeport.search.space.attention import SMA, zoned_out
from spikeport.search.space.folding import fold_attention
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork

CURRENT = 2 * torch.randn(4, 3, 8, 4, 6, generator=torch.Generator().manual_seed(0))


def learned() -> SMA:
    torch.manual_seed(0)
    module = SMA(8)
    for parameter in (*module.channels.parameters(), *module.times.parameters()):
        nn.init.normal_(parameter, std=1.0)
    return module


def test_gates_add_up_to_one_over_scales_and_are_even_at_the_start() -> None:
    spikes = (torch.rand(5, 2, 8, 3, 3) < 0.4).float()
    channel, time = (torch.stack(gates) for gates in learned().gates(spikes))
    assert channel.shape == (4, 5, 2, 8) and time.shape == (4, 5, 2)
    torch.testing.assert_close(channel.sum(0), torch.ones(5, 2, 8))
    torch.testing.assert_close(time.sum(0), torch.ones(5, 2))
    assert channel.std() > 0.01 and time.std() > 0.01
    assert all((gate == 0.25).all() for gates in SMA(8).gates(spikes) for gate in gates)


@torch.no_grad()
def test_out_is_the_weighed_sum_of_the_scales() -> None:
    module = learned().eval()
    found = module(CURRENT)
    functional.reset_net(module)
    fired = [lif(norm(conv(CURRENT))) for conv, norm, lif in zip(module.convs, module.norms, module.lifs, strict=True)]
    assert all(0.01 < float(spikes.mean()) < 0.9 for spikes in fired)
    channel, time = module.gates(sum(fired, start=torch.zeros_like(CURRENT)))
    expected = sum(
        channel[k][..., None, None] * time[k][..., None, None, None] * fired[k] for k in range(len(module.scales))
    )
    torch.testing.assert_close(found, module.norm(expected))


def test_the_quietest_channels_of_the_quietest_step_fire_as_the_step_before() -> None:
    spikes = (torch.rand(4, 2, 8, 2, 2) < 0.5).float()
    time = torch.tensor([0.1, 0.5, 0.2, 0.6])[:, None].expand(4, 2)  # of the first, which stays, then of the third
    channel = torch.arange(8.0).expand(4, 2, 8).clone()
    assert torch.equal(zoned_out(spikes, channel, time), spikes)  # T // 4 = 1: the first, which has none before
    time = torch.tensor([0.9, 0.5, 0.2, 0.6])[:, None].expand(4, 2)
    found = zoned_out(spikes, channel, time)
    assert torch.equal(found[2, :, :2], spikes[1, :, :2])  # C // 4 = 2
    found[2, :, :2] = spikes[2, :, :2]
    assert torch.equal(found, spikes)


@pytest.mark.parametrize("steps", [2, 3])
def test_in_short_windows_it_does_not_vanish(steps: int) -> None:
    spikes = torch.zeros(steps, 1, 2, 1, 1)
    spikes[0] = 1.0
    time = torch.tensor([0.9, *[0.1] * (steps - 1)])[:, None]
    time[2:] = 0.2
    found = zoned_out(spikes, torch.tensor([0.1, 0.9]).expand(steps, 1, 2), time)
    assert found[1].flatten().tolist() == [1.0, 0.0]


def test_zone_out_is_of_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeport.search.space import attention

    calls = []
    monkeypatch.setattr(attention, "zoned_out", lambda s, c, t: calls.append(1) or s)
    module = learned()
    module.train()(CURRENT)
    assert len(calls) == 4
    functional.reset_net(module)
    module.eval()(CURRENT)
    assert len(calls) == 4
    functional.reset_net(module)


def test_it_learns_and_is_refused_by_the_chip_and_by_folding(lively_sma: Any) -> None:
    with pytest.raises(
        UnsupportedError, match=r"Layer 'cells.0.n1.attention': SMA cannot be a synapse: its gates weigh"
    ):
        trace(lively_sma.eval(), torch.rand(1, 1, 4, 4), 2)
    message = r"^Layer 'cells.0.n1.attention': SMA is not folded: .* is no padding of the spikes before it; search with"
    with pytest.raises(UnsupportedError, match=message):
        fold_attention(lively_sma, np.zeros((2, 1, 4, 4), np.float32))
    lively_sma.train()(torch.rand(4, 1, 4, 4)).square().sum().backward()
    last = lively_sma.cells[0].n1.attention.times[1].weight
    assert last.grad is not None and last.grad.any()


@pytest.fixture
def lively_sma() -> SpikingNetwork:
    torch.manual_seed(1)
    config = NetworkConfig(channels=4, cells=1, time_steps=2, classes=3, input_shape=(1, 4, 4), attention="sma")
    return SpikingNetwork(random_genotype(np.random.default_rng(0), "plain"), config)


def test_one_step_has_none_before_it() -> None:
    with pytest.raises(InputError, match=r"sma zones a step out by the one before, so `time_steps >= 2` must hold"):
        choose(attention="sma", time_steps=1)
