import pytest
import torch
from torch import Tensor, nn

from spikeport.errors import InputError
from spikeport.search.settings.network import primitive_set
from spikeport.search.space.primitives import PRIMITIVES, FactorizedReduce, spiking_primitives

CASES = [(name, primitive) for name, table in PRIMITIVES.items() for primitive in table]


def spikes(*lit: tuple[int, int], size: int = 6) -> Tensor:
    """[1, 1, 1, size, size] with ones at (row, column)."""
    x = torch.zeros(1, 1, 1, size, size)
    for row, column in lit:
        x[0, 0, 0, row, column] = 1
    return x


def fill(module: nn.Module, *values: float) -> nn.Module:
    """Set the weights of the module's convolutions, one constant each."""
    parameters = list(module.parameters())
    assert len(parameters) == len(values)
    for parameter, value in zip(parameters, values, strict=True):
        nn.init.constant_(parameter, value)
    return module


@pytest.mark.parametrize(("name", "primitive"), CASES)
@pytest.mark.parametrize("stride", [1, 2])
def test_shape_and_silence(name: str, primitive: str, stride: int) -> None:
    module = PRIMITIVES[primitive_set(name)][primitive](4, stride)
    assert module(torch.ones(3, 2, 4, 8, 6)).shape == (3, 2, 4, 8 // stride, 6 // stride)
    assert not module(torch.zeros(3, 2, 4, 8, 6)).any()  # no bias: no spikes, no current


@pytest.mark.parametrize(("name", "primitive"), CASES)
def test_linear_in_spikes_but_for_max_pool(name: str, primitive: str) -> None:
    module = PRIMITIVES[primitive_set(name)][primitive](4, 2).double()
    a, b = torch.rand(2, 2, 3, 4, 6, 6, dtype=torch.float64)
    linear = torch.allclose(module(a + 2 * b), module(a) + 2 * module(b), atol=1e-12)
    assert linear == (primitive != "max_pool_3x3")


def test_none_has_no_current() -> None:
    assert not PRIMITIVES["darts"]["none"](1, 2)(torch.ones(1, 1, 1, 4, 4)).any()


def test_skip_connect_is_the_identity_at_stride_1() -> None:
    x = spikes((0, 1), (3, 3))
    assert torch.equal(PRIMITIVES["plain"]["skip_connect"](1, 1)(x), x)


def test_max_pool_is_or() -> None:
    out = PRIMITIVES["darts"]["max_pool_3x3"](1, 2)(spikes((1, 1), (5, 5)))[0, 0, 0]
    assert out.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]  # windows are centred at rows and columns 0, 2, 4


def test_avg_pool_divides_by_nine_at_the_edge_too() -> None:
    out = PRIMITIVES["darts"]["avg_pool_3x3"](1, 1)(spikes((0, 0), (0, 1), size=4))[0, 0, 0]
    expected = torch.tensor([[2.0, 2, 1, 0], [2, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]) / 9
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(("primitive", "reach"), [("conv_3x3", 1), ("conv_5x5", 2)])
def test_conv_reaches_its_neighbours(primitive: str, reach: int) -> None:
    out = fill(PRIMITIVES["plain"][primitive](1, 1), 0.5)(spikes((3, 3)))[0, 0, 0]
    rows, columns = torch.nonzero(out, as_tuple=True)
    assert set(rows.tolist()) == set(columns.tolist()) == {3 + d for d in range(-reach, reach + 1) if 3 + d < 6}
    assert out[3, 3] == 0.5


@pytest.mark.parametrize(
    ("primitive", "touched"),
    [
        ("sep_conv_3x3", {2, 3, 4}),
        ("sep_conv_5x5", {1, 2, 3, 4, 5}),
        ("dil_conv_3x3", {1, 3, 5}),
        ("dil_conv_5x5", {1, 3, 5}),  # 3 - 4 and 3 + 4 lie outside the 6 rows
    ],
)
def test_separable_convolutions_multiply_depthwise_and_pointwise(primitive: str, touched: set[int]) -> None:
    out = fill(PRIMITIVES["darts"][primitive](1, 1), 0.5, 3.0)(spikes((3, 3)))[0, 0, 0]
    assert set(torch.nonzero(out)[:, 0].tolist()) == touched
    assert out[3, 3] == 1.5


def test_separable_convolutions_mix_channels_only_pointwise() -> None:
    depthwise, pointwise = PRIMITIVES["darts"]["sep_conv_3x3"](2, 1).children()
    assert depthwise.weight.shape == (2, 1, 3, 3)
    assert pointwise.weight.shape == (2, 2, 1, 1)


def test_factorized_reduce_reads_one_tap_per_output_channel() -> None:
    reduce = FactorizedReduce(2, 3)
    with torch.no_grad():
        reduce.weight[:, :, 0, 0] = torch.tensor([[2.0, 3.0], [5.0, 7.0], [11.0, 13.0]])
    kernel = reduce.effective_weight
    assert kernel.shape == (3, 2, 2, 2)
    assert kernel[1].tolist() == [[[5, 0], [0, 0]], [[7, 0], [0, 0]]]  # channels 0 and 1 read the tap (0, 0)
    assert kernel[2].tolist() == [[[0, 0], [0, 11]], [[0, 0], [0, 13]]]  # channel 2 reads the tap (1, 1)
    x = torch.zeros(1, 1, 2, 4, 4)
    x[0, 0, 0, 0, 2] = 1  # input channel 0 at the tap (0, 0) of window (0, 1)
    x[0, 0, 1, 3, 1] = 1  # input channel 1 at the tap (1, 1) of window (1, 0)
    x[0, 0, 1, 2, 3] = 1  # at the tap (0, 1): nobody reads it
    out = reduce(x)[0, 0]
    assert out.tolist() == [[[0, 2], [0, 0]], [[0, 5], [0, 0]], [[0, 0], [13, 0]]]


def test_spiking_primitives_leave_out_none() -> None:
    assert spiking_primitives("plain") == ("max_pool_3x3", "skip_connect", "conv_3x3", "conv_5x5")


def test_unknown_set() -> None:
    with pytest.raises(InputError, match=r"^Unknown primitive set 'wide'; choose from darts, plain\.$"):
        primitive_set("wide")
