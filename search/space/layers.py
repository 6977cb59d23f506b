"""What every block of a network has: its neurons and its batch norm."""

from typing import cast

from spikingjelly.activation_based import layer, neuron, surrogate
from torch import nn


def lif_neurons(decay: float = 0.5) -> nn.Module:
    """Neurons with v = decay * v + I, a spike where v >= 1, then v = 0; the arctangent surrogate in the backward pass.

    Of the decays of a genotype, 1 - 1 / tau is the decay itself, to the last bit.
    """
    return cast(
        nn.Module,
        neuron.LIFNode(
            tau=1 / (1 - decay),
            decay_input=False,
            v_threshold=1.0,
            v_reset=0.0,
            detach_reset=True,
            surrogate_function=surrogate.ATan(),
            step_mode="m",
        ),
    )


def batch_norm(channels: int, *, affine: bool = True) -> nn.Module:
    """Batch normalisation over time, batch and positions."""
    return cast(nn.Module, layer.BatchNorm2d(channels, affine=affine, step_mode="m"))
