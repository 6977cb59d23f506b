"""One scale for each level, and the weights that so many bits hold.

A level becomes one NetX layer with one threshold register, so it has one scale S, an even integer: a weight of one
threshold becomes S. With b bits the weights that were learnt are

    w = step * m,     m = -2^(b - 1) .. 2^(b - 1) - 1,     step = 2, 4, .. 2^(9 - b)

which is a mantissa of b bits, sign included, and an exponent: Loihi 1 has one format for each list of synapses, with 1,
2, 3, 4, 5, 6 or 8 bits [nengo-loihi nengo_loihi/block.py, SynapseConfig.WEIGHT_BITS_MAP], and Lava the same of each
matrix [Lava 0.10 lava/utils/weightutils.py, `truncate_weights`]. At 8 bits these are the even integers of [-256, 254].
Relays and pools have bits without a sign, at most 2^b - 1 times 2^(8 - b); a product has a sign, and its level a scale
that is twice one of its weights.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...errors import UnsupportedError
from ..graph import Array, Population, Projection, SpikingGraph
from ..settings import check_bits
from ..weight_scale import BIAS_MAX, NO_LIMIT, THRESHOLD_MAX, LevelScale, even, highest_scale, largest_scale
from .relays import levels

PEAK_ROOM = 2.0  # headroom of the readout's membrane above the largest one seen while calibrating


Scales = Mapping[int, LevelScale]  # level -> its scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The populations of a level and the projections that they read."""

    number: int
    members: tuple[Population, ...]
    incoming: tuple[Projection, ...]

    @property
    def is_readout(self) -> bool:
        return self.members[0].role == "readout"

    @property
    def learnt(self) -> tuple[Population, ...]:
        return tuple(m for m in self.members if computes(m))

    def read_by(self, member: Population) -> tuple[Projection, ...]:
        return tuple(p for p in self.incoming if p.target == member.name)


def levels_of(graph: SpikingGraph) -> tuple[Level, ...]:
    """Of a graph that went through `insert_relays`, the first level first; inputs are on none."""
    level = levels(graph)
    found = []
    for number in sorted(set(level.values()) - {0}):
        members = tuple(p for p in graph.populations if level[p.name] == number)
        incoming = tuple(p for member in members for p in graph.incoming(member.name))
        found.append(Level(number=number, members=members, incoming=incoming))
    return tuple(found)


def computes(population: Population) -> bool:
    """Whether its weights are learnt, not a relay's or a gate's."""
    return population.role in ("neuron", "readout")


def factor_of(population: Population, scale: float) -> float:
    """By which its weights and biases are multiplied."""
    return scale if population.role == "readout" else scale / float(population.threshold)


def largest_scales(graph: SpikingGraph, peak: float, bits: int = 8) -> dict[int, LevelScale]:
    """The scale of every level with which no weight and no bias is clipped.

    peak: the largest |membrane| of the readout (logits). Raises UnsupportedError where none is left.
    """
    check_bits(bits)
    return {level.number: level_scale(level, peak, bits) for level in levels_of(graph)}


def level_scale(level: Level, peak: float, bits: int = 8, clip: float = 1.0) -> LevelScale:
    """The largest scale at which the bits hold 1 / clip of the largest weight; `clip` above 1 clips what is larger."""
    weights = largest_weight(level) / clip
    biases = _largest(m.bias * factor_of(m, 1.0) for m in level.learnt)
    limits = [BIAS_MAX / biases if biases else NO_LIMIT]
    if level.is_readout:
        limits.append(THRESHOLD_MAX / (PEAK_ROOM * peak) if peak else NO_LIMIT)
    else:
        limits.append(highest_scale(bits))
    found = largest_scale(weights, limits, bits, partial(_whole, level, bits))
    if not level.is_readout and found.scale < 2:
        raise UnsupportedError(
            f"Population '{level.members[0].name}': weights up to {weights:.3g} and biases up to {biases:.3g} "
            f"thresholds leave scale {found.scale:.0f} in {bits}-bit weights; train with a higher weight decay."
        )
    return found


def _whole(level: Level, bits: int, scale: float) -> float:
    """That of a readout is any number, that of products is twice a weight, others are even."""
    if level.is_readout:
        return scale
    return _twice_a_weight(scale, bits) if any(m.role == "and" for m in level.members) else even(scale)


def weight_of_two(scale: float, bits: int) -> int:
    """The smallest weight of a product, even and of so many bits with its sign: two of it reach the scale."""
    half, step = -int(-scale // 2), 2
    while half > ((1 << bits - 1) - 1) * step:
        step *= 2
    return step * -int(-half // step)


def _twice_a_weight(scale: float, bits: int) -> int:
    """No higher than the scale: one spike of a product then leaves half of it, the least that it can."""
    half, step = int(scale / 2), 2
    while half // step > (1 << bits - 1) - 1:
        step *= 2
    return 2 * step * (half // step)


def largest_weight(level: Level) -> float:
    """In thresholds, or in logits of the readout."""
    return _largest(p.kernel.weight * factor_of(m, 1.0) for m in level.learnt for p in level.read_by(m))


def _largest(arrays: Iterable[Array]) -> float:
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)
