"""A cell of its own for every layer: nested in a shared one at first, then each with weights of its own."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor
from torch.nn.functional import cross_entropy

from spikeport.search.objective.priced_loss import Price
from spikeport.search.objective.spike_maps import recording
from spikeport.search.objective.synaptic_operations import sops_per_cell
from spikeport.search.settings.objective import ObjectiveSettings
from spikeport.search.settings.supernet import SupernetForm
from spikeport.search.space.genotype import Layer, random_genotype
from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.primitives import PRIMITIVES
from spikeport.search.strategies.darts.search import SUPERNETS
from spikeport.search.supernet.supernet import Supernet, one_hot

SETTINGS = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
KINDS = [cell.kind for cell in SETTINGS.plan()]


def supernet_of(form: SupernetForm, own: bool = True, **more: bool) -> Supernet:
    torch.manual_seed(0)
    supernet = SUPERNETS[form]("plain", SETTINGS)
    supernet.search_also(cells_per_layer=own, **more)
    return supernet


def logits_of(supernet: Supernet) -> Tensor:
    reset_net(supernet)
    found: Tensor = supernet(torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    reset_net(supernet)
    return found


@pytest.mark.parametrize("form", SUPERNETS)
def test_layers_begin_with_the_cell_of_their_kind(form: SupernetForm) -> None:
    shared, own = supernet_of(form, own=False), supernet_of(form)
    assert [alphas.shape for alphas in own.own["alphas"]] == [(14, 5)] * 3
    assert torch.equal(logits_of(shared), logits_of(own))
    found = own.genotype()
    assert found.cells == tuple(shared.genotype().cell(kind) for kind in KINDS)
    own.own["alphas"][2].data[:, 3] += 9
    changed = own.genotype()
    assert changed.cells is not None and found.cells is not None
    assert changed.cells[:2] == found.cells[:2]
    assert {edge.primitive for edge in changed.cells[2]} == {"conv_3x3"}
    assert not torch.equal(logits_of(shared), logits_of(own))
    own.nested = True
    assert own.genotype().cells == found.cells


@pytest.mark.parametrize("form", SUPERNETS)
def test_weights_of_kinds_learn_first_and_those_of_layers_then(form: SupernetForm) -> None:
    supernet = supernet_of(form)
    assert len(supernet.architecture()) == 5
    assert len(supernet.weights()) + 5 == len(list(supernet.parameters()))
    supernet.nested = True
    logits_of(supernet).square().sum().backward()
    assert [alphas.grad is None for alphas in supernet.architecture()] == [False] * 2 + [True] * 3
    supernet.zero_grad()
    supernet.nested = False
    logits_of(supernet).square().sum().backward()
    assert [alphas.grad is None for alphas in supernet.architecture()] == [True] * 2 + [False] * 3
    assert all(alphas.grad.any() for alphas in supernet.own["alphas"])


def test_gates_are_a_layers_own_too() -> None:
    torch.manual_seed(0)
    supernet = SUPERNETS["kernel"]("plain", replace(SETTINGS, attention="spike"))
    supernet.search_also(gates=True, cells_per_layer=True)
    supernet.own["gate_alphas"][1].data[2] = 1.0
    assert supernet.genotype().gates == ((False,) * 4, (False, False, True, False), (False,) * 4)
    assert supernet.gate_chance("normal", 2, 1).item() > 0.7 > 0.5 == supernet.gate_chance("normal", 2, 0).item()


@pytest.mark.parametrize("form", SUPERNETS)
def test_the_price_is_that_of_every_layers_own_cell(form: SupernetForm) -> None:
    supernet = supernet_of(form)
    genotype = random_genotype(np.random.default_rng(0), "plain", layers=KINDS)
    for place, own in enumerate(supernet.own["alphas"]):
        weights = one_hot(genotype, KINDS[place], place)
        weights[:, 0] = 1 - weights.sum(1)
        own.data = 1000 * weights.float() - supernet.alphas[KINDS[place]].data
    assert supernet.genotype() == genotype
    with recording(supernet) as spikes, torch.no_grad():
        logits_of(supernet)
    found = Price(supernet, ObjectiveSettings()).sops(spikes)
    expected = sops_per_cell(spikes, partial(one_hot, genotype), list(PRIMITIVES["plain"]), 3)
    assert {name: sops.item() for name, sops in found.items()} == pytest.approx(
        {name: sops.item() for name, sops in expected.items()}
    )
    shared = sops_per_cell(spikes, lambda kind, place: one_hot(genotype, kind), list(PRIMITIVES["plain"]), 3)
    assert found["cells.2"].item() != pytest.approx(shared["cells.2"].item())


def test_a_search_begins_with_a_genotype_and_its_path() -> None:
    given = random_genotype(np.random.default_rng(5), "plain")
    layers = (Layer("reduce", 1.0), Layer("normal", 0.5), Layer("normal", 1.0))
    torch.manual_seed(0)
    supernet = SUPERNETS["kernel"]("plain", SETTINGS, SETTINGS.plan(layers))
    supernet.search_also(cells_per_layer=True, start=replace(given, layers=layers))
    found = supernet.genotype()
    assert found.layers == layers
    assert found.cells == (given.reduce, given.normal, given.normal)
    logits_of(supernet)


def test_what_an_ablation_loss_would_add_is_the_gradient_that_is_there() -> None:
    """The network without a cell does not depend on the weights of that cell (docs/architecture_search.md)."""
    supernet = supernet_of("kernel")
    labels = torch.tensor([0, 1, 2, 0])

    def loss(without: int | None) -> Tensor:
        handles = []
        if without is not None:
            cell = supernet.cells[without]
            handles.append(cell.register_forward_hook(lambda module, inputs, spikes: 0 * spikes))
        found = cross_entropy(logits_of(supernet), labels)
        for handle in handles:
            handle.remove()
        return found

    for _ in range(30):
        logits_of(supernet)  # running averages
    supernet.eval()
    for place, own in enumerate(supernet.own["alphas"]):
        (usual,) = torch.autograd.grad(loss(None), own)
        (ablation,) = torch.autograd.grad(loss(None) - loss(place), own)
        assert usual.any() and torch.equal(usual, ablation)
