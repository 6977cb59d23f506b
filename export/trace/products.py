"""Products of spikes: which are populations, and why others, that networks with attention compute, are not."""

import operator
from typing import Any, Literal

import torch
from spikingjelly.activation_based import layer
from torch.nn import functional

from ...errors import UnsupportedError
from .linear import Expression
from .registry import register

# functions of two spikes that are populations
GATES: dict[Any, Literal["or", "and"]] = {
    **dict.fromkeys((operator.mul, torch.mul, "mul", torch.minimum, "minimum"), "and"),
    **dict.fromkeys((torch.maximum, "maximum"), "or"),
}
PRODUCTS = (operator.mul, torch.mul, "mul")  # also of multiples of spikes
MATRIX = (
    "a matrix product of spikes, as attention by Q K^T V has it, multiplies sums of spikes, and would need a neuron "
    "for each product of three spikes: heads * tokens^2 * (channels of a head)^2; use attention by element-wise "
    "products, as SpikingJelly's SpikeDrivenSelfAttention and QKAttention have it, or export to onnx"
)
GATE = (
    "a value between 0 and 1 that is computed from spikes, as attention gates and softmax give it, is no spike and "
    "weighs others while the chip runs, where weights are constant; use spiking attention, or export to onnx"
)
REFUSED: dict[Any, str] = {
    **dict.fromkeys((operator.matmul, torch.matmul, "matmul", torch.bmm, "bmm", torch.einsum), MATRIX),
    **dict.fromkeys((torch.sigmoid, "sigmoid", functional.sigmoid), GATE),
    **dict.fromkeys((torch.softmax, "softmax", functional.softmax), GATE),
    functional.scaled_dot_product_attention: GATE,
}


@register(layer.MultiDimensionalAttention, layer.TemporalWiseAttention)
def _attention_gate(x: Expression, module: Any) -> Expression:
    raise UnsupportedError(f"a {type(module).__name__} is a gate: {GATE}")
