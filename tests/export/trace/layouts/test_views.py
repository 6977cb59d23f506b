"""Tensors of any layout: what torch computes of them, the graph does, in the same order; the rest is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn

from spikeport.errors import UnsupportedError
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.small_network import lif

T, SAMPLES, C, H, W = 3, 4, 6, 4, 2
Body = Callable[[Any, torch.Tensor], torch.Tensor]


class Viewing(nn.Module):
    """Events [T, N, C, H, W] -> what a body makes of them, whose every number has a weight of its own -> the mean."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body, self.lif, self.more = body, lif(), lif()
        self.conv, self.norm = nn.Conv2d(C, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.flat_conv, self.flat_norm = layer.Conv1d(C, 5, 1, step_mode="m"), layer.BatchNorm1d(5, step_mode="m")
        self.line, self.of_head, self.wide = nn.Linear(C, 5), nn.Linear(2, 3), nn.Linear(H * W, 3)
        self.grouped = layer.SeqToANNContainer(nn.Conv1d(C, 4, 1, groups=2, bias=False), nn.BatchNorm1d(4))
        self.wide_conv = layer.Conv1d(C, 5, 3, padding=1, step_mode="m")
        self.small, self.token_norm = nn.Conv2d(2, 1, 1), layer.BatchNorm1d(H * W, step_mode="m")
        self.pool_once = nn.MaxPool2d(2)
        self.scale, self.shift = nn.Parameter(torch.rand(C, 1, 1)), nn.Parameter(torch.rand(1, 1, C, 1, 1))
        self.places, self.factor = nn.Parameter(torch.rand(1, C, H, W)), nn.Parameter(torch.tensor(0.5))

        self.conv_of = lambda x: self.conv(x.flatten(0, 1)).unflatten(0, (x.shape[0], -1))
        self.pool_of = lambda x: self.pool_once(x.flatten(0, 1)).unflatten(0, (x.shape[0], -1))
        with torch.no_grad():
            size = body(self.eval(), torch.zeros(T, 1, C, H, W)).flatten(2).shape[2]
        functional.reset_net(self)
        self.last = nn.Linear(size, 4)

    def forward(self, events: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(self, events).flatten(2)).mean(0)


def viewing(body: Body) -> nn.Module:
    torch.manual_seed(1)
    network = Viewing(body)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.uniform_(-0.5, 0.5)
    return network.eval()


def heads(x: torch.Tensor) -> torch.Tensor:
    """[T, N, C, H, W] -> [T, N, heads, L, d]"""
    steps, batch, channels, height, width = x.shape
    tokens = x.flatten(3).transpose(-1, -2)
    return tokens.reshape(steps, batch, height * width, 3, channels // 3).permute(0, 1, 3, 2, 4)


def blocks(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(x.shape[0], x.shape[1], C, H // 2, 2, W)


def whole(x: torch.Tensor) -> torch.Tensor:
    """[T, N, heads, L, d] -> [T, N, C, H, W]"""
    return x.transpose(3, 4).reshape(x.shape[0], x.size(1), -1, H, W)


def shaped_by_control_flow(s: Any, x: torch.Tensor) -> torch.Tensor:
    if x.ndim != 5 or x.shape[2] % 2:
        raise ValueError(f"not {x.shape}")
    total: Any = 0
    for part in x.chunk(2, dim=2):
        total = total + part
    for k in range(x.shape[3] // 2):
        total = total * (k + 1.5)
    return total if len(x.shape) == 5 else x


VIEWS: dict[str, Body] = {
    "tokens first": lambda s, x: x.flatten(3).transpose(2, 3),
    "tokens and back": lambda s, x: s.conv_of(x.flatten(3).unflatten(3, (H, W))),
    "heads": lambda s, x: heads(x),
    "heads last": lambda s, x: heads(x).permute(0, 1, 3, 4, 2),
    "heads and back": lambda s, x: s.conv_of(whole(heads(x))),
    "channels shuffled": lambda s, x: s.conv_of(x.reshape(T, -1, 2, 3, H, W).transpose(2, 3).flatten(2, 3)),
    "neurons on tokens": lambda s, x: s.lif(1.2 * x.flatten(3).transpose(2, 3)),
    "neurons on heads": lambda s, x: s.conv_of(whole(s.lif(1.2 * heads(x)))),
    "one axis for time and batch": lambda s, x: s.norm(s.conv(x.flatten(0, 1))).unflatten(0, (x.shape[0], x.shape[1])),
    "view with -1": lambda s, x: s.norm(s.conv(x.view(-1, C, H, W))).view(T, -1, 5, H, W),
    "T * N": lambda s, x: s.conv(x.reshape(x.shape[0] * x.shape[1], C, H, W)).reshape(x.shape[0], x.shape[1], 5, H, W),
    "a pool of all steps": lambda s, x: s.pool_of(x),
    "unsqueezed": lambda s, x: x.unsqueeze(3).squeeze(3).unsqueeze(-1).squeeze(5).contiguous(),
    "sum over tokens": lambda s, x: x.flatten(3).sum(-1),
    "sum over tokens of a head": lambda s, x: heads(x).sum(dim=-2, keepdim=True),
    "sum over a head": lambda s, x: torch.sum(heads(x), 4, keepdim=True),
    "sum over heads": lambda s, x: heads(x).sum(2),
    "mean over rows": lambda s, x: x.mean(3),
    "mean over the map": lambda s, x: torch.mean(x, dim=[3, 4], keepdim=True),
    "mean over channels and columns": lambda s, x: x.mean((2, -1)),
    "sum over windows": lambda s, x: x.reshape(T, -1, C, H // 2, 2, W // 2, 2).sum((4, 6)),
    "mean over tokens of a convolution": lambda s, x: s.conv_of(x).flatten(3).mean(-1),
    "chunks": lambda s, x: x.chunk(2, dim=2)[1] - 0.5 * x.chunk(2, 2)[0],
    "chunks of uneven size": lambda s, x: x.flatten(3).chunk(4, dim=2)[2],
    "split": lambda s, x: torch.split(x, [1, 3, 2], dim=2)[1],
    "slices": lambda s, x: x[:, :, 1::2] + x[..., :3, :, :],
    "one channel": lambda s, x: x[:, :, 2] + x[:, :, -1],
    "a slice of heads": lambda s, x: heads(x)[:, :, 1:],
    "a new axis": lambda s, x: x[:, :, None, 1:3],
    "part of a head": lambda s, x: heads(x)[..., 1] * 2.0,
    "cat of heads": lambda s, x: torch.cat([heads(x), heads(2.0 * x)[:, :, :1]], dim=2),
    "cat inside heads": lambda s, x: torch.cat([heads(x), -heads(x)], dim=-1),
    "cat of a head more": lambda s, x: torch.cat([heads(x), x[:, :, None].flatten(4).transpose(3, 4)[..., :2]], 2),
    "linear on tokens": lambda s, x: s.line(x.flatten(3).transpose(2, 3)),
    "linear on a map": lambda s, x: s.line(x.permute(0, 1, 3, 4, 2)),
    "linear on a head": lambda s, x: s.of_head(heads(x)),
    "1x1 convolution of tokens": lambda s, x: s.flat_norm(s.flat_conv(x.flatten(3))),
    "1x1 convolution of tokens in groups": lambda s, x: s.grouped(x.flatten(3)),
    "linear on sums": lambda s, x: s.line(x.sum((3, 4))),
    "neurons on sums": lambda s, x: s.lif(0.3 * x.flatten(3).sum(-1)),
    "scaled by channel": lambda s, x: x * s.scale - s.shift,
    "scaled by one number": lambda s, x: s.factor * x + s.factor,
    "constants on tokens": lambda s, x: (s.shift[0, 0, :, 0, 0] - x.flatten(3).transpose(2, 3)) * s.scale.flatten(),
    "product of tokens": lambda s, x: x.flatten(3).transpose(2, 3) * s.lif(1.3 * x).flatten(3).transpose(2, 3),
    "product with a sum's spike": lambda s, x: heads(x) * s.lif(0.3 * heads(x).sum(-2, keepdim=True)),
    "product with a token's spike": lambda s, x: x.flatten(3) * s.lif(0.4 * x.flatten(3).sum(2, keepdim=True)),
    "product with what is missing": lambda s, x: x * (1 - s.lif(0.2 * x.sum((3, 4), keepdim=True))),
    "outer product": lambda s, x: (
        s.lif(0.3 * x.flatten(3).sum(-1, keepdim=True)) * s.more(0.4 * x.flatten(3).sum(2, keepdim=True))
    ),
    "sum with a sum": lambda s, x: x.flatten(3) + 0.3 * x.flatten(3).sum(2, keepdim=True),
    "less its mean": lambda s, x: x - x.mean((3, 4), keepdim=True),
    "row's mean": lambda s, x: x + x.mean(4, keepdim=True),
    "product of multiples": lambda s, x: (2.5 * x) * (0.5 * s.lif(1.3 * x)),
    "the mean over time first": lambda s, x: x.unsqueeze(2).squeeze(2),
    "a part of the batch's axis": lambda s, x: s.of_head(x.reshape(T, -1, 2, H, W).permute(0, 1, 3, 4, 2)).reshape(
        T, -1, 72
    ),
    "control flow": shaped_by_control_flow,
}


@pytest.mark.parametrize("name", VIEWS)
def test_as_torch(name: str) -> None:
    network = viewing(VIEWS[name])
    events = (torch.rand(T, SAMPLES, C, H, W, generator=torch.Generator().manual_seed(2)) < 0.45).float()
    graph = trace(network, events[:, :1], T, reads_spikes=True).graph
    with torch.no_grad():
        expected = network(events).numpy()
    functional.reset_net(network)
    found = simulate(graph, {graph.inputs[0].name: events.numpy().astype(np.uint8)})
    np.testing.assert_allclose(found.readout[-1], expected, atol=2e-6)
    for name, spikes in found.spikes.items():
        assert 0.02 < spikes.mean() < 0.98, name


@pytest.mark.parametrize(
    "name", ["one axis for time and batch", "heads and back", "neurons on tokens", "linear on sums"]
)
def test_one_time_step(name: str) -> None:
    network = viewing(VIEWS[name])
    events = (torch.rand(1, SAMPLES, C, H, W, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    graph = trace(network, events[:, :1], 1, reads_spikes=True).graph
    with torch.no_grad():
        expected = network(events).numpy()
    functional.reset_net(network)
    found = simulate(graph, {graph.inputs[0].name: events.numpy().astype(np.uint8)})
    np.testing.assert_allclose(found.readout[-1], expected, atol=2e-6)


REFUSED: dict[str, tuple[Body, str]] = {
    "softmax": (
        lambda s, x: x.flatten(3).softmax(-1),
        r"'call_method softmax': a value between 0 and 1 .* export to onnx",
    ),
    "sigmoid": (lambda s, x: x * torch.sigmoid(x), r"Layer 'call_function sigmoid': a value between 0 and 1"),
    "a matrix product": (
        lambda s, x: x @ x.transpose(-1, -2),
        r"Layer 'call_function matmul': a matrix product of spikes",
    ),
    "positions": (
        lambda s, x: x + s.places,
        r"a constant of shape \[1, 6, 4, 2\] differs from place to place, as position embeddings do, but a layer",
    ),
    "parts of tokens": (
        lambda s, x: x.flatten(3)[..., 1:],
        r"parts are taken of channels only, but dimension 3 of \[T, N, C, H W\] counts something else",
    ),
    "an index": (lambda s, x: x[:, :, [0, 2]], r"an index \[0, 2\] has no rule; take slices of channels"),
    "squeeze": (lambda s, x: x.squeeze(), r"squeeze\(\) drops the batch where it is one image; name the dimension"),
    "channels in the batch": (
        lambda s, x: s.small(x.reshape(-1, 2, H, W)).reshape(T, -1, 3, H, W),
        r"Layer 'small': a Conv2d reads its channels behind time and batch, but the tensor is \[T N C/3, C/2, H, W\]",
    ),
    "other orders": (
        lambda s, x: blocks(x) + blocks(x).transpose(4, 5),
        r"tensors \[T, N, C, H/2, H/2, W\] and \[T, N, C, H/2, W, H/2\] meet, which do not count the same",
    ),
    "cat of other orders": (
        lambda s, x: torch.cat([blocks(x), blocks(x).transpose(4, 5)], 2),
        r"only equal layouts concatenate, but these are \[T, N, H/2, H/2, W\], \[T, N, H/2, W, H/2\]",
    ),
    "a wide convolution of tokens": (
        lambda s, x: s.wide_conv(x.flatten(3)),
        r"Layer 'wide_conv': a Conv1d needs \[T, N, C, H, W\], but the tensor is \[T, N, C, H W\]; bring it back",
    ),
    "linear along tokens": (
        lambda s, x: s.wide(x.flatten(3)),
        r"Layer 'wide': a linear layer reads channels on the last axis of \[T, N, C, H W\]; bring them there",
    ),
    "a norm of tokens": (
        lambda s, x: s.token_norm(x.flatten(3).transpose(2, 3)),
        r"Layer 'token_norm': a BatchNorm1d reads its channels behind time and batch, but the tensor is \[T, N, H W,",
    ),
    "sum over the batch": (
        lambda s, x: x - x.sum(1, keepdim=True),
        r"a sum or mean over the batch, dim=1, has no rule",
    ),
    "sum over everything": (
        lambda s, x: x - x.mean(),
        r"a sum or mean over everything has no rule; name the dimensions",
    ),
    "mean that keeps time": (
        lambda s, x: x.flatten(3) - x.flatten(3).mean(0, True),
        r"over time only a mean has a rule, with keepdim=F",
    ),
    "every other row": (
        lambda s, x: x.reshape(T, -1, C, 2, 2, W).sum(3),
        r"a sum over every other row or column, as of \[T, N, C, H/2, H/2, W\], has no rule",
    ),
    "repeated sums that differ": (
        lambda s, x: x[:, :, :5] + s.conv_of(x).mean((3, 4), keepdim=True),
        r"what is repeated over the map must be a spike, or a sum in which all its rows and columns weigh the same",
    ),
    "neurons without time": (
        lambda s, x: s.lif(x.flatten(0, 1)).reshape(T, -1, C, H, W),
        r"Layer 'lif': a spiking layer needs time as an axis of its own, the first one, \[T, N, ...\]",
    ),
    "cat of tokens": (
        lambda s, x: torch.cat([x.flatten(3), x.flatten(3)], -1),
        r"only channels concatenate, but dimension -1 of \[T, N, C, H W\] is not of them",
    ),
    "arithmetic with the batch": (
        lambda s, x: x.flatten(3) * (1.0 / x.shape[1]),
        r"what it computes of shapes has no rule",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    body, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        trace(viewing(body), torch.zeros(T, 1, C, H, W), T, reads_spikes=True)
