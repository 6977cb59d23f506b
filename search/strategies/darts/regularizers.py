"""What is added to the loss of the alphas so that a search does not collapse; each is a number times its weight.

    beta_decay   mean over edges of log(sum over o of exp(a_o))     (beta-DARTS, arXiv 2203.01665)
    zero_one     -mean over edges and o of (sigmoid(a_o) - 1/2)^2   (FairDARTS, arXiv 1911.12126)

The first keeps the weights of an edge alike and rises over the epochs, the second drives sigmoids to 0 or 1.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ...settings.darts import DartsSettings
from ...supernet.relaxation import rising
from ...training.passes import Objective


def beta_decay(alphas: Tensor) -> Tensor:
    """[edges, primitives] -> a scalar."""
    return torch.logsumexp(alphas, dim=1).mean()


def zero_one(alphas: Tensor) -> Tensor:
    """[edges, primitives] -> a scalar, from -1/4 to 0."""
    return -(torch.sigmoid(alphas) - 0.5).square().mean()


# name -> function of the alphas of all cells that a search may choose from, one edge per row
REGULARIZERS: Mapping[str, Callable[[Tensor], Tensor]] = {"beta_decay": beta_decay, "zero_one": zero_one}


def weights_of(settings: DartsSettings, epoch: int) -> dict[str, float]:
    """The weight of each regularizer that is used in an epoch, from 0; nats."""
    weights = {
        "beta_decay": settings.beta_decay * rising(epoch, settings.search_epochs),
        "zero_one": settings.zero_one_weight,
    }
    return {name: weight for name, weight in weights.items() if weight}


def regularized(objective: Objective, alphas: Callable[[], Tensor], weights: Mapping[str, float]) -> Objective:
    """The objective and the weighted sum of regularizers."""

    def with_regularizers(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = objective(images, labels)
        for name, weight in weights.items():
            loss = loss + weight * REGULARIZERS[name](alphas())
        return loss, logits

    return with_regularizers
