"""The modules of a float network as nodes of ONNX, by their types. What a rule cannot say raises `NoRule`."""

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from ..trace.rules import BATCH_NORMS, pair
from .folding import Folded, affine, weight_and_bias
from .neurons import neurons
from .nodes import BATCH, Nodes, NoRule, Shape, Value
from .operations import elementwise, flatten, reshaped

Module = Callable[[Nodes, str, Any, Value], Value]


def _window(module: Any, size: Shape, kernel: Any, padding: Any, dilation: Any) -> tuple[Shape, dict[str, list[int]]]:
    """Rows and columns that a kernel leaves, and what ONNX calls its geometry."""
    strides, paddings = _many(module.stride, size), _many(padding, size)
    kernels, dilations = _many(kernel, size), _many(dilation, size)
    left = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernels, strides, paddings, dilations, strict=True)
    )
    geometry = {"strides": list(strides), "pads": [*paddings, *paddings], "kernel_shape": list(kernels)}
    return left, geometry | ({"dilations": list(dilations)} if set(dilations) != {1} else {})


def _many(value: Any, size: Shape) -> Shape:
    return pair(value) if len(size) == 2 else (value[0] if isinstance(value, tuple) else int(value),)


def _convolution(writer: Nodes, name: str, module: Any, value: Value, rank: int = 4) -> Value:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise NoRule(f"{name} is padded otherwise than by zeros in numbers")
    size, geometry = _window(module, value.shape[2 - rank :], module.kernel_size, module.padding, module.dilation)
    weight, bias = weight_and_bias(module)
    constants = [_kernel(writer, name, weight)]
    if bias is not None:
        constants.append(writer.constant(f"{name}.bias", bias))
    options = geometry | ({"group": module.groups} if module.groups != 1 else {})

    def apply(entering: str, at: str) -> str:
        return writer.node("Conv", [entering, *constants], at, **options)

    return writer.images(module, value, rank, (module.out_channels, *size), apply, name)


def _kernel(writer: Nodes, name: str, weight: torch.Tensor) -> str:
    """The weights; where every output channel reads one tap alone, only those: ONNX Runtime multiplies as it loads."""
    taps = (weight != 0).any(1, keepdim=True)
    if taps[0].numel() == 1 or bool((taps.flatten(1).sum(1) != 1).any()):
        return writer.constant(f"{name}.weight", weight)
    read = weight.sum((2, 3), keepdim=True) if weight.ndim == 4 else weight.sum(2, keepdim=True)
    inputs = [writer.constant(f"{name}.weight", read), writer.constant(f"{name}.taps", taps.float())]
    return writer.node("Mul", inputs, f"{name}.kernel")


def convolution_of_steps(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    """What `as_convolution` gives, for one step."""
    module.step_mode = "m"
    return _convolution(writer, name, module, value)


def _convolution_of_lines(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    return _convolution(writer, name, module, value, rank=3)


def _linear(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    weights, biases = weight_and_bias(module)
    weight = writer.constant(f"{name}.weight", weights.T)
    bias = None if biases is None else writer.constant(f"{name}.bias", biases)

    def apply(entering: str, at: str) -> str:
        made = writer.node("MatMul", [entering, weight], at if bias is None else f"{at}/product")
        return made if bias is None else writer.node("Add", [made, bias], at)

    if writer.apart(value):
        shape = (*value.shape[2:-1], module.out_features)
        return writer.each([value], shape, lambda given, at: apply(given[0], at), name)
    return Value(shape=(*value.shape[:-1], module.out_features), name=apply(writer.plain(value), name))


def _batch_norm(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    if isinstance(module, Folded):
        return value  # in the weights before it
    if module.running_var is None or module.training:
        raise NoRule(f"{name} has no running statistics")
    stepped = getattr(module, "step_mode", "s") == "m"
    if module.running_var.dtype != torch.float32:
        raise NoRule(f"{name}.weight is {module.running_var.dtype}")
    parts = affine(module)
    constants = [
        writer.constant(f"{name}.{part}", tensor)
        for part, tensor in zip(("weight", "bias", "running_mean", "running_var"), parts, strict=True)
    ]

    def apply(entering: str, at: str) -> str:
        return writer.node("BatchNormalization", [entering, *constants], at, epsilon=module.eps)

    rank = 4 if "2d" in type(module).__name__ else len(value.shape) - stepped
    return writer.images(module, value, rank, value.shape[1 + stepped :], apply, name)


def _max_pool(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    if module.ceil_mode or module.return_indices:
        raise NoRule(f"{name} rounds up or returns places")
    size, geometry = _window(module, value.shape[-2:], module.kernel_size, module.padding, module.dilation)
    shape = (value.shape[-3], *size)
    return writer.images(module, value, 4, shape, _unary(writer, "MaxPool", **geometry), name)


def _average_pool(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    if module.ceil_mode or module.divisor_override:
        raise NoRule(f"{name} rounds up or divides by another number")
    size, geometry = _window(module, value.shape[-2:], module.kernel_size, module.padding, 1)
    apply = _unary(writer, "AveragePool", count_include_pad=int(module.count_include_pad), **geometry)
    return writer.images(module, value, 4, (value.shape[-3], *size), apply, name)


def _unary(writer: Nodes, kind: str, **options: Any) -> Callable[[str, str], str]:
    return lambda entering, at: writer.node(kind, [entering], at, **options)


def _adaptive_pool(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    wanted = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
    size = value.shape[-2:]
    left = tuple(n if new is None else new for n, new in zip(size, wanted, strict=True))
    if left == (1, 1):
        apply = _unary(writer, "GlobalAveragePool")
    elif size == (1, 1):
        times = writer.integers((1, 1, *left))
        apply = lambda entering, at: writer.node("Tile", [entering, times], at)  # noqa: E731
    elif any(n % new for n, new in zip(size, left, strict=True)):
        raise NoRule(f"{name} has windows of several sizes")
    else:
        window = [n // new for n, new in zip(size, left, strict=True)]
        apply = _unary(writer, "AveragePool", kernel_shape=window, strides=window)
    return writer.images(module, value, 4, (value.shape[-3], *left), apply, name)


def _voting(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    size, left = module.voting_size, value.shape[-1] // module.voting_size

    def apply(entering: str, at: str) -> str:
        lines = reshaped(writer, entering, (BATCH, 1, value.shape[-1]), f"{at}/lines")
        means = writer.node("AveragePool", [lines], f"{at}/means", kernel_shape=[size], strides=[size])
        return reshaped(writer, means, (BATCH, left), at)

    return writer.images(module, value, 2, (left,), apply, name)


def _contained(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    """What it contains, on all steps as if they were images."""

    def apply(entering: str, shape: Shape, at: str) -> Value:
        inner = Value(shape=(BATCH, *shape), name=entering)
        for path, part in module.named_children():
            rule = MODULES.get(type(part))
            if rule is None or type(part) in NEURONS:
                raise NoRule(f"{name}.{path} is a {type(part).__name__}")
            inner = rule(writer, f"{name}.{path}", part, inner)
        return inner

    found: list[Value] = []

    def keep(given: Any, at: str) -> str:
        found.append(apply(given if isinstance(given, str) else given[0], value.shape[2:], at))
        return writer.plain(found[-1])

    if writer.apart(value):
        result = writer.each([value], (), keep, name)
        result.shape = (*result.shape[:2], *found[0].shape[1:])
        return result
    made = keep(writer.folded(value), name)
    return Value(shape=(*value.shape[:2], *found[0].shape[1:]), folded=made)


def _same(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    return value


def _flatten_module(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    first = module.start_dim + (getattr(module, "step_mode", "s") == "m") * (module.start_dim >= 0)
    return flatten(writer, name, value, first, module.end_dim)


NEURONS: tuple[type, ...] = (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode)

MODULES: dict[type, Module] = {
    **dict.fromkeys((nn.Conv2d, layer.Conv2d, layer.WSConv2d), _convolution),
    **dict.fromkeys((nn.Conv1d, layer.Conv1d), _convolution_of_lines),
    **dict.fromkeys((nn.Linear, layer.Linear, layer.WSLinear), _linear),
    **dict.fromkeys((*BATCH_NORMS, Folded), _batch_norm),
    **dict.fromkeys((nn.MaxPool2d, layer.MaxPool2d), _max_pool),
    **dict.fromkeys((nn.AvgPool2d, layer.AvgPool2d), _average_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool2d, layer.AdaptiveAvgPool2d), _adaptive_pool),
    layer.VotingLayer: _voting,
    layer.SeqToANNContainer: _contained,
    **dict.fromkeys((nn.Flatten, layer.Flatten), _flatten_module),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout2d, layer.Dropout, layer.Dropout2d), _same),
    nn.ReLU: lambda writer, name, module, value: elementwise("Relu")(writer, name, value),
    nn.Sigmoid: lambda writer, name, module, value: elementwise("Sigmoid")(writer, name, value),
    **dict.fromkeys(NEURONS, neurons),
}
