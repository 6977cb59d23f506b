"""The second-order step against the exact gradient of the unrolled loss, where derivatives are smooth."""

from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from spikeport.search.strategies.darts.second_order import second_order_step
from spikeport.search.supernet.supernet import Supernet

RATE, MOMENTUM, DECAY = 0.1, 0.9, 0.01


class Smooth(nn.Module):
    """Predicts sum(softmax(a) * tanh(w x)): no spikes, so that second derivatives exist."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(3))
        self.a = nn.Parameter(torch.randn(3))
        self.register_buffer("passes", torch.zeros(()))

    def weights(self) -> list[nn.Parameter]:
        return [self.w]

    def architecture(self) -> list[nn.Parameter]:
        return [self.a]


def loss(w: Tensor, a: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return ((torch.softmax(a, 0) * torch.tanh(w * x[:, None])).sum(1) - y).square().mean()


def exact(network: Smooth, momentum: Tensor, train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor]) -> Tensor:
    w, a = network.w, network.a
    (step,) = torch.autograd.grad(loss(w, a, *train), w, create_graph=True)
    ahead = w - RATE * (MOMENTUM * momentum + step + DECAY * w)
    (gradient,) = torch.autograd.grad(loss(ahead, a, *held), a)
    return gradient


@pytest.fixture
def found() -> dict[str, Tensor]:
    network = Smooth()
    torch.manual_seed(1)
    train, held = ((torch.randn(20), torch.randn(20)) for _ in range(2))
    optimizer = SGD([network.w], lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    optimizer.state[network.w]["momentum_buffer"] = momentum = torch.randn(3)

    def objective(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        network.passes += 1
        return loss(network.w, network.a, x, y), y

    before = network.w.detach().clone()
    expected = exact(network, momentum, train, held)
    alphas = Adam([network.a], lr=0.01)
    start = network.a.detach().clone()
    second_order_step(
        cast(Supernet, network),
        alphas,
        held,
        objective,
        weights=optimizer,
        weight_batch=train,
        weight_objective=objective,
    )
    assert torch.equal(network.w, before)
    assert network.passes == 0  # buffers, too, are as they were
    assert not torch.equal(network.a, start)
    (first,) = torch.autograd.grad(loss(network.w, start.requires_grad_(), *held), start)
    return {"found": network.a.grad, "expected": expected, "first order": first}


def test_gradient_of_the_unrolled_loss(found: dict[str, Tensor]) -> None:
    torch.testing.assert_close(found["found"], found["expected"], rtol=2e-3, atol=1e-5)


def test_first_order_is_another(found: dict[str, Tensor]) -> None:
    assert not torch.allclose(found["first order"], found["expected"], rtol=2e-2, atol=1e-4)
