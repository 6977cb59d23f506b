"""What is trained is what runs: torch, the definition, twin.onnx and network.net, spike for spike."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.deploy.run.forms import NetxRunner, TwinRunner
from spikeport.errors import UnsupportedError
from spikeport.export.graph import Dense, Projection, SpikingGraph
from spikeport.export.netx.writer import write_netx
from spikeport.export.nir.reader import read_nir
from spikeport.export.nir.writer import write_nir
from spikeport.export.onnx.twin import write_twin
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.scales import Scales, largest_scales
from spikeport.export.simulate import simulate
from spikeport.export.tuning.chip_network import ChipNetwork, ChipRecord
from spikeport.export.weight_scale import LevelScale
from spikeport.tests.export.tuning.graphs import gated, spikes_of

PEAK = 8.0


def moved(graph: SpikingGraph, scales: Scales, by: float = 0.2) -> ChipNetwork:
    """One whose weights and biases are no longer those of the graph."""
    torch.manual_seed(0)
    network = ChipNetwork(graph, scales)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return network


def differing(record: ChipRecord, trace: Any) -> int:
    assert record.spikes.keys() == trace.spikes.keys()
    spikes = sum(int((record.spikes[name] != fired).sum()) for name, fired in trace.spikes.items())
    return spikes + int((record.readout != trace.readout).sum())


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("decay", [0.5, 0.25, 0.3, 0.0])
@pytest.mark.parametrize("build", ["gated", "cell"])
def test_torch_is_the_definition(
    build: str, decay: float, bits: int, random_graph: Callable[..., SpikingGraph]
) -> None:
    graph = gated(1, decay=decay) if build == "gated" else lower(random_graph(1, decay=decay))
    network = moved(graph, largest_scales(graph, PEAK, bits))
    inputs = {graph.inputs[0].name: spikes_of(graph)}
    trace = simulate(network.chip_graph(), inputs)
    rates = [fired.mean() for fired in trace.spikes.values()]
    assert min(rates) < 0.9 and max(rates) > 0.05
    assert differing(network.record(inputs), trace) == 0


def test_the_spikes_of_one_wrong_weight_differ() -> None:
    graph = gated()
    network = moved(graph, largest_scales(graph, PEAK))
    inputs = {"x": spikes_of(graph)}
    chip = network.chip_graph()
    first = chip.projections[0]
    weight = first.kernel.weight.copy()
    weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] *= -1
    wrong = replace(
        chip, projections=(replace(first, kernel=replace(first.kernel, weight=weight)), *chip.projections[1:])
    )
    assert differing(network.record(inputs), simulate(wrong, inputs)) > 0


def test_at_first_it_is_what_quantize_gives_and_later_too() -> None:
    graph = gated(2)
    scales = largest_scales(graph, PEAK, 4)
    for network in (ChipNetwork(graph, scales), moved(graph, scales)):
        found, again = network.chip_graph(), quantize(network.tuned_graph(), PEAK, scales=scales)
        for a, b in zip(found.projections, again.projections, strict=True):
            assert (a.source, a.target) == (b.source, b.target)
            assert np.array_equal(a.kernel.weight, b.kernel.weight)
        for p, q in zip(found.populations, again.populations, strict=True):
            # `quantize` may choose the integer beside the nearest
            assert (p.name, p.threshold, p.decay) == (q.name, q.threshold, q.decay)
            assert np.abs(p.bias - q.bias).max() <= 1
    untouched, start = ChipNetwork(graph, scales).chip_graph(), quantize(graph, PEAK, weight_bits=4)
    pairs = zip(untouched.populations, start.populations, strict=True)
    assert all(np.array_equal(p.bias, q.bias) for p, q in pairs)


@pytest.mark.slow
def test_twin_and_netx_are_torch(tmp_path: Path, random_graph: Callable[..., SpikingGraph]) -> None:
    for number, graph in enumerate((gated(3), lower(random_graph(3)))):
        network = moved(graph, largest_scales(graph, PEAK, 4))
        chip, spikes = network.chip_graph(), spikes_of(graph)
        wanted = network.record({graph.inputs[0].name: spikes})
        twin, net = tmp_path / f"{number}.onnx", tmp_path / f"{number}.net"
        write_twin(twin, chip)
        write_netx(net, chip)
        for record in (TwinRunner(twin, chip)(spikes), NetxRunner(net, chip)(spikes)):
            assert all(np.array_equal(record.spikes[name], fired) for name, fired in wanted.spikes.items())
            assert record.readout_steps is not None and np.array_equal(record.readout_steps, wanted.readout)


def test_a_graph_that_was_read_from_nir(tmp_path: Path, random_graph: Callable[..., SpikingGraph]) -> None:
    """No network of torch stands behind it."""
    read = read_nir(write_nir(tmp_path / "theirs.nir", random_graph(5), dt=1e-3), time_steps=3, dt=1e-3).graph
    graph = lower(read)
    network = moved(graph, largest_scales(graph, PEAK, 4))
    inputs = {graph.inputs[0].name: spikes_of(graph)}
    trace = simulate(network.chip_graph(), inputs)
    assert differing(network.record(inputs), trace) == 0 and sum(f.sum() for f in trace.spikes.values()) > 100


def test_gradients_reach_every_weight_and_a_loss_falls() -> None:
    graph = gated(4)
    network = ChipNetwork(graph, largest_scales(graph, PEAK))
    spikes = torch.from_numpy(spikes_of(graph, 32)).float()
    labels = torch.arange(32) % 4
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(network(spikes), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
        assert all(bool((p.grad != 0).any()) for p in network.parameters() if p.grad is not None)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    before, after = network.start, network.chip_graph()
    pairs = [(a.kernel.weight, b.kernel.weight) for a, b in zip(before.projections, after.projections, strict=True)]
    assert sum(bool((a != b).any()) for a, b in pairs) == len(network.weights)
    there = [p.kernel.weight != 0 for p in network.graph.projections]
    assert not any(bool(b[~kept].any()) for (_, b), kept in zip(pairs, there, strict=True)), "a synapse was added"
    assert (
        differing(network.record({"x": spikes.numpy().astype(np.uint8)}), simulate(after, {"x": spikes.numpy()})) == 0
    )


def test_answers_are_in_the_units_of_the_float_graph() -> None:
    graph = gated(5)
    spikes = spikes_of(graph, 8)
    exact = simulate(graph, {"x": spikes}).readout[-1]
    with torch.no_grad():
        found = ChipNetwork(graph, largest_scales(graph, 2 * float(np.abs(exact).max())))(torch.from_numpy(spikes))
    assert np.corrcoef(found.numpy().ravel(), exact.ravel())[0, 1] > 0.9


def test_a_clipped_weight_is_at_the_end_of_its_range() -> None:
    graph = gated(6)
    scales = {n: replace(s, scale=min(252, 2 * int(s.scale))) for n, s in largest_scales(graph, PEAK).items()}
    network = ChipNetwork(graph, scales)
    weights = np.concatenate([p.kernel.weight.ravel() for p in network.chip_graph().projections])
    assert weights.max() == 254 and weights.min() == -256
    inputs = {"x": spikes_of(graph)}
    assert differing(network.record(inputs), simulate(network.chip_graph(), inputs)) == 0


@pytest.mark.parametrize("kind", ["recurrent", "delayed"])
def test_what_looks_back_is_refused(kind: str) -> None:
    graph = gated()
    last = graph.projections[-1]
    if kind == "recurrent":
        odd = Projection(source="a", target="a", kernel=Dense(weight=np.eye(72)))
    else:
        odd = replace(last, delay=np.ones(last.kernel.weight.shape, np.int64))
    with pytest.raises(UnsupportedError, match=f"'{odd.source}' -> '{odd.target}': .* through a {kind} synapse"):
        ChipNetwork(replace(graph, projections=(*graph.projections[:-1], odd)), {})


def test_sums_that_torch_would_round_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeport.export.tuning.chip_network.EXACT", 256 * 10)
    graph = gated()
    with pytest.raises(
        UnsupportedError, match=r"Population 'a': a neuron that reads .* others may get a sum that torch"
    ):
        ChipNetwork(graph, {n: LevelScale(scale=100.0) for n in range(1, 9)})
