"""Networks of SpikingJelly's own model zoo, narrow, in eval mode, with spikes that flow: for tests.

Their classes fix the widths (64 to 512 channels), so a network is built as it is and every layer of it then replaced by
one a sixteenth as wide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import (
    ms_resnet,
    parametric_lif_net,
    qkformer,
    sew_resnet,
    spike_driven_transformer,
    spiking_resnet,
    spiking_vgg,
)
from torch import nn

T = 2
LIF = {"tau": 2.0, "decay_input": False, "detach_reset": True}
SEW = partial(sew_resnet.SEWResNet, sew_resnet.BasicBlock, [1, 1, 1, 1], num_classes=10)


class Mean(nn.Module):
    """Repeats an image, or takes events as they are, and takes the mean over time, as SpikingJelly's tutorials do."""

    def __init__(self, network: nn.Module, repeat: bool = True) -> None:
        super().__init__()
        self.network, self.repeat = network, repeat

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps: torch.Tensor = self.network(x.unsqueeze(0).repeat(T, 1, 1, 1, 1) if self.repeat else x)
        return steps.mean(0)


class Block(nn.Module):
    """conv -> LIF -> a block of a transformer -> LIF -> linear, the mean over time."""

    def __init__(self, block: nn.Module, channels: int = 8, size: int = 4, tokens: bool = False) -> None:
        super().__init__()
        self.stem, self.norm = layer.Conv2d(3, channels, 3, padding=1, stride=2), layer.BatchNorm2d(channels)
        self.first, self.block, self.last = neuron.LIFNode(**LIF), block, neuron.LIFNode(**LIF)
        self.head, self.tokens = nn.Linear(channels * size * size, 10), tokens

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.norm(self.stem(x.unsqueeze(0).repeat(T, 1, 1, 1, 1))))
        steps, batch, channels, height, width = x.shape
        x = self.block(x.flatten(3) if self.tokens else x).reshape(steps, batch, channels, height, width)
        return self.head(self.last(x).flatten(2)).mean(0)


def narrowed(network: nn.Module, factor: int = 16) -> nn.Module:
    """The same network with all numbers of channels and neurons divided, those that divide."""

    def less(number: int) -> int:
        return number // factor if number % factor == 0 else number

    for parent in list(network.modules()):
        for name, part in parent.named_children():
            new: nn.Module | None = None
            if type(part) is layer.Conv2d:
                sizes = (part.kernel_size, part.stride, part.padding)
                new = layer.Conv2d(less(part.in_channels), less(part.out_channels), *sizes, bias=part.bias is not None)
            elif type(part) is layer.BatchNorm2d:
                new = layer.BatchNorm2d(less(part.num_features))
            elif type(part) is layer.Linear:
                new = layer.Linear(less(part.in_features), less(part.out_features), part.bias is not None)
            if new is not None:
                setattr(parent, name, new)
    return network


def unequal(network: nn.Module) -> nn.Module:
    """Membranes that have learnt to leak unequally."""
    for i, part in enumerate(m for m in network.modules() if isinstance(m, neuron.ParametricLIFNode)):
        nn.init.constant_(part.w, -0.6 + 0.3 * (i % 5))
    return network


def vgg() -> nn.Module:
    with torch.device("meta"):  # its classifier alone has 10^8 weights
        wide = spiking_vgg.spiking_vgg11_bn(num_classes=10, spiking_neuron=neuron.LIFNode, **LIF)
    return narrowed(wide)


@dataclass(frozen=True)
class Built:
    build: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    reads_spikes: bool = False
    threshold: float = 0.5  # of the neurons that read attention's sums, which random queries and keys would saturate


NETWORKS: dict[str, Built] = {
    "spiking ResNet": Built(
        lambda: Mean(
            narrowed(
                spiking_resnet.SpikingResNet(
                    spiking_resnet.BasicBlock, [1, 1, 1, 1], num_classes=10, spiking_neuron=neuron.LIFNode, **LIF
                )
            )
        ),
        (3, 32, 32),
    ),
    "SEW ADD": Built(lambda: Mean(narrowed(SEW(cnf="ADD", spiking_neuron=neuron.LIFNode, **LIF))), (3, 32, 32)),
    "SEW AND": Built(lambda: Mean(narrowed(SEW(cnf="AND", spiking_neuron=neuron.LIFNode, **LIF))), (3, 32, 32)),
    "SEW IAND": Built(lambda: Mean(narrowed(SEW(cnf="IAND", spiking_neuron=neuron.LIFNode, **LIF))), (3, 32, 32)),
    "SEW ADD of PLIF": Built(
        lambda: Mean(unequal(narrowed(SEW(cnf="ADD", spiking_neuron=neuron.ParametricLIFNode, decay_input=False)))),
        (3, 32, 32),
    ),
    "spiking VGG-11": Built(lambda: Mean(vgg()), (3, 32, 32)),
    "MS-ResNet, events": Built(
        lambda: ms_resnet.MSResNet(
            T=T,
            in_channels=2,
            base_channels=4,
            layers=(1, 1, 1),
            num_classes=10,
            stem_kernel_size=3,
            stem_stride=1,
            v_threshold=1.0,
        ),
        (2, 16, 16),
        reads_spikes=True,
    ),
    "PLIF": Built(
        lambda: Mean(
            unequal(
                narrowed(parametric_lif_net.MNISTNet(32, neuron.ParametricLIFNode, decay_input=False, init_tau=2.0))
            )
        ),
        (1, 28, 28),
    ),
    "spike-driven transformer": Built(
        lambda: spike_driven_transformer.SpikeDrivenTransformer(
            T=T, embed_dims=16, num_heads=2, depths=1, mlp_ratio=2.0, num_classes=10, pooling_stat="0010", **LIF
        ),
        (3, 8, 8),
        threshold=2.0,
    ),
    "spike-driven attention": Built(
        lambda: Block(layer.SpikeDrivenSelfAttention(8, 2, **LIF)), (3, 8, 8), threshold=2.0
    ),
    "Q-K attention of tokens": Built(
        lambda: Block(layer.QKAttention(8, 2, "token", **LIF), tokens=True), (3, 8, 8), threshold=2.0
    ),
    "Q-K attention of channels": Built(
        lambda: Block(layer.QKAttention(8, 2, "channel", **LIF), tokens=True),
        (3, 8, 8),
        threshold=6.0,
    ),
    "block of a QKFormer": Built(
        lambda: Block(qkformer._Block(8, 2, 2.0, "token", False, None, LIF)), (3, 8, 8), threshold=2.0
    ),
}


def inputs_of(built: Built, samples: int, seed: int = 1) -> torch.Tensor:
    """Random images [N, C, H, W], or events [T, N, C, H, W]."""
    random = torch.Generator().manual_seed(seed)
    if built.reads_spikes:
        return (torch.rand(T, samples, *built.shape, generator=random) < 0.4).float()
    return torch.rand(samples, *built.shape, generator=random)


def prepared(built: Built) -> nn.Module:
    """The network in eval mode: batch norms saw live spikes, and what stands before neurons without one drives them."""
    torch.manual_seed(0)
    network = built.build()
    functional.set_step_mode(network, "m")
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.uniform_(module.bias, 0.3, 0.6)
        if hasattr(module, "attn_lif"):
            module.attn_lif.v_threshold = built.threshold
    lines = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features != 10]
    hooks = [m.register_forward_hook(_driving) for m in lines]
    with torch.no_grad():
        for _ in range(3):
            functional.reset_net(network)
            network.train()(inputs_of(built, 8, seed=2))
            for hook in hooks:
                hook.remove()
    functional.reset_net(network)
    return network.eval()


def _driving(module: Any, given: Any, out: torch.Tensor) -> torch.Tensor:
    """Scale a layer once, so that about a third of what it gives is above 1."""
    scale = 1.5 / out.std()
    module.weight *= scale
    if module.bias is not None:
        module.bias.fill_(0.3)
    return out * scale
