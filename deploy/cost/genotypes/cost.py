"""What a genotype takes of a chip, in a fraction of a second and without a torch network; and that as a score.

Levels, relays, neurons, synapses and cores are those of the network that would be traced, lowered and mapped before its
weights are rounded (graph.py); a weight that rounds to zero later is a synapse less. Energy and latency are by a price
list, of neurons that all spike at one rate (expected.py): as nobody knows it, they are told as an interval from LEAST
to MOST, and compared at USUAL, the rate at which a search prices networks that it has not trained.

Renamed nodes are another order of populations, so first-fit may fill cores otherwise: what is told is of this order,
which is the one that would be exported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ....errors import InputError, UnsupportedError
from ....export.graph import SpikingGraph, neurons
from ....export.passes import lower
from ....export.passes.relays import levels
from ....search.space.genotype import Genotype
from ....search.space.network import NetworkConfig
from ....setting import chosen
from ...mapping.capacity import find_chip
from ...mapping.core_mapping import RULES, map_graph
from ..prices import FIRST_PROFILE
from ..profiles import Profile, find_profile
from .expected import ExpectedTraffic, expected_counts, joules, sizes_of, step_seconds
from .graph import graph_of

LEAST, USUAL, MOST = 0.1, 0.2, 0.3  # spikes per neuron and time step


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRates:
    """The same number at three rates: LEAST, USUAL and MOST."""

    low: float
    usual: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is known without a chip; of the lowered graph, so with its relays."""

    levels: int
    relays: int  # neurons of relays
    neurons: int
    synapses: int
    sops: AtRates  # synaptic operations of one inference


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """On a chip of a price list. cores, chips: None where the chip's cores are not known or no cut fits, for `reason`.

    energy_j, latency_s: of one inference; None where the list has no such prices or needs cores. moved: messages and
    hops of one inference at USUAL; empty without cores.
    """

    size: Size
    cores: int | None
    chips: int | None
    energy_j: AtRates | None
    latency_s: AtRates | None
    moved: Mapping[str, float]
    reason: str


def size_of(genotype: Genotype, config: NetworkConfig) -> Size:
    """Levels, relays, neurons, synapses and SOPs: milliseconds. Raises UnsupportedError for attention."""
    return _size(lower(graph_of(genotype, config)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenotypeCost:
    """Genotype -> cost on the chip of a price list. What was asked for once is kept."""

    config: NetworkConfig
    profile: str = FIRST_PROFILE  # a name, or a file
    _known: dict[Genotype, Cost] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, genotype: Genotype) -> Cost:
        """Raises UnsupportedError for attention, InputError for an unknown price list."""
        if genotype not in self._known:
            self._known[genotype] = _cost(lower(graph_of(genotype, self.config)), find_profile(self.profile))
        return self._known[genotype]

    def objectives(self, genotype: Genotype) -> dict[str, float]:
        """Every quantity of QUANTITIES that is known, at USUAL; the lower the better."""
        found = self(genotype)
        values = {name: quantity.of(found) for name, quantity in QUANTITIES.items()}
        return {name: float(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What can be asked of a cost; None where it is not known."""

    unit: str
    of: Callable[[Cost], float | None]


def _usual(rates: AtRates | None) -> float | None:
    return None if rates is None else rates.usual


QUANTITIES: Mapping[str, Quantity] = {
    "levels": Quantity(unit="levels", of=lambda cost: cost.size.levels),
    "relays": Quantity(unit="neurons", of=lambda cost: cost.size.relays),
    "neurons": Quantity(unit="neurons", of=lambda cost: cost.size.neurons),
    "synapses": Quantity(unit="synapses", of=lambda cost: cost.size.synapses),
    "sops_on_chip": Quantity(unit="synaptic operations per inference", of=lambda cost: cost.size.sops.usual),
    "cores": Quantity(unit="cores", of=lambda cost: cost.cores),
    "chips": Quantity(unit="chips", of=lambda cost: cost.chips),
    "energy_j": Quantity(unit="J per inference", of=lambda cost: _usual(cost.energy_j)),
    "latency_s": Quantity(unit="s per inference", of=lambda cost: _usual(cost.latency_s)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostScore:
    """A quantity of a cost as a score of a search: minus what it takes, minus infinity where that is not known."""

    name: str
    cost: GenotypeCost
    needs: Literal["nothing"] = "nothing"

    @property
    def unit(self) -> str:
        return f"minus {QUANTITIES[self.name].unit}"

    def __call__(self, genotype: Genotype) -> float:
        return -self.cost.objectives(genotype).get(self.name, float("inf"))


def cost_score(name: str, config: NetworkConfig, profile: str = FIRST_PROFILE) -> CostScore:
    """Raises InputError for an unknown quantity or price list, and for a quantity that the list has no prices for."""
    chosen("cost", name, tuple(QUANTITIES))
    found = find_profile(profile)
    timed = found.step is not None or found.sender or found.receiver
    lacking = {"latency_s": not timed, "energy_j": not found.energy}
    if lacking.get(name):
        raise InputError(f"Profile '{found.name}' has no prices for {name}; choose another price list or quantity.")
    return CostScore(name=name, cost=GenotypeCost(config=config, profile=profile))


def _size(graph: SpikingGraph) -> Size:
    sizes = sizes_of(graph)
    synapses = sum(sizes.synapses.values())
    return Size(
        levels=max(levels(graph).values()),
        relays=sum(neurons(population.shape) for population in graph.populations if population.role == "relay"),
        neurons=sizes.neurons,
        synapses=synapses,
        sops=_at_rates(lambda rate: rate * sizes.time_steps * synapses),
    )


def _cost(graph: SpikingGraph, profile: Profile) -> Cost:
    """Of a lowered graph."""
    size, sizes = _size(graph), sizes_of(graph)
    traffic, reason = _mapped(graph, profile)
    moved = {} if traffic is None else traffic.moved
    chips = traffic.mapping.chips if traffic else None
    depth = size.levels

    def latency(rate: float) -> float | None:
        step = step_seconds(profile, traffic, rate)
        return None if step is None else (sizes.time_steps + depth) * step

    def energy(rate: float) -> float | None:
        counts = expected_counts(sizes, rate, moved)
        return joules(profile, counts, step_seconds(profile, traffic, rate), chips or 1, sizes.time_steps)

    return Cost(
        size=size,
        cores=traffic.mapping.cores if traffic else None,
        chips=chips,
        energy_j=_known_at_rates(energy),
        latency_s=_known_at_rates(latency),
        moved={name: USUAL * sizes.time_steps * number for name, number in moved.items()},
        reason=reason,
    )


def _mapped(graph: SpikingGraph, profile: Profile) -> tuple[ExpectedTraffic | None, str]:
    """And why there is none."""
    if profile.chip is None:
        return None, f"the price list '{profile.name}' is of no chip"
    chip = find_chip(profile.chip)
    if chip.rule not in RULES:
        return None, f"what lies on which core of {chip.title} is not known"
    try:
        return ExpectedTraffic(graph, map_graph(graph, chip)), ""
    except UnsupportedError as error:
        return None, str(error)


def _at_rates(of: Callable[[float], float]) -> AtRates:
    return AtRates(low=of(LEAST), usual=of(USUAL), high=of(MOST))


def _known_at_rates(of: Callable[[float], float | None]) -> AtRates | None:
    found = [of(rate) for rate in (LEAST, USUAL, MOST)]
    low, usual, high = found
    if low is None or usual is None or high is None:
        return None
    return AtRates(low=low, usual=usual, high=high)
