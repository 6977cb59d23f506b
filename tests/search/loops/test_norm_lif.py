import pytest
import torch
from torch import Tensor, nn

from spikeport.search.loops.window_lif import window_lif

SHAPES = [(6, 5, 2, 4, 8), (1, 1, 3, 2, 5), (32, 16, 2, 16, 16)]  # the last is shared among threads


def norm(channels: int, training: bool) -> nn.BatchNorm1d:
    result = nn.BatchNorm1d(channels)
    with torch.no_grad():
        result.weight.copy_(torch.linspace(0.5, 1.5, channels))
        result.bias.copy_(torch.linspace(-0.2, 0.9, channels))
        result.running_mean.fill_(0.3)
        result.running_var.fill_(4.0)
    return result.train(training)


def after(current: Tensor, gradient: Tensor, norm: nn.BatchNorm1d, *, together: bool) -> tuple[Tensor, list[Tensor]]:
    """Spikes, and the gradients of the currents, weight and bias, and the running averages."""
    leaf, neurons = current.clone().requires_grad_(), window_lif(axis=2)
    spikes = neurons(leaf, norm) if together else neurons(norm(leaf.flatten(0, 3)).view(leaf.shape))
    spikes.backward(gradient)
    tensors = [leaf.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
    return spikes.detach(), [tensor for tensor in tensors if tensor is not None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_as_one_after_the_other(shape: tuple[int, ...], training: bool) -> None:
    torch.manual_seed(0)
    current, gradient = 2 * torch.randn(shape) + 0.7, torch.randn(shape)
    expected, found = (
        after(current, gradient, norm(shape[-1], training), together=together) for together in (False, True)
    )
    assert 0.05 < expected[0].mean() < 0.9
    assert torch.equal(found[0], expected[0])
    assert len(found[1]) == len(expected[1]) == 5
    for mine, theirs in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_a_broken_weight_is_seen() -> None:
    torch.manual_seed(0)
    current, gradient, broken = torch.randn(6, 5, 2, 4, 8), torch.randn(6, 5, 2, 4, 8), norm(8, True)
    expected = after(current, gradient, norm(8, True), together=False)
    with torch.no_grad():
        broken.weight[3] *= 1.5
    found = after(current, gradient, broken, together=True)
    assert not torch.equal(found[0], expected[0])


def test_mean_far_from_zero() -> None:
    """Sums of squares would lose the variance to rounding."""
    torch.manual_seed(0)
    current = 1000 + 0.1 * torch.randn(8, 8, 2, 16, 4)
    found = after(current, torch.ones_like(current), measured := norm(4, True), together=True)
    assert 0.05 < found[0].mean() < 0.9
    variance = (torch.as_tensor(measured.running_var) - 0.9 * 4.0) / 0.1
    torch.testing.assert_close(variance, current.flatten(0, 3).var(0), rtol=1e-2, atol=0)


def test_bfloat16_spikes_are_the_same_spikes() -> None:
    torch.manual_seed(0)
    current, leaf = torch.randn(4, 4, 2, 3, 8), torch.randn(4, 4, 2, 3, 8).requires_grad_()
    exact, neurons = window_lif(axis=2), window_lif(axis=2)
    neurons.spikes_in = torch.bfloat16
    spikes = neurons(current, norm(8, True))
    assert spikes.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), exact(current, norm(8, True)))
    assert torch.equal(neurons(current).float(), exact(current))

    gradient = torch.randn_like(leaf)
    (coarse,) = torch.autograd.grad(neurons(leaf, norm(8, True)), leaf, gradient.bfloat16())
    (fine,) = torch.autograd.grad(exact(leaf, norm(8, True)), leaf, gradient.bfloat16().float())
    assert torch.equal(coarse, fine)
