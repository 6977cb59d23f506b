"""Float networks written as ONNX node by node equal torch in every spike; what has no rule is left to torch."""

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from spikeport.errors import UnsupportedError
from spikeport.export.onnx import window
from spikeport.export.onnx.from_fx import model_of
from spikeport.export.onnx.nodes import NoRule
from spikeport.export.onnx.window import with_spikes, write_model, write_step
from spikeport.export.trace.walk import symbolic
from spikeport.search.space.example import example_network
from spikeport.search.space.genotype import random_genotype

SEEDS = 5 if os.environ.get("SPIKEPORT_BUDGET") == "large" else 1  # make conformance


@pytest.fixture
def not_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_by_torch", lambda *given: pytest.fail("it has no rule"))


def differing(path: Path, network: nn.Module, images: torch.Tensor) -> int:
    """Spikes, and logits by more than rounding, that differ between the file and torch, of layers that fire."""
    module = with_spikes(network)
    with torch.no_grad():
        logits, *spikes = module(images)
    functional.reset_net(module)
    found, *fired = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})
    assert sum(0 < float(spike.mean()) < 1 for spike in spikes) > 0.7 * len(spikes)
    wrong = int((~np.isclose(found, logits.numpy(), atol=1e-5)).sum())
    return wrong + sum(int((a != b.numpy()).sum()) for a, b in zip(fired, spikes, strict=True))


@pytest.mark.budget
@pytest.mark.parametrize(
    ("primitives", "attention"),
    [*product(("plain", "darts"), ("none", "eca", "cbam", "tcs", "spike")), ("plain", "sma")],  # sma takes seconds
)
def test_searched_networks(lively: Any, tmp_path: Path, not_by_torch: None, primitives: Any, attention: str) -> None:
    for seed in range(SEEDS if attention != "sma" else 1):
        genotype = random_genotype(np.random.default_rng(seed), primitives)
        network = lively(genotype, seed=seed, attention=attention, input_shape=(2, 8, 12))
        path = write_model(tmp_path / "model.onnx", network, torch.rand(2, 2, 8, 12))
        assert differing(path, network, torch.rand(5, 2, 8, 12)) == 0
        with torch.no_grad():
            network.cells[0].p1.norm.bias.add_(0.5)
        assert differing(path, network, torch.rand(5, 2, 8, 12)) > 0


class Mixed(nn.Module):
    """Neurons of a kind behind a convolution, then operations that users write."""

    def __init__(self, neurons: nn.Module, tail: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.lif, self.tail = nn.Conv2d(1, 4, 3, padding=1), neurons, tail
        self.second, self.after = layer.Conv2d(4, 4, (3, 1), stride=(2, 1), step_mode="m"), neuron.IFNode(step_mode="m")
        self.readout = nn.Linear(4 * 3 * 8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        current = self.conv(images).unsqueeze(0).repeat(5, 1, 1, 1, 1)
        return self.readout(self.tail(self.after(self.second(self.lif(current)))).flatten(2)).mean(0)


def mixed(neurons: nn.Module, tail: Callable[[torch.Tensor], torch.Tensor] = lambda x: x) -> nn.Module:
    torch.manual_seed(0)
    network = Mixed(neurons, tail).eval()
    with torch.no_grad():
        network.conv.weight.mul_(6)
        network.second.weight.mul_(3)
    return network


@pytest.mark.parametrize(
    "neurons",
    [
        neuron.IFNode(v_threshold=0.7, step_mode="m"),
        neuron.IFNode(v_reset=None, step_mode="m"),
        neuron.LIFNode(tau=3.0, step_mode="m"),
        neuron.LIFNode(tau=1.7, decay_input=False, v_reset=None, v_threshold=1.3, step_mode="m"),
        neuron.LIFNode(tau=3.0, v_reset=0.1, step_mode="m"),
        neuron.LIFNode(tau=3.0, decay_input=False, v_reset=-0.2, step_mode="m"),
        neuron.ParametricLIFNode(init_tau=2.3, step_mode="m"),
        neuron.ParametricLIFNode(init_tau=2.3, decay_input=False, v_reset=None, step_mode="m"),
    ],
)
def test_neurons(neurons: nn.Module, tmp_path: Path, not_by_torch: None) -> None:
    network = mixed(neurons)
    path = write_model(tmp_path / "model.onnx", network, torch.rand(2, 1, 8, 8))
    images = torch.rand(20, 1, 8, 8)
    assert differing(path, network, images) == 0
    neurons.v_threshold += 0.05
    assert differing(path, network, images) > 0


def test_a_layer_named_like_what_is_written(tmp_path: Path, not_by_torch: None) -> None:
    """The spikes of `hidden` are the model's output `hidden/spikes`, a name that a layer of neurons gives, too."""
    network, images = example_network()
    path = write_model(tmp_path / "model.onnx", network, images[:2])
    assert differing(path, network, images) == 0
    assert [output.name for output in onnx.load(str(path)).graph.output] == ["logits", "first/spikes", "hidden/spikes"]


@pytest.mark.parametrize("time_steps", [2, 32])
def test_a_weight_stands_in_the_file_once(lively: Any, tmp_path: Path, not_by_torch: None, time_steps: int) -> None:
    genotype = random_genotype(np.random.default_rng(1), "plain")
    network = lively(genotype, channels=32, time_steps=time_steps)
    path = write_model(tmp_path / "model.onnx", network, torch.rand(2, 1, 8, 8))
    weights = sum(parameter.numel() for parameter in network.state_dict().values()) * 4
    assert path.stat().st_size < 1.2 * weights


def test_batch_norms_are_in_the_weights_and_taps_apart(lively: Any, tmp_path: Path, not_by_torch: None) -> None:
    """Of the factorized reduction, a 2x2 kernel whose channels read one tap each, the file has one weight in four."""
    network = lively(random_genotype(np.random.default_rng(0), "plain"), cells=3)
    loaded = onnx.load(str(write_model(tmp_path / "model.onnx", network, torch.rand(2, 1, 8, 8))))
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in loaded.graph.initializer}
    halved = next(f"cells.{i}.p0" for i, cell in enumerate(network.plan) if cell.halve_s0)
    module, norm = network.get_submodule(f"{halved}.conv"), network.get_submodule(f"{halved}.norm")
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    expected = (module.weight.double() * factor[:, None, None, None]).float()
    assert np.array_equal(found[f"{halved}.conv.weight"], expected.detach().numpy())
    assert not any(name.startswith(f"{halved}.norm") for name in found)


class Twice(nn.Module):
    def __init__(self, neurons: nn.Module) -> None:
        super().__init__()
        self.lif = neurons

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.lif(self.lif(images.unsqueeze(0))).mean(0)


def test_neurons_that_are_called_again_go_on_where_they_ended(tmp_path: Path, not_by_torch: None) -> None:
    network = Twice(neuron.IFNode(v_threshold=1.1, v_reset=None, step_mode="m")).eval()
    images = 3 * torch.rand(20, 1, 4, 4)
    path = write_model(tmp_path / "model.onnx", network, images[:2])
    assert differing(path, network, images) == 0
    with pytest.raises(UnsupportedError, match="lif is called again in the same step"):
        write_step(tmp_path / "step.onnx", network, images[:2])


class Once(nn.Module):
    def __init__(self, neurons: nn.Module) -> None:
        super().__init__()
        self.lif = neurons

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.lif(images.unsqueeze(0).repeat(4, 1, 1, 1, 1)).mean(0)


@pytest.mark.parametrize("reset", [0.0, None])
def test_a_membrane_at_the_threshold_fires(tmp_path: Path, not_by_torch: None, reset: float | None) -> None:
    """Halves add up to it exactly; a rule that wants more than the threshold would differ."""
    network = Once(neuron.IFNode(v_threshold=1.0, v_reset=reset, step_mode="m")).eval()
    images = torch.arange(4.0).reshape(1, 1, 2, 2) / 2
    path = write_model(tmp_path / "model.onnx", network, torch.rand(2, 1, 2, 2))
    assert differing(path, network, images) == 0
    assert with_spikes(network)(images)[1][:, 0, 0, 0, 1].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (mixed(neuron.LIFNode(step_mode="m"), torch.tanh), "tanh"),
        (mixed(neuron.LIFNode(step_mode="m"), lambda x: torch.add(x, x, alpha=2)), "alpha"),
        (mixed(neuron.LIFNode(step_mode="m"), lambda x: x[:, :, :, :1]), "takes a part of a tensor"),
        (mixed(neuron.QIFNode(step_mode="m")), "lif is a QIFNode"),
        (mixed(neuron.LIFNode(step_mode="m")).double(), "float64"),
        (mixed(neuron.LIFNode(step_mode="m")).train(), "in training mode"),
    ],
)
def test_what_has_no_rule_is_named(network: nn.Module, why: str) -> None:
    with pytest.raises(NoRule, match=why):
        model_of(symbolic(network), (1, 8, 8), ["logits"], {})


@pytest.mark.slow
def test_what_has_no_rule_is_left_to_torch(tmp_path: Path) -> None:
    network = mixed(neuron.LIFNode(step_mode="m"), torch.tanh)
    path = write_model(tmp_path / "model.onnx", network, torch.rand(2, 1, 8, 8), {"run": "x"})
    assert differing(path, network, torch.rand(20, 1, 8, 8)) == 0
    loaded = onnx.load(str(path))
    assert "Tanh" in {node.op_type for node in loaded.graph.node}
    assert {p.key: p.value for p in loaded.metadata_props} == {"run": "x"}


class Layers(nn.Module):
    """Layers of other people's networks between two layers of neurons."""

    def __init__(self, *middle: nn.Module, neurons: int) -> None:
        super().__init__()
        self.conv, self.lif = nn.Conv2d(1, 4, 3, padding=1), neuron.IFNode(step_mode="m")
        self.middle, self.after, self.flat = nn.Sequential(*middle), neuron.IFNode(step_mode="m"), layer.Flatten()
        self.readout, self.vote = layer.WSLinear(neurons, 8), layer.VotingLayer(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.lif(self.conv(images).unsqueeze(0).repeat(5, 1, 1, 1, 1))
        return self.vote(self.readout(self.flat(self.after(self.middle(x))))).mean(0)


MIDDLES: dict[str, Callable[[], tuple[list[nn.Module], int]]] = {
    "container": lambda: (
        [layer.SeqToANNContainer(nn.Flatten(), nn.Linear(256, 16), nn.BatchNorm1d(16))],
        16,
    ),
    "1-D batch norm": lambda: ([layer.Flatten(), layer.Linear(256, 16), layer.BatchNorm1d(16)], 16),
    "threshold-dependent batch norm": lambda: (
        [layer.WSConv2d(4, 4, 3, padding=1), layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 4)],
        256,
    ),
    "pool to a part": lambda: ([layer.AdaptiveAvgPool2d((4, 2))], 32),
    "pool to a larger size": lambda: ([layer.Conv2d(4, 4, 8), layer.AdaptiveAvgPool2d((3, 2))], 24),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_layers_of_others(tmp_path: Path, not_by_torch: None, name: str) -> None:
    torch.manual_seed(1)
    middle, neurons = MIDDLES[name]()
    network = Layers(*middle, neurons=neurons)
    functional.set_step_mode(network, "m")
    with torch.no_grad():
        network.conv.weight.abs_().mul_(2)
        for module in network.middle.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0
                nn.init.constant_(module.bias, 0.3)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                bound = module.weight[0].numel() ** -0.5
                nn.init.uniform_(module.weight, -bound, 1.4 * bound)
        images = torch.rand(5, 1, 8, 8)
        network(images)
    functional.reset_net(network)
    path = write_model(tmp_path / "model.onnx", network.eval(), images[:2])
    assert differing(path, network, images) == 0
    with torch.no_grad():
        network.readout.bias.add_(0.5)
    assert differing(path, network, images) > 0
