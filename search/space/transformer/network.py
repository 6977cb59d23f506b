"""Transformer -> spiking network: two convolutions, blocks of spike-driven attention, mean over tokens, readout.

The stream u [T, N, D, H, W] is a current, to which every block adds (membrane shortcuts, as in Spike-driven
Transformer, arXiv 2307.01694); a token is a place. s = LIF(u), L = a 1x1 convolution with batch norm:

    tokens     q, k = LIF(L(s)),      gate [T, N, heads, H, W] = LIF(norm(sum of q over a head's channels))
               u += L(k AND gate)                                     Q-K token attention, arXiv 2403.16552
    channels   q, k, v = LIF(L(s)),   gate [T, N, D, 1, 1] = LIF(norm(sum of (k AND v) over all tokens))
               u += L(q AND gate)                                     spike-driven self-attention, arXiv 2307.01694
    MLP        u += L(LIF(L(LIF(u)))), with ratio * D channels inside

All products are of two spikes: AND populations on a chip. A gate's sum goes through a batch norm here, where the papers
fire at a fixed threshold: a sum of many spikes would be above any.
"""

from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast, get_args

from spikingjelly.activation_based import layer
from torch import Tensor, nn

from ....errors import InputError
from ....setting import chosen
from ...settings.network import Reads
from ..cell import FrameStem, Stem
from ..layers import batch_norm, lif_neurons
from ..primitives import convolution
from .genotype import Block, Transformer, from_dict, to_dict

OPEN = 0.5  # bias of a gate's norm at the start, in thresholds: it fires in about every third step
HALVINGS = 1  # of the patches


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """What a genotype does not say of its network. Raises InputError when a value is out of range."""

    time_steps: int
    classes: int
    input_shape: tuple[int, int, int]  # of an image or a frame: channels, rows, columns
    stem_stride: int = 1
    reads: Reads = "images"
    dataset: str = ""
    channels: None = None  # which only a network of cells has

    def __post_init__(self) -> None:
        chosen("reads", self.reads, get_args(Reads))
        for name, least in (("time_steps", 1), ("classes", 2), ("stem_stride", 1)):
            if getattr(self, name) < least:
                raise InputError(f"`{name} >= {least}` must hold, but got {name}={getattr(self, name)}.")
        side = self.stem_stride << HALVINGS
        if len(self.input_shape) != 3 or any(n < 1 or n % side for n in self.input_shape[1:]):
            raise InputError(
                f"Rows and columns must be multiples of {side}, which the stem and the patches halve, but images are "
                f"{self.input_shape}; say another --stem-stride, or resize them."
            )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what the network reads at once: (C, H, W), or (T, C, H, W) of frames."""
        return self.input_shape if self.reads == "images" else (self.time_steps, *self.input_shape)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        rows, columns = (n // (self.stem_stride << HALVINGS) for n in self.input_shape[1:])
        return rows, columns


class Linear(nn.Module):
    """A 1x1 convolution with batch norm: spikes -> currents."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.conv, self.norm = convolution(inside, out, 1), batch_norm(out)

    def forward(self, spikes: Tensor) -> Tensor:
        return cast(Tensor, self.norm(self.conv(spikes)))


class Neurons(nn.Module):
    """Spikes -> spikes: `Linear` and its layer of neurons."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.linear, self.lif = Linear(inside, out), lif_neurons()

    def forward(self, spikes: Tensor) -> Tensor:
        return cast(Tensor, self.lif(self.linear(spikes)))


class Gates(nn.Module):
    """Neurons that hear a sum of spikes."""

    def __init__(self, gates: int) -> None:
        super().__init__()
        self.norm, self.lif = batch_norm(gates), lif_neurons()
        nn.init.constant_(cast(Tensor, self.norm.bias), OPEN)

    def forward(self, sums: Tensor) -> Tensor:
        return cast(Tensor, self.lif(self.norm(sums)))


class TokenAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k = Neurons(width, width), Neurons(width, width)
        self.gate = Gates(heads)
        self.out = Linear(width, width)

    def forward(self, spikes: Tensor) -> Tensor:
        steps, images, width, rows, columns = spikes.shape
        of_heads = (steps, images, self.heads, width // self.heads, rows, columns)
        gate = self.gate(self.q(spikes).reshape(of_heads).sum(3))
        passed = self.k(spikes).reshape(of_heads) * gate.unsqueeze(3)
        return cast(Tensor, self.out(passed.reshape(spikes.shape)))


class ChannelAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (Neurons(width, width) for _ in range(3))
        self.gate = Gates(width)
        self.out = Linear(width, width)

    def forward(self, spikes: Tensor) -> Tensor:
        both = self.k(spikes) * self.v(spikes)
        gate = self.gate(both.sum(dim=(3, 4), keepdim=True))
        return cast(Tensor, self.out(self.q(spikes) * gate))


ATTENTIONS: dict[str, type[TokenAttention] | type[ChannelAttention]] = {
    "tokens": TokenAttention,
    "channels": ChannelAttention,
}


class TransformerBlock(nn.Module):
    """The stream before -> the stream after."""

    def __init__(self, width: int, block: Block) -> None:
        super().__init__()
        self.enter, self.middle = lif_neurons(), lif_neurons()
        self.attention = ATTENTIONS[block.attention](width, block.heads)
        self.hidden = Neurons(width, block.ratio * width)
        self.out = Linear(block.ratio * width, width)

    def forward(self, stream: Tensor) -> Tensor:
        stream = stream + self.attention(self.enter(stream))
        return cast(Tensor, stream + self.out(self.hidden(self.middle(stream))))


class SpikingTransformer(nn.Module):
    """Images [N, C, H, W] or frames of spikes [N, T, C, H, W] -> logits [N, classes].

    The neurons keep their membranes: call `spikingjelly.activation_based.functional.reset_net` before each batch.
    """

    def __init__(self, genotype: Transformer, config: TransformerConfig) -> None:
        super().__init__()
        self.genotype, self.config = genotype, config
        width, channels = genotype.width, config.input_shape[0]
        self.stem: nn.Module
        if config.reads == "spikes":
            self.stem = FrameStem(channels, width, config.stem_stride)
        else:
            self.stem = Stem(channels, width, config.time_steps, config.stem_stride)
        self.patches, self.norm = convolution(width, width, 3, stride=2), batch_norm(width)
        self.cells = nn.ModuleList(TransformerBlock(width, block) for block in genotype.blocks)
        self.last = lif_neurons()
        self.pool = layer.AdaptiveAvgPool2d((1, 1), step_mode="m")
        self.readout = layer.Linear(width, config.classes, step_mode="m")

    def forward(self, inputs: Tensor) -> Tensor:
        stream = self.norm(self.patches(self.stem(inputs)))
        for block in self.cells:
            stream = block(stream)
        features = self.pool(self.last(stream)).flatten(2)  # [T, N, D]
        return cast(Tensor, self.readout(features).mean(0))


def network_to_dict(network: SpikingTransformer) -> dict[str, Any]:
    """What config.json of a run holds of it."""
    return {"transformer": to_dict(network.genotype), "network": asdict(network.config)}


def network_from_dict(path: Path, data: dict[str, Any]) -> SpikingTransformer:
    """The inverse, without weights. Raises InputError, naming the file, for what is damaged."""
    config, known = data["network"], {f.name: f for f in fields(TransformerConfig)}
    needed = {name for name, f in known.items() if f.default is MISSING}
    if not isinstance(config, dict) or not needed <= config.keys() <= known.keys():
        raise InputError(f"'{path}': `network` must have the keys {', '.join(known)}.")
    shape = config["input_shape"]
    numbers = [config[name] for name in ("time_steps", "classes", "stem_stride")]
    if not isinstance(shape, list) or any(type(n) is not int for n in [*shape, *numbers]):
        raise InputError(f"'{path}': `network` has a value of a wrong type; copy it again.")
    return SpikingTransformer(
        from_dict(data["transformer"]), TransformerConfig(**config | {"input_shape": tuple(shape)})
    )
