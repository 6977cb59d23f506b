"""Attention made of spikes: torch, the float graph, the chip's integers and NetX fire alike."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.deploy.run.forms import NetxRunner
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.chain import chain_of
from spikeport.export.netx.writer import write_netx
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import Traced, trace
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import SpikingNetwork
from spikeport.tests.export.trace.test_walk import assert_chain_equals_graph, assert_equals_torch, encoded

GATES = ("channel", "position")
SOME = ((True, False, False, True), (False, True, True, False))


def images(network: SpikingNetwork, number: int = 4) -> torch.Tensor:
    return torch.rand(number, *network.config.sample_shape, generator=torch.Generator().manual_seed(1))


def gated(lively: Any, seed: int, time_steps: int = 2, some: bool = False) -> SpikingNetwork:
    """some: gates behind some of the nodes only."""
    genotype = random_genotype(np.random.default_rng(seed), ("plain", "darts")[seed % 2])
    genotype = replace(genotype, gates=SOME if some else None)
    network: SpikingNetwork = lively(genotype, seed=seed, cells=2, time_steps=time_steps, attention="spike", channels=3)
    return network


@pytest.mark.parametrize(("seed", "time_steps", "some"), [(0, 2, False), (2, 7, False), (0, 2, True)])
def test_every_spike_is_the_same(
    seed: int, time_steps: int, some: bool, lively: Any, recorded: Any, same_spikes: Any
) -> None:
    network = gated(lively, seed, time_steps, some)
    traced = assert_equals_torch(network, recorded, same_spikes, images(network))
    assert_chain_equals_graph(traced.graph, encoded(traced, images(network)))


def test_a_node_is_five_populations(lively: Any) -> None:
    network = gated(lively, 0)
    graph = trace(network, images(network, 1), 2).graph
    shapes, sources = graph.shapes(), {}
    for population in graph.populations:
        sources[population.name] = {p.source for p in graph.incoming(population.name)}
    node = "cells.0.n1"
    channel, position = (f"{node}.gates.{gate}" for gate in GATES)
    assert sources[channel] == sources[position] == {node}
    (first,) = [name for name, read in sources.items() if read == {node, channel}]
    (second,) = [name for name, read in sources.items() if read == {first, position}]
    assert shapes[node] == shapes[channel] == shapes[first] == shapes[second] == (6, 4, 4)
    assert shapes[position] == (1, 4, 4)
    roles = {p.name: p.role for p in graph.populations}
    assert (roles[channel], roles[first], roles[second]) == ("neuron", "and", "and")
    others = {name for name, read in sources.items() if node in read}
    assert others == {channel, position, first}  # whoever reads the node reads what passed


def chip_of(traced: Traced, network: SpikingNetwork) -> SpikingGraph:
    return quantize(lower(traced.graph), 2.0)


@pytest.mark.parametrize(("some", "number"), [(False, 16), (True, 8)])
def test_the_netx_file_fires_as_the_graph_and_a_broken_weight_shows(
    some: bool, number: int, lively: Any, tmp_path: Path, broken: Any
) -> None:
    network = gated(lively, 1, some=some)
    traced = trace(network, images(network, 1), 2)
    chip = chip_of(traced, network)
    spikes = encoded(traced, images(network))
    (entry,) = spikes.values()
    meant = simulate(chip, spikes)
    gates = [p.name for p in chip.populations if p.name.endswith(GATES)]
    assert len(gates) == number and 0.1 < np.mean([meant.spikes[gate].mean() for gate in gates]) < 0.9

    def differing(graph: SpikingGraph) -> int:
        write_netx(tmp_path / "network.net", graph, chain_of(graph))
        found = NetxRunner(tmp_path / "network.net", graph)(entry)
        wrong = [name for name, fired in meant.spikes.items() if not np.array_equal(fired, found.spikes[name])]
        return len(wrong) + int(not np.array_equal(meant.readout[-1], found.readout))

    assert differing(chip) == 0
    gate = next(name for name in gates if name.endswith("position"))
    (source,) = {p.source for p in chip.incoming(gate)}
    assert differing(broken(chip, source, gate)) > 0


def test_beyond_seven_steps_a_product_would_remember(lively: Any) -> None:
    """Its level's membranes keep 1/2: what is left of seven spikes is less than one more."""
    network = gated(lively, 0, time_steps=8)
    traced = trace(network, images(network, 1), 8)
    lowered = lower(traced.graph)
    assert_chain_equals_graph(traced.graph, encoded(traced, images(network, 2)))
    longer = simulate(lowered, encoded(traced, images(network, 2)))
    assert longer.readout.any()
