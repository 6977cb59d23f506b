"""Networks of signals of one dimension: on one row their 1 x k kernels do what the middle row of k x k would."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import nn

from spikeport.errors import InputError
from spikeport.search.runs import Run
from spikeport.search.settings.network import Attention
from spikeport.search.space.attention import ATTENTION
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, load_network, save_network
from spikeport.search.space.primitives import PRIMITIVES, FactorizedReduce, to_one_row
from spikeport.search.space.spike_gates import BandedSum
from spikeport.search.supernet.kernel_space import KernelSupernet
from spikeport.search.supernet.macro import MacroSupernet
from spikeport.search.supernet.plain import PlainSupernet

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(4, 1, 16))
CASES = sorted({name: build for table in PRIMITIVES.values() for name, build in table.items()}.items())
SCALE = {"conv_3x3": 3**0.5, "conv_5x5": 5**0.5, "avg_pool_3x3": 3.0}  # of what is drawn, or averaged over


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("name", "build"), CASES, ids=[name for name, _ in CASES])
def test_a_primitive_of_one_row_is_its_square_one_there(name: str, build: object, stride: int) -> None:
    """But for the factorized reduce, whose two taps lie in two rows."""
    torch.manual_seed(0)
    square = build(3, stride)
    row = copy.deepcopy(square)
    to_one_row(row)
    spikes = (torch.rand(2, 4, 3, 1, 12) < 0.4).float()
    found = row(spikes)
    assert found.shape == (2, 4, 3, 1, 12 // stride)
    sizes = [module.kernel_size for module in row.modules() if hasattr(module, "kernel_size")]
    assert all(rows == 1 for rows, _ in sizes)
    if isinstance(square, FactorizedReduce):
        first, second = spikes[..., ::2], spikes[..., 1::2]
        weight = square.weight[:, :, 0, 0]
        wanted = torch.cat(
            [torch.einsum("oi,tnihw->tnohw", w, s) for w, s in ((weight[:2], first), (weight[2:], second))], 2
        )
        torch.testing.assert_close(found, wanted)
        assert torch.equal(row.as_convolution().weight, row.effective_weight) and row.stride == (1, 2)
        return
    kernel = int(name[-1]) if "_conv" in name else 1
    scale = SCALE.get(name, kernel**0.5)
    torch.testing.assert_close(found, scale * square(spikes))
    for module in row.modules():
        if isinstance(module, nn.Conv2d):  # drawn within +-1 / sqrt(fan-in), and not all in a small part of it
            bound = module.weight[0].numel() ** -0.5
            assert 0.6 * bound < module.weight.abs().max() <= bound


@pytest.mark.parametrize(
    ("form", "attention"),
    [
        *((SpikingNetwork, attention) for attention in ATTENTION),
        *((PlainSupernet, "none"), (KernelSupernet, "cbam"), (KernelSupernet, "spike"), (MacroSupernet, "none")),
    ],
)
def test_every_network_has_kernels_of_one_row(form: type[nn.Module], attention: Attention) -> None:
    config = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(4, 1, 16), attention=attention)
    torch.manual_seed(0)
    network = form(random_genotype(np.random.default_rng(1), "darts") if form is SpikingNetwork else "darts", config)
    logits = network(torch.rand(5, 4, 1, 16))
    logits.square().sum().backward()
    assert logits.shape == (5, 3)
    sizes = [module.kernel_size for module in network.modules() if isinstance(module, nn.Conv2d | nn.MaxPool2d)]
    assert all(rows == 1 for rows, _ in sizes) and any(columns > 1 for _, columns in sizes)
    assert all(module.window == (1, 3) for module in network.modules() if isinstance(module, BandedSum))
    gates = [module.conv.weight for module in network.modules() if type(module).__name__ in ("CBAM", "TCS")]
    assert all(not weight.any() for weight in gates)  # they still begin open
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_gates_made_of_spikes_hear_a_window_of_the_row() -> None:
    torch.manual_seed(0)
    summed = BandedSum(5, 3)
    to_one_row(summed)
    spikes = (torch.rand(2, 3, 5, 1, 8) < 0.5).float()
    as_convolution = summed.as_convolution()
    wanted = nn.functional.conv2d(spikes.flatten(0, 1), as_convolution.weight, padding=as_convolution.padding)
    assert as_convolution.weight.shape == (5, 5, 1, 3)
    torch.testing.assert_close(summed(spikes), wanted.view(spikes.shape))


def test_a_kernel_of_one_more_tap_is_seen() -> None:
    """The twin of the first test."""
    square, row = (nn.Conv2d(2, 2, 3, padding=1, bias=False) for _ in range(2))
    to_one_row(row)
    spikes = torch.ones(1, 2, 1, 8)
    assert not torch.equal(row(spikes), square(spikes))


@pytest.mark.parametrize("reads", ["images", "spikes"])
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_columns_are_halved_and_the_row_is_not(reads: str, stem_stride: int, tmp_path: Path) -> None:
    config = NetworkConfig(
        channels=2, cells=3, time_steps=2, classes=3, input_shape=(4, 1, 16), reads=reads, stem_stride=stem_stride
    )
    torch.manual_seed(0)
    network, shapes = (
        SpikingNetwork(random_genotype(np.random.default_rng(0), "darts"), config),
        list[tuple[int, ...]](),
    )
    for module in (network.stem, *network.cells):
        module.register_forward_hook(lambda module, inputs, spikes: shapes.append(tuple(spikes.shape[3:])))
    sample = torch.rand(2, *config.sample_shape).round()
    network(sample)
    assert shapes == [(1, columns // stem_stride) for columns in (16, 16, 8, 4)]
    assert config.stem_size == (1, 16 // stem_stride) and config.one_row
    reset_net(network.eval())
    run = Run(tmp_path)
    save_network(run, network)
    wanted = network(sample)
    assert torch.equal(load_network(run)(sample), wanted)


def test_an_odd_row_is_refused() -> None:
    with pytest.raises(InputError, match=r"The columns must be even .* but images have 18; pad them to 20"):
        NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(4, 1, 18)).plan()
    with pytest.raises(InputError, match=r"The columns must be even .* but images have 1; pad them to 4"):
        NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(4, 16, 1)).plan()
