"""Attention made of spikes: open at the start, by hand, and learning."""

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from spikeport.search.settings.network import attention_name
from spikeport.search.space.spike_gates import LISTENING, OPEN, BandedSum, Gate, SpikeGates, gates_behind


def spikes_of(*shape: int, seed: int = 0, rate: float = 0.3) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def listening(gates: SpikeGates, weight: float = 1.0, bias: float = 0.0) -> SpikeGates:
    """Batch norms that pass what they get times `weight`, plus `bias`."""
    for gate in (gates.channel, gates.position):
        nn.init.constant_(gate.norm.weight, weight)
        nn.init.constant_(gate.norm.bias, bias)
        gate.norm.eps = 0.0
    return gates.eval()


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 1.0])
def test_every_gate_fires_in_every_step_until_it_has_learned(steps: int, rate: float) -> None:
    gates = SpikeGates(6)
    spikes = spikes_of(steps, 2, 6, 5, 4, rate=rate)
    assert torch.equal(gates(spikes), spikes)
    functional.reset_net(gates)
    assert gates.channel(spikes).all() and gates.position(spikes).all()
    assert gates.position(spikes).shape == (steps, 2, 1, 5, 4)
    nn.init.constant_(gates.position.norm.bias, 0.4)  # 0.4 + 0.2 + ... stays below 1
    nn.init.constant_(gates.position.norm.weight, 0.0)
    functional.reset_net(gates)
    assert not gates(spikes).any()


@pytest.mark.parametrize(("channels", "window", "size"), [(1, 3, 1), (3, 3, 1), (8, 3, 3), (8, 5, 3), (128, 3, 5)])
def test_the_banded_sum_is_the_convolution_that_is_exported(channels: int, window: int, size: int) -> None:
    torch.manual_seed(0)
    banded = BandedSum(channels, window)
    assert banded.weight.shape == (size,)
    spikes = spikes_of(2, 3, channels, 6, 5)
    kernel = banded.as_convolution()
    assert kernel.weight.shape == (channels, channels, window, window)
    expected = kernel(spikes.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(banded(spikes), expected, rtol=1e-5, atol=1e-5)


def test_the_banded_sum_by_hand() -> None:
    banded = BandedSum(8, 3)
    with torch.no_grad():
        banded.weight[:] = torch.tensor([0.5, 1.0, -2.0])
    spikes = torch.zeros(1, 1, 8, 4, 4)
    spikes[0, 0, 3, 0, 0] = spikes[0, 0, 3, 1, 1] = spikes[0, 0, 4, 3, 3] = 1
    found = banded(spikes)[0, 0]
    assert found[3, 0, 0] == 2 * 1.0  # both of its own channel, none of the next near by
    assert found[2, 0, 0] == 2 * -2.0 and found[4, 0, 0] == 2 * 0.5
    assert found[3, 2, 2] == 1 * 1.0 - 2.0 * 1  # one of its own, one of the next channel
    assert found[:2].abs().max() == 0 == found[6:].abs().max()


def test_a_spike_passes_where_both_gates_fire() -> None:
    gates = listening(SpikeGates(2))
    with torch.no_grad():
        gates.channel.linear.weight[:] = 0.5  # two spikes of the channel in its window
        gates.position.linear.weight.zero_()
        gates.position.linear.weight[0, 1, 1, 1] = 1.0  # channel 1 fires here
    spikes = torch.zeros(1, 1, 2, 3, 4)
    spikes[0, 0, 0, 1, 0] = spikes[0, 0, 0, 1, 1] = spikes[0, 0, 0, 1, 3] = 1  # the third is alone
    spikes[0, 0, 1, 1, 0] = spikes[0, 0, 1, 1, 3] = spikes[0, 0, 1, 0, 3] = 1
    passed = torch.zeros_like(spikes)
    passed[0, 0, 0, 1, 0] = 1  # two near by in its channel, and channel 1 here
    passed[0, 0, 1, 1, 3] = passed[0, 0, 1, 0, 3] = 1
    assert torch.equal(gates(spikes), passed)


def test_a_gate_remembers_half_of_the_step_before() -> None:
    gates = listening(SpikeGates(1), bias=0.4)
    with torch.no_grad():
        gates.channel.linear.weight[:] = 0.1
        gates.position.linear.weight.zero_()
        gates.position.norm.bias.fill_(1.0)  # always
    spikes = torch.ones(4, 1, 1, 1, 1)
    assert gates(spikes).flatten().tolist() == [0, 0, 0, 0]  # 0.5, 0.75, 0.875, 0.94
    functional.reset_net(gates)
    with torch.no_grad():
        gates.channel.norm.bias.fill_(0.5)
    assert gates(spikes).flatten().tolist() == [0, 0, 1, 0]  # 0.6, 0.9, 1.05 and rest, 0.6


def test_every_weight_and_the_spikes_get_a_gradient() -> None:
    torch.manual_seed(0)
    gates = SpikeGates(8)
    spikes = spikes_of(2, 4, 8, 6, 6).requires_grad_()
    gates(spikes).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in gates.parameters())
    assert spikes.grad is not None and spikes.grad.any()


def learned(listening: float, start: float) -> float:
    """The loss after some steps where the spikes of channel 0 are wanted, but for places where channel 1 fires."""
    torch.manual_seed(0)
    gates = SpikeGates(2)
    for gate in (gates.channel, gates.position):
        nn.init.constant_(gate.norm.weight, listening)
        nn.init.constant_(gate.norm.bias, start)
    optimizer = torch.optim.SGD(gates.parameters(), lr=0.1, momentum=0.9)
    for step in range(60):
        spikes = spikes_of(2, 16, 2, 4, 4, seed=step, rate=0.5)
        wanted = spikes[:, :, :1] * (1 - spikes[:, :, 1:])
        functional.reset_net(gates)
        loss = (gates(spikes)[:, :, :1] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_it_learns_where_spikes_are_wanted_and_why_it_listens_at_the_start() -> None:
    assert learned(LISTENING, OPEN) < 0.03
    assert learned(0.0, 1.25) > 0.2  # all shut, for good


def test_only_spike_has_gates_behind_the_neurons() -> None:
    kinds = {
        name: type(gates_behind(attention_name(name), 4)) for name in ("none", "eca", "cbam", "tcs", "sma", "spike")
    }
    assert kinds.pop("spike") is SpikeGates
    assert set(kinds.values()) == {nn.Identity}
    assert isinstance(SpikeGates(4).channel, Gate)
