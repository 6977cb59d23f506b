"""The functions and methods of a float network as nodes of ONNX, by their names.

A rule's parameters are named as torch names them; an option that it lacks, and what it cannot say, raise `NoRule`.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from .nodes import BATCH, Nodes, NoRule, Shape, Value


def elementwise(kind: str) -> Callable[[Nodes, str, Value], Value]:
    def rule(writer: Nodes, name: str, input: Value) -> Value:
        if writer.apart(input):
            return writer.each([input], input.shape[2:], lambda x, at: writer.node(kind, x, at), name)
        if input.folded:
            return Value(shape=input.shape, folded=writer.node(kind, [input.folded], name))
        return Value(shape=input.shape, name=writer.node(kind, [writer.plain(input)], name))

    return rule


def _arithmetic(kind: str) -> Callable[[Nodes, str, Any, Any], Any]:
    def rule(writer: Nodes, name: str, input: Any, other: Any) -> Any:
        both = [value for value in (input, other) if isinstance(value, Value)]
        if not all(isinstance(value, Value | int | float) for value in (input, other)):
            raise NoRule(f"{name} of something else than tensors and numbers")
        if not both:
            return PLAIN[kind](input, other)
        shape = _broadcast([value.shape for value in both])

        def apply(names: Sequence[str], at: str) -> str:
            left = iter(names)
            return writer.node(
                kind, [next(left) if isinstance(v, Value) else writer.number(v) for v in (input, other)], at
            )

        if kind == "Add" and any(isinstance(value, int | float) and value == 0 for value in (input, other)):
            return both[0]
        if writer.apart(*both):
            return writer.each(both, shape[2:], apply, name)
        if all(value.folded for value in both) and len({value.shape for value in both}) == 1:
            return Value(shape=shape, folded=apply([value.folded for value in both], name))
        return Value(shape=shape, name=apply([writer.plain(value) for value in both], name))

    return rule


def _floor_division(writer: Nodes, name: str, input: Any, other: Any) -> int:
    """Of sizes."""
    if not isinstance(input, int) or not isinstance(other, int):
        raise NoRule(f"{name} divides something else than whole numbers")
    return input // other


PLAIN: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": operator.truediv,
    "Max": max,
    "Min": min,
}


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(map(len, shapes))
    axes = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    return tuple(next((n for n in lengths if n != 1), 1) for lengths in axes)


def _reduced(kind: str) -> Callable[..., Value]:
    def rule(writer: Nodes, name: str, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
        rank = len(input.shape)
        axes = sorted({d % rank for d in ([*range(rank)] if dim is None else [dim] if isinstance(dim, int) else dim)})
        kept = [1 if i in axes else n for i, n in enumerate(input.shape) if keepdim or i not in axes]

        def apply(given: Sequence[str], at: str, less: int = 0) -> str:
            inner = writer.integers([axis - less for axis in axes])
            return writer.node(f"Reduce{kind}", [*given, inner], at, keepdims=int(keepdim))

        if writer.apart(input) and axes[0] > 1:
            return writer.each([input], tuple(kept[2:]), lambda x, at: apply(x, at, 1), name)
        if writer.apart(input) and axes == [0] and kind in MEANS:
            return _over_time(writer, name, input, kind, tuple(kept))
        return Value(shape=tuple(kept), name=apply([writer.plain(input)], name))

    return rule


MEANS = ("Mean", "Sum")  # of the steps of a window; of one step alone, that step's share in the mean over the steps


def _over_time(writer: Nodes, name: str, value: Value, kind: str, kept: Shape) -> Value:
    steps = writer.steps(value)
    if writer.one_step:
        made = steps[0] if kind == "Mean" else writer.node("Mul", [steps[0], writer.number(len(steps))], name)
        writer.averaged.add(made)
    else:
        made = steps[0] if kind == "Mean" and len(set(steps)) == 1 else writer.node(kind, steps, name)
    return Value(shape=kept, name=made) if len(kept) < len(value.shape) else Value(shape=kept, steps=(made,))


def reshaped(writer: Nodes, name: str, shape: Shape, at: str) -> str:
    return writer.node("Reshape", [name, writer.integers(shape)], at)


def _reshaped(writer: Nodes, name: str, value: Value, shape: Shape) -> Value:
    """Step by step where the first two axes stay."""
    if shape.count(BATCH) > 1:
        raise NoRule(f"{name} of several batches")
    if writer.apart(value) and shape[:2] == value.shape[:2]:
        inner = (BATCH, *shape[2:])
        return writer.each([value], shape[2:], lambda x, at: reshaped(writer, x[0], inner, at), name)
    return Value(shape=shape, name=reshaped(writer, writer.plain(value), shape, name))


def flatten(writer: Nodes, name: str, input: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    rank = len(input.shape)
    first, last = start_dim % rank, end_dim % rank
    inner = input.shape[first : last + 1]
    if (first, last) == (0, 1) and input.shape[0] != BATCH and input.shape[1] == BATCH:
        return Value(shape=(BATCH, *input.shape[2:]), name=writer.folded(input))
    size = BATCH if BATCH in inner else math.prod(inner)
    return _reshaped(writer, name, input, (*input.shape[:first], size, *input.shape[last + 1 :]))


def _unsqueeze(writer: Nodes, name: str, input: Value, dim: int) -> Value:
    at = dim % (len(input.shape) + 1)
    if at == 0 and input.shape[0] == BATCH and not input.steps:
        return Value(shape=(1, *input.shape), steps=(writer.plain(input),))
    return _reshaped(writer, name, input, (*input.shape[:at], 1, *input.shape[at:]))


def _squeeze(writer: Nodes, name: str, input: Value, dim: int) -> Value:
    at = dim % len(input.shape)
    if at == 0 and input.shape[0] == 1 and input.steps:
        return Value(shape=input.shape[1:], name=input.steps[0])
    kept = input.shape if input.shape[at] != 1 else input.shape[:at] + input.shape[at + 1 :]
    return _reshaped(writer, name, input, kept)


def _item(writer: Nodes, name: str, value: Any, index: Any) -> Any:
    if isinstance(value, list | tuple) and isinstance(index, int):
        return value[index]
    indices = index if isinstance(index, tuple) else (index,)
    if isinstance(value, Value) and type(index) is int and value.shape[0] != BATCH and not writer.one_step:
        return Value(shape=value.shape[1:], name=writer.steps(value)[index])
    if not isinstance(value, Value) or not all(i is None or i == slice(None) for i in indices):
        raise NoRule(f"{name} takes a part of a tensor")
    if indices[0] is None and all(i == slice(None) for i in indices[1:]):
        return _unsqueeze(writer, name, value, 0)
    lengths, shape = iter(value.shape), []
    for i in indices:
        shape.append(1 if i is None else next(lengths))
    return _reshaped(writer, name, value, (*shape, *lengths))


def _repeat(writer: Nodes, name: str, input: Value, *sizes: int) -> Value:
    given = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes
    if input.shape[0] == BATCH and len(given) == len(input.shape) + 1:
        input = _unsqueeze(writer, name, input, 0)
    if len(given) != len(input.shape) or any(
        n == BATCH and times != 1 for n, times in zip(input.shape, given, strict=True)
    ):
        raise NoRule(f"{name} repeats the batch, or adds axes")
    shape = tuple(n if n == BATCH else n * times for n, times in zip(input.shape, given, strict=True))
    if input.shape[0] == 1 and input.steps and set(given[1:]) <= {1}:
        return Value(shape=shape, steps=input.steps * given[0])
    return Value(shape=shape, name=writer.node("Tile", [writer.plain(input), writer.integers(given)], name))


def _expand(writer: Nodes, name: str, input: Value, *sizes: int) -> Value:
    given = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes
    if input.shape[0] == BATCH and len(given) == len(input.shape) + 1:
        input = _unsqueeze(writer, name, input, 0)
    if len(given) != len(input.shape) or given[0] == BATCH:
        raise NoRule(f"{name} adds axes")
    times = [1 if new in (BATCH, n) else new for n, new in zip(input.shape, given, strict=True)]
    if any(n != 1 and t != 1 for n, t in zip(input.shape, times, strict=True)):
        raise NoRule(f"{name} to another size")
    return _repeat(writer, name, input, *times)


def _permute(writer: Nodes, name: str, input: Value, *dims: int) -> Value:
    given = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], list | tuple) else dims
    order = [d % len(input.shape) for d in given]
    shape = tuple(input.shape[d] for d in order)
    if writer.apart(input) and order[:2] == [0, 1]:
        inner = [0, *(d - 1 for d in order[2:])]
        return writer.each([input], shape[2:], lambda x, at: writer.node("Transpose", x, at, perm=inner), name)
    return Value(shape=shape, name=writer.node("Transpose", [writer.plain(input)], name, perm=order))


def _transpose(writer: Nodes, name: str, input: Value, dim0: int, dim1: int) -> Value:
    if name in writer.turned:
        return writer.turned[name]
    order = [*range(len(input.shape))]
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _permute(writer, name, input, *order)


def _view(writer: Nodes, name: str, input: Value, *sizes: Any) -> Value:
    """To sizes in numbers, of which one at most is -1; the batch is the one that stays as it is."""
    given = list(sizes[0] if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes)
    if given == [BATCH if n == BATCH else n for n in input.shape]:
        return input
    known = math.prod(n for n in input.shape if n != BATCH)
    at = next((i for i, n in enumerate(given) if isinstance(n, _Batch)), None)
    if at is not None and given.count(BATCH) == 0:
        return _reshaped(writer, name, input, tuple(BATCH if i == at else int(n) for i, n in enumerate(given)))
    if at is not None:
        rest = math.prod(int(n) for i, n in enumerate(given) if i != at and n != BATCH)
        if known % rest:
            raise NoRule(f"{name} to {given}")
        whole = [BATCH if i == at else known // rest if n == BATCH else int(n) for i, n in enumerate(given)]
        return _reshaped(writer, name, input, tuple(whole))
    return _reshaped(writer, name, input, tuple(int(n) for n in given))


class _Batch(int):
    """The size of the batch, as a network reads it."""


def _size(writer: Nodes, name: str, input: Value, dim: int | None = None) -> Any:
    sizes = tuple(_Batch(1) if n == BATCH else n for n in input.shape)
    return sizes if dim is None else sizes[dim]


def _attribute(writer: Nodes, name: str, value: Value, word: str) -> Any:
    if word == "shape":
        return _size(writer, name, value)
    if word != "T" or len(value.shape) != 2:
        raise NoRule(f"{name} reads .{word}")
    return _permute(writer, name, value, 1, 0)


def _concatenate(writer: Nodes, name: str, tensors: Sequence[Value], dim: int = 0) -> Value:
    axis = dim % len(tensors[0].shape)
    lengths = [value.shape[axis] for value in tensors]
    if BATCH in lengths:
        raise NoRule(f"{name} along the batch")
    shape = (*tensors[0].shape[:axis], sum(lengths), *tensors[0].shape[axis + 1 :])
    if axis == 0 and all(value.steps for value in tensors):
        return Value(shape=shape, steps=tuple(step for value in tensors for step in value.steps))
    if axis > 1 and writer.apart(*tensors):
        return writer.each(tensors, shape[2:], lambda x, at: writer.node("Concat", x, at, axis=axis - 1), name)
    return Value(shape=shape, name=writer.node("Concat", [*map(writer.plain, tensors)], name, axis=axis))


def _stack(writer: Nodes, name: str, tensors: Sequence[Value], dim: int = 0) -> Value:
    single = [_unsqueeze(writer, f"{name}/{i}", value, dim) for i, value in enumerate(tensors)]
    return _concatenate(writer, name, single, dim % len(single[0].shape))


def _matmul(writer: Nodes, name: str, input: Value, other: Value) -> Value:
    shape = (*_broadcast([input.shape[:-2], other.shape[:-2]]), input.shape[-2], other.shape[-1])
    if BATCH in (*input.shape[-2:], *other.shape[-2:]):
        raise NoRule(f"{name} over the batch")
    if writer.apart(input, other):
        return writer.each([input, other], shape[2:], lambda x, at: writer.node("MatMul", x, at), name)
    return Value(shape=shape, name=writer.node("MatMul", [writer.plain(input), writer.plain(other)], name))


def _as_it_is(writer: Nodes, name: str, input: Value) -> Value:
    return input


def spelled(function: Any) -> str:
    """torch and Python have the same function in several places."""
    names = {operator.add: "add", operator.iadd: "add", operator.truediv: "div", operator.matmul: "matmul"}
    return names.get(function, getattr(function, "__name__", ""))


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    "add": _arithmetic("Add"),
    "sub": _arithmetic("Sub"),
    "mul": _arithmetic("Mul"),
    **dict.fromkeys(("truediv", "div"), _arithmetic("Div")),
    "floordiv": _floor_division,
    "minimum": _arithmetic("Min"),
    "maximum": _arithmetic("Max"),
    "sigmoid": elementwise("Sigmoid"),
    "relu": elementwise("Relu"),
    "exp": elementwise("Exp"),
    "mean": _reduced("Mean"),
    "sum": _reduced("Sum"),
    "amax": _reduced("Max"),
    "amin": _reduced("Min"),
    "flatten": flatten,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "getitem": _item,
    "getattr": _attribute,
    "size": _size,
    "repeat": _repeat,
    "expand": _expand,
    "permute": _permute,
    **dict.fromkeys(("transpose", "swapaxes"), _transpose),
    **dict.fromkeys(("view", "reshape"), _view),
    "contiguous": _as_it_is,
    "cat": _concatenate,
    "stack": _stack,
    "matmul": _matmul,
}
