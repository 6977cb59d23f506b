"""Synaptic operations against those of the exported graph, projection by projection."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from spikeport.deploy.synapses import fan_out
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.search.objective.spike_maps import STATES, even_spikes, recording
from spikeport.search.objective.synaptic_operations import sops_per_cell
from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.settings.supernet import SupernetForm
from spikeport.search.space.genotype import Edge, Genotype, Layer, random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingBackbone, SpikingNetwork
from spikeport.search.space.primitives import PRIMITIVES
from spikeport.search.space.spike_gates import Gate
from spikeport.search.strategies.darts.search import SUPERNETS
from spikeport.search.supernet.supernet import one_hot

pytestmark = pytest.mark.slow

SETTINGS = NetworkConfig(channels=3, cells=4, time_steps=2, classes=3, input_shape=(1, 8, 8))
IMAGES = 4
UNUSUAL = (
    Layer("normal", 1.0),
    Layer("reduce", 0.75),
    Layer("normal", 0.5),
    Layer("reduce", 1.0),
    Layer("normal", 0.5),
)


def pooled_twice() -> Genotype:
    """Two edges that take the max-pool of the same state."""
    cell = tuple(Edge(node, source, "max_pool_3x3") for node in range(4) for source in (0, 1))
    return Genotype("plain", cell, cell)


def genotypes() -> list[Genotype]:
    rng = np.random.default_rng(4)
    return [*(random_genotype(rng, primitives) for primitives in ("darts", "darts", "plain", "plain")), pooled_twice()]


def all_spikes(network: SpikingBackbone, images: Tensor) -> dict[str, Tensor]:
    """Population -> [T, N, C, H, W] of one pass."""
    found: dict[str, Tensor] = {"stem": torch.zeros(0)}

    def keep(name: str, axes: tuple[int, ...]) -> object:
        return lambda module, inputs, spikes: found.__setitem__(name, spikes.detach().permute(axes))

    axes = (2, 3, 4, 0, 1) if network.stem.place_axes == (0, 1) else (0, 1, 2, 3, 4)
    handles = [network.stem.register_forward_hook(keep("stem", axes))]
    for i, cell in enumerate(network.cells):
        for name in STATES:
            handles.append(cell.get_submodule(name).register_forward_hook(keep(f"cells.{i}.{name}", axes)))
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return found


def exported(genotype: Genotype, spikes: dict[str, Tensor], settings: NetworkConfig = SETTINGS) -> dict[str, float]:
    """Every spike times the synapses of non-zero weight that leave its neuron in the graph that is exported."""
    torch.manual_seed(2)
    network, events = SpikingNetwork(genotype, settings).eval(), settings.reads == "spikes"
    graph = trace(network, torch.rand(1, *settings.sample_shape), SETTINGS.time_steps, reads_spikes=events).graph
    shapes, spikes = graph.shapes(), dict(spikes)
    counted: dict[str, float] = {}
    for projection in graph.projections:
        if projection.source not in spikes:
            raise AssertionError(f"no spikes of {projection.source} among {list(spikes)}")
        source = spikes[projection.source].sum((0, 1)).double().numpy()
        shape = shapes[projection.source]
        sops = (fan_out(projection, shape, shapes[projection.target]) * source.reshape(shape)).sum()
        parts = projection.target.split(".")
        cell = ".".join(parts[:2]) if parts[0] == "cells" else parts[0]
        counted[cell] = counted.get(cell, 0.0) + sops / IMAGES
        if projection.target not in spikes and cell != "readout":  # an OR population
            weight = projection.kernel
            pooled = torch.nn.functional.max_pool2d(
                spikes[projection.source].flatten(0, 1), 3, weight.stride, padding=1
            )
            spikes[projection.target] = pooled.unflatten(0, spikes[projection.source].shape[:2])
    return counted


def counted(network: SpikingBackbone, genotype: Genotype, images: Tensor) -> dict[str, float]:
    with recording(network) as spikes, torch.no_grad():
        network(images)
    names = list(PRIMITIVES[genotype.primitives])
    return {cell: sops.item() for cell, sops in sops_per_cell(spikes, partial(one_hot, genotype), names, 3).items()}


@pytest.mark.parametrize("genotype", genotypes(), ids=range(5))
@pytest.mark.parametrize("layers", [None, UNUSUAL], ids=["usual", "unusual"])
def test_a_network_is_counted_as_it_is_exported(genotype: Genotype, layers: tuple[Layer, ...] | None) -> None:
    torch.manual_seed(1)
    genotype = replace(genotype, layers=layers)
    settings = replace(SETTINGS, cells=len(layers) if layers else SETTINGS.cells)
    network = SpikingNetwork(genotype, settings)
    images = torch.rand(IMAGES, 1, 8, 8)
    found = counted(network, genotype, images)
    reset(network)
    expected = exported(genotype, all_spikes(network, images), settings)
    assert min(found.values()) > 0
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("genotype", genotypes()[:3], ids=range(3))
def test_a_network_of_one_row_is_counted_too(genotype: Genotype) -> None:
    torch.manual_seed(1)
    settings = replace(SETTINGS, input_shape=(2, 1, 16), cells=3)
    network, signals = SpikingNetwork(genotype, settings), torch.rand(IMAGES, 2, 1, 16)
    found = counted(network, genotype, signals)
    reset(network)
    expected = exported(genotype, all_spikes(network, signals), settings)
    assert min(found.values()) > 0
    assert found == pytest.approx(expected, rel=1e-12)
    even = even_spikes(settings, settings.plan(), 0.5)
    assert [tuple(cell.states[2].shape) for cell in even.cells] == [(1, 16), (1, 8), (1, 4)]


@pytest.mark.parametrize("seed", range(2))
def test_gates_made_of_spikes_are_counted_too(seed: int) -> None:
    """All of the graph's synapses but the gates' are those of the test above; here is the sum of all."""
    torch.manual_seed(seed)
    genotype, settings = genotypes()[seed], replace(SETTINGS, cells=3, attention="spike")
    network, images = SpikingNetwork(genotype, settings), torch.rand(IMAGES, 1, 8, 8)
    for module in network.modules():
        if isinstance(module, Gate):
            torch.nn.init.constant_(module.norm.weight, 1.0)
            torch.nn.init.constant_(module.norm.bias, 0.8)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network(images)
    reset(network.eval())
    found = counted(network, genotype, images)
    reset(network)
    traced = trace(network, images[:1], SETTINGS.time_steps)
    with torch.no_grad():
        spikes = traced.encoder(images).numpy().astype(np.uint8)
    fired = simulate(traced.graph, {traced.graph.inputs[0].name: spikes}).spikes | {"stem": spikes}
    shapes, expected = traced.graph.shapes(), 0.0
    for projection in traced.graph.projections:
        source = fired[projection.source].sum((0, 1)).astype(np.float64)
        expected += (fan_out(projection, source.shape, shapes[projection.target]) * source).sum() / IMAGES
    assert sum(found.values()) == pytest.approx(expected, rel=1e-12)
    reset(network)  # its stem is the encoder
    with recording(network) as record, torch.no_grad():
        network(images)
    neurons = sum(maps.sum() for name, maps in fired.items() if not name.startswith("mul") and "edges" not in name)
    assert record.total.item() == pytest.approx(neurons / IMAGES, rel=1e-12)
    assert all(gates.fired > 0 and gates.sops > 0 for cell in record.cells for gates in cell.gates.values())
    assert [len(cell.gates) for cell in record.cells] == [4, 4, 4]


@pytest.mark.parametrize("stride", [1, 2])
def test_the_stem_that_reads_events_is_counted_too(stride: int) -> None:
    torch.manual_seed(1)
    settings = replace(SETTINGS, reads="spikes", input_shape=(2, 8, 8), stem_stride=stride, cells=3)
    genotype = genotypes()[2]
    network, frames = SpikingNetwork(genotype, settings), (torch.rand(IMAGES, 2, 2, 8, 8) < 0.4).float()
    found = counted(network, genotype, frames)
    reset(network)
    expected = exported(genotype, all_spikes(network, frames) | {"inputs": frames.transpose(0, 1)}, settings)
    assert list(found) == ["stem", "cells.0", "cells.1", "cells.2", "readout"] and min(found.values()) > 0
    assert found == pytest.approx(expected, rel=1e-12)


def reset(network: SpikingBackbone) -> None:
    from spikingjelly.activation_based.functional import reset_net

    reset_net(network)


@pytest.mark.parametrize("genotype", genotypes(), ids=range(5))
@pytest.mark.parametrize("form", SUPERNETS)
def test_one_hot_weights_give_the_exact_operations(form: SupernetForm, genotype: Genotype) -> None:
    """Other edges are `none`: the spikes of the supernet through the projections of that network."""
    torch.manual_seed(1)
    supernet = SUPERNETS[form](genotype.primitives, SETTINGS)
    for kind, alphas in supernet.alphas.items():
        weights = one_hot(genotype, kind)
        weights[:, 0] = 1 - weights.sum(1)  # none
        alphas.data = 1000 * weights.float()
    images = torch.rand(IMAGES, 1, 8, 8)
    names = list(PRIMITIVES[genotype.primitives])
    with recording(supernet) as spikes, torch.no_grad():
        supernet(images)
    found = {cell: sops.item() for cell, sops in sops_per_cell(spikes, supernet.mixture, names, 3).items()}
    reset(supernet)
    for cell in supernet.cells:
        if hasattr(cell, "variances"):
            cell.variances.fill_(0.25)  # as at the start: the first pass has moved it
    expected = exported(genotype, all_spikes(supernet, images))
    assert min(found.values()) > 0
    assert found == pytest.approx(expected, rel=1e-12)


def test_another_primitive_shows() -> None:
    torch.manual_seed(1)
    genotype = genotypes()[0]
    network = SpikingNetwork(genotype, SETTINGS)
    images = torch.rand(IMAGES, 1, 8, 8)
    first = genotype.normal[0]
    other = Edge(first.node, first.source, "skip_connect" if first.primitive != "skip_connect" else "avg_pool_3x3")
    changed = Genotype("darts", (other, *genotype.normal[1:]), genotype.reduce)
    found = counted(network, changed, images)
    reset(network)
    assert found["cells.0"] != pytest.approx(exported(genotype, all_spikes(network, images))["cells.0"], rel=1e-4)


@pytest.mark.parametrize("primitives", PRIMITIVES)
def test_a_mixture_is_the_mean_over_the_cells_it_may_become(primitives: PrimitiveSet) -> None:
    """Each edge draws its primitive by itself, 2000 times: within four standard errors."""
    names = list(PRIMITIVES[primitives])
    torch.manual_seed(3)
    weights = torch.softmax(torch.randn(14, len(names)), dim=1).double()
    settings = NetworkConfig(channels=2, cells=1, time_steps=2, classes=3, input_shape=(1, 4, 4))
    spikes = even_spikes(settings, settings.plan(), 0.3)
    expected = sops_per_cell(spikes, lambda kind, place: weights, names, 3)["cells.0"].item()
    drawn = []
    for _ in range(2000):
        one_hot = torch.nn.functional.one_hot(torch.multinomial(weights, 1)[:, 0], len(names)).double()
        drawn.append(sops_per_cell(spikes, lambda kind, place, w=one_hot: w, names, 3)["cells.0"].item())
    assert abs(np.mean(drawn) - expected) < 4 * np.std(drawn) / len(drawn) ** 0.5


def test_gradients_reach_weights_and_spikes() -> None:
    weights = torch.full((14, 5), 0.2, dtype=torch.float64, requires_grad=True)
    spikes = even_spikes(SETTINGS, SETTINGS.plan(), 0.3)
    spikes.cells[1].states[0].requires_grad_()
    sops_per_cell(spikes, lambda kind, place: weights, list(PRIMITIVES["plain"]), 3)["cells.1"].backward()
    assert weights.grad is not None
    none, _, skip, small, large = weights.grad[0].tolist()
    assert none == 0 < skip < small < large
    assert (spikes.cells[1].states[0].grad > 0).all()
