"""Untrained networks and what is read from them: spikes, weights, gradients, Jacobians.

In float64, because sums in another order must not move a membrane over its threshold; in train mode, because batch norm
in eval mode has running statistics that know nothing yet, and scores of that network are wrong (the first published
NASWOT codes were, BayesWatch/nas-without-training issue 1). Neurons are reset before every pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...errors import InputError
from ..random_streams import generator, seeded
from ..space.genotype import Genotype
from ..space.network import SpikingNetwork
from ..spaces.canonical import canonical
from .score import Batch, Context

NetworkScore = Callable[[SpikingNetwork, Batch, int], float]  # of an untrained network, which it may change; the seed
BlindScore = Callable[[SpikingNetwork, int], float]  # likewise, without data
OfGenotypes = Callable[[Genotype, Context], float]
BATCH_NORM = nn.modules.batchnorm._BatchNorm


def of_untrained(score: NetworkScore) -> OfGenotypes:
    """The score of a network as one of genotypes."""

    def of(genotype: Genotype, context: Context) -> float:
        if context.batch is None:
            raise InputError("This score needs a batch of training data, but its context has none; use context_of.")
        return score(untrained(genotype, context), context.batch, context.seed)

    return of


def without_data(score: BlindScore) -> OfGenotypes:
    """The same of a score that looks at the network alone."""
    return lambda genotype, context: score(untrained(genotype, context), context.seed)


def untrained(genotype: Genotype, context: Context) -> SpikingNetwork:
    """The network as its training would start, by the seed of the context."""
    with seeded(context.seed, "scores"):
        network = SpikingNetwork(canonical(genotype), context.config)
    return network.double().train()


def answers(network: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, classes] of neurons that remember nothing."""
    functional.reset_net(network)
    logits: Tensor = network(images)
    return logits


def noise(seed: int, number: int = 0) -> torch.Generator:
    """Torch's random numbers of their own; `number`: of several draws."""
    drawn = int(generator(seed, "scores", 1 + number).integers(2**63))
    return torch.Generator().manual_seed(drawn)


@contextmanager
def listening(network: nn.Module) -> Iterator[list[Tensor]]:
    """The spikes [T, N, ...] of every layer of neurons, in the order of the forward passes inside the block."""
    heard: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda module, inputs, spikes: heard.append(spikes))
        for module in network.modules()
        if isinstance(module, BaseNode)
    ]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def normalising(network: nn.Module) -> Iterator[list[Tensor]]:
    """What enters each batch norm, [T, N, C, H, W] or of a stem [N, C, H, W], likewise."""
    heard: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
        for module in network.modules()
        if isinstance(module, BATCH_NORM)
    ]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def spike_codes(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Of every layer of neurons in every time step the spikes [N, neurons] of 0 and 1."""
    with torch.no_grad(), listening(network) as heard:
        answers(network, images)
    return [step.flatten(1) for spikes in heard for step in spikes]


def weights_of(network: nn.Module) -> list[nn.Parameter]:
    """Those of convolutions and linear layers; not of batch norms, and no biases."""
    found = [getattr(module, "weight", None) for module in network.modules() if not isinstance(module, BATCH_NORM)]
    return [weight for weight in found if isinstance(weight, nn.Parameter)]


def loss_gradients(network: nn.Module, batch: Batch) -> list[Tensor]:
    """Of the mean cross-entropy, by each of `weights_of`; zeros where it does not depend on one."""
    weights = weights_of(network)
    loss = cross_entropy(answers(network, batch.images), batch.labels)
    return list(torch.autograd.grad(loss, weights, materialize_grads=True))


def input_jacobians(network: nn.Module, batch: Batch) -> Tensor:
    """[N, inputs]: the gradient of the sum of a batch's logits by each of its samples."""
    images = batch.images.clone().requires_grad_()
    (found,) = torch.autograd.grad(answers(network, images).sum(), images)
    return found.flatten(1)
