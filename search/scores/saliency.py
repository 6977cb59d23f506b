"""How much the loss of one batch depends on the weights of an untrained network.

    grad_norm  sum over layers of the 2-norm of dL/dW
    snip       sum over weights of |w * dL/dw|                         (Lee et al., arXiv 1810.02340)
    fisher     sum over channels of 1/2 mean_n (sum over t, y, x of a * dL/da)^2
               (Turner et al., arXiv 1906.04113)

as zero-cost-nas has them (arXiv 2101.08134). What changes for spikes: gradients go through the surrogate of every
spike, whose sharpness scales them; it is the same for all genotypes. In `fisher` the activation a is the current of a
layer of neurons before its batch norm, and not the spike, which is 0 in most places; a current has time steps, which
are summed like places. A network whose features are silent scores 0: nothing depends on its weights.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..space.network import SpikingNetwork
from .score import Batch
from .untrained import answers, loss_gradients, normalising, weights_of


def grad_norm(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return float(torch.stack([gradient.norm() for gradient in loss_gradients(network, batch)]).sum())


def snip(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return saliency(list(weights_of(network)), loss_gradients(network, batch))


def saliency(weights: list[nn.Parameter], gradients: list[Tensor]) -> float:
    pairs = zip(weights, gradients, strict=True)
    return float(torch.stack([(weight.detach() * gradient).abs().sum() for weight, gradient in pairs]).sum())


def fisher(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    with normalising(network) as currents:
        loss = cross_entropy(answers(network, batch.images), batch.labels)
    gradients = torch.autograd.grad(loss, currents, materialize_grads=True)
    return sum(information(current, gradient) for current, gradient in zip(currents, gradients, strict=True))


def information(current: Tensor, gradient: Tensor) -> float:
    """Of currents and their gradients [T, N, C, H, W], or of a stem [N, C, H, W]."""
    product = current.detach() * gradient
    each = product.sum((-1, -2)) if product.ndim == 4 else product.sum((0, -1, -2))  # [N, C]
    return float(each.square().mean(0).sum() / 2)
