"""Layouts, worked by hand."""

import pytest

from spikeport.errors import UnsupportedError
from spikeport.export.trace.layouts.layout import (
    Batch,
    Factor,
    Layout,
    canonical,
    merged_axes,
    permuted,
    reshaped,
    sizes_of,
    spelled,
)

N = Batch()
MAP = canonical((12, 4, 6), 3)  # [T, N, C, H, W]
T_, N_, C, H, W = (axis[0] for axis in MAP)


def test_a_map_and_its_sizes() -> None:
    assert (Factor("T", 1, 3), Factor("C", 1, 12), Factor("W", 1, 6)) == (T_, C, W)
    assert sizes_of(MAP) == (3, N, 12, 4, 6)
    assert canonical((1, 4, 1), 3)[2:] == ((), (H,), ()) and canonical((12,), 3, averaged=True) == ((N_,), (C,))


def test_tokens_and_heads() -> None:
    tokens = permuted(merged_axes(MAP, 3, 4), (0, 1, 3, 2))
    assert tokens == ((T_,), (N_,), (H, W), (C,)) and sizes_of(tokens) == (3, N, 24, 12)
    heads = reshaped(tokens, [3, N, 24, 3, 4])
    assert heads[3:] == ((Factor("C", 4, 3),), (Factor("C", 1, 4),))
    assert spelled(permuted(heads, (0, 1, 3, 2, -1))) == "[T, N, C/3, H W, C/4]"
    assert reshaped(heads, [3, N, -1, 12]) == tokens
    assert reshaped(permuted(tokens, (0, 1, 3, 2)), [3, N, 12, 4, 6]) == MAP
    last = reshaped(permuted(heads, (0, 1, 2, 4, 3)), [3, N, 24, 12])
    assert last[3] == (Factor("C", 1, 4), Factor("C", 4, 3))  # these do not count on from each other


def test_time_and_batch_are_merged_and_split_again() -> None:
    merged = merged_axes(MAP, 0, 1)
    assert merged[0] == (T_, N_) and sizes_of(merged)[0] == Batch(3)
    assert reshaped(MAP, [3 * N, 12, 4, 6]) == reshaped(MAP, [-1, 12, 4, 6]) == merged
    assert reshaped(merged, [3, N, 12, 4, 6]) == reshaped(merged, [3, -1, 12, 4, 6]) == MAP


def test_one_time_step() -> None:
    one = canonical((2, 2, 2), 1)
    assert reshaped(one, [1, N, 8]) == (one[0], one[1], tuple(factor for axis in one[2:] for factor in axis))
    assert reshaped(merged_axes(one, 0, 1), [1, N, 2, 2, 2]) == one


def test_arithmetic_of_the_batch() -> None:
    assert 3 * N == N * 3 == Batch(3) and Batch(6) // 2 == Batch(3) and Batch(6) // Batch(2) == 3
    for wrong in (lambda: N + 1, lambda: N / 2, lambda: N * N, lambda: Batch(3) // 2, lambda: 1.0 * N, lambda: int(N)):
        with pytest.raises(TypeError):
            wrong()


@pytest.mark.parametrize(
    ("layout", "sizes", "message"),
    [
        (MAP, [3, N, 5, -1], r"a reshape to \[3, N, 5, -1\] does not come out even"),
        (
            MAP,
            [N, 36, 4, 6],
            r"\[T, N, C, H, W\] reshaped to \[N, 36, 4, 6\] cuts across its axes; keep time and batch",
        ),
        (MAP, [3, 12 * N, 24], r"reshaped to \[3, 12N, 24\] cuts across|cannot be reshaped"),
        (MAP, [3, N, 8, 36], r"reshaped to \[3, N, 8, 36\] cuts across its axes; .* split channels into whole heads"),
        (MAP, [3, N, 12, 4], r"\[T, N, C, H, W\] cannot be reshaped to \[3, N, 12, 4\]"),
    ],
)
def test_what_mixes_axes_is_refused(layout: Layout, sizes: list[int], message: str) -> None:
    if sizes == [3, 12 * N, 24]:
        layout = permuted(layout, (0, 2, 1, 3, 4))
        assert reshaped(layout, sizes)[1] == (C, N_)  # it may be written so, but no layer reads it
        return
    with pytest.raises(UnsupportedError, match=message):
        reshaped(layout, sizes)


def test_dimensions_are_those_of_torch() -> None:
    with pytest.raises(UnsupportedError, match="a permutation must name every dimension once, but names"):
        permuted(MAP, (0, 1, 2, 3, 3))
    with pytest.raises(UnsupportedError, match="there is no dimension 5 of 5"):
        merged_axes(MAP, 2, 5)
