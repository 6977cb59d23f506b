"""Chips of which only totals are known: what a network needs in all, beside what the chip has in all.

This is necessary, not sufficient: a network within all totals may still not be placeable.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, prod

import numpy as np

from ....export.graph import Conv, Population, SpikingGraph, neurons
from ...synapses import synapses
from ..capacity import Chip
from ..wiring import value_bits
from .outcome import Break, LayerFit, Outcome, by_level

WEIGHT_BITS = 8  # of a weight in a processor's memory

Count = Callable[[SpikingGraph, Population], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a population needs of a limit of the chip.

    limits: their product is what a chip has. adds_up: the needs of all populations are summed, and more chips have
    more; otherwise each population must keep to the limit by itself, on whatever chip.
    """

    limits: tuple[str, ...]
    count: Count
    adds_up: bool
    why: str

    @property
    def name(self) -> str:
        return " x ".join(self.limits)

    def allowed(self, chip: Chip) -> float:
        """What one chip has; infinite where one of the limits is not known."""
        return prod(chip.allows(limit) for limit in self.limits)


def _stored_bits(graph: SpikingGraph, population: Population) -> int:
    weights = sum(np.count_nonzero(p.kernel.weight) for p in graph.incoming(population.name))
    return WEIGHT_BITS * int(weights)


def _synapses(graph: SpikingGraph, population: Population) -> int:
    shapes = graph.shapes()
    return sum(synapses(p, shapes[p.source], population.shape) for p in graph.incoming(population.name))


def _weight_bits(graph: SpikingGraph, population: Population) -> int:
    """0 where the weights are not integers yet."""
    if graph.arithmetic != "loihi":
        return 0
    return max((value_bits(p.kernel.weight) for p in graph.incoming(population.name)), default=0)


def _kernel_size(graph: SpikingGraph, population: Population) -> int:
    kernels = [p.kernel for p in graph.incoming(population.name)]
    return max(
        (
            dilation * (size - 1) + 1
            for kernel in kernels
            if isinstance(kernel, Conv)
            for dilation, size in zip(kernel.dilation, kernel.weight.shape[2:], strict=True)
        ),
        default=0,
    )


NEEDS = (
    Need(
        limits=("cores", "populations_per_core"),
        count=lambda graph, population: 1,
        adds_up=True,
        why="each population, relays and ORs too, takes a core of its own",
    ),
    Need(
        limits=("neurons",),
        count=lambda graph, population: neurons(population.shape),
        adds_up=True,
        why="so many neurons are used up to this level",
    ),
    Need(
        limits=("cores", "neurons_per_core"),
        count=lambda graph, population: neurons(population.shape),
        adds_up=True,
        why="so many neurons are used up to this level",
    ),
    Need(
        limits=("cores", "synapses_per_core"),
        count=_synapses,
        adds_up=True,
        why="every synapse is stored by itself, also those that share a weight",
    ),
    Need(
        limits=("cores", "local_bits_per_core"),
        count=_stored_bits,
        adds_up=True,
        why="the weights alone, each stored once in 8 bits, without states and code",
    ),
    Need(
        limits=("channels",),
        count=lambda graph, population: population.shape[0] if len(population.shape) == 3 else 0,
        adds_up=False,
        why="a population has more channels than a core",
    ),
    Need(
        limits=("image_size",),
        count=lambda graph, population: max(population.shape[1:], default=0),
        adds_up=False,
        why="a population has more rows or columns than a core",
    ),
    Need(
        limits=("kernel_size",),
        count=_kernel_size,
        adds_up=False,
        why="a kernel, dilation counted, reaches further than a core's",
    ),
    Need(limits=("weight_bits",), count=_weight_bits, adds_up=False, why="weights need more bits than they have"),
    Need(
        limits=("targets_per_population",),
        count=lambda graph, population: len({p.target for p in graph.outgoing(population.name)}),
        adds_up=False,
        why="the spikes of a population go to more populations than a core can send to",
    ),
)


def by_totals(graph: SpikingGraph, chip: Chip, chips: int, on_chip_inputs: frozenset[str]) -> Outcome:
    """The network beside the totals of so many chips. Inputs on the chip take none of what is compared."""
    needs = [need for need in NEEDS if need.allowed(chip) < inf]
    count = {need.name: {p.name: need.count(graph, p) for p in graph.populations} for need in needs}
    broken, layers = None, []
    used = dict.fromkeys(count, 0)
    for number, names in by_level(graph).items():
        for need in needs:
            used[need.name] += sum(count[need.name][name] for name in names)
            broken = broken or _broken(need, number, names, count[need.name], used[need.name], chip, chips)
        layers.append(_layer(graph, number, names, needs, count, chip))
    adding = [need for need in needs if need.adds_up]
    needed = max((ceil(used[need.name] / need.allowed(chip)) for need in adding), default=1)
    alone = all(max(count[need.name].values()) <= need.allowed(chip) for need in needs if not need.adds_up)
    per_core = chip.allows("populations_per_core")
    return Outcome(
        cores=ceil(len(graph.populations) / per_core) if per_core < inf else None,
        chips=needed if alone else None,
        first_break=broken,
        layers=tuple(layers),
    )


def _broken(
    need: Need, number: int, names: Sequence[str], count: Mapping[str, int], used: int, chip: Chip, chips: int
) -> Break | None:
    """What breaks at this level: all that is used up to it, or one population of it."""
    worst = max(names, key=lambda name: count[name])
    needed = used if need.adds_up else count[worst]
    allowed = int(need.allowed(chip)) * (chips if need.adds_up else 1)
    if needed <= allowed:
        return None
    return Break(layer=number, population=worst, limit=need.name, needed=needed, allowed=allowed, why=need.why)


def _layer(
    graph: SpikingGraph,
    number: int,
    names: tuple[str, ...],
    needs: Sequence[Need],
    count: Mapping[str, Mapping[str, int]],
    chip: Chip,
) -> LayerFit:
    """A level, and the total of one chip of which it takes the largest share."""
    shapes = graph.shapes()
    shares = [
        (sum(count[need.name][name] for name in names) / need.allowed(chip), need.name)
        for need in needs
        if need.adds_up
    ]
    use, limit = max(shares, default=(None, None))
    return LayerFit(
        layer=number,
        populations=names,
        neurons=sum(neurons(shapes[name]) for name in names),
        cores=None,
        limit=limit,
        use=use,
    )
