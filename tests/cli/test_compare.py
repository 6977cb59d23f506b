"""`spikeport compare`: two forms of one network, from files; what is printed, what --json holds, the exit code."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

import spikeport
from spikeport.deploy.run.netx import run_netx, write_run
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.writer import write_netx
from spikeport.export.onnx.twin import write_twin
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.targets import traced
from spikeport.search.runs import Run, create_run
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, save_network
from spikeport.tests.cli.invoking import invoke


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """network.net, one that resets otherwise as twin.onnx cannot, one with flipped kernels, and their inputs."""
    path = tmp_path_factory.mktemp("compare")
    network, images = spikeport.example_network()
    graph = quantize(lower(spikeport.trace(network, images[:1], 4).graph), peak=10.0)
    write_netx(path / "network.net", graph)
    write_netx(path / "flipped.net", flipped(graph))
    write_twin(path / "twin.onnx", graph, {})
    np.save(path / "spikes.npy", np.swapaxes(spikeport.encode(network, images), 0, 1))
    np.save(path / "images.npy", images.numpy())
    return path


def flipped(graph: SpikingGraph) -> SpikingGraph:
    first, *rest = graph.projections
    kernel = replace(first.kernel, weight=first.kernel.weight[:, :, ::-1, ::-1])
    return replace(graph, projections=(replace(first, kernel=kernel), *rest))


def test_equal_forms(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    assert invoke(monkeypatch, "compare", "network.net", "twin.onnx", "--input", "spikes.npy") == 0
    assert "Equal: 0 of" in " ".join(capsys.readouterr().out.split())


def test_different_forms(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    words = ("compare", "network.net", "flipped.net", "--input", "spikes.npy", "--time-steps", 4)
    assert invoke(monkeypatch, *words) == 3
    said = capsys.readouterr().out
    assert "cause (kernel order): the candidate flips kernels, rows and columns" in said
    assert "first difference: population 'hidden'" in said
    assert invoke(monkeypatch, *words, "--json") == 3
    found = json.loads(capsys.readouterr().out)
    assert [cause["rule"] for cause in found["causes"]] == ["kernel order"]
    assert found["first"]["population"] == "hidden" and found["verdict"] == "different"


def test_what_another_tool_recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    write_run(folder / "chip.npz", run_netx(Path("flipped.net"), np.load("spikes.npy")))  # as `spikeport run --out`
    assert invoke(monkeypatch, "compare", "network.net", "chip.npz", "--input", "spikes.npy") == 3
    assert "flips kernels, rows and columns" in capsys.readouterr().out


def test_the_example_of_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    page = (Path(spikeport.__file__).parent / "docs" / "deploy.md").read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (recipe,) = (block for block in blocks if "theirs.net" in block and "import numpy" in block)
    (shown,) = (block for block in blocks if block.startswith("$ spikeport compare"))
    exec(recipe, {})
    command, printed = shown.split("\n", 1)
    assert invoke(monkeypatch, *command.removeprefix("$ spikeport ").split()) == 3
    said = capsys.readouterr().out
    assert [line.rstrip() for line in said.splitlines()] == printed.splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("network.net", "nowhere.net", "--input", "spikes.npy"), "There is no 'nowhere.net'"),
        (("network.net", "spikes.npy", "--input", "spikes.npy"), "Nothing is known of the ending of 'spikes.npy'"),
        (("network.net", "twin.onnx", "--input", "images.npy"), "neither side reads images"),
        (("network.net", "twin.onnx", "--input", "network.net"), "compare --input reads an array"),
        (("network.net", "twin.onnx", "--input", "spikes.npy", "--time-steps", 5), "4 time steps, but 5 are asked for"),
    ],
)
def test_bad_words(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    said: str,
) -> None:
    monkeypatch.chdir(folder)
    assert invoke(monkeypatch, "compare", *words) == 1
    heard = capsys.readouterr().err
    assert said in heard and heard.count("\n") == 1


def made_run(path: Path, reads: str) -> tuple[Run, SpikingNetwork]:
    """A run of a network of random weights whose batch norms have seen a batch, with its chip's file."""
    torch.manual_seed(0)
    config = NetworkConfig(channels=2, cells=1, time_steps=3, classes=4, input_shape=(2, 8, 8), reads=reads)
    network = SpikingNetwork(random_genotype(np.random.default_rng(1), "plain"), config).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, 0.0, 0.6)
            module.momentum = None
    with torch.no_grad():
        network(torch.rand(16, *config.sample_shape).round())
    functional.reset_net(network)
    run = create_run(path, {"command": "test", "settings": {}})
    save_network(run, network.eval())
    graph = quantize(lower(traced(network).graph), peak=4.0)
    run.export_folder("loihi").mkdir(parents=True)
    write_netx(run.export_folder("loihi") / "network.net", graph)
    return run, network


@pytest.mark.parametrize("reads", ["images", "spikes"])
def test_a_run_folder(
    reads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The float network against its chip's file, and that file against one whose weights were cut, not rounded."""
    run, network = made_run(tmp_path / "run", reads)
    values = (np.random.default_rng(3).random((6, *network.config.sample_shape)) < 0.4).astype(np.float32)
    np.save(tmp_path / "input.npy", values)
    file = run.export_folder("loihi") / "network.net"
    assert invoke(monkeypatch, "compare", run.path, run.path, "--input", tmp_path / "input.npy") == 0
    capsys.readouterr()
    code = invoke(monkeypatch, "compare", run.path, file, "--input", tmp_path / "input.npy", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (code, [cause["name"] for cause in found["causes"]]) == (3, ["computes in the chip's integers"])
    graph = cut(spikeport.read_graph(file), lower(traced(network).graph))
    write_netx(tmp_path / "cut.net", graph)
    spikes = np.swapaxes(spikeport.encode(network, values), 0, 1) if reads == "images" else values
    np.save(tmp_path / "spikes.npy", spikes)
    assert invoke(monkeypatch, "compare", file, tmp_path / "cut.net", "--input", tmp_path / "spikes.npy", "--json") == 3
    found = json.loads(capsys.readouterr().out)
    assert "rounds weights to even numbers, toward zero" in {cause["name"] for cause in found["causes"]}


def cut(graph: SpikingGraph, exact: SpikingGraph) -> SpikingGraph:
    """The weights of neurons cut to even numbers, not rounded to them."""
    float_of = {(p.source, p.target): p.kernel.weight for p in exact.projections}
    thresholds = {p.name: float(p.threshold) for p in exact.populations}
    neurons = {p.name: p.threshold + 1 for p in graph.populations if p.role == "neuron"}
    found = []
    for p in graph.projections:
        if p.target in neurons:
            ideal = float_of[p.source, p.target] * neurons[p.target] / thresholds[p.target]
            p = replace(p, kernel=replace(p.kernel, weight=2 * np.trunc(ideal / 2)))
        found.append(p)
    return replace(graph, projections=tuple(found))
