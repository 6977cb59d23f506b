"""Both supernets of signals of one dimension: the same candidates, and convolutions of one row as spectra."""

import functools
import operator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.primitives import PRIMITIVES, to_one_row
from spikeport.search.supernet.kernel_space import KernelSupernet, calculate_in
from spikeport.search.supernet.mixed_kernels import MixedKernels, Variances, edge_hits, hits
from spikeport.search.supernet.moments import moments_of
from spikeport.search.supernet.plain import PlainSupernet
from spikeport.search.supernet.spectra import grid, phases, product
from spikeport.search.supernet.trellis import trellis_of

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(4, 1, 16))


def direct(signals: Tensor, taps: Tensor, dilations: tuple[int, ...], stride: int) -> Tensor:
    """Signals [B, I, 1, W], taps [5 of each dilation, I, O]."""
    kernels = taps.permute(2, 1, 0).unflatten(2, (len(dilations), 5)).unbind(2)
    parts = [
        functional.conv1d(signals.squeeze(2), kernel, stride=stride, padding=2 * dilation, dilation=dilation)
        for kernel, dilation in zip(kernels, dilations, strict=True)
    ]
    return functools.reduce(operator.add, parts).unsqueeze(2)


def by_spectra(signals: Tensor, taps: Tensor, dilations: tuple[int, ...], stride: int) -> Tensor:
    points = grid(1, signals.shape[3] // stride, dilations)
    spectrum = points.spectrum(phases(signals.permute(2, 3, 0, 1).contiguous(), stride))
    return points.maps(product(spectrum, points.kernel(taps, dilations, stride))).permute(2, 3, 0, 1)


@pytest.mark.parametrize("columns", [2, 4, 12, 80, 160])
@pytest.mark.parametrize("dilations", [(1,), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_of_one_row(columns: int, dilations: tuple[int, ...], stride: int) -> None:
    torch.manual_seed(0)
    signals = (torch.rand(5, 2, 1, columns) < 0.5).float().requires_grad_()
    taps = (torch.randn(5 * len(dilations), 2, 4) / 5).requires_grad_()
    expected, found = (form(signals, taps, dilations, stride) for form in (direct, by_spectra))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradient = torch.randn_like(expected)
    both = (torch.autograd.grad(one, (signals, taps), gradient) for one in (found, expected))
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=5e-5)
    broken = taps.detach().clone()
    broken[2, 0, 1] += 0.1  # the middle tap
    assert (by_spectra(signals, broken, dilations, stride) - expected).abs().max() > 0.05


def test_hits_by_hand() -> None:
    assert hits(1, 4, 1, 1, one_row=True).tolist() == [0.5, 0.75, 1.0, 0.75, 0.5]
    assert hits(1, 2, 2, 1, one_row=True).tolist() == [0.5, 0.5, 1.0, 1.0, 0.5]
    assert hits(1, 4, 1, 1).view(5, 5)[2].tolist() == [0.5, 0.75, 1.0, 0.75, 0.5]  # as the middle row of a square one


@pytest.mark.parametrize("primitives", PRIMITIVES)
@pytest.mark.parametrize("kind", ["normal", "reduce"])
def test_mixed_kernels_are_the_middle_rows_of_square_ones(primitives: PrimitiveSet, kind: str) -> None:
    """Of a map of one row, of which square kernels hear the middle row alone; the reduce's other tap is beside it."""
    torch.manual_seed(0)
    square, row = (MixedKernels(primitives, 14, 3, 14 if kind == "reduce" else 0) for _ in range(2))
    to_one_row(row)
    for name, value in square.named_parameters():
        mine = row.get_parameter(name)
        if value.shape == mine.shape:
            mine.data = value.data.clone()
        else:
            size = int(len(value) ** 0.5)
            rows = value.data.view(size, size, *value.shape[1:])
            rows[: size // 2] = 0
            rows[size // 2 + 1 :] = 0
            mine.data = rows[size // 2].clone()
    weights = torch.softmax(torch.randn(14, len(PRIMITIVES[primitives])), 1)
    spikes, pooled = torch.rand(2, 14, 3) / 4
    stride = (2 if kind == "reduce" else 1,) * 14
    kernels = []
    for mixed, one_row in ((square, False), (row, True)):
        all_hits = {d: edge_hits(1, 8, stride, d, one_row=one_row) for d in mixed.dilations}
        averaged = pooled * (1 if one_row else 1 / 9)
        kernels.append(mixed(weights, Variances(spikes, pooled, averaged, all_hits)))
    wide, narrow = (found.view(len(square.dilations), -1, 5, 14, 3, 3) for found in kernels)
    expected = wide[:, 2].clone()
    reduce = wide[0, 3, 3] - wide[0, 3, 1]  # its second tap; the avg-pool has both of these
    assert reduce.any() == (kind == "reduce")
    expected[0, 3] += reduce
    torch.testing.assert_close(narrow[:, 0], expected)


def test_the_average_of_one_row_is_a_third() -> None:
    """What the cell measures of it against the pool of the network itself."""
    torch.manual_seed(0)
    network = KernelSupernet("darts", CONFIG).train()
    cell, heard = network.cells[0], list[list[Tensor]]()
    measure = cell._measure

    def listening(states: list[Tensor], pooled: list[Tensor]) -> None:
        heard.append(states)
        cell.variances.zero_()
        measure(states, pooled)

    cell._measure = listening
    network(torch.rand(4, 4, 1, 16))
    pool = torch.nn.AvgPool2d((1, 3), 1, (0, 1))
    states = [state.detach().permute(2, 3, 4, 0, 1).flatten(0, 1) for state in heard[0][:5]]
    wanted = torch.stack([pool(state).var((0, 2, 3), correction=0) for state in states])
    torch.testing.assert_close(cell.variances[2], 0.1 * wanted, rtol=1e-4, atol=1e-6)
    assert (moments_of(heard[0][:5], heard[0][:5], 4)[0] >= 0).all()


@pytest.mark.parametrize("primitives", PRIMITIVES)
def test_both_forms_have_the_same_weights(primitives: PrimitiveSet) -> None:
    plain, kernel = (
        sum(p.numel() for p in form(primitives, CONFIG).weights()) for form in (PlainSupernet, KernelSupernet)
    )
    assert plain == kernel


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_moves_to_another_device(dtype: torch.dtype) -> None:
    network = KernelSupernet("darts", CONFIG).train().to("meta")
    calculate_in(network, dtype)
    logits = network(torch.rand(4, 4, 1, 16, device="meta"))
    logits.sum().backward()
    assert logits.shape == (4, 3)


def test_paths_halve_the_columns() -> None:
    assert max(stop.halvings for stop in trellis_of(CONFIG)[-1]) == 3
    with pytest.raises(InputError, match=r"maps that can be halved to 2 rows and columns, .* 1 x 2"):
        trellis_of(NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(4, 1, 2)))
