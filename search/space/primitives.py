"""The candidate operations of a cell's edges: one table per primitive set, name -> builder.

A builder takes (channels, stride) and returns a module that maps binary spikes [T, N, C, H, W] to an input current
[T, N, C, H / stride, W / stride]. Names as in DARTS (arXiv 1806.09055); separable convolutions are applied once, not
twice, because a second one would hide a neuron inside an edge.

Signals of one dimension are images of one row, [C, 1, W]. A network of them has 1 x k kernels instead of k x k, and the
row is not halved: `to_one_row` makes them of whatever was built for images. The primitives keep their names.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn
from torch.nn import functional

from ..settings.network import PrimitiveSet

Builder = Callable[[int, int], nn.Module]

NONE = "none"
MAX_POOL = "max_pool_3x3"
SKIP = "skip_connect"


class FactorizedReduce(nn.Module):
    """Halves rows and columns by one 2x2 kernel of stride 2 in which every output channel reads a single tap.

    The first half of the output channels reads the tap (0, 0), the other half the tap (1, 1): together what DARTS
    computes with two shifted 1x1 convolutions, yet one convolution, and so one projection on a chip.
    Input [T, N, I, H, W] with even H and W, output [T, N, O, H / 2, W / 2]. Of one row the kernel is 1x2, and its taps
    are (0, 0) and (0, 1).
    """

    mask: Tensor  # [O, 1, 2, 2] of 0 and 1; of one row [O, 1, 1, 2]

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Conv2d does
        mask = torch.zeros(out_channels, 1, 2, 2)
        half = (out_channels + 1) // 2
        mask[:half, :, 0, 0] = 1
        mask[half:, :, 1, 1] = 1
        self.register_buffer("mask", mask)

    @property
    def effective_weight(self) -> Tensor:
        """The convolution kernel [O, I, 2, 2], of one row [O, I, 1, 2]."""
        return self.weight * self.mask

    @property
    def stride(self) -> tuple[int, int]:
        """As large as the kernel."""
        return self.mask.shape[2], self.mask.shape[3]

    def to_one_row(self) -> None:
        self.mask = self.mask.sum(2, keepdim=True)

    def as_convolution(self) -> nn.Conv2d:
        """What an export takes it for (export/trace/registry.py)."""
        weight = self.effective_weight
        options: dict[str, Any] = {"kernel_size": self.stride, "stride": self.stride, "bias": False}
        convolution = nn.Conv2d(weight.shape[1], weight.shape[0], **options, device="meta")
        convolution.weight = nn.Parameter(weight)
        return convolution

    def forward(self, spikes: Tensor) -> Tensor:
        current = functional.conv2d(spikes.flatten(0, 1), self.effective_weight, stride=self.stride)
        return current.view(*spikes.shape[:2], *current.shape[1:])


class Zero(nn.Module):
    """No current at all. [T, N, C, H, W] -> zeros [T, N, C, H / stride, W / stride]."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, spikes: Tensor) -> Tensor:
        return torch.zeros_like(spikes[..., :: self.stride, :: self.stride])


def convolution(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Module:
    """A convolution over every time step, without bias, padded so that stride 1 keeps the size."""
    convolution: nn.Module = layer.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=False,
        step_mode="m",
    )
    return convolution


def _none(channels: int, stride: int) -> nn.Module:
    return Zero(stride)


def _skip_connect(channels: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)


def _max_pool(channels: int, stride: int) -> nn.Module:
    return cast(nn.Module, layer.MaxPool2d(3, stride, padding=1, step_mode="m"))


def _avg_pool(channels: int, stride: int) -> nn.Module:
    # The padding counts, so that the mean is a convolution with the kernel 1/9.
    return cast(nn.Module, layer.AvgPool2d(3, stride, padding=1, count_include_pad=True, step_mode="m"))


def _conv(kernel: int) -> Builder:
    return lambda channels, stride: convolution(channels, channels, kernel, stride=stride)


def _depthwise_separable(kernel: int, dilation: int) -> Builder:
    return lambda channels, stride: nn.Sequential(
        convolution(channels, channels, kernel, stride=stride, dilation=dilation, groups=channels),
        convolution(channels, channels, 1),
    )


PRIMITIVES: Mapping[PrimitiveSet, Mapping[str, Builder]] = {
    "darts": {
        NONE: _none,
        "max_pool_3x3": _max_pool,
        "avg_pool_3x3": _avg_pool,
        "skip_connect": _skip_connect,
        "sep_conv_3x3": _depthwise_separable(3, dilation=1),
        "sep_conv_5x5": _depthwise_separable(5, dilation=1),
        "dil_conv_3x3": _depthwise_separable(3, dilation=2),
        "dil_conv_5x5": _depthwise_separable(5, dilation=2),
    },
    "plain": {
        NONE: _none,
        "max_pool_3x3": _max_pool,
        "skip_connect": _skip_connect,
        "conv_3x3": _conv(3),
        "conv_5x5": _conv(5),
    },
}


def to_one_row(network: nn.Module) -> None:
    """Make all kernels of what was built for images 1 x k, for signals [T, N, C, 1, W].

    Of a k x k kernel the middle row is left, times sqrt(k), as a 1 x k one would have been drawn: its inputs are k
    times fewer. A module that has `to_one_row()` does it itself.
    """
    for module in list(network.modules()):
        if callable(own := getattr(module, "to_one_row", None)):
            own()
        elif isinstance(module, nn.Conv2d):
            module.weight = nn.Parameter(middle_row(module.weight.detach()))
            _along_the_row(module, ("kernel_size", "stride", "dilation"), 1)
            _along_the_row(module, ("padding",), 0)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            _along_the_row(module, ("kernel_size", "stride"), 1)
            _along_the_row(module, ("padding",), 0)


def middle_row(kernels: Tensor) -> Tensor:
    """[O, I, k, k] -> [O, I, 1, k], drawn from uniform(+-1 / sqrt(fan-in)) as before."""
    size = kernels.shape[2]
    return cast(Tensor, size**0.5 * kernels[:, :, size // 2, None])


def _along_the_row(module: nn.Module, names: tuple[str, ...], of_rows: int) -> None:
    for name in names:
        value = getattr(module, name)
        setattr(module, name, (of_rows, value[1] if isinstance(value, tuple) else value))


def spiking_primitives(name: PrimitiveSet) -> tuple[str, ...]:
    """The primitives that an edge of a found cell can have: all of the set but `none`."""
    return tuple(primitive for primitive in PRIMITIVES[name] if primitive != NONE)
