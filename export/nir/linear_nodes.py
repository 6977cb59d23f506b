"""NIR's stateless nodes: each turns what enters it into what leaves it, exactly, in the algebra of traces.

Shapes of NIR are [N], [C, L] or [C, H, W]; [C, L] is the image (C, 1, L) here, and Conv1d a row of it. SumPool2d and
AvgPool2d count their padding, as SpikingJelly's exporter demands (nir_exchange/to_nir.py, `map_avgpool2d`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ...errors import InputError, UnsupportedError
from ..graph import Array, Conv, Dense, Shape, neurons
from ..taps import ungrouped
from ..trace import linear
from ..trace.linear import Expression, Term
from .file import Node

MAX_MATRIX = 2**28  # numbers of a full matrix that flattening makes: 2 GiB
MAX_WINDOW = 2**10  # neurons along one side of what a pool adds up


@dataclass(frozen=True, slots=True, kw_only=True)
class Spikes:
    """The spikes of `source` as they are, in C-order in `shape`."""

    source: str
    source_shape: Shape
    shape: Shape


Signal = Spikes | Expression


def image_shape(shape: Shape) -> Shape:
    """Of NIR -> of the graph."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def expression(x: Signal) -> Expression:
    """What may be added to others."""
    if isinstance(x, Expression):
        return x
    size = x.shape[0]  # of the identity: channels, or neurons of what is flat
    _check_matrix(size, size)
    if len(x.shape) == len(x.source_shape):
        return linear.spikes_of(x.source, x.shape)
    return _of_one(x, Dense(weight=np.eye(size)), x.shape)


def linear_node(node: Node, x: Signal) -> Signal:
    """y = W x."""
    weight = node.numbers("weight")
    if weight.ndim != 2:
        raise UnsupportedError(
            f"its weight must be [O, I], but is {list(weight.shape)}; write one layer for each matrix"
        )
    if x.shape != weight.shape[1:]:
        raise InputError(
            f"{node.where} reads [{weight.shape[1]}], but what enters it has shape {list(x.shape)}"
            f"{'; put a Flatten before it' if len(x.shape) > 1 else '; write the file again'}."
        )
    if isinstance(x, Spikes):
        return _of_one(x, Dense(weight=weight), weight.shape[:1])
    return linear.multiplied(x, weight)


def affine_node(node: Node, x: Signal) -> Signal:
    """y = W x + b."""
    return _shifted(node, cast(Expression, linear_node(node, x)))


def conv2d_node(node: Node, x: Signal) -> Signal:
    weight = node.numbers("weight")
    if weight.ndim != 4 or len(x.shape) != 3:
        raise InputError(
            f"{node.where} must have a weight [O, I, kh, kw] and read [C, H, W], but has {list(weight.shape)} and "
            f"reads {list(x.shape)}; write the file again."
        )
    stride, dilation = (node.sizes(key, 2, 1) for key in ("stride", "dilation"))
    padding = _padding(node, weight.shape[2:], stride, dilation)
    return _convolved(node, x, weight, stride, padding, dilation, x.shape[1:])


def conv1d_node(node: Node, x: Signal) -> Signal:
    weight = node.numbers("weight")
    if weight.ndim != 3 or len(x.shape) != 3 or x.shape[1] != 1:
        raise InputError(
            f"{node.where} must have a weight [O, I, k] and read [C, L], but has {list(weight.shape)} and reads "
            f"{list(x.shape)}; write the file again."
        )
    stride, dilation = ((1, *node.sizes(key, 1, 1)) for key in ("stride", "dilation"))
    padding = _padding(node, weight.shape[2:], stride[1:], dilation[1:])
    return _convolved(node, x, weight[:, :, None], stride, (0, *padding), dilation, x.shape[2:])


def sum_pool_node(node: Node, x: Signal) -> Signal:
    return _pooled(node, x, 1.0)


def average_pool_node(node: Node, x: Signal) -> Signal:
    rows, columns = node.sizes("kernel_size", 2, 1)
    return _pooled(node, x, 1.0 / (rows * columns))


def scale_node(node: Node, x: Signal) -> Signal:
    """y = s x, for each channel (neuron of [N])."""
    scale = node.numbers("scale")
    if scale.size == 1:
        return linear.scaled(expression(x), scale.item())
    if image_shape(scale.shape) != x.shape:
        raise InputError(
            f"{node.where} has shape {list(scale.shape)}, but what enters it {list(x.shape)}; write it again."
        )
    flat = scale.reshape(len(scale), -1)
    if (flat != flat[:, :1]).any():
        raise UnsupportedError("it differs within a channel, which no kernel does; write one value for each channel")
    return linear.scaled(expression(x), flat[:, 0])


def flatten_node(node: Node, x: Signal) -> Signal:
    """[C, H, W] -> [C * H * W]. NIR counts dimensions without the batch."""
    if len(x.shape) == 1:
        return x
    axes = len(node.whole("input_type")) if "input_type" in node.values else None
    (start,) = node.sizes("start_dim", 1, -16) if "start_dim" in node.values else (1,)
    (end,) = node.sizes("end_dim", 1, -16) if "end_dim" in node.values else (-1,)
    ends = {-1, axes - 1} if axes else {-1, *((1, 2) if x.shape[1] == 1 else (2,))}
    if start not in (0, -len(x.shape) if axes is None else -axes) or end not in ends:
        raise UnsupportedError(
            f"it flattens dimensions {start} to {end} of {list(x.shape)}, and only 0 to -1 has a rule: NIR counts them "
            "without the batch, so write start_dim=0"
        )
    if isinstance(x, Spikes):
        return replace(x, shape=(neurons(x.shape),))
    for term in x.terms:
        _check_matrix(neurons(term.source_shape), max(neurons(x.shape), neurons(term.source_shape)))
    return linear.flattened(_opened(x))


def through_node(node: Node, x: Signal) -> Signal:
    return x


RULES: dict[str, Callable[[Node, Signal], Signal]] = {
    "Linear": linear_node,
    "Affine": affine_node,
    "Conv1d": conv1d_node,
    "Conv2d": conv2d_node,
    "SumPool2d": sum_pool_node,
    "AvgPool2d": average_pool_node,
    "Scale": scale_node,
    "Flatten": flatten_node,
    "Output": through_node,
    "Through": through_node,
}


def matrix_of(term: Term, shape: Shape) -> Dense:
    """The term's kernel, which gives this shape, as a full matrix."""
    one = Expression(shape=shape, terms=(term,), constant=np.zeros(shape[0]))
    _check_matrix(neurons(term.source_shape), max(neurons(shape), neurons(term.source_shape)))
    return cast(Dense, linear.flattened(_opened(one)).terms[0].kernel)


def _of_one(x: Spikes, kernel: Conv | Dense, shape: Shape) -> Expression:
    term = Term(source=x.source, source_shape=x.source_shape, kernel=kernel)
    return Expression(shape=shape, terms=(term,), constant=np.zeros(shape[0]))


def _opened(x: Expression) -> Expression:
    """Without groups, as the algebra wants kernels that it composes."""
    for term in x.terms:
        if not isinstance(term.kernel, Dense):
            _check_matrix(term.source_shape[0], term.kernel.weight.size // term.kernel.weight.shape[1])
    terms = [t if isinstance(t.kernel, Dense) else replace(t, kernel=ungrouped(t.kernel)) for t in x.terms]
    return replace(x, terms=tuple(terms))


def _shifted(node: Node, x: Expression) -> Expression:
    bias = node.numbers("bias").reshape(-1)
    if bias.shape != x.shape[:1]:
        raise InputError(f"{node.where} must have a bias [{x.shape[0]}], but has {list(bias.shape)}; write it again.")
    return replace(x, constant=x.constant + bias)


def _convolved(
    node: Node, x: Signal, weight: Array, stride: Shape, padding: Shape, dilation: Shape, size: Shape
) -> Signal:
    (groups,) = node.sizes("groups", 1, 1) if "groups" in node.values else (1,)
    if "input_shape" in node.values and node.whole("input_shape")[-len(size) :] != size:
        declared = list(node.whole("input_shape"))
        raise InputError(f"{node.where} declares an input {declared}, but what enters it is {list(x.shape)}.")
    if weight.shape[1] * groups != x.shape[0] or len(weight) % groups:
        raise InputError(
            f"{node.where} has a weight {list(weight.shape)} and {groups} groups, but reads {x.shape[0]} channels."
        )
    y = _composed(node, x, _conv(weight, stride, padding, dilation, groups))
    return _shifted(node, y) if "bias" in node.values else y


def _composed(node: Node, x: Signal, kernel: Conv) -> Expression:
    shape = kernel.output_shape(x.shape)
    if min(shape) < 1:
        raise InputError(
            f"{node.where} gives shape {list(shape)} of {list(x.shape)}; its kernel is larger than the image."
        )
    if isinstance(x, Spikes):
        return _of_one(x, kernel, shape)
    return linear.convolved(_opened(x), kernel)


def _pooled(node: Node, x: Signal, weight: float) -> Signal:
    if len(x.shape) != 3:
        raise InputError(f"{node.where} reads [C, H, W], but what enters it has shape {list(x.shape)}.")
    size, stride = node.sizes("kernel_size", 2, 1), node.sizes("stride", 2, 1)
    if any(
        k > n + 2 * p or k > MAX_WINDOW for k, n, p in zip(size, x.shape[1:], node.sizes("padding", 2, 0), strict=True)
    ):
        raise InputError(f"{node.where} has a window {list(size)}, larger than the image {list(x.shape)}.")
    window = np.full((x.shape[0], 1, *size), weight)
    return _composed(node, x, _conv(window, stride, node.sizes("padding", 2, 0), (1, 1), x.shape[0]))


def _conv(weight: Array, stride: Shape, padding: Shape, dilation: Shape, groups: int) -> Conv:
    rows, columns = zip(stride, padding, dilation, strict=True)
    return Conv(
        weight=weight,
        stride=(rows[0], columns[0]),
        padding=(rows[1], columns[1]),
        dilation=(rows[2], columns[2]),
        groups=groups,
    )


def _padding(node: Node, kernel: Shape, stride: Shape, dilation: Shape) -> Shape:
    """Zeros on both sides; `valid` is none, `same` what keeps the size (PyTorch's Conv2d)."""
    word = node.values.get("padding")
    if not isinstance(word, str):
        return node.sizes("padding", len(kernel), 0)
    if word == "valid":
        return (0,) * len(kernel)
    if word != "same":
        raise InputError(f"{node.where}: padding must be numbers, 'same' or 'valid', but is '{word[:40]}'.")
    around = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    if any(size % 2 for size in around) or max(stride) > 1:
        raise UnsupportedError(
            f"padding 'same' of a kernel {list(kernel)}, stride {list(stride)}, is not the same on both sides; use an "
            "odd kernel and stride 1, or numbers"
        )
    return tuple(size // 2 for size in around)


def _check_matrix(inputs: int, outputs: int) -> None:
    if inputs * outputs > MAX_MATRIX:
        raise UnsupportedError(
            f"it would need a full matrix of {outputs} x {inputs}, more than {MAX_MATRIX} numbers; put a Linear "
            "directly behind the Flatten, or a spiking layer before it"
        )
