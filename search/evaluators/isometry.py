"""Weights at the start by which every layer of neurons hands gradients on as large as it gets them.

After dynamical isometry (arXiv 2307.02263; in blocks, as it is used for spiking networks): the mean squared singular
value of the Jacobian J of a layer, from the spikes it reads to those it fires, through the surrogate gradient, is

    phi = tr(J J') / n,        estimated by |J' v|^2 / |v|^2 for random v of its n outputs,    and is to be 1.

So 1x1 kernels begin orthogonal, and the gains of a layer's batch norm are multiplied by phi^-1/2 until phi is near 1,
first layer first, for each changes what the ones behind it read.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from ..space.cell import Node, Preprocess

ROUNDS = 8  # of a layer
NEAR = 0.02  # |log phi| at which it is left
LEAST, MOST = 0.05, 20.0  # of a gain: a layer that cannot come to 1 is left at an end
VECTORS = 4


def isometric(network: nn.Module, images: Tensor, seed: int) -> dict[str, float]:
    """Change the weights of a new network, in place; returns phi of every layer as it was left, by its path.

    images: some of the train split, on the device of the network. A layer that fires nothing and passes no gradient has
    phi 0, and keeps the gain it had.
    """
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
            nn.init.orthogonal_(module.weight, generator=rng)
    layers = {path: m for path, m in network.named_modules() if isinstance(m, Preprocess | Node)}
    was_training, statistics = network.training, {k: v.clone() for k, v in network.named_buffers()}
    network.train()
    found = {path: _one(network, layer, images, rng) for path, layer in layers.items()}
    network.train(was_training)
    for name, buffer in network.named_buffers():  # what the norms have seen here is not of the training
        if name in statistics:
            buffer.copy_(statistics[name])
    functional.reset_net(network)
    return found


def _one(network: nn.Module, layer: nn.Module, images: Tensor, rng: torch.Generator) -> float:
    """Its phi after its gain was set."""
    states, gain = _read_by(network, layer, images), cast(Tensor, cast(Any, layer).norm.weight)
    found = phi(layer, states, rng)
    for _ in range(ROUNDS):
        if found <= 0.0 or abs(math.log(found)) < NEAR:
            break
        with torch.no_grad():
            gain.mul_(found**-0.5).clamp_(LEAST, MOST)
        found = phi(layer, states, rng)
    return found


def phi(layer: nn.Module, states: Sequence[Tensor], rng: torch.Generator) -> float:
    """|J' v|^2 / |v|^2, the mean over VECTORS random v. states: what it reads, [T, N, C, H, W] each."""
    functional.reset_net(layer)
    read = [state.detach().clone().requires_grad_(True) for state in states]
    fired = layer(read) if isinstance(layer, Node) else layer(read[0])
    total = 0.0
    for _ in range(VECTORS):
        v = torch.randn(fired.shape, generator=rng).to(fired.device)
        parts = torch.autograd.grad(fired, read, v, retain_graph=True, allow_unused=True)
        total += float(sum(part.square().sum() for part in parts if part is not None) / v.square().sum())
    functional.reset_net(layer)
    return total / VECTORS


def _read_by(network: nn.Module, layer: nn.Module, images: Tensor) -> list[Tensor]:
    """What the layer reads of these images."""
    seen: list[Tensor] = []

    def listen(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        first = inputs[0]
        seen.extend(first if isinstance(first, list) else [first])

    handle = layer.register_forward_pre_hook(listen)
    functional.reset_net(network)
    try:
        with torch.no_grad():
            network(images)
    finally:
        handle.remove()
        functional.reset_net(network)
    return seen
