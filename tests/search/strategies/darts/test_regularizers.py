import math

import pytest
import torch
from torch import Tensor

from spikeport.errors import InputError
from spikeport.search.settings.run import choose
from spikeport.search.settings.supernet import SupernetSettings
from spikeport.search.strategies.darts.regularizers import beta_decay, regularized, weights_of, zero_one
from spikeport.search.supernet.relaxation import RELAXATIONS, fading, rising

ALPHAS = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])


def test_beta_decay_by_hand() -> None:
    assert beta_decay(ALPHAS).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert beta_decay(ALPHAS + 1).item() == pytest.approx((math.log(2) + math.log(4)) / 2 + 1)


def test_beta_decay_pulls_by_the_mixture() -> None:
    """Its gradient is the softmax over the edges: the strongest falls most."""
    alphas = ALPHAS.clone().requires_grad_()
    beta_decay(alphas).backward()
    torch.testing.assert_close(alphas.grad, torch.tensor([[0.25, 0.25], [0.375, 0.125]]))


def test_zero_one_by_hand() -> None:
    assert zero_one(ALPHAS).item() == pytest.approx(-((0.75 - 0.5) ** 2) / 4)
    assert zero_one(torch.tensor([[100.0, -100.0]])).item() == pytest.approx(-0.25)
    alphas = torch.tensor([[1.0, -1.0]], requires_grad=True)
    zero_one(alphas).backward()
    assert alphas.grad[0, 0] < 0 < alphas.grad[0, 1]  # descent drives them apart


def test_beta_decay_rises_and_the_skip_fades() -> None:
    settings = choose(search_epochs=5, beta_decay=8.0, zero_one_weight=2.0, relaxation="sigmoid")
    assert [weights_of(settings.darts, epoch).get("beta_decay", 0.0) for epoch in range(5)] == [0, 2, 4, 6, 8]
    assert weights_of(settings.darts, 0) == {"zero_one": 2.0}
    assert [fading(epoch, 5) for epoch in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert (rising(0, 1), fading(0, 1)) == (1, 0)


def test_weighted_sum() -> None:
    def objective(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return images.sum(), labels

    loss, logits = regularized(objective, lambda: ALPHAS, {"beta_decay": 2.0, "zero_one": 3.0})(
        torch.ones(4), torch.zeros(1)
    )
    assert loss.item() == pytest.approx(4 + 2 * beta_decay(ALPHAS).item() + 3 * zero_one(ALPHAS).item())
    assert torch.equal(logits, torch.zeros(1))


def test_relaxations() -> None:
    torch.testing.assert_close(RELAXATIONS["softmax"](ALPHAS), torch.tensor([[0.5, 0.5], [0.75, 0.25]]))
    torch.testing.assert_close(RELAXATIONS["sigmoid"](ALPHAS), torch.tensor([[0.5, 0.5], [0.75, 0.5]]))
    with pytest.raises(InputError, match=r"^Unknown relaxation 'hard'; choose from softmax, sigmoid, gumbel\.$"):
        SupernetSettings(relaxation="hard")


def test_zero_one_needs_sigmoids() -> None:
    with pytest.raises(InputError, match="drives sigmoids to 0 or 1, but the relaxation is softmax"):
        choose(zero_one_weight=1.0)
