"""ntk: minus the logarithm of the condition number of the neural tangent kernel (TE-NAS, arXiv 2102.11535).

    -log( largest / smallest eigenvalue of G G' )

G has a row for each of the first SAMPLES samples: the gradient of the sum of its logits by all parameters. What changes
for spikes: gradients go through the surrogate. The kernel of a silent network has rank 1: minus infinity.
"""

import math

import torch
from torch import Tensor

from ..space.network import SpikingNetwork
from .score import Batch
from .untrained import answers

SAMPLES = 16


def ntk(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    parameters = list(network.parameters())
    sums = answers(network, batch.images[:SAMPLES]).sum(1)
    rows = []
    for number, one in enumerate(sums):
        more = number + 1 < len(sums)
        gradients = torch.autograd.grad(one, parameters, retain_graph=more, materialize_grads=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return log_condition(torch.stack(rows))


def log_condition(rows: Tensor) -> float:
    """Of gradients [samples, parameters]."""
    values = torch.linalg.eigvalsh(rows @ rows.T)
    smallest, largest = float(values[0]), float(values[-1])
    if smallest <= len(rows) * torch.finfo(torch.float64).eps * largest:
        return -math.inf
    return -math.log(largest / smallest)
