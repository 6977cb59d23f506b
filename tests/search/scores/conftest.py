"""A network and a batch that take milliseconds."""

from dataclasses import replace
from itertools import permutations
from operator import attrgetter

import numpy as np
import pytest

from spikeport.search.data.datasets import Dataset
from spikeport.search.scores.score import Context, context_of
from spikeport.search.space.genotype import INPUTS, NODES, Edge, Genotype, random_genotype
from spikeport.search.space.network import NetworkConfig

PLACE = attrgetter("node", "source")


def renamings(cell: tuple[Edge, ...]) -> list[tuple[Edge, ...]]:
    """The cell under every order of its nodes in which each stands behind its sources; the first is as it was."""
    numbers = [(*range(INPUTS), *(INPUTS + place for place in order)) for order in permutations(range(NODES))]
    moved = [
        tuple(sorted((Edge(n[INPUTS + e.node] - INPUTS, n[e.source], e.primitive) for e in cell), key=PLACE))
        for n in numbers
    ]
    return [edges for edges in moved if all(edge.source < INPUTS + edge.node for edge in edges)]


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
