"""The machine's instructions for words of bits and lanes of numbers, which Numba does not offer by itself.

Numba caches the kernels by the date of `kernels.py` alone: after a change here, delete `deploy/__pycache__`.
"""
# mypy: allow-untyped-decorators

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .tables import LANES, MANTISSA_SHIFT, RUN, STATE_LIMIT, WORD


@intrinsic
def add_lanes(_: Any, sums: Any, i: Any, weights: Any, j: Any, sign: Any) -> tuple[Any, Callable[..., Any]]:
    """sums[i : i + RUN] += weights[j : j + RUN], or -= where sign is -1 and not 0; exact: -w = (w ^ -1) + 1."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums_at, weights_at = (
            _lanes_at(context, builder, signature.args[n], arguments[n], arguments[n + 1], RUN) for n in (0, 2)
        )
        align = signature.args[0].dtype.bitwidth // 8
        value = builder.load(weights_at, align=align)
        flip = _splat(builder, arguments[4], value.type)
        value = builder.sub(builder.xor(value, flip), flip)
        builder.store(builder.add(builder.load(sums_at, align=align), value), sums_at, align=align)
        return context.get_dummy_value()

    return types.void(sums, types.intp, weights, types.intp, types.intp), codegen


@intrinsic
def step_lanes(
    _: Any, sums: Any, i: Any, v: Any, j: Any, bias: Any, k: Any, kept: Any, shift: Any, threshold: Any
) -> tuple[Any, Callable[..., Any]]:
    """One membrane step of LANES neurons in 32 bits: v = clip(trunc(v * kept / 2^shift) + 64 * sum + bias), and 0
    where it fired. Returns a bit for each neuron that fired, and above them one for each that was active.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(32), LANES)
        sums_at, v_at, bias_at = (
            _lanes_at(context, builder, signature.args[n], arguments[n], arguments[n + 1]) for n in (0, 2, 4)
        )
        kept_, shift_, threshold_ = (_splat(builder, arguments[n], lanes) for n in (6, 7, 8))
        zero = ir.Constant(lanes, [0] * LANES)
        one, sign, low, high, mantissa = (
            ir.Constant(lanes, [n] * LANES) for n in (1, 31, 1 - STATE_LIMIT, STATE_LIMIT - 1, MANTISSA_SHIFT)
        )
        below = builder.sub(builder.shl(one, shift_), one)  # what rounding toward zero adds to a negative product
        product = builder.mul(builder.load(v_at, align=4), kept_)
        rounding = builder.and_(builder.ashr(product, sign), below)
        total = builder.load(sums_at, align=signature.args[0].dtype.bitwidth // 8)
        arriving = builder.shl(builder.sext(total, lanes) if total.type != lanes else total, mantissa)
        x = builder.add(builder.ashr(builder.add(product, rounding), shift_), arriving)
        x = builder.add(x, builder.load(bias_at, align=4))
        x = builder.select(builder.icmp_signed(">", x, low), x, low)
        x = builder.select(builder.icmp_signed("<", x, high), x, high)
        fires = builder.icmp_signed(">", x, threshold_)
        builder.store(builder.select(fires, zero, x), v_at, align=4)
        moves = builder.icmp_signed("!=", builder.or_(arriving, x), zero)
        word = ir.IntType(64)
        fired, moved = (builder.zext(builder.bitcast(flags, ir.IntType(LANES)), word) for flags in (fires, moves))
        return builder.or_(fired, builder.shl(moved, ir.Constant(word, LANES)))

    scalars = [types.int64] * 3
    return types.uint64(sums, types.intp, v, types.intp, bias, types.intp, *scalars), codegen


def _lanes_at(context: Any, builder: Any, array_type: Any, array: Any, index: Any, number: int = LANES) -> Any:
    """A pointer to some numbers of an array."""
    data = context.make_array(array_type)(context, builder, array).data
    lanes = ir.VectorType(ir.IntType(array_type.dtype.bitwidth), number)
    return builder.bitcast(builder.gep(data, [index]), lanes.as_pointer())


def _splat(builder: Any, value: Any, lanes: Any) -> Any:
    """A number in every lane."""
    nothing = ir.Constant(lanes, ir.Undefined)
    one = builder.insert_element(nothing, builder.trunc(value, lanes.element), ir.IntType(32)(0))
    return builder.shuffle_vector(
        one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), [0] * lanes.count)
    )


@intrinsic
def packed(_: Any, flags: Any) -> tuple[Any, Callable[..., Any]]:
    """The first 64 bytes of an array as the bits of a word: 1 where a byte is not 0."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), WORD)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        value = builder.load(builder.bitcast(data, vector.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", value, ir.Constant(vector, [0] * WORD)), ir.IntType(WORD))

    return types.uint64(flags), codegen


@intrinsic
def lowest(_: Any, word: Any) -> tuple[Any, Callable[..., Any]]:
    """The index of the lowest bit that is set."""

    def codegen(_c: Any, builder: Any, _s: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), codegen


@intrinsic
def ones(_: Any, word: Any) -> tuple[Any, Callable[..., Any]]:
    """How many bits are set."""

    def codegen(_c: Any, builder: Any, _s: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), codegen
