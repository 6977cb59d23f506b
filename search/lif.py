"""The neurons of `cell.lif_neurons` over a whole time window at once, for the kernel-space supernet.

Spikes and gradients equal those of SpikingJelly's LIFNode (reset detached, arctangent surrogate with alpha 2) bit for
bit; loops.py has the equations. Forward and backward together take a quarter of its time (2 steps of 32x8x32x32, one
core), and what is kept for the backward pass is one array. What is not float32 on the CPU goes through torch, step by
step.
"""

import math
from typing import Any, cast

import numpy as np
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor

from .cell import lif_neurons
from .loops import lif_backward, lif_forward

DECAY = np.float32(0.5)


def takes_loops(tensor: Tensor) -> bool:
    """Whether the compiled loops can read it: float32 in the CPU's memory."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, axis: int) -> Tensor:
        shape = (math.prod(current.shape[:axis]), current.shape[axis], -1)
        current = current.contiguous()
        charges, spikes = torch.empty_like(current), torch.empty_like(current)
        lif_forward(_array(current, shape), DECAY, _array(charges, shape), _array(spikes, shape))
        ctx.save_for_backward(charges)
        ctx.shape = shape
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (charges,) = ctx.saved_tensors
        result = torch.empty_like(charges)
        arrived = _array(gradient.contiguous(), ctx.shape)
        lif_backward(_array(charges, ctx.shape), arrived, DECAY, _array(result, ctx.shape))
        return result, None


def _array(tensor: Tensor, shape: tuple[int, ...]) -> Any:
    return tensor.detach().view(shape).numpy()


class WindowLIF(neuron.LIFNode):  # type: ignore[misc]
    """Starts every window from rest and keeps no membrane after it; `axis` is that of the time steps."""

    axis = 0

    def multi_step_forward(self, currents: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return cast(Tensor, _Window.apply(currents, self.axis)) if takes_loops(currents) else self.stepwise(currents)

    def stepwise(self, currents: Tensor) -> Tensor:
        """The same by torch's own operations, on any device and in any precision."""
        membrane, spikes = torch.zeros_like(currents.select(self.axis, 0)), []
        for current in currents.unbind(self.axis):
            membrane = float(DECAY) * membrane + current
            spikes.append(self.surrogate_function(membrane - self.v_threshold))
            membrane = membrane * (1.0 - spikes[-1].detach())
        return torch.stack(spikes, self.axis)


def window_lif(axis: int = 0) -> WindowLIF:
    """Neurons with the constants of `cell.lif_neurons`."""
    usual = lif_neurons()
    neurons = WindowLIF(
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
