"""Whole networks with the kernels in them: the numbers are those of a CPU without."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from spikeport.search.machine.channels_last import channels_last
from spikeport.search.machine.device import Arithmetic, repeatable
from spikeport.search.settings.network import Attention, PrimitiveSet
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.strategies.darts.search import alpha_step, passes_of_alphas
from spikeport.search.supernet.kernel_space import KernelSupernet
from spikeport.search.training.loop import cross_entropy_of
from spikeport.search.training.passes import Passes

pytestmark = pytest.mark.slow

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=4, input_shape=(3, 8, 8))
CLOSE = 1e-4  # relative distance of gradients after three cells, in float32


def images_and_labels() -> tuple[Tensor, Tensor]:
    torch.manual_seed(7)
    return torch.randn(3, 3, 8, 8), torch.arange(3)


def loss_and_gradients(network: nn.Module, device: torch.device) -> tuple[float, dict[str, Tensor]]:
    network.to(device).train()
    reset_net(network)
    images, labels = (tensor.to(device) for tensor in images_and_labels())
    with repeatable(device):  # float32 as on a CPU
        loss = cross_entropy(network(images), labels)
        loss.backward()
    found = {name: one.grad.cpu() for name, one in network.named_parameters() if one.grad is not None}
    return float(loss.detach()), found


def assert_alike(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        distance = float((gradient - found[name]).norm() / gradient.norm().clamp(min=1e-6))
        assert distance < CLOSE, f"{name}: {distance}"


@pytest.mark.parametrize(
    ("primitives", "seed", "attention"), [("darts", 1, "none"), ("plain", 2, "cbam"), ("plain", 3, "none")]
)
def test_a_network_learns_as_without(
    primitives: PrimitiveSet, seed: int, attention: Attention, device: torch.device, kernels_everywhere: None
) -> None:
    torch.manual_seed(seed)
    config = replace(CONFIG, attention=attention)
    usual = SpikingNetwork(random_genotype(np.random.default_rng(seed), primitives), config)
    mine = copy.deepcopy(usual)
    loss, gradients = loss_and_gradients(usual, torch.device("cpu"))
    with channels_last(mine):
        found, others = loss_and_gradients(mine, device)
    assert found == pytest.approx(loss, rel=1e-5)
    assert_alike(gradients, others)
    for (name, buffer), other in zip(usual.named_buffers(), mine.buffers(), strict=True):
        torch.testing.assert_close(other.cpu(), buffer, rtol=1e-4, atol=1e-5, msg=name)
    images, _ = images_and_labels()
    usual.eval()
    mine.eval()
    reset_net(usual)
    with channels_last(mine), torch.no_grad(), repeatable(device):
        torch.testing.assert_close(mine(images.to(device)).cpu(), usual(images), rtol=1e-4, atol=1e-4)
    assert "forward" not in vars(mine.cells[0].n1.norm)


@pytest.mark.parametrize("primitives", ["darts", "plain"])
def test_the_kernel_space_supernet_has_the_same_alpha_gradients(
    primitives: PrimitiveSet, device: torch.device, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    torch.manual_seed(5)
    usual = KernelSupernet(primitives, CONFIG)
    mine = copy.deepcopy(usual)
    mine._modules["cells"] = usual_cells_of(mine, primitives)
    loss, gradients = loss_and_gradients(usual, torch.device("cpu"))
    request.getfixturevalue("kernels_everywhere")
    found, others = loss_and_gradients(mine, device)
    assert found == pytest.approx(loss, rel=1e-5)
    assert_alike(gradients, others)
    assert {name for name in gradients if name.startswith("alphas")} == {"alphas.normal", "alphas.reduce"}


def usual_cells_of(copied: KernelSupernet, primitives: PrimitiveSet) -> nn.ModuleList:
    """Cells that ask the copy for its mixture; those of a deep copy ask the original."""
    again = KernelSupernet(primitives, CONFIG)
    again.load_state_dict(copied.state_dict())
    for cell in again.cells:
        kind = "reduce" if cell._stride == 2 else "normal"
        cell._mixture = lambda kind=kind: copied.edge_weights(kind)
    return again.cells


@pytest.mark.cuda
def test_a_search_on_a_gpu_finds_the_alphas_of_a_cpu() -> None:
    """In float32, after 16 steps; Adam takes a gradient's sign, so an alpha whose gradient is near 0 may differ."""
    found = {}
    for name in ("cpu", "cuda"):
        torch.manual_seed(5)
        supernet = KernelSupernet("darts", CONFIG).to(name).train()
        start = {kind: alpha.detach().cpu().clone() for kind, alpha in supernet.alphas.items()}
        alphas = torch.optim.Adam(supernet.architecture(), lr=0.01, betas=(0.5, 0.999))
        weights = torch.optim.SGD(supernet.weights(), lr=0.05, momentum=0.9)
        # on the GPU the passes are graphs
        objective = cross_entropy_of(supernet)
        alpha_passes = passes_of_alphas(supernet, objective, as_graph=True)
        passes = Passes(
            supernet, supernet.weights(), objective, Arithmetic("float32", torch.device(name)), as_graph=True
        )
        for step in range(16):
            torch.manual_seed(step)
            images, labels = torch.randn(16, 3, 8, 8).to(name), torch.randint(0, 4, (16,)).to(name)
            with repeatable(torch.device(name)):
                alpha_step(supernet, alphas, (images, labels), passes=alpha_passes)
                passes(images, labels)
            passes.arithmetic.update(weights, supernet.weights())
        assert bool(passes._graphs) == bool(alpha_passes._graphs) == (name == "cuda")
        found[name] = torch.cat([(alpha.detach().cpu() - start[kind]) for kind, alpha in supernet.alphas.items()])
    moved = found["cpu"].abs().mean()
    assert moved > 0.02
    assert (found["cuda"] - found["cpu"]).abs().mean() < 0.1 * moved
