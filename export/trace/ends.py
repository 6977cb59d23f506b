"""What a network may return of its last layer, spikes or the currents of a linear layer, [T, N, classes].

    x.mean(0)       the mean over time: 1/T is in the readout's weights
    x               the same: what all steps gave is taken to mean its mean
    x.sum(0)        the sum
    x[-1]           the last step: a readout that keeps nothing

Behind it a linear layer, a scale and a shift may follow. torch networks that return all steps are given the mean, too
(`with_answer`), so that every form of a network answers the same.
"""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import fx

from ...errors import UnsupportedError
from ..graph import Population
from . import linear
from .linear import Expression
from .symbolic import is_spiking

MEANS: tuple[Any, ...] = (torch.mean, "mean")
SUMS: tuple[Any, ...] = (torch.sum, "sum")
TIME = (0, (0,), [0])
LAST = "the last step"


def _sum(time_steps: int, input: Expression, dim: Any = None, keepdim: bool = False) -> Expression | None:
    if dim not in TIME or keepdim:
        return None
    return linear.scaled(linear.averaged(input), float(time_steps))


def _item(time_steps: int, input: Expression, index: Any) -> Expression | None:
    if not _is_step(index):
        return None
    if index not in (-1, time_steps - 1):
        raise UnsupportedError(
            f"of {time_steps} time steps only the last one can be the answer, x[-1], but step {index} is asked for; "
            "take the mean or the sum over time"
        )
    return replace(linear.averaged(input), last=True)


Rule = Callable[..., Expression | None]
ENDS: dict[Any, Rule] = {**dict.fromkeys(SUMS, _sum), operator.getitem: _item}


def ended(target: Any, time_steps: int, arguments: Any, keywords: Any) -> Expression | None:
    """What time becomes at the end of a network; None where a function does not end it."""
    rule = ENDS.get(target)
    try:
        return None if rule is None else rule(time_steps, *arguments, **keywords)
    except TypeError:  # other arguments than those of time
        return None


def readout(x: Any, time_steps: int) -> tuple[Expression, Population]:
    """What the network returns as (what enters the readout, the readout)."""
    if not isinstance(x, Expression) or len(x.shape) != 1:
        what = (
            f"values of shape {x.shape}"
            if isinstance(x, Expression)
            else f"a {type(x).__name__.removeprefix('immutable_')}"
        )
        raise UnsupportedError(
            "a network must return one number for each class, [N, classes] as x.mean(0), x.sum(0) or x[-1] of a linear "
            f"layer or of spikes, or [T, N, classes] of which the mean is meant, but it returns {what}"
        )
    x = x if x.averaged else linear.averaged(x)
    if not x.last:
        x = linear.scaled(x, 1.0 / time_steps)
    return x, Population(
        name="readout",
        shape=x.shape,
        decay=0.0 if x.last else 1.0,  # the membrane sums the steps up; the mean's 1/T is in weights and bias
        threshold=np.inf,
        bias=x.constant,
        role="readout",
    )


def with_answer(module: fx.GraphModule) -> fx.GraphModule:
    """Where a network returns all steps, its mean over time; any other is left as it is."""
    output = next(node for node in module.graph.nodes if node.op == "output")
    found = output.args[0]
    if isinstance(found, fx.Node) and _has_time(found, dict(module.named_modules()), {}):
        with module.graph.inserting_before(output):
            output.args = (module.graph.call_method("mean", (found, 0)),)
        module.recompile()
    return module


def _has_time(node: fx.Node, modules: dict[str, Any], known: dict[fx.Node, bool]) -> bool:
    """Whether the steps of a spiking layer are still apart in a value."""
    if node not in known:
        if node.op == "call_module" and is_spiking(modules[str(node.target)]):
            known[node] = True
        else:
            known[node] = not _ends_time(node) and any(_has_time(n, modules, known) for n in node.all_input_nodes)
    return known[node]


def _ends_time(node: fx.Node) -> bool:
    second = (*node.args[1:], *node.kwargs.values())[:1]
    if node.target is operator.getitem:
        return _is_step(second[0])
    return node.target in (*MEANS, *SUMS) and second in tuple((dim,) for dim in TIME)


def _is_step(index: Any) -> bool:
    return type(index) is int
