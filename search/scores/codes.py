"""How well an untrained network tells samples apart by which of its neurons spike.

    naswot           log |det K|,  K_ij = N - d_H(c_i, c_j)
    sahd             log |det K|,  K_ij = mean over calls of 1 - d_H / N / 2 / (e_ij + 1e-3)
                     e_ij = s_i (1 - s_j) + (1 - s_i) s_j;  the mean of both halves of the batch
    linear_regions   how many different codes the batch has

c_i is the code of sample i: a bit for each of its N neurons. NASWOT (Mellor et al., arXiv 2006.04647) takes the bits of
ReLUs; here a bit is a spike, one for each neuron and time step. Spikes are sparse, so most bits of two codes agree,
whatever the samples; SAHD (Kim et al., arXiv 2201.10355) divides the distance in a call, a layer in one time step, by
the one that is expected of spikes of the same rates s_i, s_j at random: off the diagonal 1/2 is expected at any
sparsity. Their K is N times this one; divided by N, networks of unequal width compare. Their code does not reset
membranes between the two batches; here they are.

Linear regions (arXiv 2102.11535 counts them along ReLUs) become different spike codes. Their number stops at the batch
size, which most networks reach.

A determinant of 0, as of a silent network, whose samples are all alike, is minus infinity. Rounding never gives exactly
0, so that an eigenvalue counts as 0 below N_samples * 2.2e-16 of the largest.
"""

import torch
from torch import Tensor

from ..space.network import SpikingNetwork
from .score import Batch
from .untrained import spike_codes


def naswot(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return log_determinant(agreement(spike_codes(network, batch.images)))


def sahd(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    found = [log_determinant(sparse_agreement(spike_codes(network, half.images))) for half in batch.halves()]
    return sum(found) / len(found)


def linear_regions(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return float(distinct(spike_codes(network, batch.images)))


def agreement(codes: list[Tensor]) -> Tensor:
    """[N, N]: in how many bits two samples agree, over all calls."""
    return torch.stack([c @ c.T + (1 - c) @ (1 - c).T for c in codes]).sum(0)


def sparse_agreement(codes: list[Tensor]) -> Tensor:
    """[N, N]: SAHD's kernel over N."""
    return torch.stack([_sparse_agreement(c) for c in codes]).mean(0)


def distinct(codes: list[Tensor]) -> int:
    return len(torch.unique(torch.cat(codes, dim=1).to(torch.uint8), dim=0))


def log_determinant(kernel: Tensor) -> float:
    """log |det K| of a symmetric K; minus infinity where it is singular."""
    sizes = torch.linalg.eigvalsh(kernel).abs()
    if sizes.min() <= len(kernel) * torch.finfo(torch.float64).eps * sizes.max():
        return -torch.inf
    return float(sizes.log().sum())


def _sparse_agreement(code: Tensor) -> Tensor:
    rates, silent = code.mean(1), 1 - code
    apart = (code @ silent.T + silent @ code.T) / code.shape[1]
    expected = torch.outer(rates, 1 - rates) + torch.outer(1 - rates, rates)
    return 1 - 0.5 * apart / (expected + 1e-3)
