"""SpikingGraph: the one place where a network's meaning lives after training.

Populations of neurons joined by projections, in frozen dataclasses of NumPy arrays and numbers; `export/simulate.py`
says what they compute. Arrays over time are [T, N, C, H, W] (time, batch, channel, row, column) or [T, N, F].
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Shape = tuple[int, ...]
Array = NDArray[np.float64]
PerNeuron = float | Array  # one number for all neurons, or [C] ([N]), or one for each neuron, [*shape]
Reset = Literal["zero", "subtract"]
Role = Literal["neuron", "relay", "or", "and", "readout"]
Arithmetic = Literal["float", "loihi"]
REGISTERS = ("decay", "current_decay", "threshold")  # of a Population: a number, or an array in "loihi" arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A convolution without bias; zero padding, the same on both sides of an axis.

    weight [O, I / groups, kh, kw]; stride, padding and dilation are (row, column), in neurons.
    """

    weight: Array
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_shape(self, source: Shape) -> Shape:
        """(C, H, W) of the source -> (C, H, W) of the target."""
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                source[1:], self.weight.shape[2:], self.stride, self.padding, self.dilation, strict=True
            )
        ]
        return (self.weight.shape[0], *size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """A full matrix. weight [O, I]; I counts the source's neurons in C-order: channel, row, column."""

    weight: Array


Kernel = Conv | Dense


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Adds `kernel` applied to the source's spikes of this step to the target's input current of this step.

    A population that projects onto itself is recurrent and reads its own spikes of the step before. With `delay` each
    synapse of a Dense kernel reads spikes that are that many steps older.
    """

    source: str
    target: str
    kernel: Kernel
    delay: NDArray[np.int64] | None = None  # [O, I] steps, 0 or more


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeInput:
    """Spikes that come from outside: events, or the encoder on the host. shape (C, H, W) or (N,)."""

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Neurons with one set of parameters.

    For every step, with the state zero before the first:

        current  u = current_decay * u + sum of projections
        membrane v = decay * v + u + bias
        spike      = v >= threshold; then v = 0 ("zero") or v - threshold ("subtract") where it spiked

    The membrane of the "readout" after the last step is the network's output; its threshold is infinite, or the highest
    that the chip's register holds. An "or", "and" or "relay" population has decay 0.

    In "loihi" arithmetic all of this is integer and `export/simulate.py` says how; `decay` and `current_decay` then are
    n / 4096, `bias` and `threshold` are register mantissas, and the spike condition is v > 64 * threshold. There each
    channel or each neuron may have numbers of its own, as in NetX files of others; in "float" arithmetic only a bias.
    """

    name: str
    shape: Shape  # (C, H, W) or (N,)
    decay: PerNeuron  # membrane kept from one step to the next, 0..1
    threshold: PerNeuron
    bias: Array  # [C] or [N], or [*shape]
    current_decay: PerNeuron = 0.0  # synaptic current kept from one step to the next, 0..1
    reset: Reset = "zero"
    role: Role = "neuron"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikingGraph:
    """Inputs, populations in topological order, projections. Exactly one population is the readout, and it is last.

    In "loihi" arithmetic the last one may spike instead ("neuron"), as in NetX files of others.
    """

    inputs: tuple[SpikeInput, ...]
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    time_steps: int
    arithmetic: Arithmetic = "float"

    @property
    def readout(self) -> Population:
        """The last population, whose membrane is the answer."""
        return self.populations[-1]

    def shapes(self) -> dict[str, Shape]:
        """Name -> shape of every input and population."""
        return {node.name: node.shape for node in self.inputs} | {p.name: p.shape for p in self.populations}

    def incoming(self, name: str) -> tuple[Projection, ...]:
        return tuple(p for p in self.projections if p.target == name)

    def outgoing(self, name: str) -> tuple[Projection, ...]:
        return tuple(p for p in self.projections if p.source == name)


def neurons(shape: Shape) -> int:
    return int(np.prod(shape))


def per_neuron(values: PerNeuron, shape: Shape) -> PerNeuron:
    """A number, [C] or [N], or [*shape] -> what broadcasts over [..., *shape]."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values.reshape(-1, *([1] * (len(shape) - 1)))
    return values


def check(graph: SpikingGraph) -> SpikingGraph:
    """Return the graph if it is well formed, else raise InputError that names the node."""
    if graph.time_steps < 1:
        raise InputError(f"`time_steps >= 1` must hold, but the graph has time_steps={graph.time_steps}.")
    names = [*(node.name for node in graph.inputs), *(p.name for p in graph.populations)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Names must be unique, but '{name}' stands for {names.count(name)} nodes.")
    readouts = [p.name for p in graph.populations if p.role == "readout"]
    if readouts != [p.name for p in graph.populations[-1:]] and (readouts or graph.arithmetic == "float"):
        raise InputError("A graph must have one readout population, the last one; end the network in a linear layer.")
    for population in graph.populations:
        _check_population(population, graph.arithmetic)
    order = {name: i for i, name in enumerate(names)}
    shapes = graph.shapes()
    for projection in graph.projections:
        _check_projection(projection, shapes, order)
    return graph


def _check_population(population: Population, arithmetic: Arithmetic) -> None:
    where = f"Population '{population.name}'"
    if len(population.shape) not in (1, 3) or min(population.shape) < 1:
        raise InputError(f"{where}: a shape must be (N,) or (C, H, W) of positive sizes, but is {population.shape}.")
    shapes = {population.shape[:1]} if arithmetic == "float" else {population.shape[:1], population.shape}
    if population.bias.shape not in shapes:
        raise InputError(f"{where}: the bias must have shape {population.shape[:1]}, but has {population.bias.shape}.")
    for word in REGISTERS:
        _check_register(where, word, getattr(population, word), population.shape, arithmetic)
    if population.role not in get_args(Role) or population.reset not in get_args(Reset):
        raise InputError(f"{where}: unknown role '{population.role}' or reset '{population.reset}'.")
    for word, value in (("decay", population.decay), ("current_decay", population.current_decay)):
        wrong = np.extract(~((np.asarray(value) >= 0.0) & (np.asarray(value) <= 1.0)), value)
        if wrong.size:
            raise InputError(f"{where}: `0 <= {word} <= 1` must hold, but {word}={wrong[0]}.")
    if not np.isfinite(population.bias).all() or np.isnan(population.threshold).any():
        raise InputError(f"{where}: bias and threshold must be finite; the training diverged or the file is damaged.")


def _check_register(where: str, word: str, value: PerNeuron, shape: Shape, arithmetic: Arithmetic) -> None:
    if not isinstance(value, np.ndarray):
        return
    if arithmetic == "float":
        raise InputError(f'{where}: an array as {word} is for the chip\'s integers ("loihi"); give one number.')
    if value.shape not in (shape[:1], shape):
        raise InputError(f"{where}: {word} must be one number or of shape {shape[:1]} or {shape}, not {value.shape}.")


def _check_projection(projection: Projection, shapes: dict[str, Shape], order: dict[str, int]) -> None:
    where = f"Projection '{projection.source}' -> '{projection.target}'"
    for end in (projection.source, projection.target):
        if end not in shapes:
            raise InputError(f"{where}: there is no node '{end}'.")
    if order[projection.source] > order[projection.target]:
        raise InputError(f"{where}: the source must stand before the target, or be the target itself.")
    source, target, kernel = shapes[projection.source], shapes[projection.target], projection.kernel
    if not np.isfinite(kernel.weight).all():
        raise InputError(f"{where}: weights must be finite; the training diverged or the file is damaged.")
    if projection.delay is not None:
        _check_delay(where, projection)
    if isinstance(kernel, Dense):
        found: Shape = kernel.weight.shape
        wanted: Shape = (neurons(target), neurons(source))
    else:
        if kernel.weight.ndim != 4 or len(source) != 3 or source[0] != kernel.weight.shape[1] * kernel.groups:
            raise InputError(f"{where}: a kernel {kernel.weight.shape} x {kernel.groups} groups cannot read {source}.")
        found, wanted = kernel.output_shape(source), target
    if found != wanted:
        raise InputError(f"{where}: the kernel gives shape {found}, but {wanted} is needed.")


def _check_delay(where: str, projection: Projection) -> None:
    delay, weight = projection.delay, projection.kernel.weight
    if delay is None or not isinstance(projection.kernel, Dense) or delay.shape != weight.shape or delay.min() < 0:
        raise InputError(f"{where}: delays must be one number >= 0 for each weight of a full matrix.")
