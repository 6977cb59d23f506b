"""What a network computes before any spike is there: shapes, numbers, constants.

Shapes are known from an example. The number of images is not one of them: where a network asks for a shape, it is run
on two samples, too, and what doubles is a multiple of the `Batch`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from spikingjelly.activation_based import functional
from torch import fx, nn

from ...errors import UnsupportedError
from .layout import Batch, sizes_of
from .views import layout_of


@dataclass(frozen=True, slots=True)
class Real:
    """A value on the host, before the first spiking layer."""


class _Shapes(fx.Interpreter):
    """Runs the network and leaves in every node the shape of its tensor, in its first run and in its last one, and
    whether it held 0 and 1 only."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            n.meta.setdefault("shape", tuple(result.shape))
            n.meta["last shape"] = tuple(result.shape)
            n.meta.setdefault("binary", bool(((result == 0) | (result == 1)).all()))
        return result


def note_shapes(module: fx.GraphModule, example: torch.Tensor, reads_spikes: bool) -> Any:
    """Run the network on the example, and on two of them where it asks for shapes. Returns its answer."""
    given = next(node for node in module.graph.nodes if node.op == "placeholder")
    runs = [example]
    if any(asks_shape(node) for node in module.graph.nodes):
        runs.append(torch.cat([example, example], int(reads_spikes and not turns(given))))
    answers = []
    for each in runs:
        functional.reset_net(module)
        with torch.no_grad():
            answers.append(_Shapes(module).run(each))
    return answers[0]


def asks_shape(node: fx.Node) -> bool:
    """x.shape, x.ndim, x.size(), x.dim()"""
    if node.op == "call_method":
        return node.target in ("size", "dim")
    return node.target is getattr and node.args[1] in ("shape", "ndim")


def shape_asked(node: fx.Node, arguments: Sequence[Any], keywords: Mapping[str, Any], steps: int) -> Any:
    """The answer, with a Batch where the number of images stands."""
    x, *others = arguments
    shape = _with_batch(node.all_input_nodes[0]) if isinstance(x, Real) else sizes_of(layout_of(x, steps))
    if node.target == "dim" or others == ["ndim"]:
        return len(shape)
    dim = None if others == ["shape"] else keywords.get("dim", *others)
    return shape if dim is None else shape[dim]


def _with_batch(node: fx.Node) -> tuple[Any, ...]:
    pairs = zip(node.meta["shape"], node.meta["last shape"], strict=True)
    return tuple(one if one == two else Batch(one) for one, two in pairs)


def known(node: fx.Node, root: nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """A constant of the network, or what a function makes of numbers and shapes."""
    if node.op == "get_attr":
        value: Any = root
        for name in str(node.target).split("."):
            value = getattr(value, name)
        return float(value) if isinstance(value, torch.Tensor) and value.numel() == 1 else value
    try:
        if node.op == "call_method":
            return getattr(arguments[0], str(node.target))(*arguments[1:], **keywords)
        return cast(Any, node.target)(*arguments, **keywords)
    except TypeError as error:
        raise UnsupportedError(f"what it computes of shapes has no rule ({error})") from error


def turns(node: fx.Node) -> bool:
    """Whether a node is frames [N, T, ...], all that reads them being one transposition to [T, N, ...]."""
    if node.op != "placeholder" or len(node.users) != 1:
        return False
    (user,) = node.users
    return user.target in (torch.transpose, "transpose") and (*user.args[1:], *user.kwargs.values()) in ((0, 1), (1, 0))
