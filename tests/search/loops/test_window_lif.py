import pytest
import torch
from torch import Tensor

from spikeport.search.loops import window_lif as lif
from spikeport.search.loops.arrays import takes_loops
from spikeport.search.loops.window_lif import mixed_lif, window_lif
from spikeport.search.space.genotype import DECAYS
from spikeport.search.space.layers import lif_neurons


def answers(neurons: torch.nn.Module, current: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and the gradient of the current."""
    leaf = current.clone().requires_grad_()
    spikes = neurons(leaf)
    spikes.backward(gradient)
    assert leaf.grad is not None
    return spikes.detach(), leaf.grad


def currents(steps: int, *shape: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(steps)
    current = 1.5 * torch.randn(steps, *shape)
    current[0].flatten()[::3] = 1.0  # exactly at the threshold
    return current, torch.randn(steps, *shape)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_spikes_and_gradients_are_those_of_spikingjelly_bit_for_bit(steps: int) -> None:
    current, gradient = currents(steps, 3, 4, 5, 7)
    usual, fast = answers(lif_neurons(), current, gradient), answers(window_lif(), current, gradient)
    assert 0.1 < usual[0].mean() < 0.9
    assert torch.equal(fast[0], usual[0])
    assert torch.equal(fast[1], usual[1])


@pytest.mark.parametrize("decay", DECAYS)
def test_the_decays_of_a_genotype_are_those_of_spikingjelly_spike_for_spike(decay: float) -> None:
    assert 1 - 1 / lif_neurons(decay).tau == decay
    current, gradient = currents(9, 3, 4, 5)
    current *= 0.6
    usual, fast = answers(lif_neurons(decay), current, gradient), answers(window_lif(decay=decay), current, gradient)
    assert torch.equal(fast[0], usual[0])
    torch.testing.assert_close(fast[1], usual[1], rtol=1e-5, atol=1e-6)  # products in another order
    others = [answers(window_lif(decay=other), current, gradient)[0] for other in DECAYS if other != decay]
    assert not any(torch.equal(other, usual[0]) for other in others)
    exact = window_lif(decay=decay).stepwise(current, decay)
    assert torch.equal(exact, usual[0])
    norm = torch.nn.BatchNorm1d(5)
    maps = current.permute(1, 2, 0, 3).unsqueeze(3)  # [3, 4, 9, 1, 5]
    fused = window_lif(axis=2, decay=decay)(maps, norm)
    fused_usual = lif_neurons(decay)(norm(maps.flatten(0, 3)).view(maps.shape).permute(2, 0, 1, 3, 4))
    assert (fused != fused_usual.permute(1, 2, 0, 3, 4)).float().mean() < 0.01  # currents are rounded otherwise


def test_a_mixture_is_the_spikes_to_be_expected() -> None:
    current, gradient = currents(4, 3, 5)
    chances = torch.tensor([0.1, 0.2, 0.3, 0.4], requires_grad=True)
    spikes = mixed_lif(0, DECAYS, lambda: chances)(current)
    each = torch.stack([window_lif(decay=decay)(current) for decay in DECAYS])
    torch.testing.assert_close(spikes, torch.tensordot(chances, each, 1))
    spikes.backward(gradient)
    torch.testing.assert_close(chances.grad, (each * gradient).flatten(1).sum(1))


def test_a_current_just_below_the_threshold_differs() -> None:
    current, gradient = currents(2, 3, 4)
    broken = current.clone()
    broken[0].flatten()[0] -= 1e-6
    usual, fast = answers(lif_neurons(), current, gradient), answers(window_lif(), broken, gradient)
    assert not torch.equal(fast[0], usual[0])


def test_steps_on_another_axis_and_any_layout() -> None:
    current, gradient = currents(3, 2, 4, 5, 6)
    spikes, slope = answers(lif_neurons(), current, gradient)
    order, back = (3, 4, 0, 1, 2), (2, 3, 4, 0, 1)
    found = answers(window_lif(axis=2), current.permute(order), gradient.permute(order))
    assert torch.equal(found[0].permute(back), spikes)
    assert torch.equal(found[1].permute(back), slope)


def test_every_window_starts_from_rest() -> None:
    neurons = window_lif()
    current = torch.full((1, 1, 1), 0.75)
    assert neurons(current) == 0
    assert neurons(current) == 0  # a kept membrane of 0.375 would make it 1.125


@pytest.mark.parametrize("axis", [0, 2])
def test_stepwise_is_the_same_bit_for_bit(axis: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other devices and precisions take."""
    current, gradient = (tensor.movedim(0, axis) for tensor in currents(3, 4, 5, 6))
    usual = answers(window_lif(axis), current, gradient)
    monkeypatch.setattr(lif, "takes_loops", lambda tensor: False)
    found = answers(window_lif(axis), current, gradient)
    assert torch.equal(found[0], usual[0]) and torch.equal(found[1], usual[1])
    assert not torch.equal(answers(window_lif(axis), current + 0.1, gradient)[0], usual[0])


def test_other_precisions_take_the_steps() -> None:
    assert takes_loops(torch.zeros(1)) and not takes_loops(torch.zeros(1, dtype=torch.bfloat16))
    assert window_lif()(torch.full((2, 1), 1.0, dtype=torch.bfloat16)).tolist() == [[1.0], [1.0]]
