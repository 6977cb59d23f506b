"""A small network whose middle tests exchange: image -> stem -> body -> LIF -> linear -> mean."""

from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def lif(**settings: Any) -> nn.Module:
    return neuron.LIFNode(**{"tau": 2.0, "decay_input": False, "step_mode": "m"} | settings)


def convolution(inside: int = 3, out: int = 3, kernel: int = 3, **settings: Any) -> nn.Module:
    return layer.Conv2d(inside, out, kernel, padding=kernel // 2, bias=False, step_mode="m", **settings)


class Small(nn.Module):
    def __init__(self, neurons: nn.Module | None = None, reads_spikes: bool = False, **parts: nn.Module) -> None:
        super().__init__()
        self.reads_spikes = reads_spikes
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.stem_lif = lif()
        self.middle = convolution(1 if reads_spikes else 3)
        self.norm = layer.BatchNorm2d(3, step_mode="m")
        self.lif = neurons or lif()
        self.readout = nn.Linear(3 * 64, 4)
        for name, part in parts.items():
            self.add_module(name, part)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.middle(x))

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(x.flatten(2)).mean(0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images if self.reads_spikes else self.stem_lif(self.stem(images).unsqueeze(0).repeat(3, 1, 1, 1, 1))
        return self.head(self.lif(self.body(x)))


def tuned(network: nn.Module, example: torch.Tensor = IMAGES) -> nn.Module:
    """In eval mode, with statistics of its batch norms and a stem that spikes."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.8, 1.4)
            nn.init.uniform_(module.bias, 0.1, 0.6)
    if hasattr(network, "stem"):
        nn.init.uniform_(network.stem.weight, 0.0, 0.4)
    with torch.no_grad():
        network(example)
    functional.reset_net(network)
    return network.eval()
