"""Linear expressions of spikes, the values that tracing computes with.

Between two spiking layers a network may only do what one synapse can: a sum of kernels applied to spikes, plus a
constant per channel. Everything linear (convolution, batch norm, average pool, sum, concatenation) folds into such an
expression exactly, or is refused by UnsupportedError.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...errors import UnsupportedError
from ..graph import Array, Conv, Dense, Kernel, Shape, neurons
from ..simulate import apply
from ..taps import Taps, convolution_of, taps_of, ungrouped
from .layout import Layout

MATRIX_LIMIT = 2**22  # weights, 32 MiB of float64
Map = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """`kernel` applied to the spikes of `source`, whose shape is `source_shape`."""

    source: str
    source_shape: Shape
    kernel: Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """sum of terms + constant: the current that would arrive at neurons of this shape.

    binary: every value is 0 or 1, because it is a concatenation of spikes. complement: every value is 1 - a spike.
    averaged: the mean over time was taken, or, where it is the last, one step. layout: how the tensor counts these
    neurons, where it is not [T, N, *shape].
    """

    shape: Shape  # (C, H, W) or (N,)
    terms: tuple[Term, ...]
    constant: Array  # [C] or [N]
    binary: bool = False
    complement: bool = False
    averaged: bool = False
    layout: Layout | None = None
    last: bool = False


def identity(shape: Shape) -> Kernel:
    """The kernel that carries every spike over as it is."""
    return Conv(weight=np.eye(shape[0])[:, :, None, None]) if len(shape) == 3 else Dense(weight=np.eye(shape[0]))


def spikes_of(name: str, shape: Shape) -> Expression:
    """The spikes of a population or input, as they are."""
    term = Term(source=name, source_shape=shape, kernel=identity(shape))
    return Expression(shape=shape, terms=(term,), constant=np.zeros(shape[0]), binary=True)


def convolved(x: Expression, kernel: Conv) -> Expression:
    """x followed by a convolution.

    Of two kernels in a row the taps add up, W[s1 * b + a] = sum over b, a of W2[b] @ W1[a], s1 being the first one's
    stride. A padded kernel would have to see the zeros that its padding puts around the inner one's output, and is
    refused unless the inner one, going on beyond its map, gives zeros there, too.
    """
    _once_in_time(x)
    if len(x.shape) == 1:
        raise UnsupportedError("a convolution cannot follow a flattened value")
    kernel = ungrouped(kernel)
    if x.constant.any() and kernel.padding != (0, 0):
        raise UnsupportedError("a padded convolution after a bias cannot fold; put the batch norm or bias behind it")
    shape = kernel.output_shape(x.shape)
    terms = tuple(replace(term, kernel=_composed(term, kernel, x.shape, shape)) for term in x.terms)
    constant = kernel.weight.sum((2, 3)) @ x.constant
    return Expression(shape=shape, terms=terms, constant=constant)


def multiplied(x: Expression, weight: Array) -> Expression:
    """Flat x [N] followed by a full matrix [O, N]."""
    terms = tuple(replace(term, kernel=Dense(weight=weight @ _matrix(term).weight)) for term in x.terms)
    constant = weight @ x.constant
    return replace(x, shape=weight.shape[:1], terms=terms, constant=constant, binary=False, complement=False)


def scaled(x: Expression, scale: Array | float, shift: Array | float = 0.0) -> Expression:
    """scale * x + shift, both per channel [C] or one number."""
    factor = np.broadcast_to(scale, x.constant.shape)
    terms = tuple(
        replace(t, kernel=_with_weight(t.kernel, (t.kernel.weight.T * _rows(factor, t, x.shape)).T)) for t in x.terms
    )
    return replace(x, terms=terms, constant=x.constant * factor + shift, binary=False, complement=False)


def complement(x: Expression) -> Expression:
    """1 - x of spikes: what is not fired."""
    return replace(scaled(x, -1.0, 1.0), complement=x.binary)


def added(a: Expression, b: Expression) -> Expression:
    if a.shape != b.shape or (a.averaged, a.last) != (b.averaged, b.last):
        raise UnsupportedError(f"only currents of the same shape can be added, but these are {a.shape} and {b.shape}")
    terms, constant = a.terms + b.terms, a.constant + b.constant
    return Expression(shape=a.shape, terms=terms, constant=constant, averaged=a.averaged, last=a.last)


def concatenated(parts: list[Expression]) -> Expression:
    """Side by side on the channel axis: each term's kernel gets zero rows where the other parts' channels are."""
    for part in parts:
        _once_in_time(part)
    if len({part.shape[1:] for part in parts}) != 1:
        raise UnsupportedError(f"only equal sizes concatenate, but these are {', '.join(str(p.shape) for p in parts)}")
    channels = sum(part.shape[0] for part in parts)
    terms, start = [], 0
    for part in parts:
        for term in part.terms:
            weight = term.kernel.weight
            each = len(weight) // part.shape[0]  # rows of a channel
            placed = np.zeros((channels * each, *weight.shape[1:]))
            placed[start * each : start * each + len(weight)] = weight
            terms.append(replace(term, kernel=_with_weight(term.kernel, placed)))
        start += part.shape[0]
    return Expression(
        shape=(channels, *parts[0].shape[1:]),
        terms=tuple(terms),
        constant=np.concatenate([part.constant for part in parts]),
        binary=all(part.binary for part in parts),
    )


def flattened(x: Expression) -> Expression:
    """[C, H, W] -> [C * H * W] in C-order."""
    _once_in_time(x)
    if len(x.shape) == 1:
        return x
    terms = tuple(replace(term, kernel=_matrix(term)) for term in x.terms)
    constant = np.repeat(x.constant, neurons(x.shape[1:]))
    return replace(x, shape=(neurons(x.shape),), terms=terms, constant=constant)


def averaged(x: Expression) -> Expression:
    """The mean over time. From here on only a matrix, a scale and a shift have a rule, because time is gone."""
    _once_in_time(x)
    return replace(x, binary=False, complement=False, averaged=True)


def never_negative(x: Expression) -> bool:
    return bool((x.constant >= 0).all()) and all(bool((term.kernel.weight >= 0).all()) for term in merged(x.terms))


def _once_in_time(x: Expression) -> None:
    if x.averaged:
        raise UnsupportedError("after the mean over time only linear layers have a rule; take the mean last")


def merged(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Add the kernels of terms with the same source and geometry; of kernels that are all zero keep one at most."""
    kept: dict[object, Term] = {}
    for term in terms:
        if not term.kernel.weight.any():
            continue
        key = (term.source, term.kernel.weight.shape, _geometry(term.kernel))
        if key in kept:
            term = replace(term, kernel=_with_weight(term.kernel, kept[key].kernel.weight + term.kernel.weight))
        kept[key] = term
    return tuple(kept.values()) or terms[:1]


def _geometry(kernel: Kernel) -> tuple[object, ...]:
    return () if isinstance(kernel, Dense) else (kernel.stride, kernel.padding, kernel.dilation)


def _with_weight(kernel: Kernel, weight: Array) -> Kernel:
    return replace(kernel, weight=weight)


def _composed(term: Term, outer: Conv, between: Shape, shape: Shape) -> Kernel:
    """outer, which gives this shape, after the kernel of the term, as one; both ungrouped."""
    if isinstance(term.kernel, Dense):
        return _mapped(term, between, lambda columns: apply(outer, columns))
    inner = term.kernel
    if inner.weight.shape[2:] == (1, 1) and inner.stride == (1, 1) and inner.padding == (0, 0):
        weight = np.einsum("omhw,mi->oihw", outer.weight, inner.weight[:, :, 0, 0], optimize=True)
        return replace(outer, weight=weight)
    if outer.weight.shape[2:] == (1, 1) and outer.padding == (0, 0):
        weight = np.einsum("om,mihw->oihw", outer.weight[:, :, 0, 0], inner.weight, optimize=True)
        stride = (inner.stride[0] * outer.stride[0], inner.stride[1] * outer.stride[1])
        return replace(inner, weight=weight, stride=stride)
    if outer.padding == (0, 0) or _zero_beyond(term.source_shape, inner):
        taps: Taps = {}
        for (down, right), second in taps_of(outer).items():
            for (row, column), first in taps_of(inner).items():
                offset = (down * inner.stride[0] + row, right * inner.stride[1] + column)
                taps[offset] = taps.get(offset, 0.0) + second @ first
        stride = (inner.stride[0] * outer.stride[0], inner.stride[1] * outer.stride[1])
        return convolution_of(taps, stride, term.source_shape, shape)
    raise UnsupportedError(
        f"a padded {outer.weight.shape[2]}x{outer.weight.shape[3]} kernel directly after a "
        f"{inner.weight.shape[2]}x{inner.weight.shape[3]} one cannot fold into one; put a spiking layer between them"
    )


def _zero_beyond(source: Shape, kernel: Conv) -> bool:
    """Whether a kernel gives 0 just beyond its output, as a pool gives whose windows lie side by side and fill the map:
    zeros are what the padding of the next kernel puts there."""
    output = kernel.output_shape(source)
    return all(
        (size - 1) * dilation - padding < stride and length * stride - padding >= whole
        for size, dilation, padding, stride, length, whole in zip(
            *(kernel.weight.shape[2:], kernel.dilation, kernel.padding, kernel.stride, output[1:], source[1:]),
            strict=True,
        )
    )


def unit_of(x: Expression) -> float | None:
    """u > 0 where every value of x is 0 or u: spikes, or a multiple of them; else None."""
    if x.binary:
        return 1.0
    fed = np.zeros(x.shape[0], np.int64)
    for term in merged(x.terms):
        kernel = term.kernel
        if not isinstance(kernel, Dense) and (kernel.weight.shape[2:] != (1, 1) or kernel.padding != (0, 0)):
            return None
        fed += (kernel.weight.reshape(len(fed), -1) != 0).sum(1)
    units = np.unique(np.concatenate([term.kernel.weight[term.kernel.weight != 0] for term in x.terms]))
    alone = (fed <= 1).all() and not x.constant.any() and len(units) == 1 and units[0] > 0
    return float(units[0]) if alone and not x.averaged else None


def spikes_in(x: Expression) -> Expression:
    """The spikes of which x is a multiple (`unit_of`)."""
    terms = tuple(replace(t, kernel=_with_weight(t.kernel, (t.kernel.weight > 0).astype(np.float64))) for t in x.terms)
    return replace(x, terms=terms, binary=True)


def mapped(x: Expression, operation: Map, shape: Shape) -> Expression:
    """x followed by what is linear and the same for each channel, but no convolution: a full matrix.

    operation: values [M, C, H, W] -> [M, *shape]; what is the same everywhere stays so.
    """
    _once_in_time(x)
    for term in x.terms:
        if neurons(shape) * neurons(term.source_shape) > MATRIX_LIMIT:
            raise UnsupportedError(
                f"what is no convolution becomes a full matrix, and one from {term.source_shape} to {shape} has more "
                f"than {MATRIX_LIMIT} weights; use smaller maps, or windows side by side"
            )
    terms = tuple(replace(term, kernel=_mapped(term, x.shape, operation)) for term in x.terms)
    return replace(x, shape=shape, terms=terms, binary=False, complement=False)


def _mapped(term: Term, shape: Shape, operation: Map) -> Dense:
    """operation after the term, which gives this shape."""
    columns = operation(_matrix(term).weight.T.reshape(-1, *shape))
    return Dense(weight=np.ascontiguousarray(columns.reshape(len(columns), -1).T))


def _rows(factor: Array, term: Term, shape: Shape) -> Array:
    """Of each channel -> of each row of the term's kernel, which gives this shape."""
    return np.repeat(factor, len(term.kernel.weight) // shape[0])


def _matrix(term: Term) -> Dense:
    """The term's kernel as a full matrix [O * H' * W', I * H * W]."""
    kernel = term.kernel
    if isinstance(kernel, Dense):
        return kernel
    if kernel.weight.shape[2:] == term.source_shape[1:] and kernel.padding == (0, 0):  # one output position
        return Dense(weight=kernel.weight.reshape(len(kernel.weight), -1))
    size = neurons(term.source_shape)
    columns = apply(kernel, np.eye(size).reshape(size, *term.source_shape))  # [I * H * W, O, H', W']
    return Dense(weight=np.ascontiguousarray(columns.reshape(size, -1).T))
