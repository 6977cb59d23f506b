"""Float graph, every projection one level long -> the chip's integers.

A level becomes one NetX layer with one threshold register, so it has one scale S, an even integer:

    w = 2 * round(S / threshold * w / 2)      even, in [-256, 254]
    b = round(S / threshold * b)              13 bits, or an integer beside it (below)
    S = min(254 / max|w / threshold|, 4095 / max|b / threshold|, 252), rounded down

SpikingJelly fires on v >= threshold, the chip on v > 64 * register. In the chip's units v >= 64 * S means v > 64 * (S
- 1) for every multiple of 64, which a membrane is until it decays: the register holds S - 1, and a tie fires on both
sides. S is even because weights are: a weight of one threshold becomes S itself, neither more nor less. A relay or OR
population gets the weight 254: one spike is above every register value (<= 251), fires and resets to 0, so the layer's
decay never acts on it. The product of two spikes (AND) gets

    w = the smallest even integer with 2 w > register,

so that two spikes fire and one does not. What is left of one spike decays as its level does; if a spike in every step
of a window added up to the register, the AND would fire on one alone, and is refused.

The readout has no threshold: its scale keeps the largest expected membrane (`peak`) at half of what the highest
register, 2^17 - 1, lets through.

A neuron that gets no spikes is driven by its bias alone, and where a map is silent, as around the edges that an event
camera sees, all neurons of a channel are. If their membrane then comes near the threshold, the rounding of one bias
decides for all of them. So b is the integer next to its exact value with which such a neuron fires in the same steps of
a window as it did, if there is one.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import UnsupportedError
from ..graph import Array, Population, Projection, SpikingGraph
from ..simulate import DECAY_UNITY, STEP
from .relays import levels

WEIGHT_MAX = 254  # 8-bit weights in steps of 2: [-256, 254] [lava-dl 0.6.0 netx/utils.py optimize_weight_bits]
BIAS_MAX = 4095  # 13-bit signed mantissa, exponent 6 [Lava 0.10 PyLifModelBitAcc docstring]
THRESHOLD_MAX = 2**17 - 1  # 17-bit unsigned mantissa [same]
DECAY_MAX = 4095  # 12-bit register of the membrane's decay [same]
SCALE_MAX = 252  # even, and so that the relay's weight 254 stays above the register S - 1
NO_LIMIT = np.finfo(np.float64).max  # finite, so that a weight of 0 stays 0 at any scale
PEAK_ROOM = 2.0  # headroom of the readout's membrane above the largest one seen while calibrating


def quantize(graph: SpikingGraph, peak: float) -> SpikingGraph:
    """Quantize a graph that went through `insert_relays`; a quantized graph is returned as it is.

    peak: the largest |membrane| of the readout over a calibration set (logits, no unit). Raises UnsupportedError with
    the population that the chip's neuron cannot be.

    >>> network, images = spikeport.example_network()
    >>> peak = float(network(images).abs().max())
    >>> spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak).arithmetic
    'loihi'
    """
    if graph.arithmetic == "loihi":
        return graph
    level = levels(graph)
    populations: list[Population] = []
    projections: list[Projection] = []
    for number in sorted(set(level.values()) - {0}):
        members = [p for p in graph.populations if level[p.name] == number]
        incoming = [p for member in members for p in graph.incoming(member.name)]
        decay, current_decay = _registers(members)
        scale = _scale(members, incoming, peak)
        register = THRESHOLD_MAX if members[0].role == "readout" else scale - 1
        factor = {p.name: _factor(p, scale) for p in members}
        for member in members:
            exact = member.bias * factor[member.name] if _computes(member) else np.zeros_like(member.bias)
            chip = replace(member, decay=decay, current_decay=current_decay, threshold=float(register), bias=exact)
            if member.role == "and":
                chip = replace(chip, bias=member.bias * _of_two(register))
                _check_forgets(chip, register, graph.time_steps)
            populations.append(replace(chip, bias=_rounded(member, chip, graph.time_steps)))
        for projection in incoming:
            member = next(m for m in members if m.name == projection.target)
            if member.role == "and":
                weight = projection.kernel.weight * _of_two(register)
            else:
                weight = _even(projection.kernel.weight, factor[member.name], _computes(member))
            projections.append(replace(projection, kernel=replace(projection.kernel, weight=weight)))
    return replace(graph, populations=tuple(populations), projections=tuple(projections), arithmetic="loihi")


def _rounded(member: Population, chip: Population, time_steps: int) -> Array:
    """The integers for the exact biases of `chip` with which its neurons, left alone, fire as those of `member` do."""
    nearest = np.round(chip.bias)
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


def _of_two(register: float) -> float:
    """The smallest even weight of which two are above the register."""
    return 2.0 * (int(register) // 4 + 1)


def _check_forgets(gate: Population, register: float, time_steps: int) -> None:
    """Raises UnsupportedError where an AND that gets one spike in every step fires in the end."""
    one = replace(gate, shape=(1,), bias=np.array([_of_two(register)]))
    if _left_alone(one, "loihi", time_steps).any():
        raise UnsupportedError(
            f"Population '{gate.name}': a product of spikes must forget one spike before the next, but at T = "
            f"{time_steps} its level, whose membranes keep {gate.decay:.3g} of themselves, remembers too much; take "
            "fewer time steps or neurons that leak more (a smaller tau), add instead, or export to onnx."
        )


def _computes(population: Population) -> bool:
    """Whether its weights are learnt, not a relay's or a gate's."""
    return population.role in ("neuron", "readout")


def _factor(population: Population, scale: float) -> float:
    return scale if population.role == "readout" else scale / float(population.threshold)


def _even(weight: Array, factor: float, learnt: bool) -> Array:
    if learnt:
        return 2.0 * np.round(weight * factor / 2.0)
    return np.where(weight != 0.0, float(WEIGHT_MAX), 0.0)


def _scale(members: list[Population], incoming: list[Projection], peak: float) -> float:
    learnt = {m.name: _factor(m, 1.0) for m in members if _computes(m)}
    weights = _largest(p.kernel.weight * learnt[p.target] for p in incoming if p.target in learnt)
    biases = _largest(m.bias * learnt[m.name] for m in members if m.name in learnt)
    limits = [WEIGHT_MAX / weights if weights else NO_LIMIT, BIAS_MAX / biases if biases else NO_LIMIT]
    if members[0].role == "readout":
        return float(min(*limits, THRESHOLD_MAX / (PEAK_ROOM * peak) if peak else NO_LIMIT))
    scale = 2 * int(min(*limits, SCALE_MAX) / 2)
    if scale < 2:
        raise UnsupportedError(
            f"Population '{members[0].name}': weights up to {weights:.3g} and biases up to {biases:.3g} thresholds "
            f"leave scale {scale} in 8-bit weights; train with a higher weight decay."
        )
    return scale


def _largest(arrays: Iterable[Array]) -> float:
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)


def _registers(members: list[Population]) -> tuple[float, float]:
    """(decay, current decay) of the level, multiples of 1/4096. A relay or OR works with any decay of the membrane."""
    neurons = [m for m in members if _computes(m)] or members
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
