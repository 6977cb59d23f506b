"""What cannot be traced is refused: the layer that is named, and the next step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.small_network import IMAGES, Small, convolution, lif


class Doing(Small):
    def __init__(self, do: Callable[[Any, torch.Tensor], torch.Tensor], **parts: nn.Module) -> None:
        super().__init__(**parts)
        self.do = do

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.do(self, x)


class Ending(Small):
    def __init__(self, do: Callable[[Any, torch.Tensor], torch.Tensor], **parts: nn.Module) -> None:
        super().__init__(**parts)
        self.do = do

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.do(self, x)


class Residual(Small):
    """What the first spiking layer reads is added behind it, as in an MS-ResNet that reads images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem(images).unsqueeze(0).repeat(3, 1, 1, 1, 1)
        return self.head(self.lif(self.body(self.stem_lif(x)) + x))


class WSConv(layer.Conv2d):
    """A subclass that computes something else than its parent."""


REFUSED = {
    "max-pool on currents": (
        lambda: Doing(lambda s, x: s.pool(s.middle(x)), pool=layer.MaxPool2d(3, 1, 1, step_mode="m")),
        r"Layer 'pool': max-pool is exact on spikes only; put it directly behind a spiking layer",
    ),
    "max-pool with dilation": (
        lambda: Doing(lambda s, x: s.pool(x), pool=layer.MaxPool2d(2, 1, 1, dilation=2, step_mode="m")),
        r"Layer 'pool': max-pool with dilation",
    ),
    "padded after padded": (
        lambda: Doing(lambda s, x: s.more(s.middle(x)), more=convolution()),
        r"Layer 'more': a padded 3x3 kernel directly after a 3x3 one cannot fold into one; put a spiking layer between",
    ),
    "padded after a bias": (
        lambda: Doing(lambda s, x: s.middle(x + 0.5)),
        r"Layer 'middle': a padded convolution after a bias cannot fold; put the batch norm or bias behind it",
    ),
    "single step": (lambda: Small(lif(step_mode="s")), r"Layer 'lif': .* multi-step mode, step_mode='m'"),
    "unknown neuron": (
        lambda: Small(neuron.QIFNode(step_mode="m")),
        r"Layer 'lif': a QIFNode is no LIF: its membrane grows by a curve of itself; use LIFNode, or export to onnx",
    ),
    "a neuron's subclass": (
        lambda: Small(neuron.LIAFNode(act=torch.relu, threshold_related=True, step_mode="m")),
        r"Layer 'lif': a LIAFNode is no LIF: it gives an activation of the membrane, not spikes",
    ),
    "a layer's subclass": (
        lambda: Doing(lambda s, x: s.ws(x), ws=WSConv(3, 3, 3, padding=1, step_mode="m")),
        r"Layer 'ws': a WSConv cannot be a synapse or a neuron on the chip; replace it, or export to onnx",
    ),
    "unknown module": (
        lambda: Doing(lambda s, x: s.act(x), act=nn.Sigmoid()),
        r"Layer 'act': a Sigmoid cannot be a synapse",
    ),
    "unknown function": (lambda: Doing(lambda s, x: torch.relu(x)), r"Layer 'call_function relu': 'relu' has no rule"),
    "unknown method": (lambda: Doing(lambda s, x: x.clamp(0, 1)), r"Layer 'call_method clamp': 'clamp' has no rule"),
    "an option without rule": (
        lambda: Doing(lambda s, x: torch.add(x, x, alpha=2)),
        r"Layer 'call_function add.*': 'add' has no rule with these arguments",
    ),
    "spikes times currents": (
        lambda: Doing(lambda s, x: x * s.middle(x)),
        r"Layer 'call_function mul.*': a product is exact on spikes of the same shape only, as a \* b or a \* \(1 - b",
    ),
    "the larger of currents": (
        lambda: Doing(lambda s, x: torch.maximum(x, s.middle(x))),
        r"Layer 'call_function maximum': a maximum is exact on spikes of the same shape only",
    ),
    "spikes and the image": (
        Residual,
        r"Layer 'call_function add.*': it mixes spikes with values that are not spikes; let one",
    ),
    "concatenation in time": (
        lambda: Ending(lambda s, x: s.readout(torch.cat([x.flatten(2), x.flatten(2)], dim=-3)).mean(0)),
        r"Layer 'call_function cat': only concatenation of channels \(dim 2\) has a rule, but dim=-3",
    ),
    "average that ignores padding": (
        lambda: Doing(lambda s, x: s.pool(x), pool=layer.AvgPool2d(3, 1, 1, count_include_pad=False, step_mode="m")),
        r"Layer 'pool': average pool must count its padding",
    ),
    "reflecting padding": (
        lambda: Doing(lambda s, x: s.c(x), c=convolution(padding_mode="reflect")),
        r"Layer 'c': only zero padding",
    ),
    "batch statistics": (
        lambda: Doing(lambda s, x: s.bn(x), bn=layer.BatchNorm2d(3, track_running_stats=False, step_mode="m")),
        r"Layer 'bn': batch norm without running statistics",
    ),
    "images as an answer": (
        lambda: Ending(lambda s, x: x),
        r"Layer 'output output': a network must return one number for each class, \[N, classes\] as x.mean\(0\), .*, "
        r"but it returns values of shape \(3, 8, 8\)",
    ),
    "two answers": (lambda: Ending(lambda s, x: (x, x)), r"one number for each class, .* but it returns a tuple"),
    "the first step only": (
        lambda: Ending(lambda s, x: s.readout(x.flatten(2))[0]),
        r"Layer 'call_function getitem': of 3 time steps only the last one can be the answer, x\[-1\], but step 0 is",
    ),
    "a batch that is dropped": (
        lambda: Ending(lambda s, x: s.readout(x.squeeze(1).flatten(1)).mean(0)),
        r"Layer 'call_method squeeze': squeeze\(1\) would drop time or batch of \[T, N, C, H, W\]",
    ),
    "a batch in parts": (
        lambda: Ending(lambda s, x: s.readout(x.chunk(1, 1)[0].flatten(2)).mean(0)),
        r"Layer 'call_method chunk': the batch cannot be cut into parts",
    ),
    "spikes beside a constant": (
        lambda: Doing(lambda s, x: torch.cat([x, torch.zeros(3, 1, 1, 8, 8)], 2)[:, :, :3]),
        r"Layer 'call_function cat': only spikes and their currents concatenate",
    ),
    "a module of one's own": (
        lambda: Doing(lambda s, x: s.strange(x), strange=nn.Softplus()),
        r"Layer 'strange': a Softplus cannot be .*; a layer of your own .* gets a rule by spikeport\.register",
    ),
    "mean over the batch": (
        lambda: Ending(lambda s, x: s.readout(x.flatten(2)).mean(1)),
        r"Layer 'call_method mean': a sum or mean over the batch, dim=1, has no rule",
    ),
    "a mean that keeps time": (
        lambda: Ending(lambda s, x: s.readout(x.flatten(2)).mean(0, keepdim=True)),
        r"Layer 'call_method mean': only the mean over time",
    ),
    "a mean twice": (
        lambda: Ending(lambda s, x: s.readout(x.flatten(2)).mean(0).mean(0)),
        r"Layer 'call_method mean_1': after the mean over time",
    ),
    "neurons after the mean": (
        lambda: Ending(lambda s, x: s.last(s.readout(x.flatten(2)).mean(0)), last=lif()),
        r"Layer 'last': a spiking layer after the mean over time has no rule; take the mean last",
    ),
    "flattening the batch": (
        lambda: Ending(lambda s, x: s.readout(s.flat(x)).mean(0), flat=nn.Flatten()),
        r"Layer 'flat': only flattening of \[T, N, C, H, W\] from dim 2 to the last",
    ),
    "one membrane for two layers": (
        lambda: Doing(lambda s, x: s.lif(s.middle(x))),
        r"Layer 'lif': its neurons are used twice with one membrane; give every layer a module of its own",
    ),
    "what a container has no rule for": (
        lambda: Doing(lambda s, x: s.part(x), part=layer.SeqToANNContainer(nn.Conv2d(3, 3, 1), nn.Sigmoid())),
        r"Layer 'part.1': a Sigmoid cannot be a synapse or a neuron on the chip; replace it, or export to onnx",
    ),
    "linear on images": (
        lambda: Doing(lambda s, x: s.line(x), line=layer.Linear(8, 8, step_mode="m")),
        r"Layer 'line': a linear layer reads channels on the last axis of \[T, N, C, H, W\]; bring them there, or put",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_layer_and_the_next_step(case: str) -> None:
    build, message = REFUSED[case]
    with pytest.raises(UnsupportedError, match=message):
        trace(build().eval(), IMAGES[:1], 3)


@pytest.mark.parametrize("attention", ["eca", "cbam", "tcs"])
def test_attention_is_refused_by_name(attention: Any, lively: Any, uniform: Any) -> None:
    network = lively(uniform("plain", "conv_3x3"), attention=attention)
    message = (
        r"Layer 'cells.0.n1.attention': (ECA|CBAM|TCS) cannot be a synapse: its gates depend on the input; "
        "export with --fold-attention, .*--attention spike or none, or export to onnx"
    )
    with pytest.raises(UnsupportedError, match=message):
        trace(network, IMAGES[:1], 3)


def test_training_mode_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"eval mode: call network.eval\(\) first"):
        trace(Small().train(), IMAGES[:1], 3)
    half = Small().eval()
    half.norm.train()
    with pytest.raises(UnsupportedError, match="eval mode"):
        trace(half, IMAGES[:1], 3)


def test_another_number_of_steps_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"Layer 'stem_lif': it has 3 time steps, but .* have 2"):
        trace(Small().eval(), IMAGES[:1], 2)


def test_two_readers_of_the_image_are_refused() -> None:
    class Two(Small):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = self.stem(images).unsqueeze(0).repeat(3, 1, 1, 1, 1)
            return self.head(self.lif(self.stem_lif(x) + self.other(x)))

    with pytest.raises(UnsupportedError, match="One spiking layer must read the image, but 2 do; let the others"):
        trace(Two(other=lif()).eval(), IMAGES[:1], 3)


def test_an_example_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"must run on an example of shape \[1, 2, 8, 8\], but stops: "):
        trace(Small().eval(), torch.rand(1, 2, 8, 8), 3)


def test_a_forward_that_depends_on_the_data_is_refused() -> None:
    network = Doing(lambda s, x: x if x.sum() > 0 else -x).eval()
    with pytest.raises(UnsupportedError, match="forward pass must not depend on the data"):
        trace(network, IMAGES[:1], 3)
