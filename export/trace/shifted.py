"""Functions of one time step [N, ...] as the same of all steps [T, N, ...]: axes count from one further right."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from ...errors import UnsupportedError

# name -> its parameters, and those of them that count axes with what they are if not given
AXES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "flatten": (("input", "start_dim", "end_dim"), {"start_dim": 0, "end_dim": -1}),
    "size": (("input", "dim"), {"dim": None}),
    "unsqueeze": (("input", "dim"), {"dim": None}),
    "squeeze": (("input", "dim"), {"dim": None}),
    "cat": (("tensors", "dim"), {"dim": 0}),
    "mean": (("input", "dim", "keepdim"), {"dim": None}),
    "sum": (("input", "dim", "keepdim"), {"dim": None}),
    "transpose": (("input", "dim0", "dim1"), {"dim0": None, "dim1": None}),
}
ELEMENTWISE = frozenset(
    (
        *("add", "iadd", "sub", "mul", "truediv", "div", "neg", "minimum", "maximum", "relu", "sigmoid", "tanh", "abs"),
        *("float", "clone", "detach", "contiguous"),
    )
)

Call = tuple[str, Any, tuple[Any, ...]]


def named(target: Any) -> str:
    """One name for what is a function, an operator and a method of torch."""
    return target if isinstance(target, str) else getattr(target, "__name__", "")


def of_all_steps(node: fx.Node, to: Callable[[fx.Node], fx.Node]) -> Call:
    """(op, target, arguments) of a call of a function or method; to: a node of one step -> that of all steps."""
    name, first = named(node.target), node.args[0] if node.args else None
    if name in ELEMENTWISE and not node.kwargs:
        return node.op, node.target, fx.node.map_arg(node.args, to)
    if name in ("view", "reshape") and _keeps_batch(node):
        return "call_function", torch.flatten, (fx.node.map_arg(first, to), 2)
    if _is_shape(node):
        return "call_function", getattr, (fx.node.map_arg(first, to), "shape")
    if node.target is operator.getitem and _is_shape(first):
        return "call_function", operator.getitem, (fx.node.map_arg(first, to), _further(name, "index", node.args[1]))
    if name not in AXES:
        raise UnsupportedError(f"'{name}' of one time step has no rule; use torch.flatten, or step_mode='m'")
    words, axes = AXES[name]
    told = {**axes, **dict(zip(words, node.args, strict=False)), **node.kwargs}
    told |= {word: _further(name, word, told[word]) for word in axes}
    given = fx.node.map_arg(told[words[0]], to)
    return node.op, node.target, (given, *(told[word] for word in words[1:] if word in told))


def _further(name: str, word: str, axis: Any) -> int:
    if type(axis) is not int:
        raise UnsupportedError(f"'{name}' of one time step needs one number as {word}")
    return axis + (axis >= 0)


def _keeps_batch(node: fx.Node) -> bool:
    """x.view(x.size(0), -1) or x.view(x.shape[0], -1)."""
    sizes = node.args[1:] if len(node.args) > 2 else node.args[1]
    if not isinstance(sizes, list | tuple) or len(sizes) != 2 or sizes[1] != -1:
        return False
    batch = sizes[0]
    if not isinstance(batch, fx.Node) or batch.args[1:] != (0,):
        return False
    return batch.target == "size" or (batch.target is operator.getitem and _is_shape(batch.args[0]))


def _is_shape(node: Any) -> bool:
    return isinstance(node, fx.Node) and node.target is getattr and node.args[1:] == ("shape",)
