"""A space, its settings and shared weights that take milliseconds."""

import numpy as np
import pytest

from spikeport.search.data.datasets import Dataset, load_dataset
from spikeport.search.elastic.training import new_weights
from spikeport.search.elastic.weights import ElasticWeights
from spikeport.search.settings.run import SearchSettings, choose
from spikeport.search.space.genotype import Genotype
from spikeport.search.space.network import network_config
from spikeport.search.spaces.space import Space
from spikeport.search.strategies.trained_cells import space_of


@pytest.fixture(scope="package")
def settings(blobs_npz: str) -> SearchSettings:
    return choose(
        strategy="evolution",
        evaluator="supernet",
        dataset=blobs_npz,
        primitives="plain",
        channels=2,
        cells=3,
        time_steps=2,
        seed=3,
        batch_size=22,
        elastic_epochs=2,
        elastic_paths=1,
        elastic_widths="0.5,1",
        elastic_recalibration=16,
    )


@pytest.fixture(scope="package")
def space(settings: SearchSettings) -> Space[Genotype]:
    return space_of(settings, network_config(settings.network, load_dataset(settings.data.dataset)))


@pytest.fixture
def weights(blobs: Dataset, settings: SearchSettings) -> ElasticWeights:
    return new_weights(blobs, settings)


@pytest.fixture
def genotype(space: Space[Genotype]) -> Genotype:
    """Its normal cell has kernels of both sizes, its first cell is narrow."""
    drawn = (space.sample(np.random.default_rng(seed)) for seed in range(200))
    return next(
        one
        for one in drawn
        if {"conv_3x3", "conv_5x5"} <= {edge.primitive for edge in one.normal}
        and one.layers is not None
        and [layer.width for layer in one.layers] == [0.5, 1.0, 0.5]
    )
