"""The chip's integers as a float graph that computes the same, where no step of a window rounds or saturates.

In units of 64 membrane units, so that weights and biases stay as they are, every membrane is a multiple of 1/64:

    spike = v > 64 * threshold   =>   spike = v / 64 >= threshold + 1/64

What decays by n / 2^k loses k bits a step, and membranes begin as multiples of 64 = 2^6. So the chip truncates nothing
in a window of T steps as long as k * (T - 1) <= 6: half of a membrane is exact up to T = 7, a quarter up to T = 4. The
readout's weights are multiplied by 64: its membrane is the integer that the chip has, unless that saturates at 24 bits;
`quantize` left it the double of the largest answer that it was told of.
"""

from dataclasses import replace

import numpy as np

from ...errors import UnsupportedError
from ..graph import PerNeuron, Population, SpikingGraph, neurons
from ..simulate import DECAY_UNITY, MANTISSA_SHIFT, STATE_LIMIT, in_registers
from ..weight_scale import THRESHOLD_MAX

UNIT = 1 << MANTISSA_SHIFT


def dequantize(graph: SpikingGraph) -> SpikingGraph:
    """A float graph is returned as it is.

    Raises UnsupportedError that names the population whose integers would round or saturate within a window, or differ
    from neuron to neuron.
    """
    if graph.arithmetic == "float":
        return graph
    populations = tuple(_as_float(p, graph) for p in graph.populations)
    scale = {p.name: _scale(p) for p in graph.populations}
    projections = tuple(
        replace(q, kernel=replace(q.kernel, weight=q.kernel.weight * scale[q.target])) for q in graph.projections
    )
    if populations[-1].role != "readout":
        raise UnsupportedError(
            f"The last population '{populations[-1].name}' spikes, but a float graph ends in a readout; convert it to "
            "onnx."
        )
    return replace(graph, populations=populations, projections=projections, arithmetic="float")


def _scale(population: Population) -> float:
    return float(UNIT) if population.role == "readout" else 1.0


def _as_float(p: Population, graph: SpikingGraph) -> Population:
    if p.role in ("relay", "or"):  # it fires on any spike and is reset, so its level's decay never acts
        p = replace(p, decay=0.0)
    bits = max(_bits(p, p.decay), _bits(p, p.current_decay))
    if bits * (graph.time_steps - 1) > MANTISSA_SHIFT:
        raise UnsupportedError(
            f"Population '{p.name}': its integers round when they decay, {bits} bits a step, which shows after "
            f"{MANTISSA_SHIFT // bits + 1} of {graph.time_steps} steps; convert it to onnx, which holds integers, or "
            "convert the float network that it was made from."
        )
    if isinstance(p.threshold, np.ndarray) or p.bias.shape != p.shape[:1]:
        raise UnsupportedError(
            f"Population '{p.name}': each neuron has a threshold or bias of its own, which a float graph does not "
            "hold; convert it to onnx."
        )
    if p.role != "readout" and _largest(p, graph) >= STATE_LIMIT:
        raise UnsupportedError(
            f"Population '{p.name}': its membranes may leave 24 bits, where the chip saturates; convert it to onnx."
        )
    threshold = np.inf if p.role == "readout" else float(p.threshold) + 1 / UNIT
    if p.role == "readout" and float(p.threshold) < THRESHOLD_MAX:
        raise UnsupportedError(
            f"Population '{p.name}': the readout fires above {p.threshold:g}, which a float graph's never does."
        )
    role = "neuron" if p.role == "and" and p.decay else p.role
    return replace(p, threshold=threshold, bias=p.bias * _scale(p), role=role)


def _bits(p: Population, decay: PerNeuron) -> int:
    """By how many bits a number grows longer when it decays; decay = n / 2^bits, n odd."""
    registers = in_registers(decay)
    if registers.ndim:
        raise UnsupportedError(
            f"Population '{p.name}': each neuron has a decay of its own, which a float graph does not hold; convert it "
            "to onnx."
        )
    common = int(np.gcd(int(registers), DECAY_UNITY))
    return (DECAY_UNITY // common).bit_length() - 1 if int(registers) else 0


def _largest(p: Population, graph: SpikingGraph) -> int:
    """No membrane or current of a window is farther from zero."""
    size = neurons(p.shape[:1])
    arriving = np.zeros(size)
    for q in graph.incoming(p.name):
        rows = np.abs(q.kernel.weight).reshape(len(q.kernel.weight), -1).sum(1)
        arriving += rows.reshape(size, -1).max(1)
    current = np.max(arriving) * _steps_kept(p.current_decay, graph.time_steps)
    return int(UNIT * (current + np.abs(p.bias).max(initial=0.0)) * _steps_kept(p.decay, graph.time_steps))


def _steps_kept(decay: PerNeuron, steps: int) -> float:
    """1 + d + .. + d^(T - 1)."""
    return float(sum(float(decay) ** step for step in range(steps)))
