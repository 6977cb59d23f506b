"""Networks of signals of one row, whose kernels and strides are unequal: torch, graph, twin, NetX, NIR and Lava fire
alike; the whole road on made-up syllables."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.deploy.pipeline import deploy
from spikeport.deploy.run.forms import GraphRunner
from spikeport.deploy.run.record import differing
from spikeport.deploy.settings import DeploySettings
from spikeport.export.graph import Conv
from spikeport.export.nir.reader import read_nir
from spikeport.export.nir.writer import write_nir
from spikeport.export.targets import export
from spikeport.export.trace.walk import trace
from spikeport.search.data import syllables
from spikeport.search.data.datasets import load_dataset
from spikeport.search.pipeline import run_search
from spikeport.search.settings.run import choose
from spikeport.search.space.folding import fold_attention
from spikeport.search.space.genotype import Edge, Genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.tests.export.awake import Chip, awake, off_in_lava, off_the_chip, on_chip
from spikeport.tests.export.trace.test_walk import assert_equals_torch
from spikeport.tests.test_pipeline import break_one_weight

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=3, classes=3, input_shape=(4, 1, 16))
SIGNALS = torch.rand(4, 4, 1, 16, generator=torch.Generator().manual_seed(1))
PAIRS = (
    (("sep_conv_5x5", 0), ("skip_connect", 1)),
    (("max_pool_3x3", 1), ("dil_conv_3x3", 0)),
    (("dil_conv_5x5", 0), ("avg_pool_3x3", 2)),
    (("max_pool_3x3", 1), ("sep_conv_3x3", 3)),
)
CELL = tuple(Edge(node, source, name) for node, pair in enumerate(PAIRS) for name, source in pair)
EVERY = Genotype("darts", CELL, CELL)  # primitive of the set


def lively(config: NetworkConfig = CONFIG) -> SpikingNetwork:
    """In eval mode, with batch norms that know their statistics, so that every layer spikes."""
    torch.manual_seed(0)
    network = SpikingNetwork(EVERY, config)
    return awake(network, config)


@pytest.fixture(scope="module")
def chip() -> Chip:
    return on_chip(lively(), SIGNALS, CONFIG.time_steps)


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_every_spike_is_the_same(stem_stride: int, recorded: Any, same_spikes: Any) -> None:
    assert_equals_torch(lively(replace(CONFIG, stem_stride=stem_stride)), recorded, same_spikes, SIGNALS)


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_events_of_one_row_too(stem_stride: int, recorded: Any, same_spikes: Any) -> None:
    network = lively(replace(CONFIG, reads="spikes", stem_stride=stem_stride))
    frames = (torch.rand(4, *network.config.sample_shape) < 0.4).float()
    record, graph = recorded(network, frames), trace(network, frames[:1], 3, reads_spikes=True).graph
    found = GraphRunner(graph)(frames.transpose(0, 1).numpy().astype(np.uint8))
    assert same_spikes(found.spikes, record.spikes, least=len(record.spikes))
    np.testing.assert_allclose(found.readout, record.logits, atol=1e-5)


@pytest.mark.parametrize("attention", ["eca", "cbam"])
def test_folded_attention_too(attention: Any, recorded: Any, same_spikes: Any) -> None:
    folded, _ = fold_attention(lively(replace(CONFIG, attention=attention)), SIGNALS.numpy())
    assert_equals_torch(folded, recorded, same_spikes, SIGNALS)


def test_gates_made_of_spikes_too(recorded: Any, same_spikes: Any) -> None:
    assert_equals_torch(lively(replace(CONFIG, attention="spike")), recorded, same_spikes, SIGNALS)


def test_kernels_and_strides_are_of_one_row(chip: Chip) -> None:
    kernels = [p.kernel for p in chip.graph.projections if isinstance(p.kernel, Conv)]
    assert {kernel.weight.shape[2] for kernel in kernels} == {1}
    assert {kernel.stride for kernel in kernels} == {(1, 1), (1, 2)}
    assert max(kernel.weight.shape[3] for kernel in kernels) >= 5
    record = GraphRunner(chip.graph)(chip.spikes)
    roles = {p.name: p.role for p in chip.graph.populations}
    rates = {name: float(s.mean()) for name, s in record.spikes.items() if roles.get(name) == "neuron"}
    assert sum(0.02 < rate < 0.9 for rate in rates.values()) >= 0.75 * len(rates), rates


def test_twin_and_netx_fire_alike_and_a_broken_weight_shows(chip: Chip, tmp_path: Path, broken: Any) -> None:
    assert off_the_chip(chip, chip.graph, tmp_path) == [0, 0]
    (source,) = {p.source for p in chip.graph.incoming("cells.0.p1")}
    assert min(off_the_chip(chip, broken(chip.graph, source, "cells.0.p1"), tmp_path)) > 0


def test_nir_and_back(tmp_path: Path) -> None:
    network = lively()
    traced = trace(network, SIGNALS[:1], 3)
    with torch.no_grad():
        spikes = traced.encoder(SIGNALS).numpy().astype(np.uint8)
    again = read_nir(write_nir(tmp_path / "network.nir", traced.graph)).graph
    meant, found = GraphRunner(traced.graph)(spikes), GraphRunner(again)(spikes)
    assert differing(meant, found) == 0 and np.array_equal(meant.readout, found.readout)


@pytest.mark.lava
def test_in_real_lava(real_lava: None, tmp_path: Path, broken: Any) -> None:
    """One cell, which reduces."""
    chip = on_chip(lively(replace(CONFIG, cells=1, time_steps=2)), SIGNALS, 2)
    assert {p.kernel.stride for p in chip.graph.projections if isinstance(p.kernel, Conv)} == {(1, 1), (1, 2)}
    (source,) = {p.source for p in chip.graph.incoming("cells.0.p1")}
    wrong = broken(chip.graph, source, "cells.0.p1")
    found = off_in_lava(chip, (chip.graph, wrong), tmp_path)
    assert found[0] == 0 and found[1] > 0


@pytest.mark.training
def test_the_whole_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search, training, export and every check; then one weight of the NetX file is wrong."""
    monkeypatch.setattr(syllables, "TRAIN", 240)
    monkeypatch.setattr(syllables, "TEST", 40)
    settings = choose(
        dataset="syllables",
        primitives="plain",
        channels=2,
        cells=3,
        time_steps=4,
        stem_stride=2,
        shift=2,
        batch_size=12,  # many batches, so that the norms know what they hear
        search_epochs=1,
        train_epochs=3,
    )
    run = run_search(settings, tmp_path / "run")
    export(run, "loihi", lambda text: None)
    found = deploy(run, DeploySettings(lava=False, samples=8, lava_samples=8), lambda text: None)
    checks = {check["name"]: check for check in found.equivalence["checks"] if check["status"] == "run"}
    assert {"graph", "encoder", "twin", "netx", "accuracy"} <= checks.keys()
    assert all(check["verdict"] == "pass" and not check["spikes_differing"] for check in checks.values()), checks
    assert found.energy is not None and found.energy["counts"]["spikes"]["mean"] > 100
    population = break_one_weight(run, load_dataset("syllables").test_images)
    again = deploy(run, DeploySettings(lava=False, samples=8, lava_samples=8), lambda text: None)
    check = next(check for check in again.equivalence["checks"] if check["name"] == "netx")
    assert again.equivalence["verdict"] == check["verdict"] == "fail"
    assert check["first_divergence"]["population"] == population
