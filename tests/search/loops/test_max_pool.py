import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spikeport.search.loops import max_pool as module
from spikeport.search.loops.max_pool import max_pool, weighted_sum


@pytest.fixture(params=[True, False], ids=["loops", "torch"], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on the compiled loops and on what other devices take."""
    monkeypatch.setattr(module, "takes_loops", lambda *given: request.param)


def to_maps(images: Tensor) -> Tensor:
    """[B, C, H, W] -> [H, W, B, C]."""
    return images.permute(2, 3, 0, 1).contiguous()


@pytest.mark.parametrize("shape", [(3, 7, 6, 4), (2, 1, 1, 1), (2, 3, 5, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...], stride: int) -> None:
    torch.manual_seed(0)
    images = (torch.rand(shape) < 0.3).float().requires_grad_()
    expected = functional.max_pool2d(images, 3, stride, padding=1)
    gradient = torch.randn_like(expected)
    (expected_gradient,) = torch.autograd.grad(expected, images, gradient)
    maps = to_maps(images.detach()).requires_grad_()
    found = max_pool(maps, stride)
    assert torch.equal(found, to_maps(expected))
    (found_gradient,) = torch.autograd.grad(found, maps, to_maps(gradient))
    torch.testing.assert_close(found_gradient, to_maps(expected_gradient), rtol=1e-6, atol=1e-6)


def test_of_equals_the_first_gets_the_gradient() -> None:
    maps = torch.ones(3, 3, 1, 1).requires_grad_()
    max_pool(maps, 1)[1, 1].sum().backward()
    assert maps.grad is not None
    assert maps.grad.flatten().tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_weighted_sum_and_its_gradients() -> None:
    torch.manual_seed(0)
    current = torch.randn(2, 3, 4, 5).requires_grad_()
    first, second = ((torch.rand(2, 3, 4, 5) < 0.4).float().requires_grad_() for _ in range(2))
    scales = torch.randn(2, 5).requires_grad_()
    gradient = torch.randn(2, 3, 4, 5)
    leaves = (current, scales, first, second)
    expected = current + scales[0] * first + scales[1] * second
    found = weighted_sum(current, scales, [first, second])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    for a, b in zip(
        torch.autograd.grad(found, leaves, gradient), torch.autograd.grad(expected, leaves, gradient), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_bfloat16_maps_give_the_same() -> None:
    """Gradients are rounded to bfloat16, by torch's own operations each time that something is added."""
    torch.manual_seed(0)
    maps = (torch.rand(6, 5, 3, 4) < 0.3).float().requires_grad_()
    coarse = maps.detach().bfloat16().requires_grad_()
    gradient = torch.randn(6, 5, 3, 4).bfloat16()
    fine, found = max_pool(maps, 1), max_pool(coarse, 1)
    assert found.dtype == torch.bfloat16 and torch.equal(found.float(), fine)
    (to_coarse,) = torch.autograd.grad(found, coarse, gradient)
    (to_fine,) = torch.autograd.grad(fine, maps, gradient.float())
    torch.testing.assert_close(to_coarse.float(), to_fine, rtol=2**-6, atol=2**-6)

    scales = torch.randn(1, 4)
    total = weighted_sum(gradient, scales, [coarse])
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, gradient.float() + scales * maps, rtol=1e-6, atol=1e-6)
    (to_coarse,) = torch.autograd.grad(total, coarse, gradient.float())
    assert torch.equal(to_coarse, (scales * gradient.float()).bfloat16())
