"""Linear expressions: every operation on them equals the operation on the numbers that they stand for."""

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.errors import UnsupportedError
from spikeport.export.graph import Conv
from spikeport.export.simulate import apply
from spikeport.export.trace import linear
from spikeport.export.trace.linear import Expression, spikes_of

RNG = np.random.default_rng(3)
SPIKES = {"a": RNG.integers(0, 2, (2, 3, 6, 4)), "b": RNG.integers(0, 2, (2, 2, 6, 4))}
A, B = spikes_of("a", (3, 6, 4)), spikes_of("b", (2, 6, 4))


def value(x: Expression) -> NDArray[np.float64]:
    """[N, *shape] of an expression, with SPIKES for its sources."""
    total = np.zeros((2, *x.shape)) + x.constant.reshape(-1, *[1] * (len(x.shape) - 1))
    for term in x.terms:
        total = total + apply(term.kernel, SPIKES[term.source])
    return total


def conv(out: int, inside: int, size: int, **geometry: tuple[int, int]) -> Conv:
    return Conv(weight=RNG.normal(size=(out, inside, size, size)), **geometry)


def test_convolution_then_1x1_then_batch_norm() -> None:
    first, second, scale = conv(4, 3, 3, padding=(1, 1), stride=(2, 2)), conv(2, 4, 1), np.array([2.0, -0.5])
    folded = linear.scaled(linear.convolved(linear.convolved(A, first), second), scale, np.array([1.0, 3.0]))
    expected = apply(second, apply(first, SPIKES["a"])) * scale[:, None, None] + np.array([1, 3])[:, None, None]
    np.testing.assert_allclose(value(folded), expected, atol=1e-12)
    assert folded.terms[0].kernel.weight.shape == (2, 3, 3, 3) and not folded.binary


def test_a_padded_kernel_after_one_that_is_not_zero_beyond_its_map_is_refused() -> None:
    big, small = conv(2, 3, 3, padding=(1, 1)), conv(2, 2, 1, stride=(2, 2))
    folded = linear.convolved(linear.convolved(A, big), small)
    np.testing.assert_allclose(value(folded), apply(small, apply(big, SPIKES["a"])), atol=1e-12)
    with pytest.raises(UnsupportedError, match="3x3 kernel directly after a 3x3"):
        linear.convolved(linear.convolved(A, conv(3, 3, 3, padding=(1, 1))), big)
    with pytest.raises(
        UnsupportedError, match="3x3 kernel directly after a 4x4"
    ):  # its window ends before the map does
        linear.convolved(linear.convolved(A, conv(3, 3, 4, stride=(4, 4))), big)


@pytest.mark.parametrize("size", [1, 2])
def test_a_padded_kernel_after_windows_side_by_side_is_one_kernel(size: int) -> None:
    pool, outer = conv(4, 3, size, stride=(2, 2)), conv(2, 4, 3, padding=(1, 1), stride=(1, 2))
    folded = linear.convolved(linear.convolved(A, pool), outer)
    np.testing.assert_allclose(value(folded), apply(outer, apply(pool, SPIKES["a"])), atol=1e-12)
    assert len(folded.terms) == 1


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("first_stride", [(1, 2), (2, 1)])
def test_an_unpadded_kernel_after_any_other_is_one_kernel(
    first_stride: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    inner = conv(4, 3, 3, padding=(2, 2), dilation=dilation, stride=first_stride)
    outer = conv(2, 4, 2, stride=stride)
    folded = linear.convolved(linear.scaled(linear.convolved(A, inner), 1.0, 0.7), outer)
    np.testing.assert_allclose(value(folded), apply(outer, apply(inner, SPIKES["a"]) + 0.7), atol=1e-12)
    assert len(folded.terms) == 1


def test_padding_after_a_bias_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="after a bias"):
        linear.convolved(linear.scaled(A, 1.0, 0.5), conv(2, 3, 3, padding=(1, 1)))
    unpadded = conv(2, 3, 3)
    biased = linear.convolved(linear.scaled(A, 1.0, 0.5), unpadded)
    np.testing.assert_allclose(value(biased), apply(unpadded, SPIKES["a"] + 0.5), atol=1e-12)


def test_a_grouped_convolution() -> None:
    depthwise = Conv(weight=RNG.normal(size=(3, 1, 3, 3)), padding=(1, 1), groups=3)
    np.testing.assert_allclose(value(linear.convolved(A, depthwise)), apply(depthwise, SPIKES["a"]), atol=1e-12)


def test_sum_concatenation_and_matrix() -> None:
    kernel = conv(2, 3, 3, padding=(1, 1))
    total = linear.added(linear.convolved(A, kernel), B)
    np.testing.assert_allclose(value(total), apply(kernel, SPIKES["a"]) + SPIKES["b"], atol=1e-12)
    both = linear.concatenated([A, linear.scaled(B, 2.0, 1.0)])
    expected = np.concatenate([SPIKES["a"], 2.0 * SPIKES["b"] + 1.0], axis=1)
    np.testing.assert_allclose(value(both), expected)
    assert not both.binary and linear.concatenated([A, B]).binary
    weight = RNG.normal(size=(7, 5 * 24))
    readout = linear.multiplied(linear.flattened(both), weight)
    np.testing.assert_allclose(value(readout), expected.reshape(2, -1) @ weight.T, atol=1e-12)


@pytest.mark.parametrize("size", [(6, 4), (3, 3)])
def test_flattening_a_convolution(size: tuple[int, int]) -> None:
    kernel = Conv(weight=RNG.normal(size=(2, 3, *size)), stride=(2, 1))
    flat = linear.flattened(linear.convolved(A, kernel))
    np.testing.assert_allclose(value(flat), apply(kernel, SPIKES["a"]).reshape(2, -1), atol=1e-12)
    assert linear.flattened(flat) is flat


def test_merging_adds_equal_geometries_and_keeps_one_zero_kernel_at_most() -> None:
    one, zero = conv(3, 3, 1), Conv(weight=np.zeros((3, 3, 1, 1)))
    x = linear.added(linear.added(linear.convolved(A, one), A), linear.convolved(A, zero))
    (term,) = linear.merged(x.terms)
    assert np.array_equal(term.kernel.weight[:, :, 0, 0], one.weight[:, :, 0, 0] + np.eye(3))
    silent = linear.added(linear.convolved(A, zero), linear.convolved(A, zero))
    assert len(linear.merged(silent.terms)) == 1


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="same shape"):
        linear.added(A, B)
    with pytest.raises(UnsupportedError, match="equal sizes"):
        linear.concatenated([A, linear.convolved(B, conv(2, 2, 1, stride=(2, 2)))])
    with pytest.raises(UnsupportedError, match="flattened"):
        linear.convolved(linear.flattened(A), conv(2, 3, 1))


def test_after_the_mean_over_time_only_linear_layers_have_a_rule() -> None:
    mean = linear.averaged(A)
    assert mean.averaged and not mean.binary and linear.scaled(mean, 2.0).averaged
    flat = linear.averaged(linear.flattened(A))
    assert linear.multiplied(flat, np.ones((2, 72))).averaged
    for refused in (
        lambda: linear.averaged(mean),
        lambda: linear.flattened(mean),
        lambda: linear.concatenated([mean, mean]),
        lambda: linear.convolved(mean, conv(2, 3, 1)),
    ):
        with pytest.raises(UnsupportedError, match="take the mean last"):
            refused()
    with pytest.raises(UnsupportedError):
        linear.added(mean, A)
