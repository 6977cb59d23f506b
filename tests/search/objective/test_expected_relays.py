"""Relays in the loss: exact for a cell that is certain, and gradients that lead to fewer of them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import Adam

from spikeport.errors import InputError
from spikeport.search.objective.expected_relays import ExpectedRelays, relay_cost_of
from spikeport.search.objective.priced_loss import REFERENCE_RATE, Price
from spikeport.search.objective.relays import relay_neurons, relay_spikes, relays_of
from spikeport.search.objective.spike_maps import NetworkSpikes, even_spikes
from spikeport.search.settings.objective import ObjectiveSettings
from spikeport.search.settings.run import choose
from spikeport.search.space.genotype import CELL_KINDS, Genotype, random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.supernet.kernel_space import KernelSupernet
from spikeport.search.supernet.macro import MacroSupernet
from spikeport.search.supernet.supernet import one_hot

CONFIG = NetworkConfig(channels=1, cells=2, time_steps=2, classes=3, input_shape=(1, 4, 4))


def supernet_of(genotype: Genotype | None = None) -> KernelSupernet:
    torch.manual_seed(0)
    supernet = KernelSupernet("plain", CONFIG)
    for kind in CELL_KINDS if genotype else ():
        supernet.alphas[kind].data.copy_(200 * one_hot(genotype, kind))
    return supernet


def spikes_of(network: Any) -> NetworkSpikes:
    return even_spikes(CONFIG, network.plan, REFERENCE_RATE)


@pytest.mark.parametrize("seed", range(3))
def test_a_certain_cell_costs_what_its_network_does(seed: int) -> None:
    genotype = random_genotype(np.random.default_rng(seed), "plain")
    supernet, network = supernet_of(genotype), SpikingNetwork(genotype, CONFIG)
    assert supernet.genotype() == genotype
    expected, certain = relay_cost_of(supernet, spikes_of(supernet)), relay_cost_of(network, spikes_of(network))
    found = expected(spikes_of(supernet))
    assert found.item() == certain(spikes_of(network)).item() > 0
    found.backward()
    assert all(alphas.grad is not None and not alphas.grad.any() for alphas in supernet.alphas.values())


def test_another_cell_costs_something_else() -> None:
    cells = [random_genotype(np.random.default_rng(seed), "plain") for seed in range(6)]
    costs = {
        relay_cost_of(SpikingNetwork(cell, CONFIG), spikes_of(supernet_of()))(spikes_of(supernet_of())).item()
        for cell in cells
    }
    assert len(costs) > 3


def test_the_cost_is_half_neurons_and_half_spikes() -> None:
    genotype = random_genotype(np.random.default_rng(1), "plain")
    network = SpikingNetwork(genotype, CONFIG)
    cost, spikes = relay_cost_of(network, spikes_of(network)), spikes_of(network)
    waiting = relays_of(genotype, CONFIG)
    for cell in spikes.cells:
        cell.states = {number: maps.clone().requires_grad_() for number, maps in cell.states.items()}
    references = cost.keywords["references"]  # type: ignore[union-attr]
    sent = relay_spikes(waiting, spikes)
    found = cost(spikes)
    assert found.item() == pytest.approx(
        (relay_neurons(waiting) / references.neurons + sent.item() / references.spikes) / 2
    )
    found.backward()
    whole = [each for each in waiting if each.node.cell >= 0 and not each.node.pooled and len(each.phases) == 4]
    assert whole
    for each in whole:
        grad = spikes.cells[each.node.cell].states[each.node.state].grad
        assert grad is not None and float(grad[0, 0]) == pytest.approx(each.hops / references.spikes / 2)


def test_draws_stay_until_the_alphas_change_and_come_again() -> None:
    supernet = supernet_of()
    cost = relay_cost_of(supernet, spikes_of(supernet))
    assert isinstance(cost, ExpectedRelays)

    def drawn() -> float:
        return cost(spikes_of(supernet)).item()

    cost.draw_from(np.random.default_rng(3))
    first = drawn()
    assert drawn() == first
    with torch.no_grad():
        supernet.alphas["normal"].add_(0.0)
    assert drawn() != first
    cost.draw_from(np.random.default_rng(3))
    assert drawn() == first


def test_the_score_of_a_draw() -> None:
    """d log p / d alpha = 1 - exp(alpha - z), but for primitives that are not allowed."""
    supernet = supernet_of()
    supernet.allowed = frozenset({"conv_3x3", "skip_connect"})
    cost = relay_cost_of(supernet, spikes_of(supernet))
    assert isinstance(cost, ExpectedRelays)
    (one, *_) = cost._draws()
    cost._log_density(one).backward()
    alphas = supernet.alphas["reduce"]
    noisy = one.noisy["reduce"]
    wanted = torch.where(noisy.isfinite(), 1 - (alphas.detach().double() - noisy).exp(), 0.0)
    torch.testing.assert_close(alphas.grad.double(), wanted, atol=1e-6, rtol=1e-5)
    assert (wanted == 0).any() and (wanted != 0).any()


def test_alphas_that_follow_it_find_cells_with_fewer_relays() -> None:
    supernet = supernet_of()
    cost, spikes = relay_cost_of(supernet, spikes_of(supernet)), spikes_of(supernet)
    assert isinstance(cost, ExpectedRelays)
    cost.draw_from(np.random.default_rng(0))

    def mean() -> float:
        rng = np.random.default_rng(1)
        return float(np.mean([relay_neurons(relays_of(supernet.genotype(rng), CONFIG)) for _ in range(40)]))

    before = mean()
    optimizer = Adam(supernet.architecture(), lr=0.1)
    for _ in range(25):
        optimizer.zero_grad()
        cost(spikes).backward()
        optimizer.step()
    assert mean() < 0.9 * before


def test_it_is_in_the_price() -> None:
    genotype = random_genotype(np.random.default_rng(2), "plain")
    network = SpikingNetwork(genotype, CONFIG)
    spikes = spikes_of(network)
    settings = ObjectiveSettings(sop_weight=0.5, relay_weight=0.25)
    assert ObjectiveSettings(relay_weight=0.25).has_a_price
    with_relays, without = Price(network, settings)(spikes), Price(network, ObjectiveSettings(sop_weight=0.5))(spikes)
    cost = relay_cost_of(network, spikes)(spikes)
    assert (with_relays - without).item() == pytest.approx(0.25 * cost.item())


def test_what_has_no_price_is_refused() -> None:
    for options, said in (
        ({"for_target": "nir"}, "Relays are on Loihi alone, but relay_weight=0.5 is for nir; leave it out."),
        (
            {"attention": "spike"},
            "Relays behind gates made of spikes have no price yet, so leave relay_weight=0.5 out.",
        ),
        (
            {"level": "both"},
            "Relays of a search over paths have no price yet, so relay_weight=0.5 cannot be at --level both; leave one "
            "of them out.",
        ),
        (
            {"cells_per_layer": True},
            "Relays of a search of cells for every layer have no price yet, so relay_weight=0.5 cannot be with "
            "--cells-per-layer; leave one of them out.",
        ),
        (
            {"decays": "search"},
            "Relays of nodes that leak unequally have no price yet, so relay_weight=0.5 cannot be with --decays "
            "search; leave one of them out.",
        ),
    ):
        with pytest.raises(InputError) as raised:
            choose(relay_weight=0.5, **options)
        assert str(raised.value) == said
    assert choose(relay_weight=0.5, for_target="loihi").objective.relay_weight == 0.5
    gated = SpikingNetwork(
        random_genotype(np.random.default_rng(0), "plain"),
        NetworkConfig(channels=1, cells=1, time_steps=2, classes=3, input_shape=(1, 4, 4), attention="spike"),
    )
    with pytest.raises(InputError, match="Relays behind gates made of spikes have no price"):
        relay_cost_of(gated, spikes_of(gated))
    leaking = SpikingNetwork(random_genotype(np.random.default_rng(0), "plain", decays=True), CONFIG)
    with pytest.raises(InputError, match="Relays of nodes that leak unequally have no price; set relay_weight to 0"):
        relay_cost_of(leaking, spikes_of(leaking))
    layered = KernelSupernet("plain", CONFIG)
    layered.search_also(cells_per_layer=True)
    with pytest.raises(InputError, match="Relays of a search of cells for every layer have no price; set relay_weight"):
        relay_cost_of(layered, spikes_of(layered))
    macro = MacroSupernet("plain", CONFIG)
    with pytest.raises(InputError, match="Relays of a search over paths have no price"):
        relay_cost_of(macro, spikes_of(macro))
