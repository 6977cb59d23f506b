"""Attention made of spikes: gates that are neurons themselves, so that a chip computes them as it does the rest.

For the spikes s [T, N, C, H, W] of a node:

    channel  [T, N, C, H, W] = LIF(BN(banded kernel over channels of the sum of s over a k x k window))
    position [T, N, 1, H, W] = LIF(BN(k x k kernel from all channels to one map))
    out                      = s AND channel AND position

The banded kernel is that of ECA (attention.py): one short kernel for all channels. A spike passes where both of its
gates fire in the same step; a product of spikes is an AND population (export/trace/walk.py). What is attention over
time elsewhere is the membrane of a gate here, which keeps half of what it heard the step before.

Two things differ from the papers' gates. They look at a window instead of the whole map, because a convolution cannot
repeat one number over a map; and they are 0 or 1.

A gate starts open: its batch norm gives 2 + 0.1 z of what it heard, normalised to z, and it fires in every step where z
is above -10. A norm that starts with the weight 0, as the last layer of the other kinds does, would be open whatever
comes, but all neurons of a gate would then stand at one and the same membrane, shut together when it falls below the
threshold, and, because a product with 0 has no gradient, stay shut (docs/architecture_search.md).
"""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..settings.network import Attention
from .attention import channels_heard
from .layers import batch_norm, lif_neurons
from .primitives import convolution

WINDOW = 3  # rows and columns that a gate sees
LISTENING, OPEN = 0.1, 2.0  # weight and bias of its batch norm at the start, in thresholds


class BandedSum(nn.Module):
    """Of the sums over a window of every channel, one short kernel along the channels; [T, N, C, H, W] -> the same."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.channels, self.window = channels, (window, window)
        self.weight = nn.Parameter(torch.empty(channels_heard(channels)))
        nn.init.uniform_(self.weight, -1.0, 1.0)  # the batch norm behind it takes any scale

    def forward(self, spikes: Tensor) -> Tensor:
        (rows, columns), size = self.window, len(self.weight)
        images = spikes.flatten(0, 1)
        means = functional.avg_pool2d(images, self.window, stride=1, padding=(rows // 2, columns // 2))
        sums = rows * columns * means
        lines = sums.flatten(2).unsqueeze(1)  # [T * N, 1, C, H * W]
        found = functional.conv2d(lines, self.weight.view(1, 1, size, 1), padding=(size // 2, 0))
        return found.view(spikes.shape)

    def to_one_row(self) -> None:
        self.window = (1, self.window[1])

    def as_convolution(self) -> nn.Conv2d:
        """What an export takes it for (export/trace/registry.py): weight [C, C, k, k], zero beside the band."""
        channels, (rows, columns), reach = self.channels, self.window, len(self.weight) // 2
        band = sum(
            (
                torch.diag(self.weight[reach + offset].expand(channels - abs(offset)), offset)
                for offset in range(-reach, reach + 1)
                if abs(offset) < channels
            ),
            start=torch.zeros(channels, channels),
        )
        padding = (rows // 2, columns // 2)
        convolution = nn.Conv2d(channels, channels, self.window, padding=padding, bias=False, device="meta")
        convolution.weight = nn.Parameter(band[:, :, None, None].expand(-1, -1, rows, columns).contiguous())
        return convolution


class Gate(nn.Module):
    """Neurons that hear what stands before them, and fire in nearly every step until they have learned something."""

    def __init__(self, linear: nn.Module, maps: int) -> None:
        super().__init__()
        self.linear = linear
        self.norm = batch_norm(maps)
        nn.init.constant_(cast(Tensor, self.norm.weight), LISTENING)
        nn.init.constant_(cast(Tensor, self.norm.bias), OPEN)
        self.lif = lif_neurons()

    def forward(self, spikes: Tensor) -> Tensor:
        return cast(Tensor, self.lif(self.norm(self.linear(spikes))))


class SpikeGates(nn.Module):
    """Spikes [T, N, C, H, W] -> those of them that both gates let pass.

    In a search that decides whether the node has them, `chance` p, a scalar, says how likely that is: the spikes that
    are to be expected are (1 - p) s + p out.
    """

    chance: Callable[[], Tensor] | None = None

    def __init__(self, channels: int, window: int = WINDOW) -> None:
        super().__init__()
        self.window = window
        self.channel = Gate(BandedSum(channels, window), channels)
        self.position = Gate(convolution(channels, 1, window), 1)

    def forward(self, spikes: Tensor) -> Tensor:
        passed: Tensor = spikes * self.channel(spikes) * self.position(spikes)
        return passed if self.chance is None else torch.lerp(spikes, passed, self.chance().to(spikes.dtype))


def _none(channels: int) -> nn.Module:
    return nn.Identity()


def gates_behind(attention: Attention, channels: int) -> nn.Module:
    """What the spikes of a node go through; the attention of real numbers stands before its neurons instead."""
    return GATES.get(attention, _none)(channels)


GATES: Mapping[Attention, Callable[[int], nn.Module]] = {"spike": SpikeGates}
