"""Which spiking neurons are a LIF, and with which constants: the one neuron that a SpikingGraph has.

    u = current_decay * u + scale * I         v = decay * v + u + bias         spike = v >= threshold

v counts from `v_reset`, at which SpikingJelly's membranes begin and to which they leak and are reset; so a reset to
another value than 0 is a lower threshold, and where the leak goes to 0 all the same (CUBALIFNode), a bias.

A subclass that overrides nothing is its parent. A neuron of one's own says what it is by a method

    as_lif(self) -> neuron.LIFNode       it computes the same as this one (or ParametricLIFNode, IFNode ...)

or a rule is registered for its type, `@register_neuron(MyNeuron)`, which returns a `Lif`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from spikingjelly.activation_based import base, neuron
from torch import nn

from ...errors import UnsupportedError
from ..graph import Population, Reset
from . import linear
from .linear import Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Lif:
    """Constants of the equations above. reset: of v, to zero or by subtraction of the threshold.

    floor: v never falls below 0, so it is a LIF where nothing that it reads is negative.
    """

    decay: float
    threshold: float
    scale: float = 1.0
    bias: float = 0.0
    current_decay: float = 0.0
    reset: Reset = "zero"
    floor: bool = False


Rule = Callable[[Any], Lif]

NEURONS: dict[type, Rule] = {}

# what is no LIF: type -> why
NO_LIF: dict[type, str] = {
    **dict.fromkeys((neuron.QIFNode, neuron.EIFNode), "its membrane grows by a curve of itself"),
    **dict.fromkeys((neuron.IzhikevichNode, neuron.RAFNode), "it has a second variable beside the membrane"),
    neuron.GatedLIFNode: "its gates mix decays, which one pair of registers cannot",
    neuron.ComplementaryLIFNode: "it has a second membrane",
    neuron.LIAFNode: "it gives an activation of the membrane, not spikes",
    neuron.ILIFNode: "it gives whole numbers, not spikes",
    **dict.fromkeys((neuron.TernaryIFNode, neuron.TernaryLIFNode), "it gives -1, too"),
    neuron.HalfThresholdIFNode: "its membrane begins at half its threshold, and the chip's at 0",
    **dict.fromkeys((neuron.PSN, neuron.MaskedPSN, neuron.SlidingPSN), "it weighs all time steps, and has no membrane"),
    neuron.OTTTLIFNode: "it gives a trace, too, and SpikingJelly does not run it on all steps at once",
    neuron.MPBNBaseNode: "it normalises its membrane",
    **dict.fromkeys((neuron.DSRIFNode, neuron.DSRLIFNode), "it computes rates, not spikes"),
}
DEFINES = frozenset({"__init__", "extra_repr", "__repr__"})  # what a subclass may define and still compute the same
CONSTANTS = frozenset({"v_threshold", "v_reset", "tau", "w", "k", "decay_input", "c_decay", "v_decay", "scale_reset"})


def register_neuron(*kinds: type) -> Callable[[Rule], Rule]:
    """The rule below says which LIF the neurons of these types are, module -> Lif.

    >>> class Fast(torch.nn.Module): ...
    >>> @spikeport.register_neuron(Fast)
    ... def fast(module):
    ...     return spikeport.Lif(decay=0.25, threshold=1.0)
    """

    def add(rule: Rule) -> Rule:
        NEURONS.update(dict.fromkeys(kinds, rule))
        return rule

    return add


def is_neuron(module: Any) -> bool:
    """Whether a module spikes; that it has a rule is another matter."""
    kinds = type(module).__mro__
    return (
        isinstance(module, neuron.BaseNode | neuron.SimpleBaseNode)
        or hasattr(type(module), "as_lif")
        or any(kind in NEURONS or kind in NO_LIF for kind in kinds)
    )


def lif_of(module: Any) -> Lif:
    """Raises UnsupportedError for a neuron that is no LIF, or of which that is not known."""
    if getattr(getattr(module, "surrogate_function", None), "spiking", True) is False:
        raise UnsupportedError("its surrogate_function has spiking=False, so it gives no spikes; set spiking=True")
    rule = _rule_of(module)
    try:
        with torch.no_grad():
            return rule(module)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UnsupportedError(
            f"a {type(module).__name__} needs one threshold and one leak for all of its neurons ({error})"
        ) from error


def population_of(name: str, module: Any, x: Expression) -> tuple[Expression, Population]:
    """Neurons that get the current x as (what enters their population, the population)."""
    lif, kind = lif_of(module), type(module).__name__
    x = linear.scaled(x, lif.scale, lif.bias)
    if lif.floor and not linear.never_negative(x):
        raise UnsupportedError(
            f"a {kind} forgets what is below 0, which the chip's membrane keeps; it has a rule where no weight and no "
            "bias before it is negative; use LIFNode, or export to onnx"
        )
    if lif.current_decay and (x.constant != lif.bias).any():
        raise UnsupportedError(
            f"a bias that enters the synaptic current of a {kind} grows from step to step, but the chip's is the same "
            "in all; train the layer before it without bias and without batch norm"
        )
    return x, Population(
        name=name,
        shape=x.shape,
        decay=lif.decay,
        current_decay=lif.current_decay,
        threshold=lif.threshold,
        bias=x.constant,
        reset=lif.reset,
    )


def _rule_of(module: Any) -> Rule:
    kind = type(module)
    if kind in NEURONS:
        return NEURONS[kind]
    if hasattr(kind, "as_lif"):
        return lambda mine: lif_of(mine.as_lif())
    for parent in kind.__mro__:
        if parent in NO_LIF:
            raise UnsupportedError(f"a {kind.__name__} is no LIF: {NO_LIF[parent]}; use LIFNode, or export to onnx")
        if parent in NEURONS:
            changed = _overridden(kind, parent)
            if changed:
                raise UnsupportedError(
                    f"a {kind.__name__} has no rule, for it overrides {', '.join(changed)} of {parent.__name__}; if it "
                    "is a LIF all the same, give it a method as_lif, or a rule by spikeport.register_neuron"
                )
            return NEURONS[parent]
    raise UnsupportedError(
        f"a {kind.__name__} has no rule; use LIFNode, ParametricLIFNode or IFNode, or, if it is a LIF, give it a "
        "method as_lif, or a rule by spikeport.register_neuron"
    )


def _overridden(kind: type, parent: type) -> list[str]:
    """What a subclass defines of its parent's, besides what computes nothing."""
    between = kind.__mro__[: kind.__mro__.index(parent)]
    return sorted(
        name
        for each in between
        for name, value in vars(each).items()
        if name not in DEFINES
        and (name in CONSTANTS or (hasattr(parent, name) and (callable(value) or isinstance(value, property))))
    )


def _reset(module: Any, lowered: float, **constants: float | bool) -> Lif:
    """A LIF whose membrane is counted from `lowered`, to which it leaks."""
    begins = vars(module).get("_memories_rv", {}).get("v", 0.0)
    if begins != (module.v_reset or 0.0):
        raise UnsupportedError(
            f"the membranes of a {type(module).__name__} begin at {begins} and are reset to {module.v_reset}, and on "
            "the chip they begin where they are reset; give v_reset where it is built, or use v_reset=0.0"
        )
    return Lif(
        threshold=float(module.v_threshold) - lowered,
        reset="subtract" if module.v_reset is None else "zero",
        **constants,  # type: ignore[arg-type]
    )


@register_neuron(neuron.IFNode, neuron.SimpleIFNode)
def _if(module: Any) -> Lif:
    return _reset(module, module.v_reset or 0.0, decay=1.0)


@register_neuron(neuron.LIFNode, neuron.SimpleLIFNode, neuron.SLTTLIFNode)
def _lif(module: Any) -> Lif:
    return _leaky(module, 1.0 / float(module.tau))


@register_neuron(neuron.ParametricLIFNode)
def _parametric(module: Any) -> Lif:
    return _leaky(module, float(torch.sigmoid(module.w.detach())))


def _leaky(module: Any, rate: float) -> Lif:
    scale = rate if module.decay_input else 1.0
    return _reset(module, module.v_reset or 0.0, decay=1.0 - rate, scale=scale)


@register_neuron(neuron.KLIFNode)
def _k_lif(module: Any) -> Lif:
    """h = relu(k * charge), fires at v_threshold; the membrane goes on from h, or, with scale_reset, from h / k."""
    rate, k = 1.0 / float(module.tau), float(module.k)
    scale = rate if module.decay_input else 1.0
    if module.v_reset or k <= 0.0:
        raise UnsupportedError(f"a KLIFNode needs v_reset 0 or None and k > 0, but has {module.v_reset} and {k:.3g}")
    if module.scale_reset:  # of h / k, whose threshold is v_threshold / k
        reset: Reset = "subtract" if module.v_reset is None else "zero"
        return Lif(decay=1.0 - rate, scale=scale, threshold=float(module.v_threshold) / k, reset=reset, floor=True)
    if k * (1.0 - rate) > 1.0:
        raise UnsupportedError(f"its membrane grows by itself, k * (1 - 1 / tau) = {k * (1.0 - rate):.3g} > 1")
    return _reset(module, 0.0, decay=k * (1.0 - rate), scale=k * scale, floor=True)


@register_neuron(neuron.CUBALIFNode)
def _current_based(module: Any) -> Lif:
    """c = c * c_decay + x, v = v * v_decay + c: it leaks to 0, and begins at v_reset."""
    decay, start = float(module.v_decay), module.v_reset or 0.0
    return _reset(module, start, decay=decay, bias=start * (decay - 1.0), current_decay=float(module.c_decay))


def remembers(module: nn.Module) -> bool:
    """Whether a module's answer depends on the steps before."""
    idle = type(module).__name__ in ("Dropout", "Dropout2d")  # SpikingJelly's keep a mask, in training mode
    return is_neuron(module) or (isinstance(module, base.MemoryModule) and not idle)
