"""What the tests of the export share: networks that spike, random graphs, one comparison of spikes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, neuron
from torch import nn

from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.trace.walk import population_name
from spikeport.search.space.attention import CBAM, ECA
from spikeport.search.space.genotype import EDGES_PER_NODE, NODES, Edge, Genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.space.spike_gates import Gate


@dataclass(frozen=True)
class TorchRecord:
    """spikes: population -> uint8 [T, N, ...] of every spiking layer; logits [N, classes]."""

    spikes: dict[str, NDArray[np.uint8]]
    logits: NDArray[np.float32]

    @property
    def rate(self) -> float:
        return float(np.mean([value.mean() for value in self.spikes.values()]))


@pytest.fixture(scope="session")
def recorded() -> Callable[[nn.Module, torch.Tensor], TorchRecord]:
    """Runs a torch network once and records the spikes of every spiking layer."""

    def record(network: nn.Module, images: torch.Tensor) -> TorchRecord:
        spikes: dict[str, NDArray[np.uint8]] = {}
        handles = []
        for path, module in network.named_modules():
            if isinstance(module, neuron.BaseNode):

                def keep(_: nn.Module, __: Any, out: torch.Tensor, name: str = population_name(path)) -> None:
                    spikes[name] = out.detach().numpy().astype(np.uint8)

                handles.append(module.register_forward_hook(keep))
        functional.reset_net(network)
        with torch.no_grad():
            logits = network(images).numpy()
        functional.reset_net(network)
        for handle in handles:
            handle.remove()
        return TorchRecord(spikes, logits)

    return record


@pytest.fixture(scope="session")
def lively() -> Callable[..., SpikingNetwork]:
    """Genotype -> network in eval mode whose batch norms know their statistics, so that every layer spikes."""

    def build(genotype: Genotype, *, seed: int = 0, **settings: Any) -> SpikingNetwork:
        torch.manual_seed(seed)
        settings.setdefault("input_shape", (1, 8, 8))
        network = SpikingNetwork(
            genotype, NetworkConfig(**{"channels": 2, "cells": 3, "time_steps": 3, "classes": 5} | settings)
        )
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
                nn.init.uniform_(module.weight, 0.6, 1.4)
                nn.init.uniform_(module.bias, -0.2, 0.6)
            if isinstance(module, ECA | CBAM):
                for weight in module.parameters():  # of its last layers they are 0, so that every gate would be 1
                    nn.init.normal_(weight, std=0.5)
        for module in network.modules():
            if isinstance(module, Gate):
                nn.init.uniform_(module.norm.bias, 0.5, 1.2)  # it fires in some steps
        with torch.no_grad():
            values = torch.rand(32, *network.config.sample_shape)
            network(values if network.config.reads == "images" else values.round())
        functional.reset_net(network)
        return network.eval()

    return build


@pytest.fixture(scope="session")
def uniform() -> Callable[..., Genotype]:
    """A genotype with one primitive on all edges: at stride 1, and at stride 2 in the reduction cell."""

    def build(primitives: Any, primitive: str) -> Genotype:
        edges = tuple(
            Edge(node, source, primitive) for node in range(NODES) for source in (0, node + 1)[:EDGES_PER_NODE]
        )
        return Genotype(primitives, normal=edges, reduce=edges)

    return build


@pytest.fixture(scope="session")
def random_graph() -> Callable[..., SpikingGraph]:
    """A float graph of the shape of a cell:

    input 2x8x6 -> a 3x8x6 -> b 2x4x3 (stride 2) -> c 2x4x3 -> readout 4
                   a -> c (stride 2, skips b), b -> readout, a -> or (max-pool) -> c, a -> dead
    """

    def build(seed: int = 0, *, time_steps: int = 3, decay: float = 0.5) -> SpikingGraph:
        rng = np.random.default_rng(seed)

        def conv(out: int, inside: int, size: int, stride: int = 1, dilation: int = 1) -> Conv:
            padding = dilation * (size // 2)
            weight = rng.normal(0.15, 0.5, (out, inside, size, size))
            return Conv(
                weight=weight, stride=(stride, stride), padding=(padding, padding), dilation=(dilation, dilation)
            )

        def neurons(name: str, shape: tuple[int, ...], threshold: float = 1.0) -> Population:
            bias = rng.normal(0.1, 0.2, shape[0])
            return Population(name=name, shape=shape, decay=decay, threshold=threshold, bias=bias)

        pool = Population(name="or", shape=(3, 4, 3), decay=0.0, threshold=0.5, bias=np.zeros(3), role="or")
        window = Conv(weight=np.eye(3)[:, :, None, None] * np.ones((3, 3)), stride=(2, 2), padding=(1, 1))
        readout = Population(
            name="readout", shape=(4,), decay=1.0, threshold=np.inf, bias=rng.normal(size=4), role="readout"
        )
        return check(
            SpikingGraph(
                inputs=(SpikeInput(name="input", shape=(2, 8, 6)),),
                populations=(
                    neurons("a", (3, 8, 6)),
                    neurons("dead", (1, 8, 6)),
                    pool,
                    neurons("b", (2, 4, 3), 1.25),
                    neurons("c", (2, 4, 3), 0.75),
                    readout,
                ),
                projections=(
                    Projection(source="input", target="a", kernel=conv(3, 2, 3)),
                    Projection(source="input", target="a", kernel=conv(3, 2, 1)),
                    Projection(source="a", target="dead", kernel=conv(1, 3, 1)),
                    Projection(source="a", target="or", kernel=window),
                    Projection(source="a", target="b", kernel=conv(2, 3, 3, stride=2)),
                    Projection(source="a", target="c", kernel=conv(2, 3, 5, stride=2, dilation=2)),
                    Projection(source="or", target="c", kernel=conv(2, 3, 1)),
                    Projection(source="b", target="c", kernel=conv(2, 2, 3)),
                    Projection(source="b", target="readout", kernel=Dense(weight=rng.normal(size=(4, 24)))),
                    Projection(source="c", target="readout", kernel=Dense(weight=rng.normal(size=(4, 24)))),
                ),
                time_steps=time_steps,
            )
        )

    return build


@pytest.fixture(scope="session")
def random_spikes() -> Callable[..., dict[str, NDArray[np.uint8]]]:
    """Spikes for every input of a graph, a third of them 1."""

    def build(graph: SpikingGraph, samples: int = 4, seed: int = 0) -> dict[str, NDArray[np.uint8]]:
        rng = np.random.default_rng(seed)
        return {
            node.name: (rng.random((graph.time_steps, samples, *node.shape)) < 1 / 3).astype(np.uint8)
            for node in graph.inputs
        }

    return build


@pytest.fixture(scope="session")
def quantized(random_graph: Callable[..., SpikingGraph]) -> SpikingGraph:
    """The random graph in the chip's integers."""
    return quantize(lower(random_graph()), peak=8.0)


@pytest.fixture(scope="session")
def broken() -> Callable[[SpikingGraph, str, str], SpikingGraph]:
    """The same graph with another sign for the weights from one node to another."""

    def change(graph: SpikingGraph, source: str, target: str) -> SpikingGraph:
        assert any((p.source, p.target) == (source, target) for p in graph.projections)
        changed = tuple(
            replace(p, kernel=replace(p.kernel, weight=-p.kernel.weight))
            if (p.source, p.target) == (source, target)
            else p
            for p in graph.projections
        )
        return replace(graph, projections=changed)

    return change


@pytest.fixture(scope="session")
def same_spikes() -> Callable[..., bool]:
    """Whether two records agree in every spike of every population that both have."""

    def compare(a: dict[str, NDArray[np.uint8]], b: dict[str, NDArray[np.uint8]], *, least: int = 1) -> bool:
        shared = a.keys() & b.keys()
        assert len(shared) >= least
        return all(np.array_equal(a[name], b[name]) for name in shared)

    return compare
