"""Cells, gates and decays that a genotype has of its own: torch, the chip's integers, NetX and ONNX fire alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.deploy.run.forms import NetxRunner
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.chain import chain_of
from spikeport.export.netx.writer import write_netx
from spikeport.export.onnx.twin import twin_of
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.search.space.genotype import CellKind, Genotype, random_genotype
from spikeport.tests.export.onnx.test_twin import differing as twin_differing
from spikeport.tests.export.trace.test_walk import assert_chain_equals_graph, assert_equals_torch, encoded

KINDS: tuple[CellKind, ...] = ("normal", "reduce", "reduce")


def layered(seed: int) -> Genotype:
    return random_genotype(np.random.default_rng(seed), "plain", layers=KINDS)


def leaking(seed: int) -> Genotype:
    return random_genotype(np.random.default_rng(seed), "plain", decays=True)


def all_of_it(seed: int) -> Genotype:
    return random_genotype(np.random.default_rng(seed), "plain", layers=KINDS, decays=True, gates=True)


# what a genotype can say -> (a genotype, what else its network is told)
SAID: dict[str, tuple[Callable[[int], Genotype], dict[str, Any]]] = {
    "cells": (layered, {}),
    "decays": (leaking, {"time_steps": 8}),
    "decays and gates": (all_of_it, {"attention": "spike"}),
}


@pytest.mark.parametrize("said", SAID)
def test_every_form_fires_alike_and_a_broken_weight_shows(
    said: str, lively: Any, recorded: Any, same_spikes: Any, broken: Any, tmp_path: Path
) -> None:
    draw, more = SAID[said]
    network = lively(draw(1), seed=1, **{"cells": 3, "time_steps": 2, "channels": 2} | more)
    steps = network.config.time_steps
    images = torch.rand(3, *network.config.sample_shape, generator=torch.Generator().manual_seed(1))
    traced = assert_equals_torch(network, recorded, same_spikes, images)
    spikes = encoded(traced, images)
    assert_chain_equals_graph(traced.graph, spikes)
    chip = quantize(lower(trace(network, images[:1], steps).graph), 2.0)
    (entry,) = spikes.values()
    meant = simulate(chip, spikes)

    def differing(graph: SpikingGraph) -> int:
        write_netx(tmp_path / "network.net", graph, chain_of(graph))
        found = NetxRunner(tmp_path / "network.net", graph)(entry)
        wrong = [name for name, fired in meant.spikes.items() if not np.array_equal(fired, found.spikes[name])]
        return len(wrong) + int(not np.array_equal(meant.readout[-1], found.readout))

    assert differing(chip) == 0
    projection = next(p for p in chip.projections if p.target.endswith(("n2", "n3")))
    twin = broken(chip, projection.source, projection.target)
    assert differing(twin) > 0
    assert twin_differing(chip, twin_of(chip, {}), spikes) == 0
    assert twin_differing(chip, twin_of(twin, {}), spikes) > 0
