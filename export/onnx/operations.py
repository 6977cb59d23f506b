"""The operations of a float network as nodes of ONNX: modules by their types, functions by their names.

A rule's parameters are named as torch names them; an option that it lacks, and what it cannot say, raise `NoRule`.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnx import TensorProto, helper
from spikingjelly.activation_based import layer, neuron
from torch import nn

from ..trace.rules import BATCH_NORMS, pair, weight_of
from .nodes import BATCH, Nodes, NoRule, Shape, Value

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
    entering, made = writer.images(module, value, rank)
    size, geometry = _window(module, value.shape[2 - rank :], module.kernel_size, module.padding, module.dilation)
    inputs = [entering, writer.constant(f"{name}.weight", weight_of(module))]
    if module.bias is not None:
        inputs.append(writer.constant(f"{name}.bias", module.bias))
    return made((module.out_channels, *size), writer.node("Conv", inputs, name, group=module.groups, **geometry))


def convolution_of_steps(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    """What `as_convolution` gives, for one step."""
    module.step_mode = "m"
    return _convolution(writer, name, module, value)


def _convolution_of_lines(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    return _convolution(writer, name, module, value, rank=3)


def _linear(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    weight = writer.constant(f"{name}.weight", weight_of(module).T)
    made = writer.node("MatMul", [writer.plain(value), weight], f"{name}/product" if module.bias is not None else name)
    if module.bias is not None:
        made = writer.node("Add", [made, writer.constant(f"{name}.bias", module.bias)], name)
    return Value(shape=(*value.shape[:-1], module.out_features), name=made)


def _batch_norm(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    if module.running_var is None or module.training:
        raise NoRule(f"{name} has no running statistics")
    steps = getattr(module, "step_mode", "s") == "m"
    entering, made = writer.images(module, value, 4 if "2d" in type(module).__name__ else len(value.shape) - steps)
    ones, zeros = torch.ones_like(module.running_var), torch.zeros_like(module.running_var)
    parts = {
        "weight": module.weight if module.affine else ones,
        "bias": module.bias if module.affine else zeros,
        "running_mean": module.running_mean,
        "running_var": module.running_var,
    }
    inputs = [entering, *(writer.constant(f"{name}.{part}", tensor) for part, tensor in parts.items())]
    shape = value.shape[1 + steps :]
    return made(shape, writer.node("BatchNormalization", inputs, name, epsilon=module.eps))


def _max_pool(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    if module.ceil_mode or module.return_indices:
        raise NoRule(f"{name} rounds up or returns places")
    entering, made = writer.images(module, value, 4)
    size, geometry = _window(module, value.shape[-2:], module.kernel_size, module.padding, module.dilation)
    return made((value.shape[-3], *size), writer.node("MaxPool", [entering], name, **geometry))


def _average_pool(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    if module.ceil_mode or module.divisor_override:
        raise NoRule(f"{name} rounds up or divides by another number")
    entering, made = writer.images(module, value, 4)
    size, geometry = _window(module, value.shape[-2:], module.kernel_size, module.padding, 1)
    counted = int(module.count_include_pad)
    made_name = writer.node("AveragePool", [entering], name, count_include_pad=counted, **geometry)
    return made((value.shape[-3], *size), made_name)


def _adaptive_pool(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    wanted = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
    size = value.shape[-2:]
    left = tuple(n if new is None else new for n, new in zip(size, wanted, strict=True))
    entering, made = writer.images(module, value, 4)
    shape = (value.shape[-3], *left)
    if left == (1, 1):
        return made(shape, writer.node("GlobalAveragePool", [entering], name))
    if size == (1, 1):
        return made(shape, writer.node("Tile", [entering, writer.integers((1, 1, *left))], name))
    if any(n % new for n, new in zip(size, left, strict=True)):
        raise NoRule(f"{name} has windows of several sizes")
    window = [n // new for n, new in zip(size, left, strict=True)]
    return made(shape, writer.node("AveragePool", [entering], name, kernel_shape=window, strides=window))


def _voting(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    entering, made = writer.images(module, value, 2)
    size, left = module.voting_size, value.shape[-1] // module.voting_size
    lines = writer.node("Reshape", [entering, writer.integers((BATCH, 1, value.shape[-1]))], f"{name}/lines")
    means = writer.node("AveragePool", [lines], f"{name}/means", kernel_shape=[size], strides=[size])
    return made((left,), writer.node("Reshape", [means, writer.integers((BATCH, left))], name))


def _contained(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    """What it contains, on all steps as if they were images."""
    inner = Value(shape=(BATCH, *value.shape[2:]), name=writer.folded(value))
    for path, part in module.named_children():
        rule = MODULES.get(type(part))
        if rule is None:
            raise NoRule(f"{name}.{path} is a {type(part).__name__}")
        inner = rule(writer, f"{name}.{path}", part, inner)
    return Value(shape=(*value.shape[:2], *inner.shape[1:]), folded=writer.plain(inner))


def _same(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    return value


def _flatten_module(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    first = module.start_dim + (getattr(module, "step_mode", "s") == "m") * (module.start_dim >= 0)
    return _flatten(writer, name, value, first, module.end_dim)


def _neurons(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    """h = charge(v, x), a spike where h >= threshold, then the reset: operation by operation as SpikingJelly has them
    (`_ops/lif/reference.py`, `_ops/if_/reference.py` and `_ops/plif/reference.py` of 2.0)."""
    entering, steps = writer.plain(value), value.shape[0]
    if module.step_mode != "m" or steps == BATCH or name in writer.neurons:
        raise NoRule(f"{name} runs step by step, or goes on where it ended")
    writer.neurons.add(name)
    currents = [writer.fresh(f"{name}/current/{t}") for t in range(steps)]
    writer.nodes.append(
        helper.make_node("Split", [entering], currents, name=f"{name}:Split", axis=0, num_outputs=steps)
    )
    threshold = writer.number(module.v_threshold)
    reset = None if module.v_reset is None else writer.number(module.v_reset)
    fired, v = [], writer.number(module.v_reset) if module.v_reset else ""
    for t, x in enumerate(currents):
        at = f"{name}/{t}"
        h = _charged(writer, at, module, x, v)
        fires = writer.node("GreaterOrEqual", [h, threshold], f"{at}/fires")
        fired.append(writer.node("Cast", [fires], f"{at}/spikes", to=TensorProto.FLOAT))
        if t + 1 == steps:
            break
        if reset is None:
            v = writer.node("Sub", [h, writer.node("Mul", [fired[-1], threshold], f"{at}/taken")], f"{at}/v")
        else:
            v = writer.node("Where", [fires, reset, h], f"{at}/v")
    return Value(shape=value.shape, name=writer.node("Concat", fired, f"{name}/spikes", axis=0))


def _charged(writer: Nodes, at: str, module: Any, x: str, v: str) -> str:
    """The membrane before the threshold. v: "" where it is 0, as at the start."""

    def node(kind: str, *inputs: str) -> str:
        return writer.node(kind, inputs, f"{at}/{kind.lower()}")

    if type(module) is neuron.IFNode:
        return node("Add", v, x) if v else x
    if type(module) is neuron.ParametricLIFNode:
        kind, rate = "Mul", writer.number(float(torch.sigmoid(module.w.detach())))
    else:
        kind, rate = "Div", writer.number(module.tau)
    if not v:
        return node(kind, x, rate) if module.decay_input else x
    above = node("Sub", v, writer.number(module.v_reset)) if module.v_reset else v
    if module.decay_input:
        return node("Add", v, node(kind, node("Sub", x, above), rate))
    return node("Add", node("Sub", v, node(kind, above, rate)), x)


MODULES: dict[type, Module] = {
    **dict.fromkeys((nn.Conv2d, layer.Conv2d, layer.WSConv2d), _convolution),
    nn.Conv1d: _convolution_of_lines,
    **dict.fromkeys((nn.Linear, layer.Linear, layer.WSLinear), _linear),
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    **dict.fromkeys((nn.MaxPool2d, layer.MaxPool2d), _max_pool),
    **dict.fromkeys((nn.AvgPool2d, layer.AvgPool2d), _average_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool2d, layer.AdaptiveAvgPool2d), _adaptive_pool),
    layer.VotingLayer: _voting,
    layer.SeqToANNContainer: _contained,
    **dict.fromkeys((nn.Flatten, layer.Flatten), _flatten_module),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout2d, layer.Dropout, layer.Dropout2d), _same),
    nn.ReLU: lambda writer, name, module, value: _elementwise("Relu")(writer, name, value),
    nn.Sigmoid: lambda writer, name, module, value: _elementwise("Sigmoid")(writer, name, value),
    **dict.fromkeys((neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode), _neurons),
}


# functions and methods, whose parameters are named as torch names them


def _elementwise(kind: str) -> Callable[[Nodes, str, Value], Value]:
    def rule(writer: Nodes, name: str, input: Value) -> Value:
        return Value(shape=input.shape, name=writer.node(kind, [writer.plain(input)], name))

    return rule


def _arithmetic(kind: str) -> Callable[[Nodes, str, Any, Any], Value]:
    def rule(writer: Nodes, name: str, input: Any, other: Any) -> Value:
        both = [value for value in (input, other) if isinstance(value, Value)]
        if len(both) == 2 and all(value.folded for value in both) and both[0].shape == both[1].shape:
            made = writer.node(kind, [value.folded for value in both], name)
            return Value(shape=both[0].shape, folded=made)
        if not all(isinstance(value, Value | int | float) for value in (input, other)):
            raise NoRule(f"{name} of something else than tensors and numbers")
        names = [writer.plain(v) if isinstance(v, Value) else writer.number(v) for v in (input, other)]
        return Value(shape=_broadcast([value.shape for value in both]), name=writer.node(kind, names, name))

    return rule


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(map(len, shapes))
    axes = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    return tuple(next((n for n in lengths if n != 1), 1) for lengths in axes)


def _reduced(kind: str) -> Callable[..., Value]:
    def rule(writer: Nodes, name: str, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
        rank = len(input.shape)
        axes = sorted({d % rank for d in ([*range(rank)] if dim is None else [dim] if isinstance(dim, int) else dim)})
        made = writer.node(kind, [writer.plain(input), writer.integers(axes)], name, keepdims=int(keepdim))
        kept = [1 if i in axes else n for i, n in enumerate(input.shape) if keepdim or i not in axes]
        return Value(shape=tuple(kept), name=made)

    return rule


def _reshaped(writer: Nodes, name: str, value: Value, shape: Shape) -> Value:
    if shape.count(BATCH) > 1:
        raise NoRule(f"{name} of several batches")
    return Value(shape=shape, name=writer.node("Reshape", [writer.plain(value), writer.integers(shape)], name))


def _flatten(writer: Nodes, name: str, input: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    rank = len(input.shape)
    first, last = start_dim % rank, end_dim % rank
    inner = input.shape[first : last + 1]
    size = BATCH if BATCH in inner else math.prod(inner)
    return _reshaped(writer, name, input, (*input.shape[:first], size, *input.shape[last + 1 :]))


def _unsqueeze(writer: Nodes, name: str, input: Value, dim: int) -> Value:
    at = dim % (len(input.shape) + 1)
    return _reshaped(writer, name, input, (*input.shape[:at], 1, *input.shape[at:]))


def _squeeze(writer: Nodes, name: str, input: Value, dim: int) -> Value:
    at = dim % len(input.shape)
    kept = input.shape if input.shape[at] != 1 else input.shape[:at] + input.shape[at + 1 :]
    return _reshaped(writer, name, input, kept)


def _item(writer: Nodes, name: str, value: Any, index: Any) -> Any:
    if isinstance(value, list | tuple) and isinstance(index, int):
        return value[index]
    if isinstance(value, Value) and type(index) is int and value.shape[0] != BATCH:
        return Value(
            shape=value.shape[1:], name=writer.node("Gather", [writer.plain(value), writer.index(index)], name)
        )
    indices = index if isinstance(index, tuple) else (index,)
    if not isinstance(value, Value) or not all(i is None or i == slice(None) for i in indices):
        raise NoRule(f"{name} takes a part of a tensor")
    lengths, shape = iter(value.shape), []
    for i in indices:
        shape.append(1 if i is None else next(lengths))
    return _reshaped(writer, name, value, (*shape, *lengths))


def _repeat(writer: Nodes, name: str, input: Value, *sizes: int) -> Value:
    if len(sizes) != len(input.shape) or any(
        n == BATCH and times != 1 for n, times in zip(input.shape, sizes, strict=True)
    ):
        raise NoRule(f"{name} repeats the batch, or adds axes")
    shape = tuple(n if n == BATCH else n * times for n, times in zip(input.shape, sizes, strict=True))
    return Value(shape=shape, name=writer.node("Tile", [writer.plain(input), writer.integers(sizes)], name))


def _permute(writer: Nodes, name: str, input: Value, *dims: int) -> Value:
    order = [d % len(input.shape) for d in dims]
    made = writer.node("Transpose", [writer.plain(input)], name, perm=order)
    return Value(shape=tuple(input.shape[d] for d in order), name=made)


def _transpose(writer: Nodes, name: str, input: Value, dim0: int, dim1: int) -> Value:
    order = [*range(len(input.shape))]
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _permute(writer, name, input, *order)


def _attribute(writer: Nodes, name: str, value: Value, word: str) -> Value:
    if word != "T" or len(value.shape) != 2:
        raise NoRule(f"{name} reads .{word}")
    return _permute(writer, name, value, 1, 0)


def _concatenate(writer: Nodes, name: str, tensors: Sequence[Value], dim: int = 0) -> Value:
    axis = dim % len(tensors[0].shape)
    lengths = [value.shape[axis] for value in tensors]
    if BATCH in lengths:
        raise NoRule(f"{name} along the batch")
    shape = (*tensors[0].shape[:axis], sum(lengths), *tensors[0].shape[axis + 1 :])
    return Value(shape=shape, name=writer.node("Concat", [*map(writer.plain, tensors)], name, axis=axis))


def _stack(writer: Nodes, name: str, tensors: Sequence[Value], dim: int = 0) -> Value:
    single = [_unsqueeze(writer, f"{name}/{i}", value, dim) for i, value in enumerate(tensors)]
    return _concatenate(writer, name, single, dim % len(single[0].shape))


def spelled(function: Any) -> str:
    """torch and Python have the same function in several places."""
    return {operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.getitem: "getitem"}.get(
        function, getattr(function, "__name__", "")
    )


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    "add": _arithmetic("Add"),
    "sub": _arithmetic("Sub"),
    "mul": _arithmetic("Mul"),
    **dict.fromkeys(("truediv", "div"), _arithmetic("Div")),
    "sigmoid": _elementwise("Sigmoid"),
    "relu": _elementwise("Relu"),
    "mean": _reduced("ReduceMean"),
    "sum": _reduced("ReduceSum"),
    "amax": _reduced("ReduceMax"),
    "flatten": _flatten,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "getitem": _item,
    "getattr": _attribute,
    "repeat": _repeat,
    "permute": _permute,
    "transpose": _transpose,
    "cat": _concatenate,
    "stack": _stack,
}
