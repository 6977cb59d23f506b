"""Representational dissimilarity: how far apart the spikes of two samples are, without training and without labels.

    rdm              mean over calls of the sum over pairs i < j of |x_i - x_j|, the mean of both halves of the batch
    rdm_normalised   the same over neurons and pairs: the share of neurons that tell two samples apart, 0..1

MSE-NAS (arXiv 2304.10749) maximises the first, with x_i the responses of a layer of LIF neurons. A call is a layer in
one time step. The first grows with neurons times rate: it is a count of size and activity, and wants to be read beside
those; the second is not. Their script counts every call twice, which only changes a sum; here each counts once.
"""

import torch
from torch import Tensor

from ..space.network import SpikingNetwork
from .score import Batch
from .untrained import spike_codes


def rdm(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return _mean_of_halves(network, batch, normalised=False)


def rdm_normalised(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return _mean_of_halves(network, batch, normalised=True)


def dissimilarity(codes: list[Tensor], *, normalised: bool) -> float:
    """Of codes [N, neurons] of calls."""
    found = []
    for code in codes:
        distances = torch.pdist(code, p=1)
        found.append(distances.mean() / code.shape[1] if normalised else distances.sum())
    return float(torch.stack(found).mean())


def _mean_of_halves(network: SpikingNetwork, batch: Batch, *, normalised: bool) -> float:
    halves = [dissimilarity(spike_codes(network, half.images), normalised=normalised) for half in batch.halves()]
    return sum(halves) / len(halves)
