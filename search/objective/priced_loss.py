"""What is minimised: the cross-entropy, and the price of spikes, synaptic operations and relays, all in nats.

    loss = cross-entropy + spike_weight * spikes + sop_weight * operations + relay_weight * relays

    spikes       max(0, S / target - 1) with a target for the spikes S of an inference, else S / reference
    operations   O / reference, of the synaptic operations O of an inference (synaptic_operations.py)
    relays       half their neurons, half the spikes that they send on, each over its reference (expected_relays.py)

A reference is what would be counted if every neuron spiked in one of five time steps (REFERENCE_RATE) and, for O, every
edge were an even mixture of the primitives; in a macro search, if all paths were alike (expected_over_paths.py). So
both terms are near 1 for an ordinary network: with a weight of 1, one percent more of it costs 0.01 nats, and to fall
silent gains about 1 nat (chance on 10 classes: 2.3 nats). The references of relays are means over random genotypes.

The price is the same for weights and alphas, in the search and in the training of what was found: a batch norm follows
the sum at a node, so that how much it spikes is up to the weights, and how many synapses a spike meets to the alphas.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor

from ..data.datasets import Images
from ..settings.network import PrimitiveSet
from ..settings.objective import ObjectiveSettings
from ..space.genotype import CellKind
from ..space.network import SpikingBackbone, SpikingNetwork
from ..space.primitives import PRIMITIVES
from ..supernet.macro import MacroSupernet
from ..supernet.supernet import EDGES, Supernet, one_hot
from ..supernet.trellis import Chances, chances_of, even_weights
from ..training.loop import EVALUATION_BATCH
from ..training.passes import Objective
from .expected_over_paths import expected_sops, expected_spikes
from .expected_relays import ExpectedRelays, relay_cost_of
from .spike_maps import NetworkSpikes, even_spikes, recording
from .synaptic_operations import sops_per_cell

REFERENCE_RATE = 0.2  # spikes per neuron and time step


class Price:
    """What a pass of a supernet or of the network built from a genotype costs beside its errors."""

    def __init__(self, network: Supernet | SpikingNetwork, settings: ObjectiveSettings) -> None:
        self.network: SpikingBackbone = network
        self.settings = settings
        if isinstance(network, Supernet):
            self._primitives, self._mixture = network.primitives, network.mixture
        else:
            self._primitives, self._mixture = network.genotype.primitives, partial(one_hot, network.genotype)
        self._chances: Callable[[], Chances | None] = lambda: None
        alike = None
        if isinstance(network, MacroSupernet):
            self._chances = network.chances
            alike = chances_of(network.trellis, *even_weights(network.trellis))
        even = even_spikes(network.config, network.plan, REFERENCE_RATE)
        self.reference_spikes = float(self._emitted(even, alike))
        self._relays = relay_cost_of(network, even) if settings.relay_weight else None
        self.reference_sops = float(total(self._per_cell(even, partial(even_mixture, self._primitives), alike)))

    def sops(self, spikes: NetworkSpikes) -> dict[str, Tensor]:
        """Synaptic operations per image: `cells.<i>` and `readout`; of a macro search those to be expected."""
        return self._per_cell(spikes, self._mixture, self._chances())

    def __call__(self, spikes: NetworkSpikes) -> Tensor:
        """A scalar, nats."""
        target, emitted = self.settings.target_spikes, self._emitted(spikes, self._chances())
        excess = (emitted / target - 1).clamp(min=0) if target else emitted / self.reference_spikes
        cost = self.settings.spike_weight * excess
        if self.settings.sop_weight:
            cost = cost + self.settings.sop_weight * total(self.sops(spikes)) / self.reference_sops
        if self._relays is not None:
            cost = cost + self.settings.relay_weight * self._relays(spikes)
        return cost

    def draw_from(self, rng: np.random.Generator) -> None:
        """What is drawn from now on, if anything, is drawn with these random numbers."""
        if isinstance(self._relays, ExpectedRelays):
            self._relays.draw_from(rng)

    def _emitted(self, spikes: NetworkSpikes, chances: Chances | None) -> Tensor:
        return spikes.total if chances is None else expected_spikes(spikes, chances)

    def _per_cell(
        self, spikes: NetworkSpikes, mixture: Callable[..., Tensor], chances: Chances | None
    ) -> dict[str, Tensor]:
        names, classes = list(PRIMITIVES[self._primitives]), self.network.config.classes
        if chances is None:
            return sops_per_cell(spikes, mixture, names, classes)
        return expected_sops(spikes, chances, mixture, names, classes)


def priced(objective: Objective, price: Price) -> Objective:
    """The objective and the price of the pass it makes; the objective itself where nothing has a price."""
    if not price.settings.has_a_price:
        return objective

    def with_price(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with recording(price.network) as spikes:
            loss, logits = objective(images, labels)
        return loss + price(spikes).to(loss.dtype), logits

    return with_price


def mean_sops(price: Price, images: Images) -> dict[str, float]:
    """Synaptic operations per image, `cells.<i>` and `readout`, in eval mode."""
    return _mean(price, images, price.sops)


def mean_sops_and_cost(price: Price, images: Images) -> tuple[float, float]:
    """Synaptic operations per image of the whole network, and the price of a pass in nats, in eval mode."""
    means = _mean(price, images, lambda spikes: price.sops(spikes) | {"cost": price(spikes)})
    cost = means.pop("cost")
    return sum(means.values()), cost


@torch.no_grad()
def _mean(price: Price, images: Images, measure: Callable[[NetworkSpikes], dict[str, Tensor]]) -> dict[str, float]:
    """Of what is measured of the spikes of each batch, the mean over the images."""
    network = price.network
    network.eval()
    device, sums = next(network.parameters()).device, dict[str, float]()
    for i in range(0, len(images), EVALUATION_BATCH):
        batch = torch.from_numpy(images[i : i + EVALUATION_BATCH]).to(device).float()
        reset_net(network)
        with recording(price.network) as spikes:
            network(batch)
        for name, value in measure(spikes).items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(batch)
    reset_net(network)
    return {name: value / len(images) for name, value in sums.items()}


def total(per_cell: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(per_cell.values())).sum()


def even_mixture(primitives: PrimitiveSet, kind: CellKind, place: int | None = None) -> Tensor:
    """[14 edges, primitives], all alike."""
    count = len(PRIMITIVES[primitives])
    return torch.full((len(EDGES), count), 1 / count, dtype=torch.float64)
