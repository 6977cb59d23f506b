"""Recurrent containers: neurons that read their own spikes of the step before."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn

from spikeport import OverTime, run, write_model
from spikeport.deploy.run import forms
from spikeport.deploy.run.forms import LavaRunner
from spikeport.deploy.run.record import Record
from spikeport.deploy.run.torch_network import TorchRunner
from spikeport.errors import UnsupportedError
from spikeport.export.graph import Conv, Dense
from spikeport.export.netx.file import read_layers
from spikeport.export.netx.writer import write_netx
from spikeport.export.onnx.twin import write_twin
from spikeport.export.passes import lower
from spikeport.export.passes.fold import fold
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.own_networks import (
    assert_file_is_graph,
    assert_graph_is_torch,
    by_hooks,
    chip_graph,
    graph_with_a_weight_changed,
    settled,
)
from spikeport.tests.export.trace.small_network import lif as multi_step_lif

T = 4
IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def lif(**more: Any) -> nn.Module:
    return multi_step_lif(step_mode="s", **more)


class Recurrent(nn.Module):
    def __init__(self, container: nn.Module, out: int = 12, mode: str = "m") -> None:
        super().__init__()
        self.stem, self.stem_lif, self.pre = nn.Linear(64, 16), multi_step_lif(), nn.Linear(16, 12)
        self.recurrent, self.out = container, nn.Linear(out, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem_lif(self.stem(x.flatten(1)).unsqueeze(0).repeat(T, 1, 1))
        return self.out(self.recurrent(self.pre(x))).mean(0)


def linear(*parts: nn.Module, out: int = 12, **more: Any) -> nn.Module:
    inside = nn.Sequential(*parts, lif()) if parts else lif()
    return Recurrent(layer.LinearRecurrentContainer(inside, 12, out, step_mode="m", **more), out)


def elementwise(function: Callable[..., Any], *parts: nn.Module) -> nn.Module:
    inside = nn.Sequential(*parts, lif()) if parts else lif()
    return Recurrent(layer.ElementWiseRecurrentContainer(inside, function, step_mode="m"))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "linear": linear,
    "linear without bias": lambda: linear(bias=False),
    "a layer before the neurons": lambda: linear(nn.Linear(12, 8), nn.BatchNorm1d(8), out=8),
    "one by one, added": lambda: elementwise(lambda y, x: x + 0.5 * y),
    "one by one, taken away": lambda: elementwise(lambda y, x: torch.sub(x, y / 4)),
    "one by one, before a layer": lambda: elementwise(lambda y, x: x + y, nn.Linear(12, 12)),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_every_spike_is_that_of_torch(case: str) -> None:
    traced = assert_graph_is_torch(settled(NETWORKS[case]), IMAGES, T)
    (own,) = [p for p in traced.graph.projections if p.source == p.target]
    assert own.source == "recurrent" and own.kernel.weight.any()


def test_what_is_fed_back_counts() -> None:
    network = settled(linear)
    fired, _ = by_hooks(network, IMAGES)
    with torch.no_grad():
        network.recurrent.rc.weight[:, 12:] *= -1.0  # of the spikes before
    graph = trace(network, IMAGES[:1], T).graph
    broken = simulate(graph, {"stem_lif": fired["stem_lif"]}).spikes["recurrent"]
    assert np.array_equal(broken[0], fired["recurrent"][0])  # before it there was none
    assert not np.array_equal(broken[1:], fired["recurrent"][1:])


def test_a_container_in_a_loop_and_of_one_step() -> None:
    def step() -> nn.Module:
        recurrent = layer.LinearRecurrentContainer(lif(), 12, 12)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), lif(), recurrent, nn.Linear(12, 5))

    assert_graph_is_torch(settled(lambda: OverTime(step(), T)), IMAGES, T)


def test_the_file_has_a_recurrent_layer(tmp_path: Path) -> None:
    """dense_rec: in Lava it reads its own spikes of the step before, as every layer is later by its level alike."""
    network = settled(linear)
    traced = assert_graph_is_torch(network, IMAGES, T)
    assert_file_is_graph(tmp_path / "x.net", traced, network, IMAGES)
    assert [each.kind for each in read_layers(tmp_path / "x.net").layers] == ["dense_rec", "dense"]
    graph, spikes = chip_graph(traced, network, IMAGES)
    broken = run(graph_with_a_weight_changed(graph, "recurrent"), spikes)
    assert not np.array_equal(broken.spikes["recurrent"], run(graph, spikes).spikes["recurrent"])


def test_passes_keep_the_recurrent_projection() -> None:
    graph = trace(settled(linear), IMAGES[:1], T).graph
    for found in (fold(graph), lower(graph), quantize(lower(graph), 1.0)):
        assert [(p.source, p.target) for p in found.projections] == [
            *(("stem_lif", "recurrent"), ("recurrent", "recurrent"), ("recurrent", "readout"))
        ]


def test_samples_back_to_back_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lava resets currents and membranes between samples, not the spikes under way; so each sample runs alone."""
    network = settled(linear)
    graph, spikes = chip_graph(trace(network, IMAGES[:1], T), network, IMAGES)
    apart = simulate(graph, {"stem_lif": spikes})
    stream = spikes.swapaxes(0, 1).reshape(-1, 1, 16)  # the samples one after the other
    after = simulate(graph, {"stem_lif": stream}, windows=3).spikes["recurrent"].reshape(3, T, 12)
    assert np.array_equal(after[0], apart.spikes["recurrent"][:, 0])
    assert not np.array_equal(after[1:], apart.spikes["recurrent"][:, 1:].swapaxes(0, 1))  # what leaks is seen
    path, ran = write_netx(tmp_path / "x.net", graph), []

    def lava(jobs: Any, *_: Any) -> list[Record]:
        ran.extend(job[2].shape[1] for job in jobs)
        return [run(job[1], job[2]) for job in jobs]

    monkeypatch.setattr(forms, "lava_records", lava)
    found = LavaRunner(path, graph, 1.0, lambda _: None)(spikes)
    assert ran == [1, 1, 1]
    assert np.array_equal(found.spikes["recurrent"], apart.spikes["recurrent"])
    assert found.readout_steps is not None and np.array_equal(found.readout_steps, apart.readout)


def test_the_twin_refuses_and_the_runner_takes_nudges(tmp_path: Path) -> None:
    network = settled(linear)
    graph, _ = chip_graph(trace(network, IMAGES[:1], T), network, IMAGES)
    with pytest.raises(UnsupportedError, match="'recurrent' -> 'recurrent' is recurrent or delayed"):
        write_twin(tmp_path / "twin.onnx", graph)
    runner = TorchRunner(network)
    record = runner(IMAGES.numpy())
    margins, spikes = record.margins["recurrent"], record.spikes["recurrent"]
    assert margins.shape == spikes.shape == (T, 3, 12)
    assert ((margins >= 0) == spikes)[np.abs(margins) > 1e-6].all()
    nudge = np.zeros((T, 3, 12), np.float32)
    nudge[2] = 10.0
    pushed = runner(IMAGES.numpy(), {"recurrent": nudge}).spikes["recurrent"]
    assert pushed[2].all() and np.array_equal(pushed[:2], spikes[:2])


@pytest.mark.slow
def test_a_recurrent_network_as_onnx(tmp_path: Path) -> None:
    network = settled(linear)
    fired, answer = by_hooks(network, IMAGES)
    found = run(write_model(tmp_path / "model.onnx", network, IMAGES), IMAGES.numpy())
    assert np.array_equal(found.spikes["recurrent"], fired["recurrent"])
    assert np.allclose(found.readout, answer, atol=1e-6)


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_lif = nn.Conv2d(1, 3, 3, padding=1), multi_step_lif()
        self.recurrent = layer.ElementWiseRecurrentContainer(
            nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), lif()), lambda y, x: x + y, step_mode="m"
        )
        self.out = nn.Linear(192, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem_lif(self.stem(x).unsqueeze(0).repeat(T, 1, 1, 1, 1))
        return self.out(self.recurrent(x).flatten(2)).mean(0)


def test_images_that_are_fed_back_are_traced_but_have_no_layer(tmp_path: Path) -> None:
    network = settled(Images, drive=1.8)
    traced = assert_graph_is_torch(network, IMAGES, T)
    own = next(p for p in traced.graph.projections if p.source == p.target)
    assert isinstance(own.kernel, Conv) and own.kernel.weight.shape == (3, 3, 3, 3)
    graph, _ = chip_graph(traced, network, IMAGES)
    with pytest.raises(
        UnsupportedError, match="'recurrent': recurrent synapses in NetX are full matrices without delays"
    ):
        write_netx(tmp_path / "x.net", graph)


def test_matrices_that_lava_loads_otherwise_are_refused(tmp_path: Path) -> None:
    """What is fed back has one sign, what comes in has two, and 256 is one more than a matrix of one sign holds."""
    network = settled(lambda: elementwise(lambda y, x: x - y / 4))
    graph, _ = chip_graph(trace(network, IMAGES[:1], T), network, IMAGES)
    write_netx(tmp_path / "fits.net", graph)
    joins = tuple(
        replace(p, kernel=Dense(weight=-256.0 * np.eye(12))) if p.source == p.target else p for p in graph.projections
    )
    graph = replace(graph, projections=joins)
    with pytest.raises(
        UnsupportedError, match=r"'layer0': lava-dl stores the two matrices of a recurrent layer with one"
    ):
        write_netx(tmp_path / "x.net", graph)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "neurons in the middle": (
        lambda: Recurrent(
            layer.LinearRecurrentContainer(nn.Sequential(lif(), nn.Linear(12, 12)), 12, 12, step_mode="m")
        ),
        "a LinearRecurrentContainer has a rule where neurons are the last of what it contains",
    ),
    "neurons twice": (
        lambda: linear(lif(), nn.Linear(12, 12)),
        "a LinearRecurrentContainer has a rule where neurons are the last of what it contains, and nothing before them",
    ),
    "a part without rule": (
        lambda: linear(nn.Sigmoid()),
        "its part, a Sigmoid, has no rule; put it outside",
    ),
    "a product": (lambda: elementwise(lambda y, x: x * y), "its function has a rule where it is linear, .* has 'mul'"),
    "a function": (lambda: elementwise(lambda y, x: torch.relu(x - y)), "its function .* linear, .* it has 'relu'"),
    "single step": (
        lambda: Recurrent(layer.LinearRecurrentContainer(lif(), 12, 12, step_mode="s")),
        "layers that read spikes must run in multi-step mode",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_recurrences_are_refused(case: str) -> None:
    build, message = REFUSED[case]
    network = settled(build)
    with pytest.raises(UnsupportedError, match=f"Layer 'recurrent': {message}"):
        trace(network, IMAGES[:1], T)
    functional.reset_net(network)


def test_images_need_a_flatten() -> None:
    network = nn.Sequential(
        layer.Conv2d(1, 3, 3, padding=1, step_mode="m"),
        multi_step_lif(),
        layer.LinearRecurrentContainer(lif(), 8, 8, step_mode="m"),
    ).eval()
    with pytest.raises(UnsupportedError, match="Layer '2': a LinearRecurrentContainer needs a flattened value"):
        trace(network, torch.rand(T, 1, 1, 8, 8), T)
