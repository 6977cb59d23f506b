"""A supernet whose weights are those that a chip can hold: the arithmetic, the network, what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn

from spikeport.errors import InputError
from spikeport.export.passes.quantize import _integers
from spikeport.export.weight_scale import LevelScale
from spikeport.search.data.datasets import Dataset
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.space.network import NetworkConfig
from spikeport.search.strategies.darts.search import search
from spikeport.search.supernet import kernel_space
from spikeport.search.supernet.chip_bits import SMALLEST_SCALE, gain_of, scale_of, through_bits
from spikeport.search.supernet.kernel_space import INCOMING, KernelCell, KernelSupernet, Population, hold_in_bits
from spikeport.search.training.checkpoint import Row

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 4, 4))
BITS = (8, 4, 2)


def norm_of(channels: int) -> nn.BatchNorm1d:
    norm, rng = nn.BatchNorm1d(channels), torch.Generator().manual_seed(2)
    norm.weight.data = torch.randn(channels, generator=rng)
    norm.running_var = 4 * torch.rand(channels, generator=rng)
    return norm


def is_held(kernels: list[Tensor], gain: Tensor, bits: int) -> bool:
    """Whether one scale makes all of them even integers of so many bits, up to the rounding of float32."""
    exact = [kernel.detach().double() * gain.double() for kernel in kernels]
    for step in (1 << exponent for exponent in range(9 - bits, 0, -1)):
        for scale in range(2, 253, 2):
            level = LevelScale(scale=scale, step=step, bits=bits)
            whole = torch.cat([(weights * scale).flatten() for weights in exact])
            near = step * torch.round(whole / step)
            inside = (near >= level.bottom).all() and (near <= level.top).all()
            if inside and near.any() and torch.allclose(whole, near, rtol=0, atol=1e-4 * 256):
                return True
    return False


@pytest.mark.parametrize("bits", BITS)
def test_kernels_are_those_that_an_export_would_write(bits: int) -> None:
    torch.manual_seed(0)
    kernels, gain = [torch.randn(9, 3, 2, 5), torch.randn(3, 5)], gain_of(norm_of(5))
    exact = [kernel * gain for kernel in kernels]
    chosen = scale_of(exact, bits)
    largest = max(float(weights.abs().max()) for weights in exact)
    assert chosen.scale * largest <= chosen.top and chosen.scale % 2 == 0 and chosen.bits == bits
    target = cast(Any, SimpleNamespace(role="neuron", threshold=1.0))
    for held, weights in zip(through_bits(kernels, gain, bits), exact, strict=True):
        expected = _integers(weights.double().numpy(), target, chosen)
        np.testing.assert_allclose((held * gain * chosen.scale).double().numpy(), expected, atol=1e-3)
        assert np.array_equal(expected % 2, np.zeros_like(expected))


@pytest.mark.parametrize("bits", BITS)
def test_gradients_pass_straight_through(bits: int) -> None:
    kernel, gain = torch.randn(4, 5, requires_grad=True), gain_of(norm_of(5))
    wanted = torch.randn(4, 5)
    (held,) = through_bits([kernel], gain, bits)
    (held * wanted).sum().backward()
    assert torch.equal(kernel.grad, wanted) and not torch.equal(held, kernel)


def test_a_strong_weight_holds_the_others_down() -> None:
    kernel, gain = torch.full((3, 2), 0.1), torch.ones(2)
    (alone,) = through_bits([kernel], gain, 2)
    beside, _ = through_bits([kernel, torch.ones(1, 2)], gain, 2)
    assert alone.all() and not beside.any()


def test_norms_that_give_nothing_and_weights_that_no_scale_holds() -> None:
    norm = norm_of(2)
    norm.weight.data[:] = torch.tensor([0.0, 1e9])
    (held,) = through_bits([torch.ones(3, 2)], gain_of(norm), 8)
    assert held.isfinite().all() and (held[:, 0] == 0).all()
    assert scale_of([torch.full((2,), 1e9)], 4).scale == SMALLEST_SCALE


def supernet_in(bits: int) -> KernelSupernet:
    torch.manual_seed(0)
    supernet = KernelSupernet("darts", CONFIG)
    for module in supernet.modules():
        if isinstance(module, Population):
            module.norm.weight.data.uniform_(0.5, 1.5)
    hold_in_bits(supernet, bits)
    return supernet


def images() -> Tensor:
    return torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bits", BITS)
def test_all_that_a_node_hears_is_held_at_one_scale(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    supernet, heard, shares = supernet_in(bits).eval(), list[Tensor](), list[list[Tensor]]()
    group, weigh = kernel_space.group_kernels, kernel_space.weighted_sum

    def grouped(kernels: Tensor) -> list[Tensor]:
        heard.append(kernels)
        shares.append([])
        return group(kernels)

    def weighed(current: Tensor, of_pools: Tensor, *more: Any, **options: Any) -> Tensor:
        shares[-1].append(of_pools)
        return cast(Tensor, weigh(current, of_pools, *more, **options))

    monkeypatch.setattr(kernel_space, "group_kernels", grouped)
    monkeypatch.setattr(kernel_space, "weighted_sum", weighed)
    with torch.no_grad():
        supernet(images())
    reset_net(supernet)
    cell = cast(KernelCell, supernet.cells[1])
    for node, rows in enumerate(INCOMING):
        gain = gain_of(cast(Population, cell.get_submodule(f"n{node + 1}")).norm)
        kernels = heard[1][:, rows].clone()
        assert is_held([kernels, shares[1][node]], gain, bits)
        place = tuple(kernels.nonzero()[0].tolist())
        kernels[place] *= 1.37  # one weight that is none of the chip's
        assert not is_held([kernels, shares[1][node]], gain, bits)
    hold_in_bits(supernet, 0)
    heard.clear()
    with torch.no_grad():
        supernet(images())
    assert not is_held([heard[1][:, INCOMING[0]]], gain_of(cast(Population, cell.get_submodule("n1")).norm), bits)


def test_everything_learns_and_bits_change_what_comes_out() -> None:
    found = {}
    for bits in (0, 8, 2):
        supernet = supernet_in(bits)
        found[bits] = supernet(images())
        found[bits].square().sum().backward()
        assert all(alphas.grad is not None and alphas.grad.any() for alphas in supernet.alphas.values())
        assert all(parameter.grad is not None for parameter in supernet.weights())
    assert not torch.equal(found[0], found[8]) and not torch.equal(found[8], found[2])


def test_the_stem_of_events_is_on_the_chip() -> None:
    torch.manual_seed(0)
    config = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(2, 4, 4), reads="spikes")
    supernet = KernelSupernet("plain", config)
    frames = (torch.rand(4, 2, 2, 4, 4) < 0.3).float()
    floats = supernet.stem._heard(frames.flatten(0, 1))
    hold_in_bits(supernet, 2)
    assert not torch.equal(supernet.stem._heard(frames.flatten(0, 1)), floats)
    supernet(frames).sum().backward()
    assert supernet.stem.conv.weight.grad is not None


@pytest.mark.training
def test_what_was_learned_in_floats_goes_on_in_bits(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    def rows_of(name: str, **options: Any) -> list[Row]:
        rows: list[Row] = []
        search(blobs, changed(tiny, **options), tmp_path / name, lambda new: rows.extend(new[len(rows) :]))
        return rows

    floats = rows_of("floats", search_precision="float32")
    late, all_along = rows_of("late", search_bits=2, search_bits_after=1), rows_of("bits", search_bits=2)
    assert late[0] == floats[0] and late[0] != all_along[0]
    assert late[1] != floats[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search_bits": 7}, "one of 2, 3, 4, 5, 6, 8 bits, but got search_bits=7; 0 searches in floats."),
        ({"search_bits": 4, "supernet": "plain"}, "but the plain supernet has none: each candidate's current has its"),
        ({"search_bits_after": 3}, "search_bits_after=3 is how long floats are searched before bits, and there are"),
        ({"search_bits": 4, "level": "both"}, "at --level both these are weighed by how likely a width is, which no"),
        ({"search_bits": 4, "second_order": True}, "takes small differences, which search_bits=4 rounds away; leave"),
        ({"search_bits": 4, "search_bits_after": 50}, "`search_bits_after < search_epochs` must hold, but got search"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        choose(**options)
    assert message in str(error.value) and "\n" not in str(error.value)
