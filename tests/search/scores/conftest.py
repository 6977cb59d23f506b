"""A network and a batch that take milliseconds."""

import numpy as np
import pytest

from spikeport.search.data.datasets import Dataset
from spikeport.search.scores.canonical import orders
from spikeport.search.scores.score import Context, context_of
from spikeport.search.space.genotype import Genotype, random_genotype
from spikeport.search.space.network import NetworkConfig


@pytest.fixture(scope="package")
def config() -> NetworkConfig:
    return NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 4, 4))


@pytest.fixture(scope="package")
def context(blobs: Dataset, config: NetworkConfig) -> Context:
    return context_of(blobs, config, seed=3, samples=8)


@pytest.fixture(scope="package")
def genotype() -> Genotype:
    """One whose normal and reduction cells have nodes that may change places."""
    drawn = (random_genotype(np.random.default_rng(seed), "darts") for seed in range(100))
    return next(one for one in drawn if len(orders(one.normal)) > 1 and len(orders(one.reduce)) > 1)
