"""What relays are to be expected to cost, and how that changes with the architecture weights.

    cost = (relay neurons / their reference + spikes sent on by relays / their reference) / 2

Of a genotype it is a fact (relays.py). Levels are the maximum over paths and relays a linear program of them, so
between genotypes there is nothing to mix: weights that relax the levels would price networks that are none. Instead
genotypes are drawn as a search draws its contenders, the strongest edges and primitives of z = alphas + Gumbel noise,
and the expectation of their cost is followed by its score function, which needs no derivative of the cost:

    d E[cost] / d alpha = E[(cost - baseline) * d log p(z) / d alpha]        d log p(z) / d alpha = 1 - exp(alpha - z)

(Williams 1992; the baseline of a draw is the mean of the others, Kool et al. 2019). It is unbiased, and exact where the
alphas are so far apart that all draws are one genotype. The spikes are those of the mixture, and a draw that sends more
of them on prices each the more: by them the cost has its own derivative.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ..settings.network import PrimitiveSet
from ..space.genotype import CELL_KINDS, CellKind, Edge, Genotype, Layer, random_genotype
from ..space.network import NetworkConfig, SpikingNetwork
from ..supernet.macro import MacroSupernet
from ..supernet.supernet import Supernet, derive
from .relays import Waiting, relay_neurons, relay_spikes, relays_of
from .spike_maps import NetworkSpikes

DRAWS = 8  # genotypes for one step of the alphas
ORDINARY = 32  # genotypes whose mean is the reference


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Relay neurons, and spikes that relays send on, of an ordinary network; 1 where it needs none."""

    neurons: float
    spikes: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """noisy: kind of cell -> z [14 edges, primitives], no gradient; waiting: of the genotype that they are."""

    noisy: Mapping[CellKind, Tensor]
    waiting: tuple[Waiting, ...]


def relay_cost(waiting: tuple[Waiting, ...], spikes: NetworkSpikes, references: References) -> Tensor:
    """A scalar, float64, 1 of an ordinary network; differentiable by the spikes."""
    return (relay_neurons(waiting) / references.neurons + relay_spikes(waiting, spikes) / references.spikes) / 2


class ExpectedRelays:
    """Of a supernet; draws anew whenever the alphas have changed."""

    def __init__(self, supernet: Supernet, references: References) -> None:
        self._supernet, self._references = supernet, references
        self._rng = np.random.default_rng(0)
        self._drawn: tuple[tuple[int, ...], list[Drawn]] = ((), [])

    def draw_from(self, rng: np.random.Generator) -> None:
        """Go on with other random numbers, so that a search that was killed draws what it would have drawn."""
        self._rng, self._drawn = rng, ((), [])

    def __call__(self, spikes: NetworkSpikes) -> Tensor:
        """The mean over the draws, with the gradient above."""
        draws = self._draws()
        costs = torch.stack([relay_cost(drawn.waiting, spikes, self._references) for drawn in draws])
        told = torch.stack([self._log_density(drawn) for drawn in draws]).to(costs.device)
        above = (costs[:, None] - costs).sum(1) / (len(draws) - 1)  # the mean of the others; of equals exactly 0
        score = (above.detach() * (told - told.detach())).mean()
        return costs[0] + (costs - costs[0]).mean() + score

    def _draws(self) -> list[Drawn]:
        state = tuple(alphas._version for alphas in self._supernet.alphas.values())
        if not self._drawn[1] or self._drawn[0] != state:
            self._drawn = (state, [self._draw() for _ in range(DRAWS)])
        return self._drawn[1]

    def _draw(self) -> Drawn:
        noisy: dict[CellKind, Tensor] = {}
        cells: dict[CellKind, tuple[Edge, ...]] = {}
        for kind in CELL_KINDS:
            alphas = self._supernet.masked(kind).detach().cpu().double()
            noisy[kind] = alphas + torch.from_numpy(self._rng.gumbel(size=tuple(alphas.shape)))
            cells[kind] = derive(noisy[kind], self._supernet.primitives, self._supernet.relaxation)
        genotype = Genotype(self._supernet.primitives, cells["normal"], cells["reduce"])
        return Drawn(noisy, relays_of(genotype, self._supernet.config))

    def _log_density(self, drawn: Drawn) -> Tensor:
        """log p(z | alphas) of the primitives that are allowed, but for what no alpha changes."""
        total = torch.zeros((), dtype=torch.float64)
        for kind in CELL_KINDS:
            alphas = cast(Tensor, self._supernet.alphas[kind]).cpu().double()
            there = drawn.noisy[kind].isfinite()
            above = (drawn.noisy[kind] - alphas)[there]
            total = total - (above + (-above).exp()).sum()
        return total


def relay_cost_of(
    network: Supernet | SpikingNetwork, even: NetworkSpikes
) -> ExpectedRelays | Callable[[NetworkSpikes], Tensor]:
    """Spikes of a pass -> the cost of its relays. even: the spikes of an ordinary network of these cells.

    Raises InputError for gates made of spikes, for a trellis of paths, for cells of every layer that are searched, and
    for nodes that leak unequally, which stand on other levels: their relays have no rule here.
    """
    if network.config.attention == "spike":
        raise InputError("Relays behind gates made of spikes have no price; set relay_weight to 0.")
    if isinstance(network, MacroSupernet):
        raise InputError("Relays of a search over paths have no price; set relay_weight to 0.")
    leaks = network.decay_alphas if isinstance(network, Supernet) else network.genotype.decays
    if leaks:
        raise InputError("Relays of nodes that leak unequally have no price; set relay_weight to 0.")
    if isinstance(network, Supernet) and network.own:
        raise InputError("Relays of a search of cells for every layer have no price; set relay_weight to 0.")
    if isinstance(network, Supernet):
        return ExpectedRelays(network, _references(network.primitives, None, network.config, even))
    genotype, config = network.genotype, network.config
    references = _references(genotype.primitives, genotype.layers, config, even)
    return partial(relay_cost, relays_of(genotype, config), references=references)


def _references(
    primitives: PrimitiveSet, layers: tuple[Layer, ...] | None, config: NetworkConfig, even: NetworkSpikes
) -> References:
    """The mean over genotypes that are drawn at random, on the same path."""
    rng = np.random.default_rng(0)
    ordinary = [replace(random_genotype(rng, primitives), layers=layers) for _ in range(ORDINARY)]
    each = [relays_of(genotype, config) for genotype in ordinary]
    neurons = sum(map(relay_neurons, each)) / ORDINARY
    sent = sum(float(relay_spikes(waiting, even)) for waiting in each) / ORDINARY
    return References(neurons=max(1.0, neurons), spikes=max(1.0, sent))
