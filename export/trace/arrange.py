"""torch's functions on tensors of any layout: views, sums and means, parts of channels, constants.

What only rearranges (`reshape`, `permute`, `flatten` ...) stands in REARRANGE as what it does to a layout; what
computes stands in COMPUTE and goes through `views.py`.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx

from ...errors import UnsupportedError
from ..graph import Array
from . import linear, views
from .layout import Batch, Factor, Layout, at, canonical, joined, merged_axes, permuted, reshaped, size_of, spelled
from .linear import Expression
from .products import GATES, REFUSED
from .rules import FUNCTIONS

MULTIPLY, SUBTRACT = FUNCTIONS[operator.mul], FUNCTIONS[operator.sub]


def _reshape(layout: Layout, *shape: Any) -> Layout:
    return reshaped(layout, shape[0] if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape)


def _flatten(layout: Layout, start_dim: int = 0, end_dim: int = -1) -> Layout:
    return merged_axes(layout, start_dim, end_dim)


def _unflatten(layout: Layout, dim: int, sizes: Any) -> Layout:
    place = at(dim, len(layout))
    return layout[:place] + reshaped(layout[place : place + 1], sizes) + layout[place + 1 :]


def _permute(layout: Layout, *dims: Any) -> Layout:
    return permuted(layout, dims[0] if len(dims) == 1 and isinstance(dims[0], list | tuple) else dims)


def _transpose(layout: Layout, dim0: int, dim1: int) -> Layout:
    places = list(range(len(layout)))
    first, second = at(dim0, len(layout)), at(dim1, len(layout))
    places[first], places[second] = second, first
    return permuted(layout, places)


def _unsqueeze(layout: Layout, dim: int) -> Layout:
    place = at(dim, len(layout) + 1)
    return (*layout[:place], (), *layout[place:])


def _squeeze(layout: Layout, dim: int | None = None) -> Layout:
    if dim is None:
        raise UnsupportedError("squeeze() drops the batch where it is one image; name the dimension, squeeze(dim)")
    place = at(dim, len(layout))
    if any(factor.axis in "TN" for factor in layout[place]):
        raise UnsupportedError(f"squeeze({dim}) would drop time or batch of {spelled(layout)}")
    return layout if layout[place] else layout[:place] + layout[place + 1 :]


def _same(layout: Layout, **options: Any) -> Layout:
    return layout


REARRANGE: dict[Any, Callable[..., Layout]] = {
    **dict.fromkeys(("reshape", "view", torch.reshape), _reshape),
    **dict.fromkeys(("flatten", torch.flatten), _flatten),
    **dict.fromkeys(("unflatten", torch.unflatten), _unflatten),
    **dict.fromkeys(("permute", torch.permute), _permute),
    **dict.fromkeys(("transpose", torch.transpose, "swapaxes", torch.swapaxes), _transpose),
    **dict.fromkeys(("unsqueeze", torch.unsqueeze), _unsqueeze),
    **dict.fromkeys(("squeeze", torch.squeeze), _squeeze),
    **dict.fromkeys(("contiguous", "clone", torch.clone, "detach"), _same),
}
_KEYWORDS = {"input", "shape", "dims", "size"}  # torch's names of what stands first here


def rearranged(
    x: Expression, target: Any, arguments: Sequence[Any], keywords: dict[str, Any], steps: int
) -> Expression:
    """x as the function shows it."""
    named = [value for key, value in keywords.items() if key in _KEYWORDS - {"input"}]
    others = {key: value for key, value in keywords.items() if key not in _KEYWORDS}
    return views.shown(x, REARRANGE[target](views.layout_of(x, steps), *arguments, *named, **others), steps)


def _sum(x: Expression, steps: int, dim: Any = None, keepdim: bool = False) -> Expression:
    return _reduced(x, steps, dim, keepdim, mean=False)


def _mean(x: Expression, steps: int, dim: Any = None, keepdim: bool = False) -> Expression:
    return _reduced(x, steps, dim, keepdim, mean=True)


def _reduced(x: Expression, steps: int, dim: Any, keepdim: bool, mean: bool) -> Expression:
    """Over time last, which only a mean at the end has a rule for (rules.py)."""
    layout = views.layout_of(x, steps)
    if dim is None:
        raise UnsupportedError("a sum or mean over everything has no rule; name the dimensions, as in x.mean(-1)")
    dims = [at(each, len(layout)) for each in (dim if isinstance(dim, list | tuple) else [dim])]
    time = [each for each in dims if layout[each] == canonical((), steps)[0]] if not x.averaged else []
    if any(factor.axis == "N" for each in dims for factor in layout[each]):
        raise UnsupportedError(f"a sum or mean over the batch, dim={dim}, has no rule")
    y = views.summed(x, [each for each in dims if each not in time], keepdim, mean, steps)
    if not time:
        return y
    if keepdim or not mean:
        raise UnsupportedError("over time only a mean has a rule, with keepdim=False")
    left = views.layout_of(y, steps)
    rest = tuple(axis for axis in left if axis != layout[time[0]])
    return views.shown(linear.averaged(views.plain(y)), rest, steps)


def _chunk(x: Expression, steps: int, chunks: int, dim: int = 0) -> tuple[Expression, ...]:
    size = _known(views.layout_of(x, steps), dim)
    return _split(x, steps, -(-size // chunks), dim)


def _split(x: Expression, steps: int, split_size: Any, dim: int = 0) -> tuple[Expression, ...]:
    layout = views.layout_of(x, steps)
    size = _known(layout, dim)
    lengths = list(split_size) if isinstance(split_size, list | tuple) else [split_size] * -(-size // split_size)
    ends = [min(sum(lengths[: i + 1]), size) for i in range(len(lengths))]
    place = at(dim, len(layout))
    return tuple(views.taken(x, place, range(a, b), steps) for a, b in zip([0, *ends[:-1]], ends, strict=True))


def _known(layout: Layout, dim: int) -> int:
    size = size_of(layout[at(dim, len(layout))])
    if isinstance(size, Batch):
        raise UnsupportedError("the batch cannot be cut into parts")
    return size


def _item(x: Expression, steps: int, index: Any) -> Expression:
    """Slices and numbers along channels, full slices and None elsewhere."""
    wanted = list(index) if isinstance(index, tuple) else [index]
    layout = views.layout_of(x, steps)
    if Ellipsis in wanted:
        at_dots = wanted.index(Ellipsis)
        missing = len(layout) - sum(each is not None for each in wanted) + 1
        wanted[at_dots : at_dots + 1] = [slice(None)] * missing
    place = 0
    for each in wanted:
        layout = views.layout_of(x, steps)
        if each is None:
            x = views.shown(x, _unsqueeze(layout, place), steps)
        elif isinstance(each, int):
            size = _known(layout, place)
            x = views.taken(x, place, range(at(each, size), at(each, size) + 1), steps)
            x = views.shown(x, _squeeze(views.layout_of(x, steps), place), steps)
            continue
        elif isinstance(each, slice) and each != slice(None):
            x = views.taken(x, place, range(_known(layout, place))[each], steps)
        elif not isinstance(each, slice):
            raise UnsupportedError(f"an index {each!r} has no rule; take slices of channels")
        place += 1
    return x


COMPUTE: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(("sum", torch.sum), _sum),
    **dict.fromkeys(("mean", torch.mean), _mean),
    **dict.fromkeys(("chunk", torch.chunk), _chunk),
    **dict.fromkeys(("split", torch.split), _split),
    operator.getitem: _item,
}


def _concatenated(tensors: Sequence[Any], steps: int, dim: int = 0) -> Expression:
    """Side by side along a dimension of channels, whatever the layout."""
    ordered, layouts = [], []
    for part in tensors:
        if not isinstance(part, Expression):
            raise UnsupportedError("only spikes and their currents concatenate")
        layout = views.layout_of(part, steps)
        place = at(dim, len(layout))
        if any(factor.axis != "C" for factor in layout[place]):
            raise UnsupportedError(
                f"only channels concatenate, but dimension {dim} of {spelled(layout)} is not of them"
            )
        part, layout = views.channels_first(part, layout, place)
        ordered.append(part)
        layouts.append(layout[:place] + layout[place + 1 :])
    if len(set(layouts)) != 1:
        raise UnsupportedError(f"only equal layouts concatenate, but these are {', '.join(map(spelled, layouts))}")
    inside = prod(f.size for axis in layouts[0] for f in axis if f.axis == "C")
    x = linear.concatenated(ordered)
    axis = joined([Factor("C", inside, x.shape[0] // inside)])
    return views.shown(x, (*layouts[0][:place], axis, *layouts[0][place:]), steps)


def along_channels(x: Expression, constant: torch.Tensor, steps: int) -> Array:
    """A tensor that is added to x or multiplied with it, as one number for each channel of its map."""
    layout = views.layout_of(x, steps)
    shape = (1,) * (len(layout) - constant.ndim) + tuple(constant.shape)
    values = np.zeros(x.shape[0])
    told = constant.detach().cpu().numpy().astype(np.float64).reshape(shape)
    for axis, size in zip(layout, shape, strict=False):
        if size != 1 and (any(f.axis != "C" for f in axis) or size != prod(f.size for f in axis)):
            raise UnsupportedError(
                f"a constant of shape {list(constant.shape)} differs from place to place, as position embeddings do, "
                "but a layer of a chip has one bias per channel; use a convolution for positions, or export to onnx"
            )
    flat = np.broadcast_to(told, [prod(f.size for f in axis if f.axis == "C") for axis in layout])
    values[views.counted_channels(layout)] = flat.ravel()
    return values


def _with_constant(a: Any, b: Any, rule: Callable[..., Expression], steps: int) -> Expression:
    """A sum, difference or product of a tensor that is known and spikes."""
    x, constant = (a, b) if isinstance(a, Expression) else (b, a)
    values = along_channels(x, constant, steps)
    if rule is MULTIPLY:
        return linear.scaled(x, values)
    if rule is SUBTRACT:
        return linear.scaled(x, 1.0, -values) if x is a else linear.scaled(x, -1.0, values)
    return linear.scaled(x, 1.0, values)


Gate = Callable[[fx.Node, Any, Expression, Expression], Expression]
# functions of two tensors that are broadcast against each other
ELEMENTWISE = {*GATES, operator.add, operator.iadd, torch.add, "add", operator.sub, torch.sub, "sub"}


def arranged(node: fx.Node, given: Sequence[Any], named: Mapping[str, Any], steps: int, gate: Gate) -> Any:
    """What a function makes of tensors whose layout matters; None where rules.py alone says it."""
    target, keywords = node.target, dict(named)
    x, *others = given or (keywords.pop("input", None),)
    if target in REFUSED:
        raise UnsupportedError(REFUSED[target])
    if target in REARRANGE:
        return rearranged(x, target, others, keywords, steps)
    if target in COMPUTE and not _over_time(x, others, keywords):
        return bound(COMPUTE[target], node, (x, steps, *others), keywords)
    if target is torch.cat and any(part.layout for part in x or () if isinstance(part, Expression)):
        return bound(_concatenated, node, (x, steps, *others), keywords)
    if target in ELEMENTWISE and len(others) == 1 and not keywords:
        return _elementwise(node, x, others[0], steps, gate)
    return None


def _elementwise(node: fx.Node, a: Any, b: Any, steps: int, gate: Gate) -> Expression | None:
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return _with_constant(a, b, FUNCTIONS[node.target], steps)
    if not (isinstance(a, Expression) and isinstance(b, Expression)):
        return None
    a, b, layout = views.aligned(a, b, steps)
    role = GATES.get(node.target)
    return views.shown(FUNCTIONS[node.target](a, b) if role is None else gate(node, role, a, b), layout, steps)


def _over_time(x: Expression, others: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    """Whether a sum or mean is over time alone, which rules.py knows."""
    return x.layout is None and keywords.get("dim", others[0] if others else None) in (0, (0,), [0])


def bound(rule: Callable[..., Any], node: fx.Node, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """The rule's answer, or a refusal of arguments that it lacks."""
    try:
        found = signature(rule).bind(*arguments, **keywords)
    except TypeError as error:
        name = getattr(node.target, "__name__", node.target)
        raise UnsupportedError(f"'{name}' has no rule with these arguments ({error})") from error
    return rule(*found.args, **found.kwargs)
