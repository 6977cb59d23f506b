"""Networks of SpikingJelly's users and their spikes as torch gives them, whatever step mode they are in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer
from torch import nn

from spikeport import run
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.writer import write_netx
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate
from spikeport.export.trace.neurons import is_neuron
from spikeport.export.trace.walk import Traced, population_name, trace

Spikes = dict[str, NDArray[np.uint8]]


def settled(build: Callable[[], nn.Module], drive: float = 1.4, seed: int = 0) -> nn.Module:
    """In eval mode, with weights that let spikes flow."""
    torch.manual_seed(seed)
    network = build()
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel()
            nn.init.normal_(module.weight, drive / fan, 1.2 / fan**0.5)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.0, 0.3)
    return network.eval()


def by_hooks(network: nn.Module, images: torch.Tensor) -> tuple[Spikes, NDArray[np.float32]]:
    """(population -> [T, N, *shape], what the network returns), from the network itself."""
    fired: dict[str, list[torch.Tensor]] = {}
    recurrent = (layer.LinearRecurrentContainer, layer.ElementWiseRecurrentContainer)
    inside = [path for path, module in network.named_modules() if isinstance(module, recurrent)]
    handles = []
    for path, module in network.named_modules():
        if is_neuron(module):
            name = next((own for own in inside if path.startswith(f"{own}.")), path)

            def keep(m: Any, _: Any, out: torch.Tensor, name: str = population_name(name)) -> None:
                steps = out.clone()  # a network may add to it in place
                fired.setdefault(name, []).append(steps if getattr(m, "step_mode", "m") == "m" else steps.unsqueeze(0))

            handles.append(module.register_forward_hook(keep))
    functional.reset_net(network)
    with torch.no_grad():
        answer = network(images)
    functional.reset_net(network)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(steps).numpy().astype(np.uint8) for name, steps in fired.items()}, answer.numpy()


def image_like(spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return spikes[:, :, :, None] if spikes.ndim == 4 else spikes


def assert_graph_is_torch(network: nn.Module, images: torch.Tensor, time_steps: int, least: int = 2) -> Traced:
    """0 spikes differ, and the logits are the same; so they are in the runner, which runs what was traced."""
    fired, answer = by_hooks(network, images)
    wanted = answer.mean(0) if answer.ndim == 3 else answer
    traced = trace(network, images[:1], time_steps)
    (entry,) = traced.graph.inputs
    found = simulate(traced.graph, {entry.name: image_like(fired[entry.name])})
    assert len(fired) >= least and set(found.spikes) >= set(fired)
    for name, spikes in fired.items():
        assert 0.02 < spikes.mean() < 0.98, f"{name} {spikes.mean()}"
        assert np.array_equal(found.spikes[name], image_like(spikes)), name
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found.readout[-1], wanted, rtol=1e-5, atol=1e-5 * scale)
    assert np.ptp(wanted) > 1e-3
    record = run(network, images.numpy())
    assert all(np.array_equal(record.spikes[name], image_like(spikes)) for name, spikes in fired.items())
    np.testing.assert_allclose(record.readout, wanted, rtol=1e-5, atol=1e-5 * scale)
    return traced


def chip_graph(traced: Traced, network: nn.Module, images: torch.Tensor) -> tuple[SpikingGraph, NDArray[np.uint8]]:
    """(the quantized graph, the spikes that enter it)."""
    (entry,) = traced.graph.inputs
    spikes = image_like(by_hooks(network, images)[0][entry.name])
    lowered = lower(traced.graph)
    peak = float(np.abs(simulate(lowered, {entry.name: spikes}).readout).max())
    return quantize(lowered, peak), spikes


def assert_file_is_graph(path: Path, traced: Traced, network: nn.Module, images: torch.Tensor) -> None:
    """The NetX file answers as the quantized graph does; with one weight changed it does not."""
    graph, spikes = chip_graph(traced, network, images)
    wanted = run(graph, spikes)
    found = run(write_netx(path, graph), spikes)
    assert all(np.array_equal(found.spikes[p.name], wanted.spikes[p.name]) for p in graph.populations[:-1])
    assert np.array_equal(found.readout, wanted.readout) and wanted.readout.any()
    broken = run(graph_with_a_weight_changed(graph), spikes)
    assert not np.array_equal(broken.readout, found.readout)


def graph_with_a_weight_changed(graph: SpikingGraph, into: str = "readout") -> SpikingGraph:
    """All that comes from the first neuron into a population, 64 more."""
    at = next(i for i, p in enumerate(graph.projections) if p.target == into)
    projection = graph.projections[at]
    weight = projection.kernel.weight.copy()
    weight[0] = np.clip(weight[0] + 64.0, -256.0, 254.0)
    weight[0, :4] -= 128.0
    changed = replace(projection, kernel=replace(projection.kernel, weight=weight))
    return replace(graph, projections=(*graph.projections[:at], changed, *graph.projections[at + 1 :]))
