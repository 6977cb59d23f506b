"""What a search decides of a node beside its edges: in the mixture, in the genotype, in the price."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn

from spikeport.search.loops.window_lif import window_lif
from spikeport.search.objective.priced_loss import Price, total
from spikeport.search.objective.spike_maps import NetworkSpikes, recording
from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.settings.objective import ObjectiveSettings
from spikeport.search.settings.supernet import SupernetForm
from spikeport.search.space.genotype import CELL_KINDS, INPUTS, random_genotype
from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.spike_gates import Gate, SpikeGates
from spikeport.search.strategies.darts.search import SUPERNETS
from spikeport.search.supernet.kernel_space import calculate_in
from spikeport.search.supernet.macro import MacroSupernet
from spikeport.search.supernet.supernet import Supernet

SETTINGS = NetworkConfig(channels=2, cells=3, time_steps=3, classes=3, input_shape=(1, 8, 8), attention="spike")
ALWAYS, NEVER = 1e3, -1e3  # an architecture weight


def supernet_of(form: SupernetForm, *, searched: bool, primitives: PrimitiveSet = "plain") -> Supernet:
    torch.manual_seed(0)
    supernet = SUPERNETS[form](primitives, SETTINGS)
    if searched:
        supernet.search_also(gates=True)
    for module in supernet.modules():
        if isinstance(module, Gate):  # it fires in some steps
            nn.init.constant_(module.norm.weight, 1.0)
            nn.init.constant_(module.norm.bias, 0.8)
    return supernet


def images() -> Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def of_nodes(supernet: Supernet) -> list[Tensor]:
    """What the nodes of all cells give in one pass."""
    found: list[Tensor] = []
    handles = [
        cell.get_submodule(f"n{j}").register_forward_hook(lambda module, inputs, out: found.append(out.detach()))
        for cell in supernet.planned_cells()
        for j in (1, 2, 3, 4)
    ]
    supernet(images())
    reset_net(supernet)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("form", SUPERNETS)
def test_gates_are_mixed_by_their_chance(form: SupernetForm) -> None:
    """With 0 and 1 the mixture is the network without and with them, wherever they are."""
    searched = supernet_of(form, searched=True)
    assert all(parameter.shape == (4,) for parameter in searched.gate_alphas.values())
    usual = supernet_of(form, searched=False)
    usual.load_state_dict({name: value for name, value in searched.state_dict().items() if "gate_alphas" not in name})
    for cell in usual.planned_cells():
        cell.get_submodule("n2").gates = nn.Identity()
    for weights in searched.gate_alphas.values():
        weights.data = torch.tensor([ALWAYS, NEVER, ALWAYS, ALWAYS])
    for mixed, one in zip(of_nodes(searched), of_nodes(usual), strict=True):
        assert torch.equal(mixed, one)
    for weights in searched.gate_alphas.values():
        weights.data.zero_()
    values = set(torch.cat([nodes.flatten() for nodes in of_nodes(searched)]).unique().tolist())
    assert values == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("form", SUPERNETS)
def test_every_chance_learns(form: SupernetForm) -> None:
    supernet = supernet_of(form, searched=True, primitives="darts")
    supernet(images()).square().sum().backward()
    assert len(supernet.architecture()) == 4
    assert len(supernet.weights()) + 4 == len(list(supernet.parameters()))
    assert all((alphas.grad != 0).all() for alphas in supernet.gate_alphas.values())
    assert all(parameter.grad is not None for parameter in supernet.parameters())


@pytest.mark.parametrize("form", SUPERNETS)
def test_the_price_of_gates_is_that_to_be_expected(form: SupernetForm) -> None:
    supernet = supernet_of(form, searched=True).eval()
    price = Price(supernet, ObjectiveSettings(sop_weight=1.0))
    first = {}
    for chance in (0.0, 0.25, 0.5, 1.0):
        for weights in supernet.gate_alphas.values():
            weights.data.fill_(torch.tensor(chance).logit())
        first[chance] = spikes_of(supernet).cells[0].gates[INPUTS]  # of n1, which no other gate has a say in
    assert first[0.0].sops == 0 < first[1.0].sops
    for chance in (0.25, 0.5):
        assert first[chance].sops.item() == pytest.approx(chance * first[1.0].sops.item(), rel=1e-6)
        gates = first[1.0].fired.item() - first[0.0].fired.item()
        assert first[chance].fired.item() == pytest.approx(first[0.0].fired.item() + chance * gates, rel=1e-6)
    for weights in supernet.gate_alphas.values():
        weights.data.zero_()
    total(price.sops(spikes_of(supernet, gradients=True))).backward()
    assert all((weights.grad != 0).all() for weights in supernet.gate_alphas.values())


def spikes_of(supernet: Supernet, gradients: bool = False) -> NetworkSpikes:
    with recording(supernet) as spikes, torch.set_grad_enabled(gradients):
        supernet(images())
    reset_net(supernet)
    return spikes


@pytest.mark.parametrize("form", SUPERNETS)
def test_gates_are_found_where_their_chance_is_above_one_half(form: SupernetForm) -> None:
    supernet = supernet_of(form, searched=True)
    supernet.gate_alphas["normal"].data = torch.tensor([0.1, 0.0, -0.1, 2.0])
    supernet.gate_alphas["reduce"].data = torch.tensor([-1.0, 1.0, -1.0, -1.0])
    found = supernet.genotype()
    assert found.gates == ((True, False, False, True), (False, True, False, False))
    rng = np.random.default_rng(0)
    drawn = np.array([supernet.genotype(rng).gates for _ in range(300)]).mean(0)
    expected = np.stack([torch.sigmoid(supernet.gate_alphas[kind]).detach().numpy() for kind in CELL_KINDS])
    assert np.abs(drawn - expected).max() < 0.1
    assert supernet_of(form, searched=False).genotype().gates is None


@pytest.mark.parametrize("form", SUPERNETS)
def test_decays_are_mixed_by_their_chances_and_found_where_they_are_likeliest(form: SupernetForm) -> None:
    torch.manual_seed(0)
    config = replace(SETTINGS, attention="none", time_steps=8)
    supernet = SUPERNETS[form]("plain", config)
    supernet.search_also(decays=True)
    calculate_in(supernet, torch.float32)
    supernet(images()).square().sum().backward()
    reset_net(supernet)
    assert all(alphas.shape == (4, 4) and alphas.grad.any() for alphas in supernet.decay_alphas.values())
    assert len(supernet.architecture()) == 4
    assert len(supernet.weights()) + 4 == len(list(supernet.parameters()))
    likeliest = torch.tensor([[0, 1, 2, 3], [1, 3, 1, 0]])
    for alphas, best in zip(supernet.decay_alphas.values(), likeliest, strict=True):
        alphas.data = ALWAYS * nn.functional.one_hot(best, 4).float()
    found = supernet.genotype()
    assert found.decays == ((0.25, 0.5, 0.75, 0.875), (0.5, 0.875, 0.5, 0.25))
    assert supernet.genotype(np.random.default_rng(0)).decays == found.decays  # sure of itself

    usual = SUPERNETS[form]("plain", config)
    kept = {name: value for name, value in supernet.state_dict().items() if "decay_alphas" not in name}
    usual.load_state_dict(kept)
    for cell, planned in zip(usual.plan, usual.planned_cells(), strict=True):
        for node in range(4):
            block = planned.get_submodule(f"n{node + 1}")
            block.lif = window_lif(getattr(block.lif, "axis", 0), found.decay(cell.kind, node, 0))
    for mixed, one in zip(of_nodes(supernet), of_nodes(usual), strict=True):
        assert (mixed != one).float().mean() < 0.01  # of the fused batch norm the last bits differ


def test_paths_are_searched_with_gates_and_of_cells_that_have_some() -> None:
    torch.manual_seed(0)
    config = replace(SETTINGS, cells=2)
    both = MacroSupernet("plain", config)
    both.search_also(gates=True)
    both(images()).square().sum().backward()
    assert both.genotype().gates == ((False,) * 4,) * 2
    given = random_genotype(np.random.default_rng(0), "plain", decays=True)
    given = replace(given, gates=((True,) * 4, (False,) * 4))
    net = MacroSupernet("plain", config, given)
    gated = {
        stop.kind: [isinstance(cell.get_submodule(f"n{j}").gates, SpikeGates) for j in (1, 2, 3, 4)]
        for stop, cell in zip(net.plan, net.planned_cells(), strict=True)
    }
    assert gated == {"normal": [True] * 4, "reduce": [False] * 4}
    for stop, cell in zip(net.plan, net.planned_cells(), strict=True):
        for node in range(4):
            tau = cell.get_submodule(f"n{node + 1}").lif.tau
            assert 1 - 1 / tau == given.decay(stop.kind, node, 0)
    assert net.genotype().gates == given.gates and net.genotype().decays == given.decays
