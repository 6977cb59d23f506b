"""What a SpikingGraph means, in NumPy, step by step.

Plain and slow on purpose: every fast or foreign form is tested against this file. "float" arithmetic is the docstring
of `Population`; "loihi" arithmetic is that of Lava 0.10 (lava/proc/lif/models.py, `PyLifModelBitAcc`), all in integers:

    u = trunc(u * current_decay) + 64 * a          a = sum of weights of arriving spikes; u wraps at 2^23
    v = clip(trunc(v * decay) + u + 64 * bias, +-(2^23 - 1))
    spike = v > 64 * threshold;  v = 0 where it spiked                      trunc rounds toward zero
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .graph import Array, Conv, Dense, Kernel, PerNeuron, Population, Projection, SpikingGraph, per_neuron

Spikes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Values = NDArray[Any]  # float64, or int64 in "loihi" arithmetic

STATE_LIMIT = 2**23  # current and membrane are 24-bit signed [Lava 0.10 PyLifModelBitAcc: max_uv_val]
MANTISSA_SHIFT = 6  # weight, bias and threshold mantissas count 2^6 membrane units [same: act_shift, vth_shift]
DECAY_UNITY = 4096  # decays count 1/4096 [same: decay_unity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a run left behind.

    spikes: population -> uint8 [T, N, *shape], inputs included, the readout not. membranes: population -> the membrane
    compared with the threshold, before reset, [T, N, *shape] (float64, or int64 in "loihi" arithmetic). active:
    population -> [T, N, *shape], where the current or that membrane was not zero.
    """

    spikes: dict[str, Spikes]
    membranes: dict[str, Array | Integers]
    active: dict[str, NDArray[np.bool_]]
    readout: Array | Integers  # [T, N, *shape]: the readout's membrane after each step; the last one is the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What N streams carry from one time step to the next.

    step: steps since a window began; at a multiple of the graph's T currents and membranes are zero.
    currents, membranes: population -> [N, *shape].
    spikes: input or population -> uint8 [`lag_of(graph)`, N, *shape], of the last steps.
    """

    step: int
    currents: dict[str, Values]
    membranes: dict[str, Values]
    spikes: dict[str, Spikes]


def silence(graph: SpikingGraph, samples: int) -> State:
    """The state of streams before which nothing was."""
    lag = lag_of(graph)
    zero: dict[str, Values] = {p.name: np.zeros((samples, *p.shape)) for p in graph.populations}
    spikes = {name: np.zeros((lag, samples, *shape), np.uint8) for name, shape in graph.shapes().items()}
    return State(step=0, currents=zero, membranes=zero, spikes=spikes)


def lag_of(graph: SpikingGraph) -> int:
    """The most steps that a synapse looks back: its delay, and one more where it is recurrent."""
    longest = [0 if p.delay is None else int(p.delay.max(initial=0)) for p in graph.projections]
    return max((d + (p.source == p.target) for d, p in zip(longest, graph.projections, strict=True)), default=0)


def simulate(graph: SpikingGraph, inputs: Mapping[str, Spikes], windows: int = 1) -> Trace:
    """Run the graph on spikes [windows * T, N, *shape] per input, with `windows` windows of T time steps back to back.

    Currents and membranes are zero at the first step of each window; spikes under way in a recurrent or delayed synapse
    are not, as in Lava (proc/lif/models.py, `PyLifResetModelBitAcc`).

    Raises InputError when an input is missing, has another shape or is not 0 or 1.
    """
    _check_inputs(graph, inputs, windows)
    return advance(graph, inputs, silence(graph, next(iter(inputs.values())).shape[1]))[0]


def advance(graph: SpikingGraph, inputs: Mapping[str, Spikes], state: State) -> tuple[Trace, State]:
    """Go on from a state for as many steps as there are in the spikes [steps, N, *shape] per input, of 0 and 1."""
    lag = lag_of(graph)
    spikes = {name: _after(state.spikes[name], np.asarray(value, np.uint8)) for name, value in inputs.items()}
    currents, last = dict(state.currents), dict(state.membranes)
    membranes: dict[str, Array | Integers] = {}
    active: dict[str, NDArray[np.bool_]] = {}
    step = STEP[graph.arithmetic]
    steps, samples = next(iter(inputs.values())).shape[:2]
    for population in graph.populations:  # feed-forward: a population needs only complete earlier ones
        name, shape = population.name, (samples, *population.shape)
        u, v = currents[name], last[name]
        fired = spikes[name] = _after(state.spikes[name], np.zeros((steps, *shape), np.uint8))
        membrane, left, moved = [], [], []
        for t in range(steps):
            if (state.step + t) % graph.time_steps == 0:
                u, v = np.zeros(shape), np.zeros(shape)
            a = np.zeros(shape)
            for projection in graph.incoming(name):
                a += _arriving(projection, spikes[projection.source], lag + t).reshape(shape)
            u, v_before, fires, v = step(population, u, v, a)
            fired[lag + t] = fires
            membrane.append(v_before)
            left.append(v)
            moved.append((u != 0) | (v_before != 0))
        membranes[name], active[name] = np.stack(membrane), np.stack(moved)
        currents[name], last[name] = u, v
    kept = {name: fired[len(fired) - lag :].copy() for name, fired in spikes.items()}  # a view would keep all
    after = State(step=state.step + steps, currents=currents, membranes=last, spikes=kept)
    silent = {p.name for p in graph.populations if p.role == "readout"}
    found = {name: fired[lag:] for name, fired in spikes.items() if name not in silent}
    return Trace(spikes=found, membranes=membranes, active=active, readout=np.stack(left)), after


def _after(before: Spikes, spikes: Spikes) -> Spikes:
    return np.concatenate([before, spikes]) if len(before) else spikes


def _arriving(projection: Projection, spikes: Spikes, t: int) -> Array:
    """What a projection adds to the current of step t; a recurrent one reads one step further back."""
    back = int(projection.source == projection.target)
    if projection.delay is None:
        return apply(projection.kernel, spikes[t - back])
    total = np.zeros((spikes.shape[1], len(projection.kernel.weight)))
    for delay in np.unique(projection.delay).tolist():
        weight = np.where(projection.delay == delay, projection.kernel.weight, 0.0)
        total += apply(Dense(weight=weight), spikes[t - back - delay])
    return total


def apply(kernel: Kernel, spikes: NDArray[np.generic]) -> Array:
    """Kernel times spikes: [N, C, H, W] (or [N, I]) -> [N, O, H', W'] (or [N, O]) in float64, exact for integers."""
    x = spikes.astype(np.float64)
    if isinstance(kernel, Dense):
        weight = np.ascontiguousarray(kernel.weight)  # BLAS adds up in an order that depends on how it lies in memory
        return np.asarray(x.reshape(len(x), -1) @ weight.T)
    return _convolve(kernel, x)


def _convolve(kernel: Conv, x: Array) -> Array:
    (sy, sx), (py, px), (dy, dx) = kernel.stride, kernel.padding, kernel.dilation
    out_channels, height, width = kernel.output_shape(x.shape[1:])
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    per_group = x.shape[1] // kernel.groups
    out = np.zeros((len(x), kernel.groups, out_channels // kernel.groups, height, width))
    x = x.reshape(len(x), kernel.groups, per_group, *x.shape[2:])
    weight = kernel.weight.reshape(kernel.groups, -1, *kernel.weight.shape[1:])
    whole = bool((weight == np.rint(weight)).all())  # then any order of adding gives the same, also that of BLAS
    for i in range(weight.shape[3]):
        for j in range(weight.shape[4]):
            rows = slice(i * dy, i * dy + sy * (height - 1) + 1, sy)
            columns = slice(j * dx, j * dx + sx * (width - 1) + 1, sx)
            seen, tap = x[..., rows, columns], weight[..., i, j]
            if whole:
                seen = seen.reshape(*seen.shape[:3], -1)
                out += (np.ascontiguousarray(tap) @ seen).reshape(out.shape)
            else:
                out += np.einsum("ngihw,goi->ngohw", seen, tap, optimize=True)
    return out.reshape(len(x), out_channels, height, width)


Stepped = tuple[Values, Values, NDArray[np.bool_], Values]


def _float_step(population: Population, u: Values, v: Values, a: Array) -> Stepped:
    """(u, v before reset, fires, v after reset) of one step."""
    u = population.current_decay * u + a
    v = population.decay * v + u + per_neuron(population.bias, population.shape)
    fires = v >= population.threshold
    after = np.where(fires, 0.0 if population.reset == "zero" else v - population.threshold, v)
    return u, v, fires, after


def _loihi_step(population: Population, u: Values, v: Values, a: Array) -> Stepped:
    """The same in the chip's integers (held in int64)."""
    shape = population.shape
    u = _wrap(_decayed(u, per_neuron(population.current_decay, shape)) + (a.astype(np.int64) << MANTISSA_SHIFT))
    bias = in_membrane_units(per_neuron(population.bias, shape))
    v = np.clip(_decayed(v, per_neuron(population.decay, shape)) + u + bias, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    fires = v > in_membrane_units(per_neuron(population.threshold, shape))
    return u, v, fires, np.where(fires, 0, v)


STEP: dict[str, Callable[[Population, Values, Values, Array], Stepped]] = {"float": _float_step, "loihi": _loihi_step}


def in_membrane_units(mantissa: PerNeuron) -> Integers:
    """64 * mantissa, of thresholds and biases."""
    return np.asarray(np.asarray(mantissa).astype(np.int64) << MANTISSA_SHIFT, np.int64)


def in_registers(decay: PerNeuron) -> Integers:
    """n of a decay n / 4096."""
    return np.asarray(np.rint(np.asarray(decay) * DECAY_UNITY), np.int64)


def _decayed(state: Values, decay: PerNeuron) -> Integers:
    """trunc(state * n / 4096) with n = 4096 * decay, toward zero."""
    product = state.astype(np.int64) * in_registers(decay)
    return np.asarray(np.sign(product) * (np.abs(product) // DECAY_UNITY), np.int64)


def _wrap(current: Integers) -> Integers:
    """Once around the 24-bit range; +2^23 itself stays, -2^23 becomes +2^23, as Lava has it."""
    current = np.where(current > STATE_LIMIT, current - 2 * STATE_LIMIT, current)
    return np.where(current <= -STATE_LIMIT, current + 2 * STATE_LIMIT, current)


def _check_inputs(graph: SpikingGraph, inputs: Mapping[str, Spikes], windows: int) -> None:
    wanted = {node.name for node in graph.inputs}
    if set(inputs) != wanted:
        raise InputError(f"The graph reads the inputs {sorted(wanted)}, but was given {sorted(inputs)}.")
    samples = {value.shape[1] for value in inputs.values() if value.ndim > 1}
    steps = windows * graph.time_steps
    for node in graph.inputs:
        shape = inputs[node.name].shape
        if shape[:1] != (steps,) or shape[2:] != node.shape or len(samples) != 1:
            raise InputError(
                f"Input '{node.name}' must have shape [{steps}, N, {', '.join(map(str, node.shape))}], "
                f"but has {list(shape)}."
            )
        if not np.isin(inputs[node.name], (0, 1)).all():
            raise InputError(f"Input '{node.name}' must be spikes, 0 or 1, but has other values.")
