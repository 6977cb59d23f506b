"""NIR's neurons, differential equations, as one step of dt: the numbers of a Population.

Forward Euler, as the frameworks that write NIR compute it; a step's current arrives before its membrane is compared:

    node      equation (nir 1.0.8, nir/ir/neuron.py)                 step
    IF, I     dv/dt = R S                                            v += dt R S
    LIF, LI   tau dv/dt = (v_leak - v) + R S                         v += dt/tau (v_leak - v + R S)
    CubaLIF,  tau_syn dI/dt = -I + w_in S                            I += dt/tau_syn (-I + w_in S)
    CubaLI    tau_mem dv/dt = (v_leak - v) + R I                     v += dt/tau_mem (v_leak - v + R I), with the new I
    Threshold z = S > threshold                                      no state

So a Population has decay 1 - dt/tau, weights times R dt/tau (and w_in dt/tau_syn), bias dt/tau v_leak. A `v_reset`
other than 0 moves the origin: the membrane counts from v_reset and starts there, as SpikingJelly's does.

dt is not in the file. SpikingJelly 2.0 (nir_exchange/to_nir.py: tau = tau dt, R = tau or 1; IF: R = 1/dt) and snnTorch
1.0.0 (export_nir.py: tau = dt / (1 - beta), R = tau/dt, w_in = tau_syn/dt) write with dt = 1e-4, which SpikingJelly
lets one choose; Norse computes its cells with dt = 1e-3 (torch/functional/lif_box.py) and writes R = 1.

The quotients are computed in the type that the file stores (float32 of snnTorch and Norse), as the frameworks' readers
do: 1 - dt/tau then is the beta that was trained. A gain within rounding of 1 is 1: the weights stay what they are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UnsupportedError
from ..graph import Array, Shape
from .file import Node

ROUNDING = 4  # units in the last place that quotients of stored numbers may be off
WRITES = "SpikingJelly and snnTorch write with 1e-4, Norse with 1e-3, files of IF neurons with R = 1 mean 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a node does in a step. gain: of the weights, one number or [C] ([N]); bias likewise, in membrane units."""

    decay: float = 0.0
    current_decay: float = 0.0
    gain: float | Array = 1.0
    bias: float | Array = 0.0
    threshold: float = np.inf  # counted from v_reset
    v_reset: float = 0.0
    starts_elsewhere: bool = False  # v_leak is not v_reset: a framework may start there


@dataclass(frozen=True, slots=True)
class Clock:
    """dt in seconds, None: not given."""

    dt: float | None = None

    def of(self, node: Node) -> float:
        if self.dt is None:
            raise InputError(
                f"{node.where} has constants in seconds, so dt, the seconds of a step, is needed; {WRITES}."
            )
        return self.dt


def parameter_shape(node: Node) -> Shape:
    """The shape that a neuron's parameters have; () where they are single numbers, as older files of snnTorch."""
    shapes = [node.stored(key).shape for key in PARAMETERS[node.kind] if key not in OPTIONAL or key in node.values]
    large = [shape for shape in shapes if int(np.prod(shape)) > 1] or [max(shapes, key=len)]
    for shape in large:
        if shape != large[0]:
            raise InputError(
                f"{node.where} must have parameters of one shape, but has {list(large[0])} and {list(shape)}."
            )
    return large[0]


def _integrate(node: Node, clock: Clock) -> Step:
    gain = _times(node, _of(node, "r"), clock.of(node))
    return Step(decay=1.0, gain=gain)


def _leaky(node: Node, clock: Clock) -> Step:
    ratio, decay = _leak(node, "tau", clock)
    leak = _above_reset(node)
    gain = _times(node, _of(node, "r"), ratio)
    return Step(decay=decay, gain=gain, bias=_plain(ratio * leak), starts_elsewhere=bool(leak.any()))


def _current(node: Node, clock: Clock) -> Step:
    syn_ratio, current_decay = _leak(node, "tau_syn", clock)
    ratio, decay = _leak(node, "tau_mem", clock)
    leak = _above_reset(node)
    w_in = _of(node, "w_in") if "w_in" in node.values else np.ones(())
    into, out = _times(node, w_in, syn_ratio), _times(node, _of(node, "r"), ratio)
    return Step(
        decay=decay,
        current_decay=current_decay,
        gain=into * out,
        bias=_plain(ratio * leak),
        starts_elsewhere=bool(leak.any()),
    )


def _above_reset(node: Node) -> NDArray[Any]:
    """v_leak - v_reset."""
    leak = _of(node, "v_leak")
    return leak - _number(node, "v_reset") if "v_reset" in node.values else leak


def _fires(step: Callable[[Node, Clock], Step]) -> Callable[[Node, Clock], Step]:
    def with_threshold(node: Node, clock: Clock) -> Step:
        found = step(node, clock)
        reset = float(_number(node, "v_reset")) if "v_reset" in node.values else 0.0
        threshold = float(_number(node, "v_threshold", finite=False)) - reset
        return replace(found, threshold=threshold, v_reset=reset)

    return with_threshold


def _compare(node: Node, clock: Clock) -> Step:
    return Step(threshold=float(_number(node, "threshold", finite=False)))


SPIKING: dict[str, Callable[[Node, Clock], Step]] = {
    "IF": _fires(_integrate),
    "LIF": _fires(_leaky),
    "CubaLIF": _fires(_current),
    "Threshold": _compare,
}
READOUTS: dict[str, Callable[[Node, Clock], Step]] = {"I": _integrate, "LI": _leaky, "CubaLI": _current}
NEURONS = SPIKING | READOUTS
PARAMETERS: dict[str, tuple[str, ...]] = {
    "IF": ("r", "v_threshold", "v_reset"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "Threshold": ("threshold",),
    "I": ("r",),
    "LI": ("tau", "r", "v_leak"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
}
OPTIONAL = ("v_reset", "w_in")  # where they are absent: 0 and 1 (nir 1.0.8, nir/ir/neuron.py)


def _leak(node: Node, key: str, clock: Clock) -> tuple[Any, float]:
    """(dt / tau in the type that is stored, 1 - that)."""
    dt, tau = clock.of(node), _number(node, key)
    if tau <= 0:
        raise InputError(f"{node.where}: `{key} > 0` must hold, but {key}={tau:g}; write the file again.")
    ratio = tau.dtype.type(dt) / tau
    decay = float(tau.dtype.type(1) - ratio)
    if abs(decay) <= ROUNDING * np.finfo(tau.dtype).eps:
        return tau.dtype.type(1), 0.0
    if decay < 0:
        raise UnsupportedError(
            f"{node.where}: `dt <= {key}` must hold for forward Euler, but dt={dt:g} and {key}={tau:g}; give a "
            "smaller dt."
        )
    return ratio, decay


def _times(node: Node, value: NDArray[Any], ratio: Any) -> float | Array:
    """value * ratio, 1 where it is within rounding of that."""
    product = value * np.asarray(ratio, value.dtype)
    near = np.abs(product - 1) <= ROUNDING * np.finfo(value.dtype).eps
    return _plain(np.where(near, 1.0, np.asarray(product, np.float64)))


def _plain(value: Any) -> float | Array:
    found = np.asarray(value, np.float64)
    return float(found) if found.ndim == 0 else found


def _number(node: Node, key: str, *, finite: bool = True) -> Any:
    """The one value of all neurons, as a NumPy scalar in the type that is stored."""
    value = _floating(node.stored(key)).reshape(-1)
    if (value != value[0]).any():
        low, high = float(value.min()), float(value.max())
        raise UnsupportedError(
            f"{node.where}: a population has one `{key}` for all its neurons, but here it runs from {low:g} to "
            f"{high:g}; train it with one value, or split the layer into one for each value."
        )
    if finite and not np.isfinite(value[0]):
        raise InputError(f"{node.where}: `{key}` must be finite, but is {value[0]}; an IF or I has no leak.")
    return value[0]


def _of(node: Node, key: str) -> NDArray[Any]:
    """One number, or one for each channel [C] of [C, H, W] (each neuron of [N]), in the type that is stored."""
    value = _floating(node.stored(key))
    if not np.isfinite(value).all():
        raise InputError(f"{node.where}: `{key}` must be finite, but has infinity; write the file again.")
    flat = value.reshape(value.shape[0] if value.ndim else 1, -1)
    if (flat == flat[0, 0]).all():
        return np.asarray(flat[0, 0])
    if (flat != flat[:, :1]).any():
        raise UnsupportedError(
            f"{node.where}: `{key}` must be the same for all neurons of a channel, but differs from place to place; "
            "write one value for each channel."
        )
    return flat[:, 0]


def _floating(value: NDArray[Any]) -> NDArray[Any]:
    return value if value.dtype.kind == "f" and value.dtype.itemsize >= 4 else value.astype(np.float64)
