"""The rules of a neuron's step, each as something that can be switched; `export/simulate.py` has them fixed.

With `rules_of` nothing is switched, and a step is that of simulate.py, number for number (a test holds the two
together). Everything else is a mistake that somebody's neuron makes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...export.graph import Arithmetic, Array, Population, SpikingGraph, per_neuron
from ...export.simulate import DECAY_UNITY, MANTISSA_SHIFT, STATE_LIMIT, in_registers

Values = NDArray[Any]  # float64, or int64 in "loihi" arithmetic as long as nothing makes it real
Reset = Literal["zero", "subtract", "none"]
Rounding = Literal["toward zero", "floor", "nearest", "nearest even", "none"]
Limit = Literal["saturate", "wrap", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a population computes, beside its numbers.

    strictly: spikes need v > threshold, not >=. reset_late: a spike resets at the step after it, after the leak, as
    snnTorch subtracts. bias_once: the bias comes in the first step of a sample only. late: steps that every arriving
    spike is older. streamed: the state of one sample goes on into the next. axes: the order in which the axes (channel,
    row, column) of what arrives are read. read_early: the answer is the membrane before the last step.
    """

    strictly: bool
    reset: Reset
    decay_rounding: Rounding
    current_limit: Limit
    membrane_limit: Limit
    reset_late: bool = False
    bias_once: bool = False
    late: int = 0
    streamed: bool = False
    axes: tuple[int, int, int] = (0, 1, 2)
    read_early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a network computes: its graph and the rules of every population.

    encoders: populations on the host, whose spikes enter the graph, and their currents: name -> [T, N, *shape].
    """

    graph: SpikingGraph
    rules: Mapping[str, Rules]
    encoders: tuple[Population, ...] = ()
    currents: Mapping[str, Array] = field(default_factory=dict)

    @property
    def populations(self) -> tuple[Population, ...]:
        """In the order of execution."""
        return (*self.encoders, *self.graph.populations)

    def population(self, name: str) -> Population:
        return next(p for p in self.populations if p.name == name)


def meaning_of(
    graph: SpikingGraph, encoders: tuple[Population, ...] = (), currents: Mapping[str, Array] | None = None
) -> Meaning:
    """The graph as simulate.py has it; encoders compute in floats."""
    rules = {p.name: rules_of(p, "float") for p in encoders}
    rules |= {p.name: rules_of(p, graph.arithmetic) for p in graph.populations}
    return Meaning(graph=graph, rules=rules, encoders=encoders, currents=currents or {})


def rules_of(population: Population, arithmetic: Arithmetic) -> Rules:
    """Nothing switched. The chip resets to zero, whatever the graph says."""
    if arithmetic == "loihi":
        return Rules(
            strictly=True,
            reset="zero",
            decay_rounding="toward zero",
            current_limit="wrap",
            membrane_limit="saturate",
        )
    return Rules(
        strictly=False, reset=population.reset, decay_rounding="none", current_limit="none", membrane_limit="none"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Neurons:
    """A population's numbers in membrane units, and its rules: what a step needs."""

    rules: Rules
    integer: bool
    decay: Any  # of 4096 in integers
    current_decay: Any
    threshold: Any
    bias: Any

    def current(self, u: Values, a: Values) -> Values:
        """The current after spikes of weight `a` have arrived."""
        if not self.integer:
            return np.asarray(self.current_decay * u + a)
        arrived = np.trunc(a * 2**MANTISSA_SHIFT).astype(np.int64)
        return _CURRENT[self.rules.current_limit](self._kept(u, self.current_decay) + arrived)

    def membrane(self, v: Values, u: Values, first: bool) -> Values:
        """The membrane before the threshold is looked at. first: of a sample's steps."""
        bias = self.bias if first or not self.rules.bias_once else 0
        kept = self._kept(v, self.decay) if self.integer else self.decay * v
        return _MEMBRANE[self.rules.membrane_limit](np.asarray(kept + u + bias))

    def after(self, v: Values, fired: NDArray[np.bool_]) -> Values:
        """The membrane once spikes have reset it."""
        return np.asarray(_RESET[self.rules.reset](v, fired, self.threshold))

    def _kept(self, state: Values, decay: Any) -> Values:
        return _ROUNDED[self.rules.decay_rounding](state * decay)


def neurons_of(population: Population, rules: Rules, arithmetic: Arithmetic) -> Neurons:
    """The neurons of a population, which step as its rules say."""
    shape, integer = population.shape, arithmetic == "loihi"
    values: list[Any] = [per_neuron(value, shape) for value in (population.decay, population.current_decay)]
    threshold: Any = per_neuron(population.threshold, shape)
    bias: Any = per_neuron(population.bias, shape)
    if integer:  # an integer's float is exact, so that a real number, which only a changed rule brings, may stand here
        unit = 2**MANTISSA_SHIFT
        values = [in_registers(value) for value in values]
        threshold, bias = (np.trunc(np.asarray(value) * unit).astype(np.int64) for value in (threshold, bias))
    return Neurons(
        rules=rules, integer=integer, decay=values[0], current_decay=values[1], threshold=threshold, bias=bias
    )


def _wrapped_current(u: Values) -> Values:
    """Once around; -2^23 becomes +2^23, as Lava has it."""
    u = np.where(u > STATE_LIMIT, u - 2 * STATE_LIMIT, u)
    return np.where(u <= -STATE_LIMIT, u + 2 * STATE_LIMIT, u)


def _wrapped_membrane(v: Values) -> Values:
    """Two's complement of 24 bits."""
    return np.asarray((v + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT)


def _saturated(x: Values) -> Values:
    return np.clip(x, 1 - STATE_LIMIT, STATE_LIMIT - 1)


def _as_it_is(x: Values) -> Values:
    return x


_ROUNDED: dict[Rounding, Callable[[Values], Values]] = {
    "toward zero": lambda x: np.asarray(np.sign(x) * (np.abs(x) // DECAY_UNITY)),
    "floor": lambda x: np.asarray(x // DECAY_UNITY),
    "nearest": lambda x: np.asarray((x + DECAY_UNITY // 2) // DECAY_UNITY),
    "nearest even": lambda x: np.rint(x / DECAY_UNITY).astype(np.int64),
    "none": lambda x: np.asarray(x / DECAY_UNITY),
}
_CURRENT: dict[Limit, Callable[[Values], Values]] = {
    "wrap": _wrapped_current,
    "saturate": _saturated,
    "none": _as_it_is,
}
_MEMBRANE: dict[Limit, Callable[[Values], Values]] = {
    "saturate": _saturated,
    "wrap": _wrapped_membrane,
    "none": _as_it_is,
}
_RESET: dict[Reset, Callable[[Values, NDArray[np.bool_], Any], Values]] = {
    "zero": lambda v, fired, threshold: np.where(fired, 0, v),
    "subtract": lambda v, fired, threshold: np.where(fired, v - threshold, v),
    "none": lambda v, fired, threshold: v,
}
