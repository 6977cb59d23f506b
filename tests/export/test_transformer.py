"""A transformer of this package's own space: torch, the float graph, the chip's integers, NetX and Lava fire alike."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spikeport.deploy.run.forms import GraphRunner
from spikeport.deploy.synapses import synapses
from spikeport.errors import UnsupportedError
from spikeport.export.trace.walk import trace
from spikeport.search.space.transformer.cost import RATE, reference_sops
from spikeport.search.space.transformer.genotype import Block, Transformer
from spikeport.search.space.transformer.network import SpikingTransformer, TransformerConfig
from spikeport.tests.export.awake import Chip, awake, off_in_lava, off_the_chip, on_chip
from spikeport.tests.export.trace.test_walk import assert_equals_torch

TOKENS, CHANNELS = Block(attention="tokens", heads=2, ratio=2), Block(attention="channels", heads=1, ratio=1)
CONFIG = TransformerConfig(time_steps=2, classes=3, input_shape=(1, 8, 8))
IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def lively(*blocks: Block, seed: int = 0, config: TransformerConfig = CONFIG) -> SpikingTransformer:
    """In eval mode, with batch norms that know their statistics, so that every layer spikes."""
    torch.manual_seed(seed)
    network = SpikingTransformer(Transformer(width=4, blocks=blocks), config)
    return awake(network, config)


@pytest.fixture(scope="module")
def chip() -> Chip:
    return on_chip(lively(TOKENS, CHANNELS), IMAGES, 2)


@pytest.mark.parametrize("blocks", [(TOKENS,), (CHANNELS, TOKENS)])
def test_every_spike_is_the_same(blocks: tuple[Block, ...], recorded: Any, same_spikes: Any) -> None:
    assert_equals_torch(lively(*blocks), recorded, same_spikes, IMAGES)


def test_products_are_ands_and_a_head_has_one_gate(chip: Chip) -> None:
    roles = {p.name: p.role for p in chip.graph.populations}
    shapes = chip.graph.shapes()
    assert list(roles.values()).count("and") == 3
    assert shapes["cells.0.attention.gate"] == (2, 4, 4) and shapes["cells.1.attention.gate"][0] == 4
    record = GraphRunner(chip.graph)(chip.spikes)
    rates = {name: float(s.mean()) for name, s in record.spikes.items() if roles.get(name) in ("neuron", "and")}
    assert sum(0.02 < rate < 0.9 for rate in rates.values()) >= 0.75 * len(rates), rates


def test_twin_and_netx_fire_alike_and_a_broken_weight_shows(chip: Chip, tmp_path: Path, broken: Any) -> None:
    assert off_the_chip(chip, chip.graph, tmp_path) == [0, 0]
    (source,) = {p.source for p in chip.graph.incoming("cells.0.attention.q")}
    assert min(off_the_chip(chip, broken(chip.graph, source, "cells.0.attention.q"), tmp_path)) > 0


@pytest.mark.parametrize("blocks", [(TOKENS,), (CHANNELS,), (TOKENS, CHANNELS)])
def test_reference_sops_are_the_synapses_of_the_graph(blocks: tuple[Block, ...]) -> None:
    network = lively(*blocks)
    graph = trace(network, IMAGES[:1], 2).graph
    shapes, roles = graph.shapes(), {p.name: p.role for p in graph.populations}
    expected = 0.0
    for p in graph.projections:
        rate = RATE**2 if roles.get(p.source) == "and" else RATE
        expected += 2 * rate * synapses(p, shapes[p.source], shapes[p.target])
    found = reference_sops(network.genotype, CONFIG)
    assert found == pytest.approx(expected, rel=0.02)  # a weight that is zero by chance is no synapse


def test_a_silent_channel_is_refused_in_words() -> None:
    network = lively(CHANNELS)
    with torch.no_grad():
        network.cells[0].attention.gate.norm.running_var.fill_(1e-9)
        network.cells[0].attention.gate.norm.weight.fill_(300.0)
    with pytest.raises(UnsupportedError, match=r"'cells.0.attention.gate': weights up to .* leave scale 0"):
        on_chip(network, IMAGES, 2)


@pytest.mark.lava
def test_in_real_lava(real_lava: None, chip: Chip, tmp_path: Path, broken: Any) -> None:
    (source,) = {p.source for p in chip.graph.incoming("cells.0.attention.q")}
    wrong = broken(chip.graph, source, "cells.0.attention.q")
    found = off_in_lava(chip, (chip.graph, wrong), tmp_path)
    assert found[0] == 0 and found[1] > 0
