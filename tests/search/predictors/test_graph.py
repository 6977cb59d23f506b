"""The encoder sees a graph, not an order of nodes; each of its parts is what its paper says."""

import numpy as np
import pytest
import torch

from spikeport.search.predictors.graph import Encoder, information, normalised, sparsemax
from spikeport.search.predictors.network_graph import READS, network_graph
from spikeport.search.space.genotype import Edge, Genotype, random_genotype
from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.primitives import spiking_primitives

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))


def encoder(features: int, kinds: int) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Encoder(features, kinds).double()


def graph(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    features, adjacency = network_graph(random_genotype(np.random.default_rng(seed), "darts"), CONFIG)
    return torch.from_numpy(features)[None], torch.from_numpy(adjacency)[None]


def test_any_order_of_the_nodes_gives_the_same() -> None:
    features, adjacency = graph(0)
    model = encoder(features.shape[-1], adjacency.shape[1])
    wanted = model(features, adjacency).item()
    for seed in range(5):
        order = torch.randperm(features.shape[1], generator=torch.Generator().manual_seed(seed))
        moved = adjacency[:, :, order][:, :, :, order]
        assert model(features[:, order], moved).item() == pytest.approx(wanted, rel=1e-12)


def test_one_edge_less_or_of_another_kind_is_another_graph() -> None:
    features, adjacency = graph(0)
    model = encoder(features.shape[-1], adjacency.shape[1])
    before = model(features, adjacency).item()
    kind, target, source = (int(i) for i in adjacency[0, :-1].nonzero()[0])
    less = adjacency.clone()
    less[0, kind, target, source] = 0
    other = less.clone()
    other[0, (kind + 1) % (adjacency.shape[1] - 1), target, source] = 1
    turned = less.clone()
    turned[0, kind, source, target] = 1
    found = {before, *(model(features, each).item() for each in (less, other, turned))}
    assert len(found) == 4


def test_the_graph_is_that_of_the_network() -> None:
    cell = tuple(Edge(node, source, "skip_connect") for node in range(4) for source in (0, 1 + node))
    features, adjacency = network_graph(Genotype("plain", cell, cell), CONFIG)
    kinds = (*spiking_primitives("plain"), READS)
    assert features.shape == (20, 10) and adjacency.shape == (len(kinds), 20, 20)
    skips, reads = adjacency[kinds.index("skip_connect")], adjacency[kinds.index(READS)]
    assert skips.sum() == adjacency[:-1].sum() == 3 * 8  # each cell has eight edges
    assert np.flatnonzero(skips[3]).tolist() == [1, 2]  # n1 of the first cell reads p0 and p1
    assert np.flatnonzero(skips[4]).tolist() == [1, 3]  # n2 reads p0 and n1
    assert np.flatnonzero(reads[1]).tolist() == np.flatnonzero(reads[2]).tolist() == [0]  # the first cell the stem
    assert np.flatnonzero(reads[7]).tolist() == [0]  # s0 of the second
    assert np.flatnonzero(reads[8]).tolist() == [3, 4, 5, 6]  # and its s1: the nodes of the first
    assert np.flatnonzero(reads[19]).tolist() == [15, 16, 17, 18]


def test_sparsemax_is_the_nearest_point_of_the_simplex() -> None:
    assert sparsemax(torch.tensor([0.0, 0.0])).tolist() == [0.5, 0.5]
    assert sparsemax(torch.tensor([3.0, 1.0, 0.0])).tolist() == [1.0, 0.0, 0.0]
    assert sparsemax(torch.tensor([0.6, 0.4, -1.0])).tolist() == pytest.approx([0.6, 0.4, 0.0])


def test_a_node_like_its_neighbours_tells_nothing() -> None:
    ring = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)[None]
    x = torch.tensor([[[2.0], [2.0], [2.0]]], dtype=torch.float64)
    assert information(x, ring).tolist() == [pytest.approx([0.0, 0.0, 0.0], abs=1e-12)]
    x[0, 0] = 5.0
    assert information(x, ring)[0].argmax() == 0
    alone = normalised(torch.zeros(2, 2, dtype=torch.float64))
    assert not alone.any() and alone.isfinite().all()
