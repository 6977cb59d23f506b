from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import Adam

from spikeport.search.data.datasets import Dataset
from spikeport.search.evaluators.from_scratch import train_network
from spikeport.search.objective.priced_loss import REFERENCE_RATE, Price, priced, total
from spikeport.search.objective.spike_maps import even_spikes, recording
from spikeport.search.random_streams import seeded
from spikeport.search.settings.objective import ObjectiveSettings
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.settings.supernet import SupernetForm
from spikeport.search.space.genotype import CELL_KINDS, random_genotype
from spikeport.search.space.network import SpikingNetwork, network_config
from spikeport.search.space.primitives import PRIMITIVES
from spikeport.search.strategies.darts.search import SUPERNETS, alpha_step, search
from spikeport.search.supernet.supernet import Supernet
from spikeport.search.training.batches import Batch
from spikeport.search.training.loop import cross_entropy_of, evaluate

pytestmark = pytest.mark.training

PLAIN = list(PRIMITIVES["plain"])


def supernet_of(form: SupernetForm, blobs: Dataset, settings: SearchSettings) -> Supernet:
    with seeded(0, "search weights"):
        return SUPERNETS[form]("plain", network_config(settings.network, blobs))


def batch_of(blobs: Dataset) -> Batch:
    return torch.from_numpy(blobs.train_images[:12]), torch.from_numpy(blobs.train_labels[:12])


def test_prices_by_hand(blobs: Dataset, tiny: SearchSettings) -> None:
    supernet = supernet_of("kernel", blobs, tiny)
    for alphas in supernet.alphas.values():
        alphas.data.zero_()
    ordinary, busy = (
        even_spikes(supernet.config, supernet.plan, rate) for rate in (REFERENCE_RATE, 2 * REFERENCE_RATE)
    )
    # Neurons: stem 6 x 16; cells of 2, 4 and 8 channels whose p0 and p1 have the size before, the nodes that after.
    neurons = 6 * 16 + 2 * (6 * 16) + 4 * (2 * 16 + 4 * 4) + 8 * (2 * 4 + 4 * 1)
    assert ordinary.total.item() == pytest.approx(neurons * 2 * REFERENCE_RATE)

    def price(**weights: float) -> Price:
        return Price(supernet, ObjectiveSettings(**weights))

    assert price(spike_weight=3.0)(busy).item() == pytest.approx(6.0)
    assert price(sop_weight=3.0)(busy).item() == pytest.approx(6.0, rel=1e-6)
    assert price(spike_weight=1.0, sop_weight=0.5)(ordinary).item() == pytest.approx(1.5, rel=1e-6)
    target = round(ordinary.total.item() / 2)
    assert price(spike_weight=3.0, target_spikes=target)(busy).item() == pytest.approx(
        3 * (busy.total.item() / target - 1)
    )
    assert price(spike_weight=3.0, target_spikes=10 * target)(busy).item() == 0


@pytest.mark.parametrize("form", SUPERNETS)
def test_loss_is_cross_entropy_and_price(form: SupernetForm, blobs: Dataset, tiny: SearchSettings) -> None:
    """One pass of each of two supernets that are the same."""
    settings = changed(tiny, spike_weight=0.7, sop_weight=0.2)
    first, second = (supernet_of(form, blobs, settings) for _ in range(2))
    batch, price = batch_of(blobs), Price(first, settings.objective)
    plain = cross_entropy_of(first)
    assert priced(plain, Price(first, tiny.objective)) is plain
    with torch.no_grad():
        with recording(first) as spikes:
            loss, logits = plain(*batch)
        found, same = priced(cross_entropy_of(second), Price(second, settings.objective))(*batch)
        sops = total(price.sops(spikes)) / price.reference_sops
    assert torch.equal(logits, same)
    assert 0.1 < spikes.total / price.reference_spikes < 10
    assert found.item() == pytest.approx(
        (loss + 0.7 * spikes.total / price.reference_spikes + 0.2 * sops).item(), rel=1e-6
    )


@pytest.mark.parametrize("form", SUPERNETS)
def test_a_costly_candidate_loses_weight(form: SupernetForm, blobs: Dataset, tiny: SearchSettings) -> None:
    """Ten steps of the alphas from even weights: with a price of SOPs, and without."""

    def means(sop_weight: float) -> torch.Tensor:
        settings = changed(tiny, sop_weight=sop_weight)
        supernet = supernet_of(form, blobs, settings)
        for alphas in supernet.alphas.values():
            alphas.data.zero_()
        loss = priced(cross_entropy_of(supernet), Price(supernet, settings.objective))
        optimizer = Adam(supernet.architecture(), lr=0.1)
        for _ in range(10):
            alpha_step(supernet, optimizer, batch_of(blobs), loss)
        return torch.stack([supernet.mixture(kind).detach() for kind in CELL_KINDS]).mean((0, 1))

    none, pool, skip, small, large = means(10.0).tolist()
    assert min(none, skip) > pool > small > large
    assert large < 0.1
    assert abs(means(0.0)[PLAIN.index("conv_5x5")] - 0.2) < 0.1


def test_a_price_of_spikes_quietens_the_search(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    def spikes(name: str, weight: float) -> float:
        rows = []
        settings = changed(tiny, search_epochs=4, spike_weight=weight)
        search(blobs, settings, tmp_path / name, lambda new: rows.extend(new[len(rows) :]))
        assert list(rows[-1]["validation"]["sops_per_cell"]) == ["cells.0", "cells.1", "cells.2", "readout"]
        return sum(rows[-1]["train"]["spikes_per_cell"].values())

    assert spikes("a", 2.0) < 0.85 * spikes("b", 0.0)


def test_a_target_for_spikes_is_kept_by_the_training(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    genotype = random_genotype(np.random.default_rng(1), "plain")

    def spikes(name: str, **price: float) -> float:
        settings = changed(tiny, train_epochs=24, **price)
        with seeded(0, "train weights"):
            network = SpikingNetwork(genotype, network_config(settings.network, blobs))
        train_network(network, blobs, settings, tmp_path / name, lambda rows: None)
        return evaluate(network, blobs.train_images, blobs.train_labels).spikes

    free = spikes("a")
    target = round(0.7 * free)
    assert free > 1.3 * target
    assert spikes("b", spike_weight=4.0, target_spikes=target) < 1.1 * target
    assert spikes("c", spike_weight=2.0, target_spikes=round(10 * free)) == free  # it costs nothing below the target
