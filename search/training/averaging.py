"""The average of a network's weights over its training, which can be a better network than the last of them.

    mean_n = mean_(n-1) + (1 - d) / (1 - d^n) * (weights_n - mean_(n-1))        n = 1, 2, ..; d is the decay

is the exponential moving average without a bias to its start: mean_1 = weights_1, and weights k steps ago count d^k as
much as the last ones.

Averages of weights have smaller currents than the weights they are of, so that the running means and variances of batch
norms, averaged, do not fit them: neurons would hardly spike. They are counted anew instead (`settle`).
"""

import math
from copy import deepcopy
from typing import cast

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn

from ..data.datasets import Images
from ..machine import processes
from .loop import EVALUATION_BATCH

SETTLING = 2048  # images that norms are counted on


class WeightAverage(nn.Module):
    """Holds a network of averaged weights, so that a checkpoint of it is one of them."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.network = deepcopy(network).requires_grad_(False)
        self._own: list[Tensor] = list(self.network.parameters())
        self._followed: list[Tensor] = list(network.parameters())
        self._counts = _counts(self.network), _counts(network)

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """After a step of the network; so many were made, this one among them. Nothing here waits for a GPU."""
        torch._foreach_lerp_(self._own, self._followed, (1 - self.decay) / (1 - self.decay**steps))

    def settle(self, images: Images | Tensor) -> None:
        """Running means and variances of these weights: those of the batches of images [N, C, H, W], averaged."""
        settle_norms(self.network, images)
        for own, counted in zip(*self._counts, strict=True):
            own.copy_(counted)


@torch.no_grad()
def settle_norms(network: nn.Module, images: Images | Tensor) -> None:
    """Count the running means and variances of all batch norms anew: those of the batches of images, averaged."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    device = next(network.parameters()).device
    batches = math.ceil(len(images) / EVALUATION_BATCH)
    network.train()
    for number in range(batches):
        for norm in norms:
            norm.momentum = 1 / (number + 1)
        part = processes.share(len(images) * number // batches, len(images) * (number + 1) // batches)
        reset_net(network)
        network(torch.as_tensor(images[part]).to(device).float())
    reset_net(network)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _counts(network: nn.Module) -> list[Tensor]:
    """How many batches each norm was trained on."""
    return [
        cast(Tensor, module.num_batches_tracked) for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    ]
