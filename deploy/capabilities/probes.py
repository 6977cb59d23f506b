"""Small networks, each with one layer whose fate is asked for.

image [1, 8, 8] -> conv, LIF (the encoder) -> LAYER -> LIF -> flatten -> linear, mean over time
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from ...search.space.attention import CBAM, ECA
from ...search.space.spike_gates import SpikeGates

TIME_STEPS = 3
CHANNELS, SIZE = 4, 8
IMAGES = 4
GAIN = 4.0  # of weights, so that spikes flow


@dataclass(frozen=True, slots=True)
class Probe:
    """layer: as the table names it. how: what becomes of it where it is carried. build: the network."""

    family: str
    layer: str
    how: str
    build: Callable[[], nn.Module]


class _Network(nn.Module):
    """middle: spikes [T, N, C, H, W] -> currents or spikes. ends: whether its answer is the network's."""

    def __init__(self, middle: nn.Module, *, lif: bool = True) -> None:
        super().__init__()
        self.stem = layer.Conv2d(1, CHANNELS, 3, padding=1)
        self.first = neuron.LIFNode(decay_input=False)
        self.middle = middle
        self.lif = neuron.LIFNode(decay_input=False) if lif else nn.Identity()
        self.flat = layer.Flatten()
        features = self._spikes(torch.zeros(1, 1, SIZE, SIZE), steps="s").shape[1]
        self.out = layer.Linear(features, 10)

    def _spikes(self, images: Tensor, steps: str) -> Tensor:
        functional.set_step_mode(self, "m")
        x = self.first(self.stem(images.unsqueeze(0).repeat(TIME_STEPS, 1, 1, 1, 1)))
        found: Tensor = self.lif(self.middle(x)).flatten(2)[0]
        functional.reset_net(self)
        return found

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(self.stem(images.unsqueeze(0).repeat(TIME_STEPS, 1, 1, 1, 1)))
        answer: Tensor = self.out(self.flat(self.lif(self.middle(x)))).mean(0)
        return answer


class _Two(nn.Module):
    """A function of two populations' spikes."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.join = join
        self.a, self.b = _conv(), _conv()
        self.lif_a, self.lif_b = neuron.LIFNode(decay_input=False), neuron.LIFNode(decay_input=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.lif_a(self.a(x)), self.lif_b(self.b(x)))


class _Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = _conv(), _conv()

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * self.b(x)  # type: ignore[no-any-return]


def _recurrent() -> nn.Module:
    inside = nn.Sequential(layer.Flatten(), layer.Linear(CHANNELS * SIZE**2, 12))
    return nn.Sequential(*inside, layer.LinearRecurrentContainer(neuron.LIFNode(decay_input=False), 12, 12))


def _self_attention() -> nn.Module:
    attention = layer.SpikeDrivenSelfAttention(CHANNELS, 2, spiking_neuron=neuron.LIFNode, decay_input=False)
    return nn.Sequential(attention, _conv(kernel_size=1, padding=0))


def _gates() -> nn.Module:
    gates = SpikeGates(CHANNELS)
    for gate in (gates.channel, gates.position):  # as if they had learned something: not open in every step
        gate.norm.weight.data.fill_(1.0)  # type: ignore[operator]
        gate.norm.bias.data.fill_(0.8)  # type: ignore[operator]
    return gates


def _conv(**more: Any) -> nn.Module:
    options = {"kernel_size": 3, "padding": 1} | more
    made: nn.Module = layer.Conv2d(CHANNELS, CHANNELS, **options)
    return made


def _one(middle: Callable[[], nn.Module], **more: Any) -> Callable[[], nn.Module]:
    return lambda: _Network(middle(), **more)


def _two(join: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: _Network(_Two(join))


def _neurons(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: _Network(nn.Sequential(_conv(), make()), lif=False)


def prepared(build: Callable[[], nn.Module]) -> tuple[nn.Module, Tensor]:
    """(the network in eval mode, whose batch norms saw live spikes; images [N, 1, 8, 8]); the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build()
        functional.set_step_mode(network, "m")
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.Conv1d):
                nn.init.normal_(module.weight, std=GAIN / module.weight[0].numel() ** 0.5)
        images = torch.rand(IMAGES, 1, SIZE, SIZE)
        with torch.no_grad():
            network.train()(images)
        functional.reset_net(network)
    return network.eval().requires_grad_(False), images


KERNEL = "folds into the kernel of the projection"
PLACED = "channels of one projection"
PROBES: tuple[Probe, ...] = (
    Probe("linear", "Conv2d", "a projection", _one(_conv)),
    Probe(
        "linear",
        "Conv2d, stride 2",
        "a projection; finer maps are carried in space-to-depth form",
        _one(lambda: _conv(stride=2)),
    ),
    Probe("linear", "Conv2d, groups", "a projection", _one(lambda: _conv(groups=2))),
    Probe("linear", "Conv2d, dilation 2", "a projection", _one(lambda: _conv(padding=2, dilation=2))),
    Probe("linear", "Conv2d, padding_mode reflect", "", _one(lambda: _conv(padding_mode="reflect"))),
    Probe(
        "linear",
        "two Conv2d, the second without padding",
        KERNEL,
        _one(lambda: nn.Sequential(_conv(bias=False), _conv(padding=0))),
    ),
    Probe("linear", "two padded Conv2d", "", _one(lambda: nn.Sequential(_conv(), _conv()))),
    Probe(
        "linear",
        "BatchNorm2d",
        "folds into weights and bias",
        _one(lambda: nn.Sequential(_conv(), layer.BatchNorm2d(CHANNELS))),
    ),
    Probe(
        "linear",
        "ThresholdDependentBatchNorm2d",
        "folds into weights and bias",
        _one(lambda: nn.Sequential(_conv(), layer.ThresholdDependentBatchNorm2d(1.0, 1.0, CHANNELS))),
    ),
    Probe(
        "linear",
        "WSConv2d",
        "its standardised weights are constants",
        _one(lambda: layer.WSConv2d(CHANNELS, CHANNELS, 3, padding=1)),
    ),
    Probe(
        "linear",
        "Linear",
        "a full matrix",
        _one(lambda: nn.Sequential(layer.Flatten(), layer.Linear(CHANNELS * SIZE**2, 20))),
    ),
    Probe(
        "linear",
        "VotingLayer",
        "a mean of groups, folds into the matrix",
        _one(lambda: nn.Sequential(layer.Flatten(), layer.Linear(CHANNELS * SIZE**2, 20), layer.VotingLayer(2))),
    ),
    Probe("linear", "Dropout", "nothing in eval mode", _one(lambda: nn.Sequential(_conv(), layer.Dropout(0.5)))),
    Probe(
        "linear",
        "SeqToANNContainer",
        "what it contains",
        _one(lambda: layer.SeqToANNContainer(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS))),
    ),
    Probe("pools", "AvgPool2d", KERNEL, _one(lambda: layer.AvgPool2d(2))),
    Probe("pools", "AdaptiveAvgPool2d", KERNEL, _one(lambda: layer.AdaptiveAvgPool2d((2, 2)))),
    Probe("pools", "AdaptiveAvgPool2d, windows that differ", "a full matrix", _one(lambda: layer.AdaptiveAvgPool2d(3))),
    Probe(
        "pools",
        "Upsample",
        "a full matrix; on the chip a kernel of phases",
        _one(lambda: layer.Upsample(scale_factor=2)),
    ),
    Probe(
        "pools",
        "MaxPool2d on spikes",
        "a population that fires when any of them does (OR)",
        _one(lambda: layer.MaxPool2d(2)),
    ),
    Probe("pools", "MaxPool2d on currents", "", _one(lambda: nn.Sequential(_conv(), layer.MaxPool2d(2)))),
    Probe("joins", "a * b of currents", "", _one(_Product)),
    Probe("joins", "sum of spikes", "two projections", _two(lambda a, b: a + b)),
    Probe("joins", "concatenation of channels", PLACED, _two(lambda a, b: torch.cat((a, b), 2))),
    Probe("joins", "a * b of spikes", "a population that fires when both do (AND)", _two(lambda a, b: a * b)),
    Probe(
        "joins",
        "a * (1 - b) of spikes",
        "a population that fires when a does and b does not",
        _two(lambda a, b: a * (1 - b)),
    ),
    Probe("joins", "maximum of spikes", "a population that fires when any does (OR)", _two(torch.maximum)),
    Probe("neurons", "LIFNode, v_reset=0", "a population", _neurons(lambda: neuron.LIFNode())),
    Probe("neurons", "LIFNode, v_reset=None", "a population", _neurons(lambda: neuron.LIFNode(v_reset=None))),
    Probe("neurons", "IFNode", "a population without leak", _neurons(lambda: neuron.IFNode())),
    Probe(
        "neurons",
        "ParametricLIFNode",
        "a population; neurons of one level share their leak",
        _neurons(lambda: neuron.ParametricLIFNode(init_tau=2.0)),
    ),
    Probe(
        "neurons",
        "LinearRecurrentContainer",
        "a projection onto itself, in a layer of its own",
        lambda: _Network(_recurrent(), lif=False),
    ),
    Probe(
        "neurons",
        "MultiStepContainer",
        "what it contains",
        lambda: _Network(
            layer.MultiStepContainer(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), neuron.LIFNode()), lif=False
        ),
    ),
    Probe(
        "neurons",
        "LIFNode, v_reset=-0.5",
        "a population whose membrane is counted from there",
        _neurons(lambda: neuron.LIFNode(v_reset=-0.5)),
    ),
    Probe("neurons", "KLIFNode", "", _neurons(lambda: neuron.KLIFNode())),
    Probe("neurons", "QIFNode", "", _neurons(lambda: neuron.QIFNode())),
    Probe("attention", "ECA on currents", "", _one(lambda: nn.Sequential(_conv(), ECA(CHANNELS)))),
    Probe("attention", "CBAM on currents", "", _one(lambda: nn.Sequential(_conv(), CBAM(CHANNELS)))),
    Probe(
        "attention",
        "spike gates (--attention spike)",
        "populations for the gates, ANDs with the spikes",
        _one(_gates),
    ),
    Probe(
        "attention",
        "SpikeDrivenSelfAttention",
        "ANDs of Q, K and V, a population for their sums",
        _one(_self_attention),
    ),
    Probe("functions", "sigmoid", "", _one(lambda: nn.Sequential(_conv(), nn.Sigmoid()))),
)
