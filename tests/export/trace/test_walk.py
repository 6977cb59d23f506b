"""torch -> SpikingGraph: every spike equal, for every primitive and random genotypes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from spikeport.errors import UnsupportedError
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.chain import chain_of, unpacked
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import levels
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import Traced, trace
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.primitives import PRIMITIVES, spiking_primitives
from spikeport.tests.export.trace.small_network import IMAGES, Small, convolution, lif, tuned

pytestmark = pytest.mark.slow

ALL_PRIMITIVES = [(kind, primitive) for kind in PRIMITIVES for primitive in spiking_primitives(kind)]
RATES = (0.03, 0.6)


def encoded(traced: Traced, images: torch.Tensor) -> dict[str, Any]:
    """Images -> the spikes of the graph's one input."""
    assert traced.encoder is not None
    with torch.no_grad():
        spikes = traced.encoder(images).numpy().astype(np.uint8)
    functional.reset_net(traced.encoder)
    return {traced.graph.inputs[0].name: spikes}


def assert_equals_torch(network: nn.Module, recorded: Any, same_spikes: Any, images: torch.Tensor = IMAGES) -> Traced:
    """Every spike of every spiking layer, and the logits."""
    record = recorded(network, images)
    assert RATES[0] < record.rate < RATES[1]
    traced = trace(network, images[:1], next(iter(record.spikes.values())).shape[0])
    found = simulate(traced.graph, encoded(traced, images))
    assert same_spikes(found.spikes, record.spikes, least=len(record.spikes))
    np.testing.assert_allclose(found.readout[-1], record.logits, atol=1e-5)
    return traced


def assert_chain_equals_graph(graph: SpikingGraph, inputs: Any) -> None:
    """Lowered and quantized, the chain fires exactly as the graph does."""
    lowered = lower(graph)
    exact = simulate(graph, inputs)
    relayed = simulate(lowered, inputs)
    assert all(
        np.array_equal(value, np.broadcast_to(exact.spikes[name], value.shape))
        for name, value in relayed.spikes.items()
        if name in exact.spikes
    )
    chip = quantize(lowered, float(np.abs(exact.readout).max()))
    expected, chain = simulate(chip, inputs), chain_of(chip)
    found = simulate(chain.graph, inputs)
    assert np.array_equal(found.readout, expected.readout) and expected.readout.any()
    for population in chip.populations[:-1]:
        place = chain.places[population.name]
        there = unpacked(found.spikes[chain.graph.populations[place.layer].name], place)
        assert np.array_equal(there, expected.spikes[population.name]), population.name


@pytest.mark.parametrize("primitives", PRIMITIVES)
@pytest.mark.parametrize("seed", range(10))
def test_random_genotypes(primitives: Any, seed: int, lively: Any, recorded: Any, same_spikes: Any) -> None:
    rng = np.random.default_rng(seed)
    cells, shape = [(3, (1, 8, 8)), (4, (2, 8, 12)), (3, (1, 4, 8))][seed % 3]
    network = lively(
        random_genotype(rng, primitives), seed=seed, cells=cells, input_shape=shape, time_steps=2 + seed % 2
    )
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))
    traced = assert_equals_torch(network, recorded, same_spikes, images)
    assert_chain_equals_graph(traced.graph, encoded(traced, images))


@pytest.mark.parametrize(("primitives", "primitive"), ALL_PRIMITIVES)
def test_every_primitive_at_both_strides(
    primitives: Any, primitive: str, lively: Any, uniform: Any, recorded: Any, same_spikes: Any
) -> None:
    traced = assert_equals_torch(lively(uniform(primitives, primitive), channels=3), recorded, same_spikes)
    assert_chain_equals_graph(traced.graph, encoded(traced, IMAGES))


def test_a_broken_weight_shows(lively: Any, uniform: Any, recorded: Any, broken: Any, same_spikes: Any) -> None:
    network = lively(uniform("plain", "conv_3x3"))
    record = recorded(network, IMAGES)
    traced = trace(network, IMAGES[:1], 3)
    joins = [p for p in traced.graph.projections if p.target == "cells.1.n2"]
    wrong = broken(traced.graph, joins[0].source, "cells.1.n2")
    assert not same_spikes(simulate(wrong, encoded(traced, IMAGES)).spikes, record.spikes)
    # and one weight alone, in the torch network
    with torch.no_grad():
        network.readout.weight[0, 0] += 1.0
    changed = recorded(network, IMAGES)
    assert not np.allclose(simulate(traced.graph, encoded(traced, IMAGES)).readout[-1], changed.logits, atol=1e-5)


def test_the_names_and_the_structure(lively: Any, uniform: Any) -> None:
    graph = trace(lively(uniform("plain", "max_pool_3x3")), IMAGES[:1], 3).graph
    names = [p.name for p in graph.populations]
    assert graph.inputs[0].name == "stem" and graph.inputs[0].shape == (6, 8, 8)
    assert names[:2] == ["cells.0.p0", "cells.0.p1"] and names[-1] == "readout"
    pools = [p for p in graph.populations if p.role == "or"]
    assert len(pools) == 3 * 5  # of each cell: one of p0, shared by four nodes, and one each of p1, n1, n2, n3
    assert pools[0].name == "cells.0.n1.edges.0"


def test_the_same_pool_of_the_same_spikes_is_one_population(recorded: Any, same_spikes: Any) -> None:
    class Twice(Small):
        def body(self, x: torch.Tensor) -> torch.Tensor:
            return self.pool(x) + self.again(x)

    network = tuned(Twice(pool=layer.MaxPool2d(3, 1, 1, step_mode="m"), again=layer.MaxPool2d(3, 1, 1, step_mode="m")))
    traced = assert_equals_torch(network, recorded, same_spikes)
    assert [p.role for p in traced.graph.populations].count("or") == 1


def test_tracing_leaves_the_network_as_it_was(lively: Any, uniform: Any, recorded: Any) -> None:
    network = lively(uniform("plain", "conv_3x3"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = recorded(network, IMAGES)
    network(IMAGES)  # membranes of another batch size are left behind
    trace(network, IMAGES[:1], 3)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert np.array_equal(recorded(network, IMAGES).logits, first.logits)
    assert not network.training


@pytest.mark.parametrize(
    "neurons",
    [
        lambda: lif(decay_input=True, tau=1.7, v_threshold=0.6),
        lambda: lif(tau=4.0, v_threshold=1.3, v_reset=None),
        lambda: neuron.IFNode(v_threshold=1.2, step_mode="m"),
        lambda: neuron.IFNode(v_threshold=0.7, v_reset=None, step_mode="m"),
        lambda: neuron.ParametricLIFNode(init_tau=3.0, decay_input=False, step_mode="m"),
        lambda: neuron.ParametricLIFNode(init_tau=1.4, decay_input=True, v_threshold=0.8, step_mode="m"),
    ],
)
def test_every_kind_of_neuron(neurons: Callable[[], nn.Module], recorded: Any, same_spikes: Any) -> None:
    assert_equals_torch(tuned(Small(neurons())), recorded, same_spikes)


def test_soft_reset_is_traced_and_refused_by_loihi() -> None:
    graph = trace(tuned(Small(lif(v_reset=None))), IMAGES[:1], 3).graph
    assert graph.populations[0].reset == "subtract"
    with pytest.raises(UnsupportedError, match=r"NetX has no soft reset; train with v_reset=0.0"):
        quantize(lower(graph), 1.0)


def test_events_need_no_encoder(recorded: Any, same_spikes: Any) -> None:
    spikes = (torch.rand(3, 4, 1, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    network = Small(reads_spikes=True)
    del network.stem, network.stem_lif
    tuned(network, spikes)
    record = recorded(network, spikes)
    traced = trace(network, spikes[:, :1], 3, reads_spikes=True)
    assert traced.encoder is None and traced.graph.inputs[0].shape == (1, 8, 8)
    found = simulate(traced.graph, {traced.graph.inputs[0].name: spikes.numpy().astype(np.uint8)})
    assert RATES[0] < record.rate < RATES[1]
    assert same_spikes(found.spikes, record.spikes)
    np.testing.assert_allclose(found.readout[-1], record.logits, atol=1e-5)


class Forms(Small):
    """The same values written in other ways: keywords, operators, modules, constants."""

    def body(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat(tensors=[x, x], dim=2)
        y = self.wide(self.drop(y))
        y = torch.add(y, 0.25) * 1.5 + sum([self.pool(x), self.middle(x)])
        return self.norm(2.0 * y)

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(torch.mean(self.flat(x), dim=0)) + 1.0


@pytest.mark.parametrize("flat", [layer.Flatten(step_mode="m"), nn.Flatten(start_dim=2)])
def test_other_ways_to_write_it(flat: nn.Module, recorded: Any, same_spikes: Any) -> None:
    parts = {
        "wide": convolution(6),
        "drop": layer.Dropout(0.5, step_mode="m"),
        "pool": layer.AvgPool2d(3, 1, 1, step_mode="m"),
        "flat": flat,
    }
    assert_equals_torch(tuned(Forms(**parts)), recorded, same_spikes)


def test_a_silent_layer_is_carried() -> None:
    network = tuned(Small())
    nn.init.zeros_(network.middle.weight)
    graph = trace(network, IMAGES[:1], 3).graph
    assert [p.kernel.weight.any() for p in graph.projections] == [False, True]
    chain_of(quantize(lower(graph), 1.0))


def test_neurons_of_other_decays_lie_on_levels_of_their_own(lively: Any, uniform: Any, random_spikes: Any) -> None:
    graph = trace(lively(uniform("plain", "conv_3x3")), IMAGES[:1], 3).graph
    changed = tuple(replace(p, decay=0.25) if p.name == "cells.0.p0" else p for p in graph.populations)
    apart = replace(graph, populations=changed)
    level, together = levels(lower(apart)), levels(lower(graph))
    assert level["cells.0.p0"] != level["cells.0.p1"] and together["cells.0.p1"] == together["cells.0.p0"]
    assert_chain_equals_graph(apart, random_spikes(apart))


class FramesFirst(Small):
    """Reads frames [N, T, C, H, W]."""

    def __init__(self) -> None:
        super().__init__(reads_spikes=True)
        del self.stem, self.stem_lif

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.head(self.lif(self.body(frames.transpose(0, 1))))


@pytest.mark.parametrize("steps", [1, 3])
def test_frames_of_spikes_are_turned_once(recorded: Any, same_spikes: Any, steps: int) -> None:
    frames = (torch.rand(4, steps, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    network = tuned(FramesFirst(), frames)
    record = recorded(network, frames)
    traced = trace(network, frames[:1], steps, reads_spikes=True)
    assert traced.encoder is None
    assert [(entry.name, entry.shape) for entry in traced.graph.inputs] == [("frames", (1, 8, 8))]
    found = simulate(traced.graph, {"frames": frames.transpose(0, 1).numpy().astype(np.uint8)})
    assert RATES[0] < record.rate < RATES[1]
    assert same_spikes(found.spikes, record.spikes)
    np.testing.assert_allclose(found.readout[-1], record.logits, atol=1e-5)


def test_frames_of_another_number_of_steps_are_refused() -> None:
    network = tuned(FramesFirst(), torch.ones(2, 3, 1, 8, 8))
    with pytest.raises(UnsupportedError, match="it has 3 time steps, but the network is said to have 2"):
        trace(network, torch.ones(1, 3, 1, 8, 8), 2, reads_spikes=True)
