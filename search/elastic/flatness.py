"""How little noise on its weights raises a network's loss, after GeNAS (arXiv 2305.08611):

    F' = 1 / ( |L_1 - L_0| / s_1 + sum over k of |L_(k+1) - L_k| / (s_(k+1) - s_k) + 1e-5 )        s = .001, .003, .006

L_k is the loss on watched images with Gaussian noise of standard deviation s_k on every parameter, L_0 that without.
The published code has |L_1| / s_1 in place of the first term: with a loss of about 1 that is 1000, beside which the
slopes are small, so that it ranks by the loss itself; `published` is that number. It adds noise to noise, with the
differences of the s_k, so that the last deviation is .0037; here one direction grows to s_k. And it draws once for each
network, here DRAWS times, of the shared weights, so that networks are moved alike; F' is the mean.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.datasets import Images, Labels
from ..random_streams import generator
from ..space.network import SpikingNetwork
from ..training.loop import evaluate
from .weights import SMALL_OF, ElasticWeights

DEVIATIONS = (0.001, 0.003, 0.006)
DRAWS = 3
SMALLEST = 1e-5  # so that a loss that nothing moves has a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatness:
    """The higher the flatter, the mean over draws; `published` as its code has it."""

    flatness: float
    published: float


def flatness(
    weights: ElasticWeights, network: SpikingNetwork, images: Images, labels: Labels, seed: int, draws: int = DRAWS
) -> Flatness:
    """Of a network that was cut out of the shared weights, its norms counted; it is left as it was."""
    own = {name: value.detach().clone() for name, value in network.named_parameters()}
    still = evaluate(network, images, labels).loss
    losses = []
    for number in range(draws):
        noise = _noise_on(weights, network, seed, number)
        losses.append([_moved(network, own, noise, deviation, images, labels) for deviation in DEVIATIONS])
    _set(network, own)
    return Flatness(
        flatness=sum(flatness_of([still, *some], DEVIATIONS) for some in losses) / draws,
        published=sum(flatness_of([0.0, *some], DEVIATIONS) for some in losses) / draws,
    )


def flatness_of(losses: Sequence[float], deviations: Sequence[float]) -> float:
    """losses: L_0, then one for each deviation."""
    steps = zip(losses[1:], losses[:-1], deviations, (0.0, *deviations[:-1]), strict=True)
    return 1 / (sum(abs(after - before) / (far - near) for after, before, far, near in steps) + SMALLEST)


@torch.no_grad()
def _noise_on(weights: ElasticWeights, network: SpikingNetwork, seed: int, number: int) -> dict[str, Tensor]:
    """The part that a network has of one draw on all shared weights, of deviation 1."""
    rng = torch.Generator().manual_seed(int(generator(seed, "elastic noise", number).integers(2**63)))
    noise = deepcopy(weights)
    for name, values in noise.shared.items():
        if name.endswith(SMALL_OF):  # what is moved is the kernel, however it comes from the large one
            values.copy_(torch.eye(len(values)))
        else:
            values.copy_(torch.randn(values.shape, generator=rng))
    return noise.weights_of(network)


def _moved(
    network: SpikingNetwork,
    own: dict[str, Tensor],
    noise: dict[str, Tensor],
    deviation: float,
    images: Images,
    labels: Labels,
) -> float:
    _set(network, {name: value + deviation * noise[name] for name, value in own.items()})
    return evaluate(network, images, labels).loss


@torch.no_grad()
def _set(network: SpikingNetwork, values: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        parameter.copy_(values[name])
