"""Costs without a network, and the integers of a chip as logits."""

import numpy as np
import pytest
import torch

from spikeport.deploy.cost.genotypes.cost import GenotypeCost
from spikeport.deploy.cost.prices import price_lists
from spikeport.deploy.settings import PriceSettings
from spikeport.errors import InputError
from spikeport.evaluation.chip_figures import chip_figures
from spikeport.evaluation.of_subnets import costs, in_integers
from spikeport.search.data.datasets import Dataset
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.space.predict import predict
from spikeport.search.training.averaging import settle_norms

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 4, 4))
GENOTYPE = random_genotype(np.random.default_rng(1), "plain")


@pytest.fixture(scope="module")
def blobs() -> Dataset:
    rng = np.random.default_rng(5)
    images, labels = rng.random((30, 1, 4, 4), np.float32), np.arange(30) % 3
    return Dataset("blobs", images[:20], labels[:20], images[20:], labels[20:], classes=3)


@pytest.fixture(scope="module")
def network(blobs: Dataset) -> SpikingNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = SpikingNetwork(GENOTYPE, CONFIG)
    settle_norms(made, blobs.train_images)
    return made.eval()


def test_integers_are_those_of_the_chip(network: SpikingNetwork, blobs: Dataset) -> None:
    exact = chip_figures(network, blobs, price_lists(PriceSettings())[:1])
    logits = in_integers(network, blobs, (8, 4))
    right = {bits: float((found.argmax(1) == blobs.test_labels).mean()) for bits, found in logits.items()}
    assert (right[8], right[4]) == (exact.int8_accuracy, exact.int4_accuracy)
    wanted = predict(network, blobs.test_images).numpy()
    away = {bits: float(np.median(np.abs(found - wanted))) for bits, found in logits.items()}
    assert away[8] < 0.2 * np.abs(wanted).max() and away[8] < away[4]  # in logits, not in membranes


def test_costs(network: SpikingNetwork) -> None:
    found = costs(GENOTYPE, CONFIG, ("cores", "levels", "energy_j", "cores:loihi1"))
    cost = GenotypeCost(config=CONFIG)(GENOTYPE)
    assert found["cores"] == found["cores:loihi1"] == cost.cores and found["levels"] == cost.size.levels
    assert cost.energy_j is not None and found["energy_j"] == cost.energy_j.usual
    with pytest.raises(InputError, match="Unknown chip 'loihi9'; choose from"):
        costs(GENOTYPE, CONFIG, ("cores:loihi9",))
