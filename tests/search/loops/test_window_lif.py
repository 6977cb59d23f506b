import pytest
import torch
from torch import Tensor

from spikeport.search.loops import window_lif as lif
from spikeport.search.loops.arrays import takes_loops
from spikeport.search.loops.window_lif import window_lif
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
