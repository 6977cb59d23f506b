"""isometry: does a cell pass gradients on at their size? (arXiv 2307.02263; block dynamical isometry, 1906.00904)

    mean over cells of  -(mean g)^2 - var g,   g = log( |J' v|^2 / |v|^2 )

over DRAWS Gaussian v, with J the Jacobian of a cell's output by its two inputs: |J' v|^2 / |v|^2 is tr(J J') / n on
average, and 1 is what isometry asks for. 0 is the best there is. What changes for spikes: J goes through the surrogate,
whose sharpness decides much of its size, and batch norm fixes the scale of every node already, so that little is left
to tell genotypes apart. A cell that passes nothing on is minus infinity.
"""

import math

import torch
from torch import Tensor, nn

from ..space.network import SpikingNetwork
from .score import Batch
from .untrained import answers, noise

DRAWS = 8


def isometry(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    passed: list[tuple[tuple[Tensor, ...], Tensor]] = []
    handles = []

    def cut(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A cell's inputs become values of their own, so that nothing goes around the cell."""
        return tuple(value.detach().requires_grad_() for value in inputs)

    for cell in network.cells:
        handles.append(cell.register_forward_pre_hook(cut))
        handles.append(cell.register_forward_hook(lambda module, inputs, output: passed.append((inputs, output))))
    try:
        answers(network, batch.images)
    finally:
        for handle in handles:
            handle.remove()
    rng = noise(seed)
    return sum(gain_score(log_gains(inputs, output, rng)) for inputs, output in passed) / len(passed)


def log_gains(inputs: tuple[Tensor, ...], output: Tensor, rng: torch.Generator) -> list[float]:
    """g of every draw."""
    found = []
    for number in range(DRAWS):
        v = torch.randn(output.shape, generator=rng, dtype=output.dtype)
        more = number + 1 < DRAWS
        gradients = torch.autograd.grad(output, inputs, v, retain_graph=more, materialize_grads=True)
        length = sum(float(gradient.square().sum()) for gradient in gradients)
        found.append(math.log(length / float(v.square().sum())) if length > 0 else -math.inf)
    return found


def gain_score(gains: list[float]) -> float:
    if not all(map(math.isfinite, gains)):
        return -math.inf
    mean = sum(gains) / len(gains)
    return -(mean**2) - sum((gain - mean) ** 2 for gain in gains) / len(gains)
