"""NIR between spikeport and SpikingJelly 2.0 (`nir_exchange`), both ways: every spike compares with ==.

It fires on >=, as a SpikingGraph does, and takes dt as an argument. Weights have few bits: float32 rounds nothing.
"""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir, import_from_nir
from torch import nn

from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.nir.reader import read_nir
from spikeport.export.nir.writer import write_nir
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace

from .graphs import equal

STEPS, SAMPLES = 8, 8


def exact(network: nn.Module) -> nn.Module:
    made = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randint(-24, 48, parameter.shape, generator=made) / 64
    return network.eval()


def convolutional() -> nn.Sequential:
    """In single-step mode, as its exporter takes networks."""
    layers = [layer.Conv2d(2, 4, 3, padding=1, stride=2), neuron.LIFNode(tau=2.0, decay_input=False)]
    layers += [layer.Conv2d(4, 4, 3, bias=False), neuron.IFNode(v_threshold=8.0), layer.AvgPool2d(2), layer.Flatten()]
    layers += [layer.Linear(4, 6), neuron.LIFNode(tau=4.0, v_threshold=0.25)]
    return exact(nn.Sequential(*layers))


def spiking(network: nn.Module, spikes: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Module -> spikes [T, N, ...] of every neuron layer, step by step."""
    found: dict[str, list[Any]] = {}
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, neuron.BaseNode):

            def keep(_: Any, __: Any, out: Any, name: str = name) -> None:
                found.setdefault(name, []).append(out.numpy().astype(np.uint8))

            handles.append(module.register_forward_hook(keep))
    functional.reset_net(network)
    with torch.no_grad():
        for step in spikes:
            network(torch.tensor(step, dtype=torch.float32))
    functional.reset_net(network)
    for handle in handles:
        handle.remove()
    return {name: np.stack(steps) for name, steps in found.items()}


def random_spikes(*shape: int) -> NDArray[np.uint8]:
    return (np.random.default_rng(0).random((STEPS, SAMPLES, *shape)) < 0.4).astype(np.uint8)


def differing(network: nn.Module, graph: SpikingGraph, spikes: NDArray[np.uint8]) -> int:
    theirs, ours = spiking(network, spikes), simulate(graph, {graph.inputs[0].name: spikes}).spikes
    for name, fired in theirs.items():
        assert 0.02 < fired.mean() < 0.95, name
    layers = [p.name for p in graph.populations if p.role == "neuron"]  # named _1, _3 by its exporter, in their order
    return sum(int((ours[n] != fired).sum()) for n, fired in zip(layers, theirs.values(), strict=True))


@pytest.mark.parametrize("dt", [1e-4, 1e-3])
def test_what_it_writes_is_read(dt: float) -> None:
    network, spikes = convolutional(), random_spikes(2, 8, 8)
    graph = read_nir(export_to_nir(network, torch.zeros(1, 2, 8, 8), dt=dt), time_steps=STEPS, dt=dt, fires=">=").graph
    assert differing(network, graph, spikes) == 0


def test_one_broken_weight_is_seen() -> None:
    network, broken, spikes = convolutional(), convolutional(), random_spikes(2, 8, 8)
    broken[0].weight.data[0, 0, 1, 1] += 1
    written = export_to_nir(broken, torch.zeros(1, 2, 8, 8))
    graph = read_nir(written, time_steps=STEPS, dt=1e-4, fires=">=").graph
    assert differing(network, graph, spikes) > 0


def test_the_wrong_dt_is_seen() -> None:
    network = convolutional()
    graph = export_to_nir(network, torch.zeros(1, 2, 8, 8), dt=1e-4)
    other = read_nir(graph, time_steps=STEPS, dt=5e-5, fires=">=").graph
    assert differing(network, other, random_spikes(2, 8, 8)) > 0


def test_cuba_lif_and_a_reset_to_another_voltage() -> None:
    cuba = neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=2.0)
    lif = neuron.LIFNode(tau=2.0, v_reset=-0.5, decay_input=False)
    network = exact(nn.Sequential(layer.Linear(6, 8, bias=False), cuba, layer.Linear(8, 8), lif))
    written = export_to_nir(network, torch.zeros(1, 6))
    graph = read_nir(written, time_steps=STEPS, dt=1e-4, fires=">=").graph
    assert differing(network, graph, random_spikes(6)) == 0


def test_the_tie_rule_of_nir_differs_at_ties_only() -> None:
    """Of multiples of 1/64 many reach the threshold exactly; beside it none does."""
    network, spikes = convolutional(), random_spikes(2, 8, 8)
    written = export_to_nir(network, torch.zeros(1, 2, 8, 8))
    above = read_nir(written, time_steps=STEPS, dt=1e-4, fires=">").graph
    ours, theirs = simulate(above, {above.inputs[0].name: spikes}), next(iter(spiking(network, spikes).values()))
    name = above.populations[0].name
    differ = ours.spikes[name] != theirs
    assert differ.any()
    first = differ & (np.cumsum(differ, 0) == 1)
    assert (ours.membranes[name][first] == 1.0).all()  # the first difference of a neuron is its threshold, met exactly


# -- what we write


def imported(path: Any, spikes: NDArray[np.uint8]) -> tuple[dict[str, NDArray[np.uint8]], NDArray[np.float64]]:
    """(population -> spikes, the sum over time of the output) in SpikingJelly's reader, in float64."""
    network, state, total = import_from_nir(path, dt=1e-4, dtype=torch.float64), None, 0.0
    found: dict[str, list[Any]] = {}
    for name, module in network.named_modules():
        if name.endswith(".module"):
            continue
        if any(isinstance(child, neuron.BaseNode) for child in module.children()):
            module.register_forward_hook(
                lambda _, __, out, name=name: found.setdefault(name, []).append(out[0].numpy().astype(np.uint8))
            )
    with torch.no_grad():
        for step in spikes:
            out, state = network(torch.tensor(step, dtype=torch.float64), state)
            total = total + out.numpy()
    return {name: np.stack(steps) for name, steps in found.items()}, np.asarray(total)


def gates() -> SpikingGraph:
    """A skip, a stride, an OR, an AND, a relay, a current decay, a recurrent layer, biases; weights of few bits."""
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> Any:
        return rng.integers(-24, 40, shape) / 64

    ones = np.ones((2, 1, 1, 1))

    def population(name: str, shape: tuple[int, ...], decay: float = 0.5, **given: Any) -> Population:
        given = {"threshold": 1.0, "bias": weight(shape[0]) / 4} | given
        return Population(name=name, shape=shape, decay=decay, **given)

    none = np.zeros(2)
    populations = (
        population("a", (2, 4, 4)),
        population("b", (2, 4, 4), 0.75, bias=np.full(2, 0.25)),
        population("or", (2, 2, 2), 0.0, threshold=0.5, bias=none, role="or"),
        population("and", (2, 4, 4), 0.0, threshold=1.5, bias=none, role="and"),
        population("relay", (2, 2, 2), 0.0, threshold=0.5, bias=none, role="relay"),
        population("c", (6,), 1.0),
        population("d", (6,), 0.5, current_decay=0.25, bias=np.zeros(6)),
        Population(name="readout", shape=(3,), decay=1.0, threshold=np.inf, bias=weight(3), role="readout"),
    )
    kernels = (
        ("input", "a", Conv(weight=weight(2, 1, 3, 3), padding=(1, 1))),
        ("input", "b", Conv(weight=weight(2, 1, 3, 3), padding=(2, 2), dilation=(2, 2))),
        ("a", "b", Conv(weight=weight(2, 2, 1, 1))),
        ("b", "or", Conv(weight=np.ones((2, 1, 2, 2)), stride=(2, 2), groups=2)),
        ("a", "and", Conv(weight=np.eye(2)[:, :, None, None])),
        ("b", "and", Conv(weight=np.eye(2)[:, :, None, None])),
        ("or", "relay", Conv(weight=np.eye(2)[:, :, None, None] * ones[0])),
        ("relay", "c", Dense(weight=weight(6, 8))),
        ("and", "c", Dense(weight=weight(6, 32) / 2)),
        ("c", "d", Dense(weight=weight(6, 6) + 0.5)),
        ("d", "readout", Dense(weight=weight(3, 6))),
        ("c", "readout", Dense(weight=weight(3, 6))),
    )
    projections = tuple(Projection(source=s, target=t, kernel=k) for s, t, k in kernels)
    entry = SpikeInput(name="input", shape=(1, 4, 4))
    return check(SpikingGraph(inputs=(entry,), populations=populations, projections=projections, time_steps=STEPS))


def test_it_reads_what_we_write(tmp_path: Any) -> None:
    graph, spikes = gates(), random_spikes(1, 4, 4)
    path = write_nir(tmp_path / "network.nir", graph)
    ours = simulate(graph, {"input": spikes})
    theirs, total = imported(path, spikes)
    assert set(theirs) >= {"a", "b", "c", "d", "relay"} and len(theirs) == 7
    for name, fired in theirs.items():
        expected = ours.spikes[name.removeprefix("nir_node_")]
        assert 0.02 < expected.mean() < 0.98, name
        assert (fired == expected).all(), name
    assert (total == ours.readout[-1]).all()
    assert equal(read_nir(path).graph, graph)


def test_it_reads_our_recurrent_layer(tmp_path: Any) -> None:
    rng = np.random.default_rng(1)
    entry = SpikeInput(name="input", shape=(4,))
    hidden = Population(name="hidden", shape=(5,), decay=0.5, threshold=1.0, bias=np.zeros(5))
    readout = Population(name="readout", shape=(2,), decay=1.0, threshold=np.inf, bias=np.zeros(2), role="readout")
    sizes = {("input", "hidden"): (5, 4), ("hidden", "hidden"): (5, 5), ("hidden", "readout"): (2, 5)}
    projections = tuple(
        Projection(source=s, target=t, kernel=Dense(weight=rng.integers(-24, 64, size) / 64))
        for (s, t), size in sizes.items()
    )
    graph = SpikingGraph(inputs=(entry,), populations=(hidden, readout), projections=projections, time_steps=STEPS)
    path, spikes = write_nir(tmp_path / "network.nir", graph), random_spikes(4)
    theirs, total = imported(path, spikes)
    ours = simulate(graph, {"input": spikes})
    assert (theirs["hidden"] == ours.spikes["hidden"]).all() and 0.05 < ours.spikes["hidden"].mean() < 0.95
    assert (total == ours.readout[-1]).all()
    assert equal(read_nir(path).graph, graph)


def test_trace_then_write_then_it_reads_the_same_network(tmp_path: Any) -> None:
    """SpikingJelly -> trace -> NIR -> SpikingJelly."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.first = layer.Conv2d(1, 3, 3, padding=1, bias=False), neuron.LIFNode(decay_input=False)
            self.pool, self.flat = layer.MaxPool2d(2), layer.Flatten()
            self.linear, self.second, self.last = layer.Linear(12, 8), neuron.IFNode(), layer.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pool(self.first(self.conv(x)))
            return self.last(self.second(self.linear(self.flat(x)))).mean(0)

    network, spikes = exact(Network()), random_spikes(1, 4, 4)
    functional.set_step_mode(network, "m")
    graph = trace(network, torch.zeros(STEPS, 1, 1, 4, 4), STEPS, reads_spikes=True).graph
    theirs, total = imported(write_nir(tmp_path / "network.nir", graph), spikes)
    with torch.no_grad():
        logits = network(torch.tensor(spikes, dtype=torch.float32)).numpy()
    assert (total == logits).all()
    assert {"first", "pool", "second"} <= set(theirs)
