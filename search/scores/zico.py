"""ZiCo: gradients that are large and alike from batch to batch (Li et al., arXiv 2301.11300).

    sum over layers of  log( sum over weights of  mean |g| / std g )

over the gradients g of the loss on the halves of the batch; a weight whose gradients have no deviation is left out,
and so is a layer without any other. What changes for spikes: gradients go through the surrogate. Without any gradient,
as of a silent network, it is minus infinity.
"""

import torch
from torch import Tensor

from ..space.network import SpikingNetwork
from .score import Batch
from .untrained import loss_gradients


def zico(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    halves = [loss_gradients(network, half) for half in batch.halves()]
    return consistency([torch.stack(of_layer) for of_layer in zip(*halves, strict=True)])


def consistency(gradients: list[Tensor]) -> float:
    """Of each layer the gradients [batches, ...]."""
    found = []
    for of_layer in gradients:
        deviation = of_layer.std(0, correction=0)
        moved = deviation > 0
        if moved.any():
            found.append((of_layer.abs().mean(0)[moved] / deviation[moved]).sum().log())
    return float(torch.stack(found).sum()) if found else -torch.inf
