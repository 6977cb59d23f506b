"""Attention on a node's input current: gates that multiply it before its LIF neurons.

Currents are [T, N, C, H, W]. The gates are computed from the whole time window. Those over channels and positions are
the same in each of its steps (every mean and maximum for them also runs over the T steps).

A gate is twice the sigmoid that the papers have, so that it lies in (0, 2), and the last layer before the sigmoid
starts with weights of zero: every gate is 1 until it has learned something, and attention neither silences the
neurons behind it nor scatters their currents. The functions are the same, because the batch norm before the attention
can take the factor.
"""

import math
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ..settings.network import Attention

# What an export to a chip says of them (export/trace/registry.py).
NOT_A_SYNAPSE = (
    "its gates depend on the input; export with --fold-attention, which makes them constants, search with --attention "
    "spike or none, or export to onnx"
)


def _last(linear: nn.Module) -> nn.Module:
    """The layer before a gate, which says nothing at the start."""
    nn.init.zeros_(cast(Tensor, linear.weight))
    return linear


def _gate(logits: Tensor) -> Tensor:
    return 2 * torch.sigmoid(logits)


def channels_heard(channels: int) -> int:
    """The size of ECA's kernel: the odd number next to log2(C) / 2 + 1 / 2 (equation 12, gamma 2, b 1)."""
    size = int(abs(math.log2(channels) / 2 + 0.5))
    return size + 1 - size % 2


class Gated(nn.Module):
    """Multiplies a current by one gate after the other.

    For a chip they become constants by what `factors` says alone (folding.py); a module of one's own may have it, too.
    """

    not_a_synapse = NOT_A_SYNAPSE

    def factors(self, current: Tensor) -> dict[str, Tensor]:
        """Of [T, N, C, H, W], by name, each with as many axes; in the order in which they multiply it."""
        raise NotImplementedError

    def forward(self, current: Tensor) -> Tensor:
        for gate in self.factors(current).values():
            current = current * gate
        return current


class ECA(Gated):
    """Efficient channel attention (arXiv 1910.03151, section 3.2): a gate per channel.

        gate[N, C] = 2 sigmoid(conv1d over channels of mean over T, H, W of current)

    The kernel's size follows from the channels (`channels_heard`).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = channels_heard(channels)
        self.conv = _last(nn.Conv1d(1, 1, size, padding=size // 2, bias=False))

    def gate(self, current: Tensor) -> Tensor:
        """[T, N, C, H, W] -> [1, N, C, 1, 1]."""
        mean = current.mean(dim=(0, 3, 4))  # [N, C]
        return _gate(self.conv(mean.unsqueeze(1)).squeeze(1))[None, :, :, None, None]

    def factors(self, current: Tensor) -> dict[str, Tensor]:
        return {"channel": self.gate(current)}


class CBAM(Gated):
    """Convolutional block attention (arXiv 1807.06521, section 3): a gate per channel, then a gate per position.

    channel[N, C]     = 2 sigmoid(mlp(mean over T, H, W) + mlp(max over T, H, W))
    position[N, H, W] = 2 sigmoid(conv7x7 of [mean over T, C; max over T, C] of the current gated by channel)
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)  # at least 4, because small networks would be left with one
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), _last(nn.Linear(hidden, channels, bias=False))
        )
        self.conv = _last(nn.Conv2d(2, 1, 7, padding=3, bias=False))

    def channel_gate(self, current: Tensor) -> Tensor:
        """[T, N, C, H, W] -> [1, N, C, 1, 1]."""
        mean, peak = current.mean(dim=(0, 3, 4)), current.amax(dim=(0, 3, 4))  # [N, C]
        return _gate(self.mlp(mean) + self.mlp(peak))[None, :, :, None, None]

    def position_gate(self, current: Tensor) -> Tensor:
        """[T, N, C, H, W] -> [1, N, 1, H, W]."""
        planes = torch.stack((current.mean(dim=(0, 2)), current.amax(dim=(0, 2))), dim=1)  # [N, 2, H, W]
        return _gate(self.conv(planes)).unsqueeze(0)

    def factors(self, current: Tensor) -> dict[str, Tensor]:
        channel = self.channel_gate(current)
        return {"channel": channel, "position": self.position_gate(current * channel)}


class TCS(CBAM):
    """Temporal, channel and spatial attention, one after the other (after MA-SNN, arXiv 2209.13929): first a gate per
    time step, then those of CBAM.

    step[T, N] = 2 sigmoid(conv3 along T of [mean over C, H, W; max over C, H, W])

    There the steps are mixed by an MLP of the size of T; a convolution takes windows of any length.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__(channels, reduction)
        self.steps = _last(nn.Conv1d(2, 1, 3, padding=1, bias=False))

    def step_gate(self, current: Tensor) -> Tensor:
        """[T, N, C, H, W] -> [T, N, 1, 1, 1]."""
        lines = torch.stack((current.mean(dim=(2, 3, 4)), current.amax(dim=(2, 3, 4))), dim=0)  # [2, T, N]
        return _gate(self.steps(lines.permute(2, 0, 1)).squeeze(1).T)[:, :, None, None, None]

    def factors(self, current: Tensor) -> dict[str, Tensor]:
        step = self.step_gate(current)
        return {"step": step, **super().factors(current * step)}


def _none(channels: int) -> nn.Module:
    return nn.Identity()


# The gates of `spike` stand behind the neurons (spike_gates.py).
ATTENTION: Mapping[Attention, Callable[[int], nn.Module]] = {
    "none": _none,
    "eca": ECA,
    "cbam": CBAM,
    "tcs": TCS,
    "spike": _none,
}
