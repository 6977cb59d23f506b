"""Populations, taps and levels of a genotype without a network are those of the trace, exactly; so are the cores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeport.deploy.cost.genotypes.cost import GenotypeCost, size_of
from spikeport.deploy.cost.genotypes.graph import EDGES, MAX_POOL, graph_of
from spikeport.deploy.mapping.core_mapping import map_graph
from spikeport.deploy.synapses import synapses
from spikeport.errors import UnsupportedError
from spikeport.export.graph import SpikingGraph, neurons
from spikeport.export.passes import lower
from spikeport.export.passes.relays import levels
from spikeport.export.targets import traced
from spikeport.search.space.genotype import Genotype, Layer, random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.space.primitives import PRIMITIVES, spiking_primitives

IMAGES = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
EVENTS = replace(IMAGES, input_shape=(2, 16, 16), stem_stride=2, reads="spikes")
SIGNALS = replace(IMAGES, input_shape=(4, 1, 16))
PATH = (Layer("reduce", 0.5), Layer("normal", 1.0), Layer("reduce", 1.0), Layer("normal", 0.75))
CASES = [
    *((IMAGES, "darts", seed, None) for seed in range(2)),
    (IMAGES, "plain", 0, None),
    (EVENTS, "darts", 7, None),
    (replace(IMAGES, cells=4), "darts", 8, PATH),
    *((SIGNALS, primitives, seed, None) for seed, primitives in enumerate(PRIMITIVES)),
    (replace(SIGNALS, stem_stride=2, reads="spikes"), "darts", 3, None),
    (replace(IMAGES, input_shape=(1, 4, 4)), "darts", 4, None),  # whose last maps have one row
]


def real(genotype: Genotype, config: NetworkConfig) -> SpikingGraph:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return traced(SpikingNetwork(genotype, config).eval()).graph


def test_a_cell_for_each_layer_and_decays_of_nodes_are_those_of_the_trace() -> None:
    drawn = [random_genotype(np.random.default_rng(seed), "plain") for seed in range(4)]
    cells = (drawn[1].normal, drawn[2].reduce, drawn[3].reduce)
    usual = replace(drawn[0], cells=cells)
    genotype = replace(usual, decays=((0.5, 0.75, 0.5, 0.5), (0.5, 0.5, 0.5, 0.875), (0.25, 0.5, 0.5, 0.5)))
    ours, theirs = graph_of(genotype, IMAGES), real(genotype, IMAGES)
    assert [(p.name, p.decay) for p in ours.populations] == [(p.name, p.decay) for p in theirs.populations]
    assert levels(lower(ours)) == levels(lower(theirs))
    assert map_graph(lower(ours), "loihi1") == map_graph(lower(theirs), "loihi1")
    assert {p.decay for p in ours.populations if p.role == "neuron"} == {0.25, 0.5, 0.75, 0.875}
    assert size_of(usual, IMAGES).synapses != size_of(replace(usual, cells=None), IMAGES).synapses


@pytest.mark.parametrize(("config", "primitives", "seed", "path"), CASES)
def test_it_is_that_of_the_trace(
    config: NetworkConfig, primitives: str, seed: int, path: tuple[Layer, ...] | None
) -> None:
    genotype = replace(random_genotype(np.random.default_rng(seed), primitives), layers=path)
    ours, theirs = graph_of(genotype, config), real(genotype, config)
    assert ours.inputs == theirs.inputs
    found, wanted = lower(ours), lower(theirs)
    for a, b in ((ours, theirs), (found, wanted)):
        assert [(p.name, p.shape, p.role) for p in a.populations] == [(p.name, p.shape, p.role) for p in b.populations]
        assert len(a.projections) == len(b.projections)
        for p, q in zip(a.projections, b.projections, strict=True):
            assert (p.source, p.target) == (q.source, q.target)
            assert np.array_equal(p.kernel.weight != 0, q.kernel.weight != 0)
    assert levels(found) == levels(wanted)
    assert map_graph(found, "loihi1") == map_graph(wanted, "loihi1")
    assert map_graph(found, "loihi2") == map_graph(wanted, "loihi2")
    size = size_of(genotype, config)
    shapes = wanted.shapes()
    assert size.levels == max(levels(wanted).values())
    assert size.relays == sum(neurons(p.shape) for p in wanted.populations if p.role == "relay")
    assert size.neurons == sum(neurons(p.shape) for p in wanted.populations)
    assert size.synapses == sum(synapses(p, shapes[p.source], shapes[p.target]) for p in wanted.projections)
    assert GenotypeCost(config=config)(genotype).cores == map_graph(wanted, "loihi1").cores


def test_one_tap_less_is_seen() -> None:
    """The twin: a weight of the network that is 0 makes another number of synapses."""
    genotype = random_genotype(np.random.default_rng(0), "darts")
    network = SpikingNetwork(genotype, IMAGES).eval()
    with torch.no_grad():
        network.cells[0].p0.conv.weight[0, 0] = 0
    graph = lower(traced(network).graph)
    shapes = graph.shapes()
    assert size_of(genotype, IMAGES).synapses > sum(
        synapses(p, shapes[p.source], shapes[p.target]) for p in graph.projections
    )


def test_every_primitive_has_an_edge() -> None:
    wanted = {name for primitives in PRIMITIVES for name in spiking_primitives(primitives)}
    assert {*EDGES, MAX_POOL} == wanted


def test_attention_is_refused() -> None:
    genotype = random_genotype(np.random.default_rng(0), "darts")
    with pytest.raises(UnsupportedError, match="known without attention only, but the network has attention='spike'"):
        graph_of(genotype, replace(IMAGES, attention="spike"))
