"""The formula by hand; noise that all networks share; and a network that is left as it was."""

import pytest
import torch

from spikeport.search.data.datasets import Dataset
from spikeport.search.elastic.flatness import DEVIATIONS, flatness, flatness_of
from spikeport.search.elastic.training import subnet
from spikeport.search.elastic.weights import ElasticWeights
from spikeport.search.space.genotype import Genotype


def test_by_hand() -> None:
    found = flatness_of([1.0, 1.1, 1.3, 1.0], DEVIATIONS)  # slopes of 100, 100 and 100 nats
    assert found == pytest.approx(1 / (300 + 1e-5))
    assert flatness_of([0.7, 0.7, 0.7, 0.7], DEVIATIONS) == pytest.approx(1e5)  # nothing moves it
    assert flatness_of([0.0, 1.1, 1.3, 1.0], DEVIATIONS) == pytest.approx(1 / (1100 + 200 + 1e-5))


def test_of_a_network(blobs: Dataset, weights: ElasticWeights, genotype: Genotype) -> None:
    network = subnet(weights, genotype, blobs.train_images)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    told = (blobs.test_images, blobs.test_labels)
    found = flatness(weights, network, *told, 3)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert flatness(weights, network, *told, 3) == found != flatness(weights, network, *told, 4)
    assert flatness(weights, network, *told, 3, draws=1) != found
    assert 0 < found.published < found.flatness  # which has the loss itself in its first term
