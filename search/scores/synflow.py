"""synflow: sum over weights of |w * dR/dw|, without data (Tanaka et al., arXiv 2006.05467). Its logarithm.

R is the sum of the answers to an input of ones, of a network whose weights are made positive and whose batch norms are
left out. What changes for spikes: the neurons are left out, too, because a LIF neuron driven by such currents would
fire in every step; what is left is linear but for its max-pools, and R is the sum over all paths of the products of
their weights. Gates of an attention are left out as well: they are 1 before training, or open. In float64, and as a
logarithm, because R grows with the number of paths.
"""

import math

import torch
from spikingjelly.activation_based.neuron import BaseNode
from torch import nn

from ..space.cell import Node
from ..space.network import SpikingNetwork
from .untrained import BATCH_NORM, answers, weights_of


def synflow(network: SpikingNetwork, seed: int) -> float:
    linear = linearised(network)
    weights = weights_of(linear)
    flow = answers(linear, torch.ones(1, *network.config.sample_shape, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(flow, weights, materialize_grads=True)
    total = sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients, strict=True))
    return math.log(total) if total > 0 else -math.inf


def linearised(network: SpikingNetwork) -> SpikingNetwork:
    """The network itself, changed: weights positive, batch norms, neurons and gates gone."""
    gone = [path for path, module in network.named_modules() if isinstance(module, BaseNode | BATCH_NORM)]
    gone += [
        f"{path}.{name}"
        for path, module in network.named_modules()
        if isinstance(module, Node)
        for name in ("attention", "gates")
    ]
    for path in sorted(gone, key=len, reverse=True):  # what is inside of a gate first
        network.set_submodule(path, nn.Identity())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    return network
