"""Modules on tensors of any layout: tokens [T, N, C, L] or [T, N, L, C], heads, [T * N, C, H, W].

A 1x1 convolution, a batch norm and a linear layer work on channels alone, so they work wherever these stand: on the map
all of them are 1x1 kernels. Every other module gets its map back, [T, N, C, H, W] or [T * N, C, H, W], or is refused.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from spikingjelly.activation_based import layer
from torch import nn

from ....errors import UnsupportedError
from ...graph import Conv, Dense, neurons
from ...taps import ungrouped
from .. import linear
from ..linear import Expression
from ..products import REFUSED_MODULES
from ..registry import NO_RULE, RULES, rule_of
from ..rules import BATCH_NORMS, array, weight_of
from . import views
from .arrange import rearranged
from .layout import Factor, Layout, canonical, joined, spelled

LINEAR = (nn.Linear, layer.Linear, layer.WSLinear)
CONVOLUTIONS = (nn.Conv1d, layer.Conv1d, nn.Conv2d, layer.Conv2d, layer.WSConv2d)
FLATTENS = (nn.Flatten, layer.Flatten)


def lead_of(layout: Layout) -> int:
    """How many axes are of time and batch."""
    return sum(any(factor.axis in "TN" for factor in axis) for axis in layout)


def applied(x: Expression, module: nn.Module, steps: int) -> Expression:
    """What a module that has a rule, or works on channels alone, makes of x."""
    if x.layout is None and type(module) not in LINEAR:
        return _ruled(x, module)
    if type(module) is layer.SeqToANNContainer:
        for part in module.children():
            x = applied(x, part, steps)
        return x
    kind = next((kind for kinds, kind in _KINDS if type(module) in kinds), _on_map)
    return kind(x, module, views.layout_of(x, steps), steps)


def _ruled(x: Expression, module: nn.Module) -> Expression:
    rule = rule_of(module)
    if type(module) in REFUSED_MODULES:
        raise UnsupportedError(f"a {type(module).__name__} is a gate: {REFUSED_MODULES[type(module)]}")
    if rule is None:
        raise UnsupportedError(f"a {type(module).__name__} cannot be a synapse or a neuron on the chip; {NO_RULE}")
    return rule(x, module)


def _flattened(x: Expression, module: Any, layout: Layout, steps: int) -> Expression:
    """SpikingJelly's module sees one step, [N, C, H, W]."""
    unseen = 1 if isinstance(module, layer.Flatten) and layout[0] == canonical((), steps)[0] else 0
    start, end = (dim if dim < 0 else dim + unseen for dim in (module.start_dim, module.end_dim))
    return rearranged(x, "flatten", (start, end), {}, steps)


def _matrix(x: Expression, module: Any, layout: Layout, steps: int) -> Expression:
    """On the last axis, of channels; other channels, as heads, stand beside each other."""
    if x.layout is None and len(x.shape) == 1:
        return RULES[nn.Linear](x, module)
    axis = layout[-1]
    if any(factor.axis != "C" for factor in axis):
        raise UnsupportedError(
            f"a linear layer reads channels on the last axis of {spelled(layout)}; bring them there, or put a flatten "
            "before it"
        )
    x, layout = views.channels_last(x, layout, len(layout) - 1)
    weight = array(weight_of(module))
    others = x.shape[0] // weight.shape[1]
    y = views.through(x, np.kron(np.eye(others), weight).astype(np.float64))
    if module.bias is not None:
        y = linear.scaled(y, 1.0, np.tile(array(module.bias), others))
    return views.shown(y, _with_channels(layout, len(layout) - 1, len(weight)), steps)


def _with_channels(layout: Layout, dim: int, size: int) -> Layout:
    """The layout when a dimension of channels that count fastest gets another size."""
    before = prod(f.size for f in layout[dim])
    axes = [
        tuple(replace(f, stride=f.stride // before * size) if f.axis == "C" else f for f in axis) for axis in layout
    ]
    axes[dim] = (Factor("C", 1, size),) if size > 1 else ()
    return tuple(axes)


def _convolution(x: Expression, module: Any, layout: Layout, steps: int) -> Expression:
    if any(n != 1 for n in (*module.kernel_size, *module.stride)) or any(module.padding):
        return _on_map(x, module, layout, steps)
    x, layout, dim = _all_channels(x, layout, module)
    weight = array(weight_of(module)).reshape(*module.weight.shape[:2], 1, 1)
    y = views.through(x, ungrouped(Conv(weight=weight, groups=module.groups)).weight[:, :, 0, 0])
    if module.bias is not None:
        y = linear.scaled(y, 1.0, array(module.bias))
    return views.shown(y, _with_channels(layout, dim, len(weight)), steps)


def _normalised(x: Expression, module: Any, layout: Layout, steps: int) -> Expression:
    x, layout, _ = _all_channels(x, layout, module)
    return views.shown(RULES[type(module)](x, module), layout, steps)


def _all_channels(x: Expression, layout: Layout, module: nn.Module) -> tuple[Expression, Layout, int]:
    """The map of a tensor whose channels all stand behind time and batch."""
    dim = lead_of(layout)
    inside = [f for f in layout[dim] if f.axis == "C"] if dim < len(layout) else []
    if dim >= len(layout) or len(inside) != len(layout[dim]) or prod(f.size for f in inside) != x.shape[0]:
        raise UnsupportedError(
            f"a {type(module).__name__} reads its channels behind time and batch, but the tensor is {spelled(layout)}"
        )
    x, layout = views.channels_last(x, layout, dim)
    return x, layout, dim


def _on_map(x: Expression, module: nn.Module, layout: Layout, steps: int) -> Expression:
    """A module that must have its map; time and batch may be one axis."""
    line = line_of(x, layout)
    whole, lead = as_map(x, line or layout, type(module).__name__)
    y = _ruled(whole, module)
    return views.shown(y, lead + rest_of(y, steps, is_line=line is not None), steps)


def line_of(x: Expression, layout: Layout) -> Layout | None:
    """Of a line [T, N, C, L], whose map has one row, the layout with that row; None for anything else."""
    lead = lead_of(layout)
    if len(layout) != lead + 2 or len(x.shape) != 3 or x.shape[1] != 1:
        return None
    return (*layout[: lead + 1], (), *layout[lead + 1 :])


def rest_of(x: Expression, steps: int, *, is_line: bool) -> Layout:
    """The axes behind time and batch; of a line without its row."""
    rest = canonical(x.shape, steps)[2:]
    if is_line and len(rest) == 3 and rest[1]:
        raise UnsupportedError(f"of a line [T, N, C, L] it makes {x.shape[1]} rows; use a layer for lines")
    return rest[:1] + rest[2:] if is_line and len(rest) == 3 else rest


def as_map(x: Expression, layout: Layout, what: str) -> tuple[Expression, Layout]:
    """(x as [C, H, W] or flat in its own order, the axes of time and batch)."""
    lead = lead_of(layout)
    rest = layout[lead:]
    axes = [joined(axis) for axis in rest[1:]]
    places = list(canonical(x.shape, 1)[3:]) or [()] * (len(rest) - 1)
    apart = all(f.axis in "TN" for axis in layout[:lead] for f in axis)
    if not apart or len(rest) not in (1, 3) or any(f.axis != "C" for f in rest[0]) or axes != places[: len(axes)]:
        raise UnsupportedError(
            f"a {what} needs [T, N, C, H, W], but the tensor is {spelled(layout)}; bring it back into that order first"
        )
    x, _ = views.channels_last(x, layout, lead)
    if len(rest) == 1:
        return views.whole_in_time(x, linear.flattened), layout[:lead]
    return _unflat(x) if len(x.shape) == 1 else x, layout[:lead]


def _unflat(x: Expression) -> Expression:
    """Flat x [C] as [C, 1, 1]: a matrix is a kernel as large as the map that it reads."""
    terms = []
    for term in x.terms:
        if not isinstance(term.kernel, Dense) or len(term.source_shape) != 3:
            raise UnsupportedError("a flat value cannot become a map of places again")
        weight = term.kernel.weight.reshape(-1, *term.source_shape)
        terms.append(replace(term, kernel=Conv(weight=weight)))
    return replace(x, shape=(neurons(x.shape), 1, 1), terms=tuple(terms))


_KINDS: tuple[tuple[tuple[type, ...], Callable[[Expression, Any, Layout, int], Expression]], ...] = (
    (LINEAR, _matrix),
    (CONVOLUTIONS, _convolution),
    (BATCH_NORMS, _normalised),
    (FLATTENS, _flattened),
    ((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, layer.Dropout, layer.Dropout2d), lambda x, *_: x),
)
