"""Sizes: what a network has and does before anything is learned. They beat many elaborate scores (arXiv 2307.01998).

    parameters     their number
    sops           synaptic operations per inference if every neuron spiked in REFERENCE_RATE of the time steps
    sops_initial   the same at the spikes of the untrained network on the batch
    autost         operations / 1e9 + LAMBDA / NASWOT (AutoST, arXiv 2307.00293, as its code has it)

What changes for spikes: floating-point operations become synaptic operations, spikes times fan-out; relays, which
depend on levels, are not among them (deploy/cost/genotypes.py has those, too).

AutoST's published lambda is 0, which leaves the operations alone, and those of AutoST are dense ones; here they are the
SOPs of neurons that spike in every step, and lambda is 1 so that the second term is there. As in the code, it falls as
NASWOT grows. A network whose NASWOT is minus infinity or not positive has no such score: minus infinity.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch

from ..objective.priced_loss import REFERENCE_RATE
from ..objective.spike_maps import NetworkSpikes, even_spikes, recording
from ..objective.synaptic_operations import sops_per_cell
from ..space.genotype import INPUTS, NODES, Genotype
from ..space.layout import STEM_MULTIPLIER
from ..space.network import NetworkConfig, SpikingNetwork, count_parameters
from ..space.primitives import PRIMITIVES
from ..supernet.supernet import one_hot
from .codes import naswot
from .score import Batch, Context
from .untrained import answers

LAMBDA = 1.0
NORM = 2  # weights of a batch norm for each channel


Weights = Callable[[int, bool, int], int]


def _separable(kernel: int) -> Weights:
    return lambda channels, halves, axes: kernel**axes * channels + channels**2


def _full(kernel: int) -> Weights:
    return lambda channels, halves, axes: kernel**axes * channels**2


# (channels, whether the edge halves the map, axes of a kernel: 1 of signals of one row) -> weights
WEIGHTS: Mapping[str, Weights] = {
    "max_pool_3x3": lambda channels, halves, axes: 0,
    "avg_pool_3x3": lambda channels, halves, axes: 0,
    "skip_connect": lambda channels, halves, axes: channels**2 if halves else 0,
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "dil_conv_3x3": _separable(3),
    "dil_conv_5x5": _separable(5),
    "conv_3x3": _full(3),
    "conv_5x5": _full(5),
}


def parameters(genotype: Genotype, context: Context) -> float:
    config = context.config
    config.check_genotype(genotype)
    if config.attention != "none":  # whose layers are counted where they are built
        with torch.device("meta"):  # no numbers are drawn
            return float(count_parameters(SpikingNetwork(genotype, config)))
    stem = STEM_MULTIPLIER * config.channels
    plan, axes = config.plan(genotype.layers), 1 if config.one_row else 2
    found = 3**axes * config.input_shape[0] * stem + NORM * stem
    for place, cell in enumerate(plan):
        found += cell.channels * sum(cell.in_channels) + NORM * cell.channels * (INPUTS + NODES)
        for edge in genotype.cell(cell.kind, place):
            found += WEIGHTS[edge.primitive](cell.channels, cell.kind == "reduce" and edge.source < INPUTS, axes)
    return float(found + (NODES * plan[-1].channels + 1) * config.classes)


def sops(genotype: Genotype, context: Context) -> float:
    return sops_at(genotype, context.config, REFERENCE_RATE)


def sops_at(genotype: Genotype, config: NetworkConfig, rate: float) -> float:
    """Per inference, of neurons and max-pools that spike in this share of the time steps."""
    return _sops(even_spikes(config, config.plan(genotype.layers), rate), genotype, config.classes)


def sops_initial(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    with torch.no_grad(), recording(network) as spikes:
        answers(network, batch.images)
    return _sops(spikes, network.genotype, network.config.classes)


def autost(network: SpikingNetwork, batch: Batch, seed: int) -> float:
    return autost_of(sops_at(network.genotype, network.config, 1.0), naswot(network, batch, seed))


def autost_of(operations: float, separation: float) -> float:
    """separation: NASWOT."""
    return operations / 1e9 + LAMBDA / separation if 0 < separation < torch.inf else -torch.inf


def _sops(spikes: NetworkSpikes, genotype: Genotype, classes: int) -> float:
    mixture: Callable[..., torch.Tensor] = partial(one_hot, genotype)
    return float(sum(sops_per_cell(spikes, mixture, list(PRIMITIVES[genotype.primitives]), classes).values()))
