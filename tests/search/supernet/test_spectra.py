import functools
import operator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spikeport.search.supernet import spectra as spectrum_module
from spikeport.search.supernet.spectra import grid, phases, product

SIZES = [(12, 12), (8, 8), (4, 4), (2, 2), (6, 10), (10, 6)]


def direct(images: Tensor, taps: Tensor, dilations: tuple[int, ...], stride: int) -> Tensor:
    """Images [B, I, H, W], taps [25 of each dilation, I, O] -> [B, O, H / stride, W / stride]."""
    kernels = taps.permute(2, 1, 0).unflatten(2, (len(dilations), 5, 5)).unbind(2)
    parts = [
        functional.conv2d(images, kernel, stride=stride, padding=2 * dilation, dilation=dilation)
        for kernel, dilation in zip(kernels, dilations, strict=True)
    ]
    return functools.reduce(operator.add, parts)


def by_spectra(images: Tensor, taps: Tensor, dilations: tuple[int, ...], stride: int) -> Tensor:
    points = grid(images.shape[2] // stride, images.shape[3] // stride, dilations)
    spectrum = points.spectrum(phases(images.permute(2, 3, 0, 1).contiguous(), stride))
    return points.maps(product(spectrum, points.kernel(taps, dilations, stride))).permute(2, 3, 0, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dilations", [(1,), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_and_its_gradients(size: tuple[int, int], dilations: tuple[int, ...], stride: int) -> None:
    torch.manual_seed(0)
    images = (torch.rand(3, 2, *size) < 0.3).float().requires_grad_()
    taps = (torch.randn(25 * len(dilations), 2, 4) / 5).requires_grad_()
    expected, found = (form(images, taps, dilations, stride) for form in (direct, by_spectra))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradient = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, (images, taps), gradient),
        torch.autograd.grad(expected, (images, taps), gradient),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=5e-5)


def test_another_tap_is_another_convolution() -> None:
    torch.manual_seed(0)
    images, taps = (torch.rand(2, 2, 12, 12) < 0.3).float(), torch.randn(50, 2, 3) / 5
    broken = taps.clone()
    broken[49, 1, 2] += 0.01  # the outermost tap of dilation 2
    difference = (by_spectra(images, broken, (1, 2), 1) - direct(images, taps, (1, 2), 1)).abs()
    assert difference.max() > 5e-3


def test_products_are_added() -> None:
    torch.manual_seed(0)
    x, k, plus = torch.randn(2, 6, 3, 4), torch.randn(2, 6, 4, 5), torch.randn(2, 6, 3, 5)
    leaves = [tensor.requires_grad_() for tensor in (x, k, plus)]
    expected = torch.view_as_real(torch.complex(*x) @ torch.complex(*k)).movedim(3, 0) + plus
    found = product(x, k, plus)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradient = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, leaves, gradient), torch.autograd.grad(expected, leaves, gradient), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(12, 12), (8, 8)])
@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_is_close(size: tuple[int, int], stride: int) -> None:
    torch.manual_seed(0)
    images, taps = (torch.rand(3, 4, *size) < 0.3).float(), torch.randn(50, 4, 6) / 5
    exact = direct(images, taps, (1, 2), stride)
    points = grid(size[0] // stride, size[1] // stride, (1, 2), torch.bfloat16)
    spectrum = points.spectrum(phases(images.permute(2, 3, 0, 1).contiguous(), stride))
    found = points.maps(product(spectrum, points.kernel(taps, (1, 2), stride))).permute(2, 3, 0, 1)
    assert found.dtype == spectrum.dtype == torch.bfloat16
    assert 1e-4 < (found.float() - exact).std() / exact.std() < 0.02


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["four products", "one product of blocks"])
def test_both_forms_of_a_product(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum_module, "ONE_BLOCK", limit)
    test_products_are_added()
    test_convolution_and_its_gradients((8, 8), (1, 2), 2)
