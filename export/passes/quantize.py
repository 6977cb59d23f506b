"""Float graph, every projection one level long -> the chip's integers.

A level becomes one NetX layer with one threshold register, so it has one scale S, an even integer:

    w = 2 * round(S / threshold * w / 2)      even, in [-256, 254]; fewer bits count in larger steps (scales.py)
    b = round(S / threshold * b)              13 bits, or an integer beside it (below)
    S = min(254 / max|w / threshold|, 4095 / max|b / threshold|, 252), rounded down, unless it was chosen otherwise

SpikingJelly fires on v >= threshold, the chip on v > 64 * register. In the chip's units v >= 64 * S means v > 64 * (S
- 1) for every multiple of 64, which a membrane is until it decays: the register holds S - 1, and a tie fires on both
sides. S is even because weights are: a weight of one threshold becomes S itself, neither more nor less. A relay or OR
population gets the weight 254: one spike is above every register value (<= 251), fires and resets to 0, so the layer's
decay never acts on it. The product of two spikes (AND) gets

    w = the smallest even integer of its bits with 2 w > register,

so that two spikes fire and one does not. What is left of one spike decays as its level does; if a spike in every step
of a window added up to the register, the AND would fire on one alone, and is refused.

The readout has no threshold: its scale keeps the largest expected membrane (`peak`) at half of what the highest
register, 2^17 - 1, lets through.

A neuron that gets no spikes is driven by its bias alone, and where a map is silent, as around the edges that an event
camera sees, all neurons of a channel are. If their membrane then comes near the threshold, the rounding of one bias
decides for all of them. So b is the integer next to its exact value with which such a neuron fires in the same steps of
a window as it did, if there is one.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import UnsupportedError
from ..graph import Array, Population, Projection, SpikingGraph
from ..simulate import DECAY_UNITY, STEP
from ..weight_scale import BIAS_MAX, THRESHOLD_MAX, LevelScale
from .scales import (
    Level,
    Scales,
    computes,
    factor_of,
    largest_scales,
    levels_of,
    weight_of_two,
)

DECAY_MAX = 4095  # 12-bit register of the membrane's decay [Lava 0.10 PyLifModelBitAcc docstring]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipLevel:
    """A level in the chip's integers."""

    members: tuple[Population, ...]
    incoming: tuple[Projection, ...]


def quantize(graph: SpikingGraph, peak: float, *, weight_bits: int = 8, scales: Scales | None = None) -> SpikingGraph:
    """Quantize a graph that went through `insert_relays`; a quantized graph is returned as it is.

    peak: the largest |membrane| of the readout over a calibration set (logits, no unit). weight_bits: 2 to 8, sign
    included. scales: those of the levels, where somebody has chosen them (`export/tuning/calibrate.py`); weights beyond
    what their bits hold are clipped. Raises UnsupportedError with the population that the chip's neuron cannot be.

    >>> network, images = spikeport.example_network()
    >>> peak = float(network(images).abs().max())
    >>> spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak).arithmetic
    'loihi'
    """
    if graph.arithmetic == "loihi":
        return graph
    chosen = levels_of(graph)
    for level in chosen:
        _registers(level)  # refused before a scale is
    scales = largest_scales(graph, peak, weight_bits) if scales is None else scales
    found = [quantize_level(level, scales[level.number], graph.time_steps) for level in chosen]
    return replace(
        graph,
        populations=tuple(member for level in found for member in level.members),
        projections=tuple(projection for level in found for projection in level.incoming),
        arithmetic="loihi",
    )


def quantize_level(level: Level, chosen: LevelScale, time_steps: int) -> ChipLevel:
    """One level at a scale."""
    decay, current_decay = _registers(level)
    register = THRESHOLD_MAX if level.is_readout else chosen.scale - 1
    members: list[Population] = []
    for member in level.members:
        factor = factor_of(member, chosen.scale)
        exact = member.bias * factor if computes(member) else np.zeros_like(member.bias)
        chip = replace(member, decay=decay, current_decay=current_decay, threshold=float(register), bias=exact)
        if member.role == "and":
            chip = replace(chip, bias=member.bias * weight_of_two(chosen.scale, chosen.bits))
            _check_forgets(chip, chosen, time_steps)
        members.append(replace(chip, bias=_rounded(member, chip, time_steps)))
    by_name = {member.name: member for member in level.members}
    incoming = tuple(
        replace(p, kernel=replace(p.kernel, weight=_integers(p.kernel.weight, by_name[p.target], chosen)))
        for p in level.incoming
    )
    return ChipLevel(members=tuple(members), incoming=incoming)


def _integers(weight: Array, target: Population, chosen: LevelScale) -> Array:
    if target.role == "and":
        return weight * weight_of_two(chosen.scale, chosen.bits)
    if not computes(target):
        return np.where(weight != 0.0, float(chosen.carrier), 0.0)
    rounded = chosen.step * np.round(weight * factor_of(target, chosen.scale) / chosen.step)
    return np.clip(rounded, chosen.bottom, chosen.top)


def _rounded(member: Population, chip: Population, time_steps: int) -> Array:
    """The integers for the exact biases of `chip` with which its neurons, left alone, fire as those of `member` do."""
    nearest = np.clip(np.round(chip.bias), -BIAS_MAX, BIAS_MAX)
    if member.role != "neuron":
        return nearest
    side = np.where(chip.bias > nearest, 1.0, -1.0)  # on which the exact value lies
    wanted, found, settled = _left_alone(member, "float", time_steps), nearest, np.zeros(nearest.shape, bool)
    for shift in (0.0, side, -side):
        tried = np.clip(nearest + shift, -BIAS_MAX, BIAS_MAX)
        same = (_left_alone(replace(chip, bias=tried), "loihi", time_steps) == wanted).all(0)
        found, settled = np.where(same & ~settled, tried, found), settled | same
    return found


def _left_alone(population: Population, arithmetic: str, time_steps: int) -> NDArray[np.bool_]:
    """In which steps of a window a neuron with each of the biases fires, if it gets no spikes, [T, biases]."""
    one = replace(population, shape=population.bias.shape)
    u = v = nothing = np.zeros(one.shape)
    fired = []
    for _ in range(time_steps):
        u, _, fires, v = STEP[arithmetic](one, u, v, nothing)
        fired.append(fires)
    return np.stack(fired)


def _check_forgets(gate: Population, chosen: LevelScale, time_steps: int) -> None:
    """Raises UnsupportedError where an AND that gets one spike in every step fires in the end."""
    one = replace(gate, shape=(1,), bias=np.array([float(weight_of_two(chosen.scale, chosen.bits))]))
    if _left_alone(one, "loihi", time_steps).any():
        raise UnsupportedError(
            f"Population '{gate.name}': a product of spikes must forget one spike before the next, but at T = "
            f"{time_steps} its level, whose membranes keep {gate.decay:.3g} of themselves, remembers too much in "
            f"{chosen.bits}-bit weights; take fewer time steps, neurons that leak more (a smaller tau) or more bits, "
            "add instead, or export to onnx."
        )


def _registers(level: Level) -> tuple[float, float]:
    """(decay, current decay) of the level, multiples of 1/4096. A relay or OR works with any decay of the membrane."""
    members, neurons = level.members, level.learnt or level.members
    first = neurons[0]
    for other in members:
        if other.threshold <= 0.0:
            raise UnsupportedError(
                f"Population '{other.name}': `threshold > 0` must hold, but threshold={other.threshold}; train with a "
                "positive v_threshold."
            )
        if other.reset != "zero":
            raise UnsupportedError(
                f"Population '{other.name}': NetX has no soft reset; train with v_reset=0.0 (reset to zero)."
            )
    for other in neurons:
        if (other.decay, other.current_decay) != (first.decay, first.current_decay):
            raise UnsupportedError(
                f"Populations '{first.name}' and '{other.name}' share a layer and must share decay and current_decay, "
                f"but have {first.decay}, {first.current_decay} and {other.decay}, {other.current_decay}."
            )
    if first.current_decay and len(neurons) < len(members):
        raise UnsupportedError(
            f"Population '{first.name}' keeps its synaptic current and shares a layer with relays, which must not."
        )
    lost = min(DECAY_MAX, round((1.0 - float(first.decay)) * DECAY_UNITY))
    return 1.0 - lost / DECAY_UNITY, round(float(first.current_decay) * DECAY_UNITY) / DECAY_UNITY
