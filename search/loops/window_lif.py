"""The neurons of `layers.lif_neurons` over a whole time window at once, for the kernel-space supernet.

Spikes and gradients equal those of SpikingJelly's LIFNode (reset detached, arctangent surrogate with alpha 2) bit for
bit; neurons.py has the equations. Forward and backward together take a quarter of its time (2 steps of 32x8x32x32, one
core), and what is kept for the backward pass is one array. On a GPU a kernel does the same (gpu/norm_lif.py). All else
goes through torch, step by step.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from ..gpu.blocks import takes_kernels
from ..space.layers import lif_neurons
from .arrays import SPIKES, bits, one, takes_loops
from .neurons import DECAY, lif_backward, lif_forward
from .norm_lif import norm_lif
from .threads import in_threads

SHARPNESS = 2.0  # of the arctangent of SpikingJelly, its alpha


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, axis: int, dtype: torch.dtype, decay: Any, half: Any) -> Tensor:
        shape = (math.prod(current.shape[:axis]), current.shape[axis], -1)
        current = current.contiguous()
        charges, spikes = torch.empty_like(current), torch.empty_like(current, dtype=dtype)
        fired = bits(spikes.view(shape))
        in_threads(lif_forward, _array(current, shape), decay, _array(charges, shape), one(fired), fired)
        ctx.save_for_backward(charges)
        ctx.shape, ctx.decay, ctx.half = shape, decay, half
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (charges,) = ctx.saved_tensors
        result = torch.empty_like(charges)
        arrived = _array(gradient.float().contiguous(), ctx.shape)
        in_threads(lif_backward, _array(charges, ctx.shape), arrived, ctx.decay, ctx.half, _array(result, ctx.shape))
        return result, None, None, None, None


def from_rest(
    currents: Tensor,
    axis: int = 0,
    dtype: torch.dtype = torch.float32,
    decay: float = float(DECAY),
    sharpness: float = SHARPNESS,
) -> Tensor:
    """The spikes of a window of currents, float32 in the CPU's memory, along `axis`; sharpness: of the surrogate."""
    return cast(Tensor, _Window.apply(currents, axis, dtype, np.float32(decay), np.float32(sharpness / 2)))


def _array(tensor: Tensor, shape: tuple[int, ...]) -> Any:
    return tensor.detach().view(shape).numpy()


class WindowLIF(neuron.LIFNode):  # type: ignore[misc]
    """Starts every window from rest and keeps no membrane after it.

    `axis` is that of the time steps; spikes are of the type `spikes_in`, or of that of the currents.
    """

    axis = 0
    spikes_in: torch.dtype | None = None

    def multi_step_forward(self, currents: Tensor, norm: nn.BatchNorm1d | None = None) -> Tensor:
        dtype, decay = self.spikes_in or currents.dtype, 1 - 1 / self.tau
        if takes_kernels(currents) and decay == DECAY:
            from ..gpu import norm_lif as kernels  # imports Triton

            if norm is None:
                return kernels.lif(currents, dtype, self.axis)
            return kernels.norm_lif(currents, norm, dtype, self.axis)
        if norm is not None and takes_loops(currents):
            return norm_lif(currents, norm, dtype, decay)
        return self.fired(currents if norm is None else normalised(currents, norm), dtype, decay)

    def fired(self, currents: Tensor, dtype: torch.dtype, decay: float) -> Tensor:
        if takes_loops(currents) and dtype in SPIKES:
            return from_rest(currents, self.axis, dtype, decay)
        return self.stepwise(currents, decay).to(dtype)

    def stepwise(self, currents: Tensor, decay: float = float(DECAY)) -> Tensor:
        """The same by torch's own operations, on any device and in any precision."""
        membrane, spikes = torch.zeros_like(currents.select(self.axis, 0)), []
        for current in currents.unbind(self.axis):
            membrane = decay * membrane + current
            spikes.append(self.surrogate_function(membrane - self.v_threshold))
            membrane = membrane * (1.0 - spikes[-1].detach())
        return torch.stack(spikes, self.axis)


def normalised(currents: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """[..., C]."""
    return cast(Tensor, norm(currents.flatten(0, -2)).view(currents.shape))


class MixedLIF(WindowLIF):
    """Neurons while a search decides how they leak: sum over decays d of chance[d] * spikes of LIF_d(current).

    That are the spikes to be expected, 0..1. `chances` gives [decays].
    """

    decays: Sequence[float] = ()
    chances: Callable[[], Tensor]

    def multi_step_forward(self, currents: Tensor, norm: nn.BatchNorm1d | None = None) -> Tensor:
        dtype = self.spikes_in or currents.dtype
        currents = currents if norm is None else normalised(currents, norm)
        parts = zip(self.chances().to(dtype), self.decays, strict=True)
        return torch.stack([chance * self.fired(currents, dtype, decay) for chance, decay in parts]).sum(0)


def mixed_lif(axis: int, decays: Sequence[float], chances: Callable[[], Tensor]) -> MixedLIF:
    """Neurons with the constants of `layers.lif_neurons` but for the decay."""
    neurons = cast(MixedLIF, window_lif(axis, kind=MixedLIF))
    neurons.decays, neurons.chances = tuple(decays), chances
    return neurons


def window_lif(axis: int = 0, decay: float = float(DECAY), kind: type[WindowLIF] = WindowLIF) -> WindowLIF:
    """Neurons with the constants of `layers.lif_neurons`."""
    usual = lif_neurons(decay)
    neurons = kind(
        tau=usual.tau,
        decay_input=usual.decay_input,
        v_threshold=usual.v_threshold,
        v_reset=usual.v_reset,
        detach_reset=usual.detach_reset,
        surrogate_function=usual.surrogate_function,
        step_mode=usual.step_mode,
    )
    neurons.axis = axis
    return neurons
