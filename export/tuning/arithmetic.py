"""The chip's arithmetic in torch, exact in its values, with gradients that pass through what rounds.

    u = trunc(u * current_decay) + 64 * a            u wraps at 2^23
    v = clip(trunc(v * decay) + u + 64 * bias, +-(2^23 - 1))
    spike = v > 64 * threshold;  v = 0 where it spiked

as `export/simulate.py` has it. Rounding and wrapping have the gradient of what they round (straight-through, Bengio et
al., arXiv 1308.3432), firing that of SpikingJelly's arctangent,

    d spike / d x = (alpha / 2) / (1 + (pi / 2 * alpha * x)^2),  alpha = 2,  x = (v / (64 * S) - 1) * threshold

with x in the units of the float neuron, so that gradients are as large as there. A reset has no gradient, as in the
search's neurons. float32 holds every value where the membrane's decay is a power of two or 0 and no current is kept: a
product then only moves the exponent, and a sum above 2^24 is clipped to 2^23 - 1 anyway. Other decays need 35 bits, so
float64.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ..graph import PerNeuron, Population
from ..simulate import DECAY_UNITY, MANTISSA_SHIFT, STATE_LIMIT, in_registers

ALPHA = 2.0  # of the surrogate, as in SpikingJelly's ATan
UNIT = 1 << MANTISSA_SHIFT


class _Through(torch.autograd.Function):
    """`new` in the forward pass, the gradient of `old` in the backward pass."""

    @staticmethod
    def forward(ctx: Any, old: Tensor, new: Tensor) -> Tensor:
        return new

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Fire(torch.autograd.Function):
    """v > limit; the surrogate is that of (v / (limit + 64) - 1) * threshold."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, limit: float, threshold: float) -> Tensor:
        ctx.save_for_backward(v)
        ctx.limit, ctx.threshold = limit, threshold
        return (v > limit).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (v,) = ctx.saved_tensors
        slope = ctx.threshold / (ctx.limit + UNIT)
        x = v * slope - ctx.threshold
        return gradients[0] * (slope * ALPHA / 2) / (1 + (math.pi / 2 * ALPHA * x) ** 2), None, None


def through(old: Tensor, new: Tensor) -> Tensor:
    """The values of `new`, the gradient of `old`."""
    found: Tensor = _Through.apply(old, new)
    return found


def chip_neurons(chip: Population, threshold: float, currents: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes, and membranes after each step, of neurons in the chip's integers; both [T, N, *shape].

    chip: their registers. threshold: of the float neurons, for the gradient. currents: sums of weights
    [T, N, *shape]; bias: what broadcasts over [N, *shape]; both are integers.
    """
    register, decay, current_decay = _number(chip.threshold), _number(chip.decay), _number(chip.current_decay)
    dtype = torch.float32 if _is_short(decay) and current_decay == 0.0 else torch.float64
    currents, constant = currents.to(dtype), UNIT * bias.to(dtype)
    u = v = torch.zeros((), dtype=dtype, device=currents.device)
    spikes, membranes = [], []
    for a in currents:
        u = _wrapped(_decayed(u, current_decay) + UNIT * a)
        v = torch.clamp(_decayed(v, decay) + u + constant, 1 - STATE_LIMIT, STATE_LIMIT - 1)
        fired: Tensor = _Fire.apply(v, UNIT * register, threshold)
        v = torch.where(fired.detach() > 0, torch.zeros((), dtype=dtype, device=v.device), v)
        spikes.append(fired)
        membranes.append(v)
    return torch.stack(spikes).float(), torch.stack(membranes)


def float_neurons(population: Population, currents: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The same of float neurons, as the docstring of `Population` says it; no gradient is needed."""
    u = v = torch.zeros((), dtype=currents.dtype, device=currents.device)
    threshold = float(population.threshold)
    spikes, membranes = [], []
    for a in currents:
        u = float(population.current_decay) * u + a
        v = float(population.decay) * v + u + bias
        fired = v >= threshold
        after = torch.zeros((), dtype=v.dtype, device=v.device) if population.reset == "zero" else v - threshold
        v = torch.where(fired, after, v)
        spikes.append(fired)
        membranes.append(v)
    return torch.stack(spikes).float(), torch.stack(membranes)


def _number(register: PerNeuron) -> float:
    return float(register)


def _is_short(decay: float) -> bool:
    """Whether a number of 24 bits times the decay has 24 bits: 0, or a power of two of 1/4096."""
    n = int(in_registers(decay))
    return n & (n - 1) == 0


def _decayed(state: Tensor, decay: float) -> Tensor:
    if decay == 0.0:
        return torch.zeros((), dtype=state.dtype, device=state.device)
    if decay == 1.0:
        return state
    exact = state * (int(in_registers(decay)) / DECAY_UNITY)
    return through(exact, torch.trunc(exact))


def _wrapped(current: Tensor) -> Tensor:
    with torch.no_grad():
        once = torch.where(current > STATE_LIMIT, current - 2 * STATE_LIMIT, current)
        once = torch.where(once <= -STATE_LIMIT, once + 2 * STATE_LIMIT, once)
    return through(current, once)
