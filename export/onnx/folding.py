"""Batch norms that go into the weights before them, in float64, so that neither side adds to the other's rounding."""

import copy
from typing import Any

import torch
from spikingjelly.activation_based import layer
from torch import Tensor, fx, nn

from ..trace.rules import BATCH_NORMS, weight_of
from .nodes import NoRule

LINEAR: tuple[type, ...] = (nn.Linear, layer.Linear, layer.WSLinear)
WEIGHTED: tuple[type, ...] = (nn.Conv2d, layer.Conv2d, layer.WSConv2d, nn.Conv1d, layer.Conv1d, *LINEAR)


class Folded(nn.Module):
    """In the place of a batch norm, of which the weights before it know: (factor, shift) of each channel."""


def folded(module: fx.GraphModule) -> dict[str, nn.Module]:
    """Path -> module of all; batch norms that can go into weights are `Folded`, and those weights know them.

    They can where nothing else reads what lies between: a convolution, or a sum of convolutions.
    """
    modules: dict[str, nn.Module] = dict(module.named_modules())
    called = [str(node.target) for node in module.graph.nodes if node.op == "call_module"]
    for node in module.graph.nodes:
        if node.op != "call_module" or type(modules[str(node.target)]) not in BATCH_NORMS:
            continue
        norm: Any = modules[str(node.target)]
        sources = _sources(node.all_input_nodes[0], modules) if len(node.all_input_nodes) == 1 else None
        paths = [str(source.target) for source in sources or ()]
        if not paths or norm.training or norm.running_var is None or any(called.count(p) > 1 for p in paths):
            continue
        if called.count(str(node.target)) > 1 or any(modules[path].training for path in paths):
            continue
        if type(modules[paths[0]]) in LINEAR and "1d" not in type(norm).__name__:
            continue
        factor, shift = factor_and_shift(norm)
        for path in paths:
            modules[path] = _with(modules[path], factor, shift)
            shift = torch.zeros_like(shift)
        modules[str(node.target)] = Folded().eval()
    return modules


def _sources(node: fx.Node, modules: dict[str, nn.Module]) -> list[fx.Node] | None:
    """The convolutions that a value is the sum of; None: it is something else, or others read it."""
    if len(node.users) != 1:
        return None
    if node.op == "call_module":
        kind = type(modules[str(node.target)])
        return [node] if kind in WEIGHTED or "as_convolution" in vars(kind) else None
    if getattr(node.target, "__name__", node.target) not in ("add", "iadd") or node.kwargs:
        return None
    found = [_sources(part, modules) if isinstance(part, fx.Node) else None for part in node.args]
    if any(part is None for part in found):
        return None
    return [source for part in found if part is not None for source in part]


def _with(module: nn.Module, factor: Tensor, shift: Tensor) -> nn.Module:
    changed = copy.copy(module)
    vars(changed)["folded"] = (factor, shift)
    return changed


def factor_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """x -> factor * x + shift of a batch norm with running statistics, in float64."""
    weight, bias, mean, variance = (part.detach().double() for part in affine(norm))
    factor = weight / torch.sqrt(variance + norm.eps)
    return factor, bias - factor * mean


def affine(norm: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(weight, bias, mean, variance)."""
    ones, zeros = torch.ones_like(norm.running_var), torch.zeros_like(norm.running_var)
    weight, bias = (norm.weight, norm.bias) if norm.affine else (ones, zeros)
    return weight, bias, norm.running_mean, norm.running_var


def weight_and_bias(module: Any) -> tuple[Tensor, Tensor | None]:
    """Those that compute, a batch norm behind them included, in float32."""
    weight, bias = weight_of(module), None if module.bias is None else module.bias.detach()
    if weight.dtype != torch.float32:
        raise NoRule(f"a weight is {weight.dtype}")
    found = getattr(module, "folded", None)
    if found is None:
        return weight, bias
    factor, shift = found
    scaled = weight.double() * factor.reshape(-1, *[1] * (weight.ndim - 1))
    moved = shift if bias is None else shift + factor * bias.double()
    return scaled.float(), moved.float() if bool(moved.any()) else None
