"""Depthwise convolutions and pools of maps with their channels last, beside torch's own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spikeport.search.gpu.depthwise import depthwise
from spikeport.search.gpu.max_pool import max_pool, weighted_sum

CLOSE = 2e-6  # relative distance of float32 sums taken in another order


def distance(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / a.norm()).detach())


def two(tensor: Tensor) -> tuple[Tensor, Tensor]:
    return tensor.clone().requires_grad_(), tensor.clone().requires_grad_()


@pytest.mark.parametrize(
    ("size", "stride", "dilation", "channels", "rows", "columns"),
    [(3, 1, 1, 5, 6, 7), (5, 2, 2, 70, 8, 8), (5, 1, 1, 8, 8, 6), (3, 2, 2, 4, 8, 8), (5, 1, 2, 4, 4, 4)],
)
def test_convolution_and_both_gradients(
    size: int, stride: int, dilation: int, channels: int, rows: int, columns: int, device: torch.device
) -> None:
    torch.manual_seed(2)
    maps, other_maps = two(torch.randn(2, rows, columns, channels).to(device))
    weight, other_weight = two(torch.randn(channels, 1, size, size).to(device))
    options = {"stride": stride, "dilation": dilation, "padding": dilation * (size // 2), "groups": channels}
    with torch.backends.cudnn.flags(allow_tf32=False):
        expected = functional.conv2d(maps.permute(0, 3, 1, 2), weight, **options).permute(0, 2, 3, 1)
        found = depthwise(other_maps, other_weight, stride, dilation)
        arrived = torch.randn(expected.shape).to(device)
        expected.backward(arrived)
        found.backward(arrived)
    assert distance(expected, found) < CLOSE
    assert distance(maps.grad, other_maps.grad) < CLOSE
    assert distance(weight.grad, other_weight.grad) < CLOSE


def test_one_changed_tap_is_seen(device: torch.device) -> None:
    torch.manual_seed(2)
    maps, weight = torch.randn(1, 6, 6, 4).to(device), torch.randn(4, 1, 3, 3).to(device)
    before = depthwise(maps, weight, 1, 1)
    weight[2, 0, 0, 2] += 0.1
    after = depthwise(maps, weight, 1, 1)
    assert (before != after).any(0).any(0).any(0).tolist() == [False, False, True, False]


@pytest.mark.parametrize(("stride", "shape"), [(1, (2, 6, 7, 5)), (2, (2, 6, 8, 5)), (1, (1, 4, 4, 70))])
def test_max_pool_of_spikes_and_where_its_gradient_goes(
    stride: int, shape: tuple[int, ...], device: torch.device
) -> None:
    torch.manual_seed(3)
    maps, others = two((torch.rand(shape) > 0.7).float().to(device))
    expected = functional.max_pool2d(maps.permute(0, 3, 1, 2).contiguous(), 3, stride, padding=1).permute(0, 2, 3, 1)
    found = max_pool(others, stride)
    arrived = torch.randn(expected.shape).to(device)
    expected.backward(arrived)
    found.backward(arrived)
    assert torch.equal(expected, found)
    torch.testing.assert_close(others.grad, maps.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_weighted_sum(count: int, device: torch.device) -> None:
    torch.manual_seed(4)
    given = [torch.randn(4, 3, 6), torch.randn(count, 6), *(torch.randn(4, 3, 6) for _ in range(count))]
    mine, others = zip(*(two(one.to(device)) for one in given), strict=True)
    expected = mine[0] + sum(mine[1][k] * mine[2 + k] for k in range(count))
    found = weighted_sum(others[0], others[1], list(others[2:]))
    arrived = torch.randn(expected.shape).to(device)
    expected.backward(arrived)
    found.backward(arrived)
    torch.testing.assert_close(found, expected)
    for one, other in zip(mine, others, strict=True):
        torch.testing.assert_close(other.grad, one.grad)
