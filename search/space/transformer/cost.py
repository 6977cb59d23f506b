"""What a transformer would take, before any training: its parameters, and synaptic operations at a reference rate.

On a chip a current is not kept for others to read: every layer of neurons that reads the stream has its own synapses
from all that was added to it before. So shortcuts cost synapses that grow with the square of the depth: they count.
A neuron spikes in RATE of the time steps, a product of two in RATE^2.
"""

from dataclasses import dataclass

import torch

from .genotype import Block, Transformer
from .network import SpikingTransformer, TransformerConfig

RATE = 0.2  # as priced_loss.py has it


@dataclass(frozen=True, slots=True)
class Source:
    """Neurons, at which rate they spike, and how many synapses leave all of them."""

    rate: float
    synapses: int


def parameters(genotype: Transformer, config: TransformerConfig) -> int:
    with torch.device("meta"):
        network = SpikingTransformer(genotype, config)
    return sum(parameter.numel() for parameter in network.parameters())


def reference_sops(genotype: Transformer, config: TransformerConfig) -> float:
    """Synaptic operations of an inference, if every neuron spiked in RATE of the steps."""
    return config.time_steps * sum(source.rate * source.synapses for source in sources(genotype, config))


def sources(genotype: Transformer, config: TransformerConfig) -> list[Source]:
    """All layers of neurons of the graph that an export makes, in no order."""
    rows, columns = config.grid
    tokens, width = rows * columns, genotype.width
    # the taps of a 3x3 kernel of stride 2 that lie within the map
    patches = width * width * (3 * rows - 1) * (3 * columns - 1)
    stream = [Source(RATE, patches)]  # for each reader of the stream
    found: list[Source] = []
    for block in genotype.blocks:
        found += stream + _attention(block, width, tokens)
        stream = [*stream, Source(RATE**2, tokens * width * width)]
        hidden = tokens * block.ratio * width * width
        found += [*stream, Source(RATE, hidden)]
        stream = [*stream, Source(RATE, hidden)]
    return [*found, *stream, Source(RATE, tokens * width * config.classes)]


def _attention(block: Block, width: int, tokens: int) -> list[Source]:
    """Of the neurons that enter it, its q, k, v, gates and inner products; those that leave it are of the stream."""
    each = tokens * width
    if block.attention == "tokens":  # q: its head's gate; k: a product; gate: its head's products
        return [Source(RATE, 2 * each * width), Source(RATE, each), Source(RATE, each), Source(RATE, each)]
    products = [Source(RATE, each), Source(RATE, each), Source(RATE**2, each)]  # k, v; k AND v: its channel's gate
    return [Source(RATE, 3 * each * width), *products, Source(RATE, each), Source(RATE, each)]  # q; gate: q AND gate
