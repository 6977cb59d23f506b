"""A supernet's kernels as a chip would hold them (after DCP-NAS, arXiv 2306.15390): integers of so many bits.

A batch norm follows every sum of currents; on a chip it is folded into the weights. So of each population

    gain_o    weight_o / sqrt(running variance_o + eps)          of its batch norm, per output channel
    exact     kernel * gain                                      in thresholds, what an export would quantize
    S, step   the largest scale at which no weight is clipped: one for all of its edges (export/weight_scale.py)
    whole     clip(step * round(exact * S / step), bottom, top)
    passed on whole / S / gain

so that what the batch norm of the population gives has the weights of a chip. The gradient is that of the kernel as it
was (straight through). The mixed kernel is what is rounded: the fewer the bits, the more a strong skip or max-pool of a
node holds down a convolution beside it, as it does on the chip. Each population has a scale of its own; the nodes of a
found cell that stand on one level of the chip share theirs. Biases, whose 13 bits are hardly felt, the readout, which
no cell changes, and the stem of images, which is on the host, stay as they are.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...export.weight_scale import LevelScale, highest_scale, largest_scale

SMALLEST_GAIN = 1e-12
SMALLEST_SCALE = 2.0  # even; at it a weight of more than 127 thresholds is clipped, where an export would be refused


def gain_of(norm: nn.BatchNorm1d) -> Tensor:
    """[O], never 0; no gradient."""
    assert norm.running_var is not None
    gain = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
    return torch.where(gain.abs() < SMALLEST_GAIN, SMALLEST_GAIN, gain)


def scale_of(exact: Sequence[Tensor], bits: int) -> LevelScale:
    """That of weights in thresholds, all of which one population hears."""
    largest = max(float(weights.abs().max()) for weights in exact if weights.numel())
    chosen = largest_scale(largest, [float(highest_scale(bits))], bits)
    if chosen.scale >= SMALLEST_SCALE:
        return chosen
    return LevelScale(scale=SMALLEST_SCALE, step=chosen.step, bits=bits)


def through_bits(kernels: Sequence[Tensor], gain: Tensor, bits: int) -> list[Tensor]:
    """All kernels [..., O] that a population hears -> what the chip holds of them, in their own units."""
    with torch.no_grad():
        exact = [kernel * gain for kernel in kernels]
        chosen = scale_of(exact, bits)
        held = [_whole(weights, chosen) / chosen.scale / gain for weights in exact]
    return [cast(Tensor, _Through.apply(*pair)) for pair in zip(kernels, held, strict=True)]


class _Through(torch.autograd.Function):
    """The value of the second with the gradient of the first."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, held: Tensor) -> Tensor:
        return held.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _whole(exact: Tensor, chosen: LevelScale) -> Tensor:
    """Even integers."""
    rounded = chosen.step * torch.round(exact * chosen.scale / chosen.step)
    return torch.clamp(rounded, chosen.bottom, chosen.top)
