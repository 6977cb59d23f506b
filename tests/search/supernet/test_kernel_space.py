"""The kernel-space cell against the explicit sum of its candidates, each applied by its own module of primitives.py."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from spikingjelly.activation_based.functional import reset_net as functional_reset
from torch import Tensor, nn
from torch.nn import functional

from spikeport.search.settings.network import Attention, PrimitiveSet
from spikeport.search.space.attention import ATTENTION
from spikeport.search.space.cell import FrameStem
from spikeport.search.space.genotype import CellKind
from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.primitives import NONE, PRIMITIVES, FactorizedReduce
from spikeport.search.supernet.kernel_space import (
    FROM,
    GROUPS,
    ORDER,
    KernelCell,
    KernelStem,
    KernelSupernet,
    calculate_in,
)
from spikeport.search.supernet.macro import MacroSupernet
from spikeport.search.supernet.supernet import EDGES

CHANNELS = 3
CASES = [(primitives, kind) for primitives in PRIMITIVES for kind in ("normal", "reduce")]
FIXED = {"skip_connect": 0, "max_pool_3x3": 1, "avg_pool_3x3": 2}  # -> row of the variances
SETTINGS = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))


def kernel_cell(primitives: PrimitiveSet, kind: CellKind, mixture: Tensor, attention: Attention = "none") -> KernelCell:
    """A cell in eval mode, so that a second pass is like the first, with unlike variances and lively neurons."""
    torch.manual_seed(1)
    cell = KernelCell(
        lambda: mixture,
        primitives,
        kind=kind,
        in_channels=(4, 5),
        channels=CHANNELS,
        attention=attention,
        halve_s0=False,
    )
    for population in (cell.p0.population, cell.p1.population, *map(cell.get_submodule, cell.nodes)):
        population.norm.momentum = 1.0  # the first batch counts alone
    variances = cell.variances.uniform_(0.05, 0.25).clone()
    with torch.no_grad():
        cell(*inputs())
    cell.variances.copy_(variances)
    return cell.eval()


def inputs(size: int = 8) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    s0, s1 = ((torch.rand(size, size, 2, 3, channels) < 0.3).float() for channels in (4, 5))
    return s0, s1


def loaded(cell: KernelCell, primitives: PrimitiveSet, name: str, row: int, stride: int) -> tuple[nn.Module, Tensor]:
    """The primitive's own module with the weights of one edge, and its kernel [O, I, taps] (empty if it is fixed)."""
    module = PRIMITIVES[primitives][name](CHANNELS, stride)
    if name == "skip_connect" and stride == 2:
        assert isinstance(module, FactorizedReduce)
        module.weight.data = cell.kernels.stacks[name].reduce[row].detach().T[..., None, None]
        return module, module.effective_weight.flatten(2)
    if name in FIXED:
        return module, torch.empty(0)
    stack = cell.kernels.stacks[name]
    size = stack.kernel
    if name.startswith("conv"):
        module.weight.data = stack.weight[:, row].detach().permute(2, 1, 0).unflatten(2, (size, size)).contiguous()
        return module, module.weight.flatten(2)
    depthwise, pointwise = module.children()
    depthwise.weight.data = stack.depthwise[:, row].detach().T.unflatten(1, (1, size, size)).contiguous()
    pointwise.weight.data = stack.pointwise[row].detach().T[..., None, None].contiguous()
    return module, pointwise.weight.flatten(2) * depthwise.weight.flatten(2).squeeze(1)[None]


def candidate(cell: KernelCell, primitives: PrimitiveSet, name: str, row: int, spikes: Tensor, stride: int) -> Tensor:
    """The normalised current [T, N, C, H, W] of one primitive on the edge `ORDER[row]`."""
    module, kernel = loaded(cell, primitives, name, row, stride)
    variances = cell.variances[:, FROM[row]] + 1e-5  # [3, C]
    fixed = name in FIXED and not kernel.numel()
    current: Tensor = module(spikes)
    variance = variances[FIXED[name]] if fixed else (energy(module, kernel, spikes, stride) * variances[0]).sum(1)
    return current / variance.sqrt()[:, None, None]


def energy(module: nn.Module, kernel: Tensor, spikes: Tensor, stride: int) -> Tensor:
    """[O, I]: the squares of the taps, summed over those that meet the image, mean over the positions."""
    if isinstance(module, FactorizedReduce):
        return kernel.square().sum(2)
    size, dilation = next((part.kernel_size[0], part.dilation[0]) for part in (*module.children(), module))
    seen = functional.unfold(
        torch.ones(1, 1, *spikes.shape[3:]), size, dilation, padding=dilation * (size // 2), stride=stride
    )  # [1, taps, positions] of 0 and 1
    return (kernel.square() * seen.mean(2)).sum(2)


def explicit(cell: KernelCell, primitives: PrimitiveSet, mixture: Tensor, s0: Tensor, s1: Tensor) -> Tensor:
    """What the cell should give: every candidate of every edge by itself."""
    states = [cell.p0(s0), cell.p1(s1)]
    for node, name in enumerate(cell.nodes):
        parts = []
        for row, edge in enumerate(ORDER):
            if EDGES[edge][0] == node:
                source = FROM[row]
                spikes = states[source].permute(2, 3, 4, 0, 1).contiguous()
                stride = cell._stride if source < 2 else 1
                for column, primitive in enumerate(PRIMITIVES[primitives]):
                    if primitive != NONE:
                        current = candidate(cell, primitives, primitive, row, spikes, stride)
                        parts.append(mixture[edge, column] * current)
        states.append(cell.get_submodule(name)(torch.stack(parts).sum(0).permute(3, 4, 0, 1, 2)))
    return torch.cat(states[2:], dim=-1)


def heard(cell: KernelCell, run: Callable[[], Tensor]) -> Sequence[Tensor]:
    """The currents that arrive at the four nodes while `run` runs."""
    arrived: list[Tensor] = []
    handles = [
        cell.get_submodule(name).register_forward_pre_hook(lambda module, inputs: arrived.append(inputs[0]))
        for name in cell.nodes
    ]
    run()
    for handle in handles:
        handle.remove()
    return arrived


def compare(cell: KernelCell, primitives: PrimitiveSet, mixture: Tensor, size: int = 8) -> None:
    s0, s1 = inputs(size)
    with torch.no_grad():
        found = heard(cell, lambda: cell(s0, s1))
        expected = heard(cell, lambda: explicit(cell, primitives, mixture, s0, s1))
        assert mixture[0, 0] == 1 or 0.05 < cell(s0, s1).mean() < 0.9  # `none` is silent
    assert len(found) == len(expected) == 4
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def random_mixture(primitives: PrimitiveSet) -> Tensor:
    torch.manual_seed(3)
    return torch.softmax(2 * torch.randn(14, len(PRIMITIVES[primitives])), dim=1)


@pytest.mark.slow
@pytest.mark.parametrize(("primitives", "kind"), CASES)
def test_one_hot_weights_leave_the_normalised_candidate(primitives: PrimitiveSet, kind: CellKind) -> None:
    for column in range(len(PRIMITIVES[primitives])):
        mixture = torch.zeros(14, len(PRIMITIVES[primitives]))
        mixture[:, column] = 1
        compare(kernel_cell(primitives, kind, mixture), primitives, mixture)


@pytest.mark.parametrize(("primitives", "kind"), CASES)
@pytest.mark.parametrize("size", [4, 8, 12])
def test_mixed_edges_are_the_weighted_sum_of_their_candidates(
    primitives: PrimitiveSet, kind: CellKind, size: int
) -> None:
    mixture = random_mixture(primitives)
    compare(kernel_cell(primitives, kind, mixture), primitives, mixture, size)


def test_one_changed_weight_shows() -> None:
    mixture = random_mixture("darts")
    cell = kernel_cell("darts", "normal", mixture)
    other = mixture.clone()
    other[13, 7] += 0.01
    with pytest.raises(AssertionError, match="not close"):
        compare(cell, "darts", other)


@pytest.mark.parametrize(("primitives", "kind"), CASES)
def test_the_gradient_of_the_weights_is_the_explicit_one(primitives: PrimitiveSet, kind: CellKind) -> None:
    mixture = random_mixture(primitives).requires_grad_()
    cell = kernel_cell(primitives, kind, mixture)
    s0, s1 = inputs()
    found = cell(s0, s1)
    expected = explicit(cell, primitives, mixture, s0, s1)
    assert torch.equal(found, expected)  # spikes
    gradient = torch.randn_like(found)
    (a,) = torch.autograd.grad(found, mixture, gradient)
    (b,) = torch.autograd.grad(expected, mixture, gradient)
    assert b.abs().max() > 1
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("primitives", "kind"), CASES)
@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_candidates_have_comparable_currents(primitives: PrimitiveSet, kind: CellKind, size: int) -> None:
    """On independent random spikes every candidate has a standard deviation of 0.95 to 1.15, also where the rim is all.

    Without the hits of the taps it would be 0.4 for a 5x5 kernel at 2x2, and max-pools would win there.
    """
    cell = kernel_cell(primitives, kind, random_mixture(primitives))
    torch.manual_seed(4)
    stride = 2 if kind == "reduce" else 1
    rates = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    spikes = (torch.rand(2, 2**16 // size**2 // stride**2, CHANNELS, size * stride, size * stride) < rates).float()
    pooled = [PRIMITIVES["darts"][name](CHANNELS, 1)(spikes) for name in FIXED]
    cell.variances.copy_(torch.stack([maps.var((0, 1, 3, 4)) for maps in pooled])[:, None])
    for name in PRIMITIVES[primitives]:
        if name != NONE:
            with torch.no_grad():
                current = candidate(cell, primitives, name, 0, spikes, stride)
            deviations = current.std((0, 1, 3, 4))
            assert 0.95 < deviations.min() <= deviations.max() < 1.15, name


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("primitives", PRIMITIVES)
def test_shapes_and_gradients(primitives: PrimitiveSet, attention: Attention) -> None:
    cell = kernel_cell(primitives, "reduce", random_mixture(primitives), attention).train()
    s0, s1 = inputs()
    out = cell(s0, s1)
    assert out.shape == (4, 4, 2, 3, 4 * CHANNELS)
    assert set(out.unique().tolist()) == {0.0, 1.0}
    out.mul(torch.randn_like(out)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in cell.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gates_of_spikes_let_some_of_them_pass(dtype: torch.dtype) -> None:
    """Open at the start: the same cell as without; then what both gates let through, of the node's own spikes."""
    mixture = random_mixture("plain")
    without, cell = (kernel_cell("plain", "normal", mixture, kind).train() for kind in ("none", "spike"))
    for each in (without, cell):
        calculate_in(each, dtype)
    cell.load_state_dict(without.state_dict(), strict=False)
    s0, s1 = (spikes.to(dtype) for spikes in inputs())
    out = cell(s0, s1)
    assert out.dtype == dtype and torch.equal(out, without(s0, s1))
    functional_reset(cell)
    node = cell.n2
    node.gates.position.norm.weight.data.fill_(1.0)
    node.gates.position.norm.bias.data.fill_(0.9)
    seen: dict[str, Tensor] = {}
    for name, module in (("lif", node.lif), ("gates", node.gates), ("node", node)):
        module.register_forward_hook(lambda module, inputs, out, name=name: seen.__setitem__(name, out))
    cell(s0, s1)
    before, passed = seen["lif"], seen["node"]
    assert passed.dtype == before.dtype and torch.equal(passed, seen["gates"].permute(3, 4, 0, 1, 2).to(before.dtype))
    assert ((passed == 0) | (passed == before)).all() and 0 < passed.sum() < before.sum()


def test_variances_follow_the_spikes_in_training_only() -> None:
    cell = kernel_cell("darts", "normal", random_mixture("darts"))
    before = cell.variances.clone()
    cell(*inputs())
    assert torch.equal(cell.variances, before)
    cell.train()
    cell.p1.population.register_forward_hook(lambda module, inputs, spikes: torch.ones_like(spikes))
    cell(*inputs())
    torch.testing.assert_close(cell.variances[:2, 1], 0.9 * before[:2, 1])  # a channel that always fires: variance 0
    assert (cell.variances[2, 1] > 0.9 * before[2, 1]).all()  # its avg-pool: less at the rim


def test_every_edge_is_in_one_group() -> None:
    assert sorted(ORDER) == list(range(14))
    assert [max(nodes) for _, nodes in GROUPS] == [3, 3, 3, 3]
    assert [max(sources) for sources, _ in GROUPS] == [1, 2, 3, 4]  # node j is source j + 2


def test_eval_does_not_depend_on_the_batch() -> None:
    supernet = KernelSupernet("darts", SETTINGS).eval()
    images = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(supernet(images)[:2], supernet(images[:2]), rtol=1e-5, atol=1e-5)


def test_bfloat16_is_the_same_network() -> None:
    """Of the spikes about one in two hundred differs; weights and gradients stay float32."""
    torch.manual_seed(0)
    settings = NetworkConfig(channels=4, cells=3, time_steps=2, classes=10, input_shape=(1, 16, 16))
    network, images = KernelSupernet("darts", settings).train(), torch.rand(8, 1, 16, 16)
    heard: dict[str, list[Tensor]] = {}
    for name in ("cells.0.n1", "cells.2.n4"):
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, spikes, name=name: heard.setdefault(name, []).append(spikes.detach())
        )
    for dtype in (torch.float32, torch.bfloat16):
        calculate_in(network, dtype)
        logits = network(images)
        assert logits.dtype == torch.float32
        network.zero_grad()
        logits.square().sum().backward()
        assert all(parameter.grad is None or parameter.grad.dtype == torch.float32 for parameter in network.weights())
    for _, found in heard.values():
        assert found.dtype == torch.bfloat16 and set(found.unique().tolist()) == {0.0, 1.0}
    exact, found = heard["cells.0.n1"]
    assert 0 < (exact != found).float().mean() < 0.02
    assert 0.05 < exact.mean() < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("supernet", [KernelSupernet, MacroSupernet])
def test_everything_moves_to_another_device(supernet: Callable[..., nn.Module], dtype: torch.dtype) -> None:
    """The device `meta` has shapes and no numbers, and refuses tensors of the CPU as a GPU does."""
    settings = NetworkConfig(channels=4, cells=3, time_steps=2, classes=10, input_shape=(1, 32, 32))
    network = supernet("darts", settings).train().to("meta")
    calculate_in(network, dtype)
    logits = network(torch.rand(4, 1, 32, 32, device="meta"))
    logits.sum().backward()
    assert logits.shape == (4, 10)
    with pytest.raises(RuntimeError, match="device"):
        network(torch.rand(4, 1, 32, 32))


@pytest.mark.parametrize("stride", [1, 2])
def test_frames_of_spikes_enter_as_at_the_stem_of_the_network(stride: int) -> None:
    """Each step reads its own frame; with the steps turned round other spikes come out."""
    settings = replace(SETTINGS, reads="spikes", time_steps=3, input_shape=(2, 8, 12), stem_stride=stride)
    torch.manual_seed(0)
    kernel, stem = KernelStem(settings), FrameStem(2, 6, stride)
    stem.conv.weight.data = kernel.conv.weight.data = torch.rand(6, 2, 3, 3)
    frames = (torch.rand(5, 3, 2, 8, 12) < 0.3).float()
    found, expected = (module(frames).detach() for module in (kernel, stem))
    assert 0.1 < expected.mean() < 0.9
    assert torch.equal(found.permute(2, 3, 4, 0, 1), expected)
    stem.lif.reset()
    assert not torch.equal(stem(frames.flip(1)).flip(0), expected)
