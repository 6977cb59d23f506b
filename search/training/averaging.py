"""The average of a network's weights over its training, which is a better network than the last of them.

    mean_n = mean_(n-1) + (1 - d) / (1 - d^n) * (weights_n - mean_(n-1))        n = 1, 2, ..; d is the decay

is the exponential moving average without a bias to its start: mean_1 = weights_1, and weights k steps ago count d^k as
much as the last ones. Running means and variances of batch norms are averaged, too.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn


class WeightAverage(nn.Module):
    """Holds a network of averaged weights, so that a checkpoint of it is one of them."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.network = deepcopy(network).requires_grad_(False)
        self._pairs = _floats(self.network), _floats(network)
        self._counts = _others(self.network), _others(network)

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """After a step of the network; so many were made, this one among them. Nothing here waits for a GPU."""
        torch._foreach_lerp_(*self._pairs, (1 - self.decay) / (1 - self.decay**steps))
        if self._counts[0]:
            torch._foreach_copy_(*self._counts)


def _floats(network: nn.Module) -> list[Tensor]:
    return [tensor for tensor in network.state_dict(keep_vars=True).values() if tensor.is_floating_point()]


def _others(network: nn.Module) -> list[Tensor]:
    """How many batches a norm has seen."""
    return [tensor for tensor in network.state_dict(keep_vars=True).values() if not tensor.is_floating_point()]
