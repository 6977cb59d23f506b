"""A network and a batch that take milliseconds."""

from dataclasses import replace

import numpy as np
import pytest

from spikeport.search.data.datasets import Dataset
from spikeport.search.scores.score import Context, context_of
from spikeport.search.space.genotype import Genotype, random_genotype
from spikeport.search.space.network import NetworkConfig
from spikeport.tests.search.scores.renaming import renamings


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
    return next(one for one in drawn if len(renamings(one.normal)) > 1 and len(renamings(one.reduce)) > 1)


@pytest.fixture(scope="package")
def renamed(genotype: Genotype) -> Genotype:
    """The same network with its nodes in another order."""
    return replace(genotype, normal=renamings(genotype.normal)[-1], reduce=renamings(genotype.reduce)[-1])
