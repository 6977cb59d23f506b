"""The second-order step of the alphas (DARTS, arXiv 1806.09055, equations 7 and 8).

    w' = w - rate * (gradient of the train loss by w, with momentum and weight decay, as the next step would be)
    gradient = dL_val(w', a)/da - rate * (dL_train(w+, a)/da - dL_train(w-, a)/da) / (2 e)
    w+- = w +- e * dL_val(w', a)/dw',   e = 0.01 / |dL_val(w', a)/dw'|

Mind: what stands behind the last term is a second derivative, and a spike has none. Surrogate gradients are not the
gradient of any function, so that their difference is an approximation of nothing in particular. Hence first order is
the default; this is here because papers compare with it. It takes five passes instead of one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.optim import SGD, Adam

from ...supernet.supernet import Supernet
from ...training.batches import Batch
from ...training.passes import Objective

DISTANCE = 0.01  # |w+ - w|, as in the authors' code


def second_order_step(
    supernet: Supernet,
    optimizer: Adam,
    batch: Batch,
    objective: Objective,
    *,
    weights: SGD,
    weight_batch: Batch,
    weight_objective: Objective,
) -> None:
    """One step of the alphas against `batch`, looking one step of the weights on `weight_batch` ahead.

    Weights, their optimizer and all buffers are left as they were.
    """
    parameters, alphas = supernet.weights(), supernet.architecture()
    rate = float(weights.param_groups[0]["lr"])
    supernet.train()
    with _restored(supernet, parameters):
        start = [parameter.detach().clone() for parameter in parameters]
        steps = _gradients(supernet, weight_objective, weight_batch, parameters)
        for parameter, step in zip(parameters, steps, strict=True):
            group = weights.param_groups[0]
            buffer = weights.state.get(parameter, {}).get("momentum_buffer")
            momentum = 0.0 if buffer is None else group["momentum"] * buffer
            parameter.data.sub_(rate * (momentum + step + group["weight_decay"] * parameter.data))
        found = _gradients(supernet, objective, batch, [*alphas, *parameters])
        direct, ahead = found[: len(alphas)], found[len(alphas) :]
        length = torch.stack([part.square().sum() for part in ahead]).sum().sqrt()
        reach = DISTANCE / float(length.clamp(min=1e-12))
        sides = []
        for sign in (1, -1):
            for parameter, before, part in zip(parameters, start, ahead, strict=True):
                parameter.data.copy_(before + sign * reach * part)
            sides.append(_gradients(supernet, weight_objective, weight_batch, alphas))
    for alpha, gradient, plus, minus in zip(alphas, direct, *sides, strict=True):
        alpha.grad = gradient - rate * (plus - minus) / (2 * reach)
    optimizer.step()


def _gradients(
    supernet: Supernet, objective: Objective, batch: Batch, parameters: Sequence[nn.Parameter]
) -> list[Tensor]:
    """Zero for a parameter that has no say."""
    device = parameters[0].device
    reset_net(supernet)
    loss, _ = objective(*(tensor.to(device) for tensor in batch))
    found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


@contextmanager
def _restored(supernet: Supernet, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Weights and buffers are as they were at the end of the block."""
    kept = [*(parameter.data for parameter in parameters), *supernet.buffers()]
    before = [tensor.clone() for tensor in kept]
    try:
        yield
    finally:
        for tensor, value in zip(kept, before, strict=True):
            tensor.copy_(value)
