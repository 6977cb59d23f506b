"""By hand: two classes that share half of their spikes."""

import math

import numpy as np
import pytest
import torch

from spikeport.search.evaluators.introspectability import introspectability, separation, spikes_per_class
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork


def test_angles_between_classes() -> None:
    assert separation(np.array([[1.0, 0.0], [0.0, 3.0]])) == 1
    assert separation(np.array([[2.0, 2.0], [1.0, 1.0]])) == pytest.approx(0)
    assert separation(np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])) == pytest.approx(1 - 0.5**0.5)  # one is silent
    assert math.isnan(separation(np.array([[1.0, 1.0], [0.0, 0.0]])))


def test_spikes_are_those_of_the_images_with_an_answer() -> None:
    torch.manual_seed(0)
    config = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
    network = SpikingNetwork(random_genotype(np.random.default_rng(0), "plain"), config)
    images = np.random.default_rng(0).random((140, 1, 8, 8)).astype(np.float32)  # more than a batch
    network.train()
    network(torch.from_numpy(images))  # so that batch norms know what comes
    counts = spikes_per_class(network.eval(), images, 3)
    parts = [spikes_per_class(network, images[start : start + 1], 3) for start in range(len(images))]
    assert counts.sum() > 0 and (counts == sum(parts)).all()
    found = introspectability(network, images, 3)
    assert math.isnan(found) or 0 <= found <= 1
