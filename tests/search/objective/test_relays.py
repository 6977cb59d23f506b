"""The relays of a genotype against those of the graph that the export lowers, neuron by neuron and spike by spike."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from spikeport.export.graph import SpikingGraph, neurons
from spikeport.export.passes import lower
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.search.objective import relays
from spikeport.search.objective.relays import Node, relay_neurons, relay_spikes, relays_of
from spikeport.search.objective.spike_maps import recording
from spikeport.search.space.genotype import Edge, Genotype, Layer, random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork

UNUSUAL = (Layer("normal", 1.0), Layer("reduce", 0.75), Layer("normal", 0.5), Layer("reduce", 1.0))


def config(rng: np.random.Generator, cells: int, reads: str = "images") -> NetworkConfig:
    return NetworkConfig(
        channels=int(rng.integers(1, 4)), cells=cells, time_steps=2, classes=3, input_shape=(2, 8, 16), reads=reads
    )


def lowered(network: SpikingNetwork) -> SpikingGraph:
    images, events = torch.zeros(1, *network.config.sample_shape), network.config.reads == "spikes"
    return lower(trace(network, images, network.config.time_steps, reads_spikes=events).graph)


def exported(network: SpikingNetwork) -> int:
    """Relay neurons."""
    return sum(neurons(p.shape) for p in lowered(network).populations if p.role == "relay")


@pytest.mark.parametrize("seed", range(6))
def test_a_genotype_has_the_relays_of_its_export(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings = config(rng, cells=int(rng.integers(1, 5)), reads="spikes" if seed == 5 else "images")
    genotype = random_genotype(rng, "darts" if seed % 2 else "plain")
    found = relay_neurons(relays_of(genotype, settings))
    assert found == exported(SpikingNetwork(genotype, settings).eval()) > 0


@pytest.mark.parametrize("seed", range(4))
def test_so_have_those_of_signals_of_one_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings = replace(config(rng, cells=int(rng.integers(2, 5))), input_shape=(2, 1, 16))
    genotype = random_genotype(rng, "darts" if seed % 2 else "plain")
    found = relay_neurons(relays_of(genotype, settings))
    assert found == exported(SpikingNetwork(genotype, settings).eval()) > 0


def test_cells_of_every_layer_have_those_of_their_export() -> None:
    rng = np.random.default_rng(0)
    settings = config(rng, cells=4)
    genotype = random_genotype(rng, "plain", layers=[cell.kind for cell in settings.plan()])
    found = relay_neurons(relays_of(genotype, settings))
    assert found == exported(SpikingNetwork(genotype, settings).eval())
    assert found != relay_neurons(relays_of(Genotype("plain", genotype.normal, genotype.reduce), settings))


@pytest.mark.parametrize("primitive", ["dil_conv_5x5", "skip_connect", "max_pool_3x3"])
@pytest.mark.parametrize("layers", [None, UNUSUAL], ids=["usual", "unusual"])
def test_one_primitive_everywhere(primitive: str, layers: tuple[Layer, ...] | None) -> None:
    """p0 is not read at all, so that cells before are not read by it."""
    cell = tuple(Edge(node, source, primitive) for node in range(4) for source in (1, node + 1 if node else 1))
    genotype = Genotype("darts", cell, cell, layers)
    settings = replace(config(np.random.default_rng(0), cells=4), channels=1)
    found = relay_neurons(relays_of(genotype, settings))
    assert found == exported(SpikingNetwork(genotype, settings).eval()) > 0


def test_a_rule_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a dilated kernel of stride 2 read every pixel."""
    cell = tuple(
        Edge(node, source, "dil_conv_3x3" if source < 2 else "sep_conv_3x3")
        for node, sources in enumerate(((0, 1), (0, 2), (1, 3), (0, 4)))
        for source in sources
    )
    genotype, settings = Genotype("darts", cell, cell), config(np.random.default_rng(1), cells=3)
    real = exported(SpikingNetwork(genotype, settings).eval())
    assert relay_neurons(relays_of(genotype, settings)) == real
    monkeypatch.setattr(relays, "STRIDED", {})
    assert relay_neurons(relays_of.__wrapped__(genotype, settings)) > real


def test_by_hand() -> None:
    """One cell: n1 is read by n2, then by nobody but the readout; p1 by n1 and n2, p0 by n3 and n4.

    stem(0) -> p1(1) -> n1(2) -> n2(3) -> readout(4), p0 and n3, n4 where they are cheapest.
    """
    sources = ((1, 1), (1, 2), (0, 0), (0, 0))
    cell = tuple(
        Edge(node, source, name)
        for node, pair in enumerate(sources)
        for source, name in zip(pair, ("conv_3x3", "conv_5x5"), strict=True)
    )
    settings = NetworkConfig(channels=2, cells=1, time_steps=1, classes=2, input_shape=(1, 4, 4))
    genotype = Genotype("plain", cell, cell, (Layer("normal", 1.0),))
    found = {each.node: (each.neurons, each.hops) for each in relays_of(genotype, settings)}
    # p1 waits for n2 and n1 for the readout, one level each; p0 waits once so that neither n3 nor n4 nor the stem must
    assert found == {Node(0, 1): (32, 1), Node(0, 2): (32, 1), Node(0, 0): (32, 1)}


@pytest.mark.parametrize("seed", range(3))
def test_spikes_that_relays_send_on_are_those_of_the_exported_graph(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genotype = random_genotype(rng, "plain" if seed == 2 else "darts")
    torch.manual_seed(seed)
    network = SpikingNetwork(genotype, config(rng, cells=3, reads="spikes")).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, 0.1, 0.7)
    frames = (torch.rand(4, *network.config.sample_shape) < 0.3).float()
    with recording(network) as spikes, torch.no_grad():
        network(frames)
    graph = lowered(network)
    given = {graph.inputs[0].name: frames.transpose(0, 1).numpy().astype(np.uint8)}
    fired = simulate(graph, given).spikes
    sent = sum(int(fired[p.name].sum()) for p in graph.populations if p.role == "relay")
    found = relay_spikes(relays_of(genotype, network.config), spikes)
    assert sent > 0 and found.item() == sent / len(frames)
