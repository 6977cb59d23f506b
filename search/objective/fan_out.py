"""Fan-out of the primitives: the synapses that leave one neuron of a state, by its place in the image.

What a trained network's projections have (deploy/synapses.py counts those), said beforehand for every candidate: exact
at the border and for every stride. It is the same for all channels of a state, so it is a map [H, W]:

    fan_out[y, x] = targets * taps(y) * taps(x)

where taps(y) counts the kernel's rows k with  row * stride + k * dilation - padding = y  for a row of the target, and
targets are the output channels that read this input channel: one for the pools and the skip, all C for a convolution, a
separable one, too, because depthwise and pointwise fold into one kernel.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..space.primitives import NONE

Size = tuple[int, int]  # rows, columns


def taps(size: int, kernel: int, dilation: int, stride: int) -> Tensor:
    """[size], float64: the taps of a padded kernel that carry each row to a row of the target."""
    rows = torch.arange(size)[:, None] + dilation * (kernel // 2) - dilation * torch.arange(kernel)  # [size, taps]
    reached = torch.div(rows, stride, rounding_mode="floor")
    hits = (rows % stride == 0) & (reached >= 0) & (reached < -(-size // stride))
    return hits.sum(1).double()


def window(size: Size, kernel: int, dilation: int, stride: int) -> Tensor:
    """[H, W]: targets per output channel."""
    rows, columns = (taps(length, kernel, dilation, stride) for length in size)
    return torch.outer(rows, columns)


def band(channels: int, size: int) -> Tensor:
    """[C], float64: the channels that hear each one through a banded kernel of so many taps (spike_gates.py)."""
    near = (torch.arange(channels)[:, None] - torch.arange(channels)).abs() <= size // 2
    return near.sum(0).double()


def factorized_reduce(size: Size, channels: int) -> Tensor:
    """[H, W]: half of the output channels read the pixels (0, 0) of the 2x2 blocks, the other half (1, 1); of one row
    they are blocks of two."""
    leaving = torch.zeros(size, dtype=torch.float64)
    leaving[::2, ::2] = (channels + 1) // 2
    leaving[0 if size[0] == 1 else slice(1, None, 2), 1::2] = channels // 2
    return leaving


def _skip(size: Size, channels: int, stride: int) -> Tensor:
    return window(size, 1, 1, 1) if stride == 1 else factorized_reduce(size, channels)


def _pool(size: Size, channels: int, stride: int) -> Tensor:
    return window(size, 3, 1, stride)


def _convolution(kernel: int, dilation: int = 1) -> Callable[[Size, int, int], Tensor]:
    return lambda size, channels, stride: channels * window(size, kernel, dilation, stride)


# (rows and columns of the source, channels, stride) -> [H, W]. That of max-pool leads to its OR population, whose
# neurons have one synapse each.
FAN_OUT: Mapping[str, Callable[[Size, int, int], Tensor]] = {
    NONE: lambda size, channels, stride: torch.zeros(size, dtype=torch.float64),
    "max_pool_3x3": _pool,
    "avg_pool_3x3": _pool,
    "skip_connect": _skip,
    "sep_conv_3x3": _convolution(3),
    "sep_conv_5x5": _convolution(5),
    "dil_conv_3x3": _convolution(3, dilation=2),
    "dil_conv_5x5": _convolution(5, dilation=2),
    "conv_3x3": _convolution(3),
    "conv_5x5": _convolution(5),
}
