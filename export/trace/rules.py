"""The linear rules of tracing: a torch module or function -> what it does to a linear expression of spikes.

Rules of modules are registered by their types (registry.py), those of functions stand in the table FUNCTIONS, where a
rule's parameters are named as torch names them; an option that it lacks is refused.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import layer
from torch import nn

from ...errors import UnsupportedError
from ..graph import Array, Conv
from . import linear, resized
from .linear import Expression
from .registry import NO_RULE, register, rule_of

ZEROS = "only zero padding given in numbers has a rule; use padding_mode='zeros', and a number for padding"


@register(nn.Conv2d, layer.Conv2d, layer.WSConv2d)
def _conv(x: Expression, module: Any) -> Expression:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise UnsupportedError(ZEROS)
    kernel = Conv(
        weight=array(weight_of(module)),
        stride=pair(module.stride),
        padding=pair(module.padding),
        dilation=pair(module.dilation),
        groups=module.groups,
    )
    return _biased(linear.convolved(x, kernel), module.bias)


@register(nn.Conv1d, layer.Conv1d)
def _conv_of_lines(x: Expression, module: Any) -> Expression:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise UnsupportedError(ZEROS)
    kernel = Conv(
        weight=array(module.weight)[:, :, None],
        stride=along(module.stride, 1),
        padding=along(module.padding, 0),
        dilation=along(module.dilation, 1),
        groups=module.groups,
    )
    return _biased(linear.convolved(x, kernel), module.bias)


@register(nn.Linear, layer.Linear, layer.WSLinear)
def _linear(x: Expression, module: Any) -> Expression:
    if len(x.shape) != 1:
        raise UnsupportedError("a linear layer needs a flattened value; put a flatten before it")
    return _biased(linear.multiplied(x, array(weight_of(module))), module.bias)


def weight_of(module: Any) -> torch.Tensor:
    """The weights that compute: SpikingJelly's WS layers standardise theirs, in eval mode to the same every time."""
    standardised = isinstance(module, layer.WSConv2d | layer.WSLinear)
    weight: torch.Tensor = module.get_weight() if standardised else module.weight
    return weight.detach()


@register(layer.VotingLayer)
def _voting(x: Expression, module: Any) -> Expression:
    """The mean of every so many neurons: a class has that many voters."""
    if len(x.shape) != 1:
        raise UnsupportedError("a VotingLayer needs a flattened value; put a flatten before it")
    size, classes = module.voting_size, x.shape[0] // module.voting_size
    weight = np.zeros((classes, x.shape[0]))  # neurons behind the last whole class have no vote
    weight[:, : classes * size] = np.repeat(np.eye(classes), size, axis=1) / size
    return linear.multiplied(x, weight)


BATCH_NORMS: tuple[type, ...] = (
    *(nn.BatchNorm1d, layer.BatchNorm1d, nn.BatchNorm2d, layer.BatchNorm2d),
    *(layer.ThresholdDependentBatchNorm1d, layer.ThresholdDependentBatchNorm2d),  # it is initialised otherwise only
)


@register(*BATCH_NORMS)
def _batch_norm(x: Expression, module: Any) -> Expression:
    if module.running_var is None:
        raise UnsupportedError("batch norm without running statistics is not linear; set track_running_stats=True")
    scale = 1.0 / np.sqrt(array(module.running_var) + module.eps)
    shift = np.zeros_like(scale)
    if module.affine:
        scale, shift = scale * array(module.weight), array(module.bias)
    return linear.scaled(x, scale, shift - scale * array(module.running_mean))


@register(nn.AvgPool2d, layer.AvgPool2d)
def _average_pool(x: Expression, module: Any) -> Expression:
    size, padding = pair(module.kernel_size), pair(module.padding)
    if not module.count_include_pad and padding != (0, 0):
        raise UnsupportedError("average pool must count its padding, count_include_pad=True")
    if module.divisor_override or (module.ceil_mode and _cut(x.shape[1:], size, pair(module.stride), padding)):
        raise UnsupportedError("average pool with divisor_override, or ceil_mode where windows are cut, has no rule")
    return linear.convolved(x, _mean_window(x.shape[0], size, pair(module.stride), padding))


@register(nn.AvgPool1d, layer.AvgPool1d)
def _average_pool_of_lines(x: Expression, module: Any) -> Expression:
    size, padding = along(module.kernel_size, 1), along(module.padding, 0)
    if (not module.count_include_pad and padding != (0, 0)) or module.ceil_mode:
        raise UnsupportedError("average pool must count its padding, count_include_pad=True, without ceil_mode")
    return linear.convolved(x, _mean_window(x.shape[0], size, along(module.stride, 1), padding))


@register(nn.AdaptiveAvgPool1d, layer.AdaptiveAvgPool1d)
def _adaptive_average_of_lines(x: Expression, module: Any) -> Expression:
    return _averaged_to(x, along(module.output_size, 1))


@register(nn.AdaptiveAvgPool2d, layer.AdaptiveAvgPool2d)
def _adaptive_average(x: Expression, module: Any) -> Expression:
    return _averaged_to(x, module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2)


def _averaged_to(x: Expression, wanted: tuple[int | None, ...]) -> Expression:
    """Windows side by side, or every neuron so many times. In between windows differ: that is a full matrix."""
    have = (x.shape[1], x.shape[2])
    rows, columns = (size if new is None else int(new) for new, size in zip(wanted, have, strict=True))
    if have == (1, 1) and (rows, columns) != (1, 1):  # each tap of a window of zeros around it reads the one pixel
        weight = np.ones((x.shape[0], 1, rows, columns))
        return linear.convolved(x, Conv(weight=weight, padding=(rows - 1, columns - 1), groups=x.shape[0]))
    if have[0] % rows or have[1] % columns:
        return linear.mapped(x, resized.averages((rows, columns)), (x.shape[0], rows, columns))
    window = (have[0] // rows, have[1] // columns)
    return linear.convolved(x, _mean_window(x.shape[0], window, window, (0, 0)))


def _cut(shape: tuple[int, ...], size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> bool:
    """Whether the last window reaches beyond the map, where ceil_mode makes a difference."""
    return any((n + 2 * p - k) % s for n, k, s, p in zip(shape, size, stride, padding, strict=True))


def _mean_window(channels: int, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Conv:
    weight = np.full((channels, 1, *size), 1.0 / (size[0] * size[1]))
    return Conv(weight=weight, stride=stride, padding=padding, groups=channels)


@register(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, layer.Upsample)
def _upsample(x: Expression, module: Any) -> Expression:
    return resized.upsampled(x, module)


@register(nn.Flatten, layer.Flatten)
def _flatten_layer(x: Expression, module: Any) -> Expression:
    """SpikingJelly's module sees one step, [N, C, H, W]; torch's sees them all, [T, N, C, H, W]."""
    unseen = 1 if isinstance(module, layer.Flatten) else 0
    end = module.end_dim if module.end_dim < 0 else module.end_dim + unseen
    return _flatten(x, module.start_dim + unseen, end)


@register(layer.SeqToANNContainer)
def _contained(x: Expression, module: Any) -> Expression:
    """What it contains, one after the other, each on one time step."""
    for part in module:
        rule = rule_of(part)
        if rule is None:
            raise UnsupportedError(f"a {type(part).__name__} cannot be a synapse or a neuron on the chip; {NO_RULE}")
        if isinstance(part, nn.Flatten):
            x = _flatten(x, part.start_dim + 1, part.end_dim if part.end_dim < 0 else part.end_dim + 1)
        else:
            x = rule(x, part)
    return x


# these do nothing in eval mode
@register(nn.Identity, nn.Dropout, nn.Dropout2d, layer.Dropout, layer.Dropout2d)
def _same(x: Expression, module: nn.Module) -> Expression:
    return x


def _biased(x: Expression, bias: torch.Tensor | None) -> Expression:
    return x if bias is None else linear.scaled(x, 1.0, array(bias))


def array(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().numpy().astype(np.float64)


def pair(value: Any) -> tuple[int, int]:
    """torch's "one number or two" as two."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def along(value: Any, across: int) -> tuple[int, int]:
    """torch's number of a line as that of an image of one row."""
    return (across, int(value) if isinstance(value, int) else int(value[0]))


def _add(input: Any, other: Any, /) -> Expression:
    a, b = (input, other) if isinstance(input, Expression) else (other, input)
    if isinstance(b, Expression):
        return linear.added(a, b)
    return a if b == 0 else linear.scaled(a, 1.0, float(b))


def _subtract(input: Any, other: Any, /) -> Expression:
    if not isinstance(input, Expression):
        return linear.complement(other) if input == 1 else linear.scaled(other, -1.0, float(input))
    minus = linear.scaled(other, -1.0) if isinstance(other, Expression) else -float(other)
    return _add(input, minus)


def _negative(input: Expression) -> Expression:
    return linear.scaled(input, -1.0)


def _multiply(input: Any, other: Any, /) -> Expression:
    a, b = (input, other) if isinstance(input, Expression) else (other, input)
    return linear.scaled(a, float(b))


def _divide(input: Any, other: Any, /) -> Expression:
    if not isinstance(input, Expression) or isinstance(other, Expression):
        raise UnsupportedError("only a division by a number has a rule")
    return linear.scaled(input, 1.0 / float(other))


def _concatenate(tensors: Any, dim: int = 0) -> Expression:
    if not all(isinstance(part, Expression) for part in tensors):
        raise UnsupportedError("only spikes and their currents concatenate")
    if dim not in (2, -len(tensors[0].shape)):
        raise UnsupportedError(f"only concatenation of channels (dim 2) has a rule, but dim={dim}")
    return linear.concatenated(list(tensors))


def _flatten(input: Expression, start_dim: int = 0, end_dim: int = -1) -> Expression:
    last = 1 + len(input.shape)
    if start_dim not in (2, 1 - last) or end_dim not in (-1, last):
        raise UnsupportedError(
            f"only flattening of [T, N, C, H, W] from dim 2 to the last has a rule, but start_dim={start_dim}, "
            f"end_dim={end_dim}"
        )
    return linear.flattened(input)


def _mean(input: Expression, dim: Any = None, keepdim: bool = False) -> Expression:
    if dim not in (0, (0,), [0]) or keepdim:
        raise UnsupportedError(f"only the mean over time (dim 0, keepdim=False) has a rule, but dim={dim}")
    return linear.averaged(input)


FUNCTIONS: dict[Any, Callable[..., Expression]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add"), _add),
    **dict.fromkeys((operator.sub, torch.sub, "sub"), _subtract),
    **dict.fromkeys((operator.mul, torch.mul, "mul"), _multiply),
    **dict.fromkeys((operator.truediv, torch.div, "div"), _divide),
    **dict.fromkeys((operator.neg, torch.neg, "neg"), _negative),
    torch.cat: _concatenate,
    **dict.fromkeys((torch.flatten, "flatten"), _flatten),
    **dict.fromkeys((torch.mean, "mean"), _mean),
}
