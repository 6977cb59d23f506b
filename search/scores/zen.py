"""Zen: how far the answer moves with the input, of a network with Gaussian weights (Lin et al., arXiv 2102.01063).

    log E |f(x + ALPHA e) - f(x)| + sum over batch norms of log sigma

x, e and the weights are Gaussian, sigma^2 is the mean over channels of the variance that a batch norm divides by; the
mean of DRAWS draws. Without data.

What changes for spikes: f is the readout, the mean of its currents over time, for spikes themselves do not move with a
small step of the input; the step is ALPHA = 0.1 and not 0.01, so that some neurons cross their threshold. What moves
none has no logarithm: minus infinity. A network that reads spikes gets Gaussian numbers, too.
"""

import math

import torch
from torch import Tensor

from ..space.network import SpikingNetwork
from .untrained import answers, noise, normalising, weights_of

ALPHA = 0.1
DRAWS = 4
SAMPLES = 16


def zen(network: SpikingNetwork, seed: int) -> float:
    return sum(_draw(network, noise(seed, number)) for number in range(DRAWS)) / DRAWS


@torch.no_grad()
def _draw(network: SpikingNetwork, rng: torch.Generator) -> float:
    for weight in weights_of(network):
        weight.copy_(_gaussian(tuple(weight.shape), rng))
    shape = (SAMPLES, *network.config.sample_shape)
    images, step = _gaussian(shape, rng), _gaussian(shape, rng)
    with normalising(network) as currents:
        before = answers(network, images)
    scales = [log_sigma(current) for current in currents]
    moved = float((answers(network, images + ALPHA * step) - before).norm(dim=1).mean())
    return math.log(moved) + sum(scales) if moved > 0 else -math.inf


def log_sigma(current: Tensor) -> float:
    """Of currents [..., C, H, W]; one that never changes divides by the norm's epsilon."""
    channels = current.movedim(-3, 0).flatten(1)
    return 0.5 * math.log(float(channels.var(1, correction=0).mean()) + 1e-5)


def _gaussian(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64)
