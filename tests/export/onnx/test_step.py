"""step.onnx, run once for each time step from the states that it left, is model.onnx, spike for spike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from spikeport.errors import UnsupportedError
from spikeport.export.onnx import neurons, nodes, window
from spikeport.export.onnx.window import write_model, write_step
from spikeport.search.space.genotype import random_genotype

Arrays = dict[str, NDArray[np.float32]]


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path))


def run(found: onnxruntime.InferenceSession, values: Arrays) -> Arrays:
    return dict(zip([output.name for output in found.get_outputs()], found.run(None, values), strict=True))


def whole(path: Path, images: torch.Tensor) -> Arrays:
    return run(session(path), {"images": images.numpy()})


def streamed(path: Path, images: torch.Tensor, time_steps: int, rest: float = 0.0) -> Arrays:
    """The same outputs as of the whole window."""
    found = session(path)
    states = {
        value.name: np.full((len(images), *value.shape[1:]), rest, np.float32)
        for value in found.get_inputs()
        if value.name.startswith("state.")
    }
    name = next(value.name for value in found.get_inputs() if not value.name.startswith("state."))
    steps = []
    for t in range(time_steps):
        results = run(found, {name: (images[:, t] if name == "frame" else images).numpy()} | states)
        states = {f"state.{key[5:]}": value for key, value in results.items() if key.startswith("next.")}
        steps.append({key: value for key, value in results.items() if not key.startswith("next.")})
    stacked = {key: np.stack([step[key] for step in steps]) for key in steps[0]}
    return stacked | {"logits": stacked["logits"].mean(0)}


def differing(ours: Arrays, theirs: Arrays) -> int:
    """Spikes, of layers that fire, and logits by more than rounding."""
    assert ours.keys() == theirs.keys()
    spikes = [key for key in ours if key.endswith("/spikes")]
    assert sum(0 < ours[key].mean() < 1 for key in spikes) > 0.7 * len(spikes)
    wrong = int((~np.isclose(ours["logits"], theirs["logits"], atol=1e-5)).sum())
    return wrong + sum(int((ours[key] != theirs[key]).sum()) for key in spikes)


@pytest.fixture(autouse=True)
def not_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_by_torch", lambda *given: pytest.fail("it has no rule"))


@pytest.mark.parametrize("reads", ["images", "spikes"])
@pytest.mark.parametrize("primitives", ["plain", "darts"])
def test_step_by_step_is_the_whole_window(lively: Any, tmp_path: Path, primitives: Any, reads: Any) -> None:
    genotype = random_genotype(np.random.default_rng(2), primitives)
    network = lively(genotype, seed=2, cells=2, time_steps=3, reads=reads, input_shape=(2, 8, 12))
    given = torch.rand(5, *network.config.sample_shape)
    given = given if reads == "images" else given.round()
    expected = whole(write_model(tmp_path / "model.onnx", network, given[:2]), given)
    path = write_step(tmp_path / "step.onnx", network, given[:2])
    assert differing(expected, streamed(path, given, 3)) == 0
    with torch.no_grad():
        network.cells[0].p1.conv.weight[0] *= -1
    broken = write_step(tmp_path / "broken.onnx", network, given[:2])
    assert differing(expected, streamed(broken, given, 3)) > 0


def test_the_names_and_shapes_of_a_step(lively: Any, tmp_path: Path) -> None:
    network = lively(random_genotype(np.random.default_rng(2), "plain"), cells=1)
    path = write_step(tmp_path / "step.onnx", network, torch.rand(2, 1, 8, 8), {"run": "mine"})
    loaded = onnx.load(str(path))
    onnx.checker.check_model(loaded, full_check=True)
    layers = ["stem", *(f"cells.0.{name}" for name in ("p0", "p1", "n1", "n2", "n3", "n4"))]
    assert [value.name for value in loaded.graph.input] == ["image", *(f"state.{name}" for name in layers)]
    assert [value.name for value in loaded.graph.output] == [
        "logits",
        *(f"{name}/spikes" for name in layers),
        *(f"next.{name}" for name in layers),
    ]
    shapes = {
        value.name: [n.dim_param or n.dim_value for n in value.type.tensor_type.shape.dim]
        for value in (*loaded.graph.input, *loaded.graph.output)
    }
    assert shapes["state.cells.0.n1"] == shapes["next.cells.0.n1"] == shapes["cells.0.n1/spikes"] == ["batch", 4, 4, 4]
    assert {pair.key: pair.value for pair in loaded.metadata_props} == {"run": "mine", "time_steps": "3"}


class Steps(nn.Module):
    """Neurons that read an image in every step, a convolution, other neurons, and an answer."""

    def __init__(self, kind: Callable[[], nn.Module], end: Callable[[torch.Tensor], torch.Tensor], steps: int) -> None:
        super().__init__()
        self.first, self.conv, self.second = kind(), layer.Conv2d(1, 3, 3, padding=1, step_mode="m"), kind()
        self.readout, self.end, self.steps = nn.Linear(3 * 16, 4), end, steps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        spikes = self.second(self.conv(self.first(images.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1))))
        return self.end(self.readout(spikes.flatten(2)))


def steps(
    kind: Callable[[], nn.Module],
    end: Callable[[torch.Tensor], torch.Tensor] = lambda x: x.mean(0),
    count: int = 5,
) -> nn.Module:
    torch.manual_seed(3)
    network = Steps(kind, end, count).eval()
    with torch.no_grad():
        network.conv.weight.mul_(3)
    return network


KINDS: dict[str, Callable[[], nn.Module]] = {
    "LIF": lambda: neuron.LIFNode(tau=2.0, decay_input=False, step_mode="m", v_threshold=0.7),
    "LIF of tau 4": lambda: neuron.LIFNode(tau=4.0, decay_input=False, step_mode="m"),
    "LIF of tau 3": lambda: neuron.LIFNode(tau=3.0, step_mode="m", v_threshold=0.3),
    "IF": lambda: neuron.IFNode(step_mode="m", v_threshold=1.3),
    "soft reset": lambda: neuron.IFNode(v_reset=None, step_mode="m"),
    "reset to a tenth": lambda: neuron.LIFNode(v_reset=0.1, decay_input=False, step_mode="m"),
    "PLIF": lambda: neuron.ParametricLIFNode(init_tau=2.3, decay_input=False, step_mode="m"),
}


@pytest.mark.parametrize("name", KINDS)
def test_neurons_in_every_form_fire_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Apart, all steps as one batch, as a Scan, and streamed; and they are torch's."""
    network, images = steps(KINDS[name]), torch.rand(9, 1, 4, 4)
    module = window.with_spikes(network)
    with torch.no_grad():
        logits, *spikes = module(images)
    functional.reset_net(module)
    expected = {"logits": logits.numpy(), "first/spikes": spikes[0].numpy(), "second/spikes": spikes[1].numpy()}
    kinds = []
    for apart, scanned in ((9, 99), (1, 99), (1, 2)):
        monkeypatch.setattr(nodes, "APART", apart)
        monkeypatch.setattr(neurons, "SCANNED", scanned)
        path = write_model(tmp_path / "model.onnx", network, images[:2])
        assert differing(expected, whole(path, images)) == 0, (apart, scanned)
        kinds.append({node.op_type for node in onnx.load(str(path)).graph.node})
    assert "Scan" in kinds[2] and "Scan" not in kinds[0] | kinds[1]
    path = write_step(tmp_path / "step.onnx", network, images[:2])
    rest = float(network.first.v_reset or 0.0)
    assert {pair.key: pair.value for pair in onnx.load(str(path)).metadata_props} == {
        "time_steps": "5",
        **({"rest.first": str(rest), "rest.second": str(rest)} if rest else {}),
    }
    assert differing(expected, streamed(path, images, 5, rest)) == 0
    with torch.no_grad():
        network.conv.weight[0, 0, 0] += 0.4
    broken = write_step(tmp_path / "step.onnx", network, images[:2])
    assert differing(expected, streamed(broken, images, 5, rest)) > 0


@pytest.mark.parametrize("threshold", [1.0, 0.7, 3.0, 1e-3])
def test_the_steepest_slope_is_a_step(tmp_path: Path, threshold: float) -> None:
    """The float32 numbers around the threshold, far below and far above: fires from the threshold on, 0 or 1 only."""
    network = steps(lambda: neuron.IFNode(v_threshold=float(np.float32(threshold)), step_mode="m"), count=2)
    path = write_model(tmp_path / "model.onnx", network, torch.rand(2, 1, 4, 4))
    assert "IF_images" in {function.name for function in onnx.load(str(path)).functions}
    at = np.float32(threshold)
    below, above = np.nextafter(at, np.float32(0)), np.nextafter(at, np.float32(9))
    many = np.array([at, below, above, 0, -at, -1e30, 1e30, at / 2, at * 2, below * 0.75, 1e-30, -5, 5, 1e9, -1e9, 0.1])
    values = many.astype(np.float32)
    spikes = whole(path, torch.from_numpy(values.reshape(1, 1, 4, 4)))["first/spikes"].reshape(2, -1)
    v = np.zeros_like(values)
    for fired in spikes:
        h = v + values
        assert np.array_equal(fired, (h >= at).astype(np.float32))
        v = np.where(h >= at, np.float32(0), h)


def test_long_windows_have_no_more_nodes(tmp_path: Path) -> None:
    found = {}
    for count in (32, 64):
        path = write_model(tmp_path / "model.onnx", steps(KINDS["LIF"], count=count), torch.rand(2, 1, 4, 4))
        found[count] = len(onnx.load(str(path)).graph.node)
    assert found[32] == found[64] < 25


@pytest.mark.parametrize(
    ("end", "steps_answer"),
    [
        (lambda x: x.sum(0), True),
        (lambda x: x.mean(0) * 3 + 1, True),
        (lambda x: torch.sigmoid(x.mean(0)), False),
        (lambda x: x[-1], False),
        (lambda x: x.amax(0), False),
        (lambda x: x.mean(0) * x.mean(0), False),
    ],
)
def test_an_answer_is_a_mean_or_sum_over_time(tmp_path: Path, end: Any, steps_answer: bool) -> None:
    network, images = steps(KINDS["LIF"], end), torch.rand(9, 1, 4, 4)
    expected = whole(write_model(tmp_path / "model.onnx", network, images[:2]), images)
    if steps_answer:
        path = write_step(tmp_path / "step.onnx", network, images[:2])
        assert differing(expected, streamed(path, images, 5)) == 0
        return
    with pytest.raises(UnsupportedError, match=r"cannot be written as one time step: .*; run the whole window"):
        write_step(tmp_path / "step.onnx", network, images[:2])


def test_attention_over_the_window_has_no_step(lively: Any, tmp_path: Path) -> None:
    network = lively(random_genotype(np.random.default_rng(2), "plain"), cells=1, attention="eca")
    with pytest.raises(UnsupportedError, match="takes several time steps together; run the whole window"):
        write_step(tmp_path / "step.onnx", network, torch.rand(2, 1, 8, 8))
    assert list(tmp_path.iterdir()) == []


def test_recurrent_neurons(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inner = neuron.LIFNode(tau=2.0, decay_input=False)
    network: Any = nn.Sequential(layer.Flatten(), layer.Linear(16, 6), layer.LinearRecurrentContainer(inner, 6, 6))
    network.extend([neuron.IFNode(), layer.Linear(6, 4)])
    functional.set_step_mode(network, "m")

    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images.unsqueeze(0).repeat(6, 1, 1, 1, 1)).mean(0)

    whole_network, images = Repeated().eval(), torch.rand(9, 1, 4, 4)
    with torch.no_grad():
        network[1].weight.mul_(4)
        network[2].rc.weight.mul_(4)
        module = window.with_spikes(whole_network)
        logits, spikes = module(images)
    functional.reset_net(module)
    expected = {"logits": logits.numpy(), "network.3/spikes": spikes.numpy()}
    found = whole(write_model(tmp_path / "model.onnx", whole_network, images[:2]), images)
    assert differing(expected, found) == 0
    path = write_step(tmp_path / "step.onnx", whole_network, images[:2])
    assert differing(expected, streamed(path, images, 6)) == 0
    with torch.no_grad():
        network[2].rc.weight[0] *= -1
    assert differing(expected, streamed(write_step(path, whole_network, images[:2]), images, 6)) > 0
