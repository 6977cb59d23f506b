"""How differently the answers depend on the input, from sample to sample.

    J_i        gradient of the sum of the logits by sample i of the batch
    jacob_cov  -sum over eigenvalues v of the correlation of all J_i of  log(v + 1e-5) + 1 / (v + 1e-5)
               (zero-cost-nas, Abdelfattah et al., arXiv 2101.08134)
    epe        sum over classes c of |E_c|,  E_c = sum over pairs i < j of class c of log(|corr(J_i, J_j)| + 1e-5)
               (EPE-NAS, arXiv 2102.08099); over 100 classes: the mean over pairs of classes of |E_c - E_d|

What changes for spikes: the gradient goes through the surrogate of every spike, arctangent of a fixed sharpness, which
it depends on; it exists, because the stem reads real numbers. Where the input is spikes, it is the gradient by numbers
that they cannot take. A network whose answers do not depend on a sample has no correlation: minus infinity.
"""

from itertools import combinations

import torch
from torch import Tensor

from ..space.network import SpikingNetwork
from .score import Batch
from .untrained import input_jacobians

SMALL = 1e-5
MANY_CLASSES = 100


def jacob_cov(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return eigenvalue_score(input_jacobians(network, batch))


def epe(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return class_score(input_jacobians(network, batch), batch.labels)


def eigenvalue_score(jacobians: Tensor) -> float:
    """Of [N, inputs]."""
    correlations = _correlations(jacobians)
    if correlations is None:
        return -torch.inf
    values = torch.linalg.eigvalsh(correlations).clamp(min=0) + SMALL
    return -float((values.log() + 1 / values).sum())


def class_score(jacobians: Tensor, labels: Tensor) -> float:
    """Of [N, inputs] and labels [N]."""
    correlations = _correlations(jacobians)
    if correlations is None:
        return -torch.inf
    classes = sorted(set(labels.tolist()))
    each = []
    for one in classes:
        own = (labels == one).nonzero().ravel()
        above = torch.triu(torch.ones(len(own), len(own), dtype=torch.bool), diagonal=1)
        each.append(float((correlations[own][:, own][above].abs() + SMALL).log().sum()))
    if len(classes) <= MANY_CLASSES:
        return sum(map(abs, each))
    pairs = [abs(a - b) for a, b in combinations(each, 2)]
    return sum(pairs) / len(pairs)


def _correlations(jacobians: Tensor) -> Tensor | None:
    """[N, N] of the rows; None where one is the same everywhere."""
    centred = jacobians - jacobians.mean(1, keepdim=True)
    lengths = centred.norm(dim=1, keepdim=True)
    if not (lengths > 0).all():
        return None
    unit: Tensor = centred / lengths
    return torch.mm(unit, unit.T)
