"""A network that is cut out has the shared weights; small kernels and narrow cells are parts of large ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor

from spikeport.errors import InputError
from spikeport.search.data.datasets import Dataset
from spikeport.search.elastic.training import new_weights
from spikeport.search.elastic.weights import ElasticWeights
from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import NODES, Edge, Genotype
from spikeport.search.space.layout import default_layers
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.spaces.genotypes import genotype_space
from spikeport.search.supernet.supernet import EDGES

LAYERS = default_layers(3)
CONFIG = NetworkConfig(channels=4, cells=3, time_steps=2, classes=3, input_shape=(1, 4, 4))


def one_primitive(name: str, primitives: PrimitiveSet = "plain") -> Genotype:
    cell = tuple(Edge(node, source, name) for node in range(NODES) for source in (0, 1))
    return Genotype(primitives, cell, cell, LAYERS)


def narrow(genotype: Genotype, width: float) -> Genotype:
    return replace(genotype, layers=tuple(replace(layer, width=width) for layer in genotype.layers or LAYERS))


def answers(network: SpikingNetwork, images: Tensor) -> Tensor:
    reset_net(network)
    found: Tensor = network.eval()(images)
    return found


def test_cut_out_is_the_same_as_with_shared_weights(weights: ElasticWeights, genotype: Genotype) -> None:
    images = torch.rand(5, 1, 4, 4)
    shell = SpikingNetwork(genotype, weights.config).eval()
    assert torch.equal(answers(weights.network(genotype), images), weights.answers(shell, images))
    own = weights.network(genotype)
    with torch.no_grad():
        next(own.parameters()).add_(1.0)  # one weight is another: seen, and the shared ones stay
    assert not torch.equal(own.stem.conv.weight, weights.network(genotype).stem.conv.weight)


def test_a_small_kernel_is_the_centre_of_the_large_one() -> None:
    weights = ElasticWeights("plain", CONFIG, LAYERS)
    small, large = (weights.network(one_primitive(f"conv_{n}x{n}")) for n in (3, 5))
    name = "cells.0.n1.edges.0.weight"
    centre = large.state_dict()[name][..., 1:-1, 1:-1]
    assert torch.equal(small.state_dict()[name], centre)
    matrix = weights.shared["cells/0/edge/0/0/conv/weight/small"]
    with torch.no_grad():
        matrix.copy_(torch.eye(9).roll(1, dims=1))  # every tap becomes that before it
    found = weights.network(one_primitive("conv_3x3")).state_dict()[name]
    assert torch.equal(found.flatten(-2), centre.flatten(-2).roll(1, dims=-1))


def test_so_is_one_of_a_single_row() -> None:
    """Its 3 taps are those in the middle of 5."""
    weights = ElasticWeights("plain", replace(CONFIG, input_shape=(1, 1, 8)), LAYERS)
    small, large = (weights.network(one_primitive(f"conv_{n}x{n}")) for n in (3, 5))
    name = "cells.0.n1.edges.0.weight"
    centre = large.state_dict()[name][..., 1:-1]
    assert torch.equal(small.state_dict()[name], centre) and centre.shape == (4, 4, 1, 3)
    assert weights.shared["cells/0/edge/0/0/conv/weight/small"].shape == (3, 3)
    assert weights.network(one_primitive("skip_connect"))(torch.rand(2, 1, 1, 8)).shape == (2, 3)


def test_all_edges_of_the_primitives_of_darts_have_their_families() -> None:
    weights = ElasticWeights("darts", CONFIG, LAYERS)
    names = {name.split("/")[5] for name in weights.shared if name.startswith("cells/0/edge/")}
    assert names == {"sep_conv", "dil_conv"}  # of the normal cell: pools and skips have no weights
    assert "cells/1/edge/0/0/skip/weight" in weights.shared  # of stride 2
    assert len([name for name in weights.shared if name.startswith("cells/0/edge/")]) == len(EDGES) * 2 * 3
    space = genotype_space("darts")
    for seed in range(3):
        drawn = space.sample(np.random.default_rng(seed))
        assert torch.isfinite(answers(weights.network(drawn), torch.rand(2, 1, 4, 4))).all()


def test_a_narrow_cell_has_the_first_channels() -> None:
    weights = ElasticWeights("plain", CONFIG, LAYERS, narrow=True)
    wide = weights.network(one_primitive("conv_5x5")).state_dict()
    slim = weights.network(narrow(one_primitive("conv_5x5"), 0.5)).state_dict()
    assert torch.equal(slim["cells.0.n1.edges.0.weight"], wide["cells.0.n1.edges.0.weight"][:2, :2])
    assert torch.equal(slim["cells.0.p0.conv.weight"], wide["cells.0.p0.conv.weight"][:2])  # reads the whole stem
    for name in ("cells.1.p1.conv.weight", "readout.weight"):  # the first of each of four nodes
        half = wide[name].shape[1] // NODES // 2
        rows = wide[name].unflatten(1, (NODES, -1))[: len(slim[name]), :, :half].flatten(1, 2)
        assert torch.equal(slim[name], rows)
    assert slim["readout.bias"].equal(wide["readout.bias"])


def test_gradients_reach_what_a_network_has_and_nothing_else() -> None:
    weights = ElasticWeights("plain", CONFIG, LAYERS)
    network = SpikingNetwork(one_primitive("conv_3x3"), CONFIG)
    weights.answers(network, torch.rand(8, 1, 4, 4)).square().sum().backward()
    moved = {name for name, value in weights.shared.items() if value.grad is not None and value.grad.any()}
    edges = {name for name in moved if "/edge/" in name}
    assert {name.split("/")[3] for name in edges} == {"0", "1"}  # the sources
    assert any(name.endswith("/small") for name in edges) and "stem/conv/weight" in moved
    kernel = weights.shared["cells/0/edge/0/0/conv/weight"].grad
    assert kernel is not None and kernel[..., 1:-1, 1:-1].any() and not kernel[..., 0, :].any()


def test_attention_of_several_widths_is_refused(blobs: Dataset, settings: SearchSettings) -> None:
    gated = changed(settings, attention="spike")
    with pytest.raises(InputError, match="no weights for cells of several widths, but the network has spike; leave"):
        new_weights(blobs, gated)
    same = new_weights(blobs, changed(gated, elastic_widths="1"))
    assert any("gates" in name for name in same.shared)
