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
from .layers import batch_norm, lif_neurons
from .primitives import convolution

# What an export to a chip says of them (export/trace/registry.py).
NOT_A_SYNAPSE = (
    "its gates depend on the input; export with --fold-attention, which makes them constants, search with --attention "
    "spike or none, or export to onnx"
)


NOT_FOLDED = (
    "its gates weigh four populations in every step, which is no factor for a channel: each of them hears the node's "
    "current, and zero padding around a current is no padding of the spikes before it; search with --attention eca, "
    "cbam, spike or none, or export to onnx"
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


class SMA(nn.Module):
    """Spiking multiscale attention (arXiv 2405.13672): neurons that see several scales, weighed by channel and step.

        y_k        = LIF(BN(conv_kxk(current))),  k = 1, 3, 5, 7
        m[t, n, c] = mean over H, W of the sum of y_k
        c_k, t_k   = softmax over k of an MLP of m over channels, and over time of its mean over channels
        out        = BN(sum of c_k[t, n, c] t_k[t, n] y_k)

    In training attention zones out (AZO): of each scale, in the T // 4 steps of the least t_k, those C // 4 channels of
    the least c_k fire as in the step before, by what both add up to over the batch; the first step has none before it.

    Where it differs: the public code has T in the sizes of its layers, and where T < 4 its T // 4 = 0 leaves gates and
    zone-out away without a word; here time is mixed by convolutions of 3 steps, and at least one step and one channel
    are zoned out. Replaced spikes are those that fired, also where the step before was replaced itself.
    """

    scales = (1, 3, 5, 7)
    not_a_synapse = NOT_FOLDED
    not_folded = NOT_FOLDED

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(4, channels // 4)
        self.convs = nn.ModuleList(convolution(channels, channels, k) for k in self.scales)
        self.norms = nn.ModuleList(batch_norm(channels) for _ in self.scales)
        self.lifs = nn.ModuleList(lif_neurons() for _ in self.scales)
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU())
        self.channels = nn.ModuleList(_last(nn.Linear(hidden, channels, bias=False)) for _ in self.scales)
        self.time = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU())
        self.times = nn.ModuleList(_last(nn.Conv1d(4, 1, 3, padding=1, bias=False)) for _ in self.scales)
        self.norm = batch_norm(channels)

    def gates(self, spikes: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The sum of all y_k, [T, N, C, H, W] -> every c_k [T, N, C] and t_k [T, N]; over k they add up to 1."""
        mean = spikes.mean(dim=(3, 4))
        of_channels, lines = self.channel(mean), self.time(mean.mean(2).T.unsqueeze(1))  # [N, 4, T]
        channel = _over_scales([last(of_channels) for last in self.channels])
        time = _over_scales([last(lines).squeeze(1) for last in self.times])
        return channel, [gate.T for gate in time]

    def forward(self, current: Tensor) -> Tensor:
        fired = [lif(norm(c(current))) for c, norm, lif in zip(self.convs, self.norms, self.lifs, strict=True)]
        channel, time = self.gates(fired[0] + fired[1] + fired[2] + fired[3])
        weighed = []
        for k, spikes in enumerate(fired):
            heard = zoned_out(spikes, channel[k], time[k]) if self.training else spikes
            gate = channel[k] * time[k].unsqueeze(-1)  # [T, N, C]
            weighed.append(gate.unsqueeze(-1).unsqueeze(-1) * heard)
        return cast(Tensor, self.norm(weighed[0] + weighed[1] + weighed[2] + weighed[3]))


def _over_scales(logits: list[Tensor]) -> list[Tensor]:
    """Softmax over the list, of tensors of one shape."""
    peak = logits[0]
    for one in logits[1:]:
        peak = torch.maximum(peak, one)
    powers = [torch.exp(one - peak) for one in logits]
    total = powers[0]
    for power in powers[1:]:
        total = total + power
    return [power / total for power in powers]


def zoned_out(spikes: Tensor, channel: Tensor, time: Tensor) -> Tensor:
    """[T, N, C, H, W] of one scale, its gates [T, N, C] and [T, N] -> the spikes with those of the step before in the
    quietest channels of the quietest steps."""
    steps, channels = channel.shape[0], channel.shape[2]
    quiet = channel.sum(1).topk(max(1, channels // 4), dim=1, largest=False).indices  # [T, some]
    chosen = torch.zeros(steps, channels, dtype=torch.bool, device=spikes.device).scatter_(1, quiet, True)
    least = torch.zeros(steps, dtype=torch.bool, device=spikes.device)
    least[time.sum(1).topk(max(1, steps // 4), largest=False).indices] = True
    least[0] = False
    before = torch.cat((spikes[:1], spikes[:-1]))
    return torch.where((chosen & least[:, None])[:, None, :, None, None], before, spikes)


def _none(channels: int) -> nn.Module:
    return nn.Identity()


# The gates of `spike` stand behind the neurons (spike_gates.py).
ATTENTION: Mapping[Attention, Callable[[int], nn.Module]] = {
    "none": _none,
    "eca": ECA,
    "cbam": CBAM,
    "tcs": TCS,
    "sma": SMA,
    "spike": _none,
}
