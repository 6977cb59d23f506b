"""A batch norm and its neurons as one kernel: spikes as torch has them, gradients to within rounding."""

import copy

import pytest
import torch
from torch import Tensor, nn

from spikeport.search.gpu.norm_lif import lif, norm_lif
from spikeport.search.loops.window_lif import window_lif

CLOSE = 5e-6  # relative distance of float32 sums taken in another order


def batch_norm(channels: int, device: torch.device) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(0, 1)
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    return norm.to(device)


def by_torch(current: Tensor, norm: nn.BatchNorm1d | None, axis: int) -> Tensor:
    normed = current if norm is None else norm(current.reshape(-1, current.shape[-1])).view(current.shape)
    return window_lif(axis).stepwise(normed)


def distance(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / a.norm()).detach())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 4, 5, 6), 2), ((3, 7, 5, 5, 20), 0), ((2, 3, 4, 4, 70), 0)])
def test_spikes_gradients_and_averages_are_those_of_torch(
    shape: tuple[int, ...], axis: int, training: bool, device: torch.device
) -> None:
    torch.manual_seed(1)
    usual = batch_norm(shape[-1], device).train(training)
    mine = copy.deepcopy(usual)
    current = (2 * torch.randn(shape) + 1).to(device)
    a, b = (current.clone().requires_grad_() for _ in range(2))
    expected, spikes = by_torch(a, usual, axis), norm_lif(b, mine, torch.float32, axis)
    weights = torch.randn(shape).to(device)
    expected.backward(weights)
    spikes.backward(weights)

    assert 0.1 < float(expected.detach().mean()) < 0.9
    assert torch.equal(spikes, expected)
    assert distance(a.grad, b.grad) < CLOSE
    for parameter, other in zip(usual.parameters(), mine.parameters(), strict=True):
        assert distance(parameter.grad, other.grad) < CLOSE
    for (name, buffer), other in zip(usual.named_buffers(), mine.buffers(), strict=True):
        torch.testing.assert_close(other, buffer, rtol=1e-5, atol=1e-6, msg=name)


def test_a_gradient_that_is_a_part_of_joined_channels(device: torch.device) -> None:
    torch.manual_seed(1)
    norm = batch_norm(6, device)
    current = torch.randn(2, 10, 6).to(device)
    arrived = torch.randn(2, 10, 24).to(device)[..., 6:12]
    gradients = []
    for gradient in (arrived, arrived.contiguous(), arrived.transpose(0, 1).contiguous().transpose(0, 1)):
        mine = current.clone().requires_grad_()
        norm_lif(mine, copy.deepcopy(norm), torch.float32, 0).backward(gradient)
        gradients.append(mine.grad)
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])


def test_another_threshold_or_weight_would_be_seen(device: torch.device) -> None:
    torch.manual_seed(1)
    norm = batch_norm(6, device)
    current = torch.randn(2, 50, 6).to(device)
    expected = by_torch(current, copy.deepcopy(norm), 0)
    with torch.no_grad():
        norm.weight[3] *= 1.5
    assert not torch.equal(norm_lif(current, norm, torch.float32, 0), expected)


def test_neurons_without_a_norm(device: torch.device) -> None:
    torch.manual_seed(1)
    current = torch.randn(4, 30, 9).to(device)
    a, b = (current.clone().requires_grad_() for _ in range(2))
    expected, spikes = by_torch(a, None, 0), lif(b, torch.float32, 0)
    weights = torch.randn(4, 30, 9).to(device)
    expected.backward(weights)
    spikes.backward(weights)
    assert torch.equal(spikes, expected)
    assert distance(a.grad, b.grad) < CLOSE


def test_bfloat16_currents_are_calculated_in_float32(device: torch.device) -> None:
    torch.manual_seed(1)
    norm = batch_norm(8, device)
    current = torch.randn(2, 40, 8).to(device, torch.bfloat16)
    spikes = norm_lif(current, copy.deepcopy(norm), torch.bfloat16, 0)
    assert spikes.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), by_torch(current.float(), norm, 0))


def test_a_membrane_worked_by_hand(device: torch.device) -> None:
    # v: 0.8 -> 0.4 + 0.6 = 1.0 fires -> 0 + 0.9 -> 0.45 + 0.5
    current = torch.tensor([0.8, 0.6, 0.9, 0.5]).view(4, 1, 1).to(device)
    assert lif(current, torch.float32, 0).flatten().tolist() == [0, 1, 0, 0]
