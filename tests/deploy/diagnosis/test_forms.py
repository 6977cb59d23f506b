"""Torch networks, files and records: whatever is compared, the fault that was planted in it is found."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from spikeport.deploy.diagnosis.diagnose import diagnose, diagnose_files
from spikeport.deploy.diagnosis.diagnosis import Diagnosis
from spikeport.deploy.diagnosis.hypotheses import hypotheses
from spikeport.deploy.diagnosis.replay import Replay
from spikeport.deploy.diagnosis.rules import meaning_of
from spikeport.deploy.run.any_form import encode, run
from spikeport.deploy.run.netx import run_netx, write_run
from spikeport.deploy.run.record import Record
from spikeport.errors import InputError
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.netx.writer import write_netx
from spikeport.export.onnx.twin import write_twin
from spikeport.export.onnx.window import write_model
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace

STEPS = 6


class Network(nn.Module):
    """Images [N, 1, 6, 6] -> logits [N, 4]; every layer has a batch norm that has seen a few batches."""

    def __init__(self, **neurons: Any) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.first = lif(**neurons)
        self.middle = layer.Conv2d(3, 4, 3, padding=1, bias=False, step_mode="m")
        self.norm = layer.BatchNorm2d(4, step_mode="m")
        self.second = lif(**neurons)
        self.readout = nn.Linear(144, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        current = self.stem(images).unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)
        spikes = self.second(self.norm(self.middle(self.first(current))))
        return self.readout(spikes.flatten(2)).mean(0)


def lif(**changed: Any) -> nn.Module:
    return neuron.LIFNode(**({"tau": 1.6, "decay_input": False, "v_reset": 0.0, "step_mode": "m"} | changed))


def network(weights: nn.Module | None = None, **neurons: Any) -> nn.Module:
    made = Network(**neurons).train()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.uniform_(module.bias, -0.2, 0.6)
            module.momentum = None
    if weights is not None:
        made.load_state_dict(weights.state_dict())
        return made.eval()
    with torch.no_grad():
        for seed in range(2):
            made(torch.from_numpy(images(16, seed)))
            functional.reset_net(made)
    return made.eval()


def images(number: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random((number, 1, 6, 6), np.float32)


@pytest.fixture(scope="module")
def sound() -> nn.Module:
    return network()


@pytest.fixture(scope="module")
def graph(sound: nn.Module) -> SpikingGraph:
    return trace(sound, torch.from_numpy(images(1)), STEPS).graph


@pytest.fixture(scope="module")
def chip(graph: SpikingGraph) -> SpikingGraph:
    return quantize(lower(graph), peak=8.0)


@pytest.fixture(scope="module")
def spikes(sound: nn.Module) -> np.ndarray:
    return encode(sound, images(8))


def names(found: Diagnosis) -> list[str]:
    return [cause.name for cause in found.causes]


def weights_of(graph: SpikingGraph, target: str, change: Callable[[np.ndarray], np.ndarray]) -> SpikingGraph:
    return replace(
        graph,
        projections=tuple(
            replace(p, kernel=replace(p.kernel, weight=change(p.kernel.weight))) if p.target == target else p
            for p in graph.projections
        ),
    )


def test_every_population_is_alive(sound: nn.Module, spikes: np.ndarray) -> None:
    found = run(sound, images(8))
    assert all(0.05 < fired.mean() < 0.9 for fired in found.spikes.values())


def test_torch_and_its_graph_are_equal(sound: nn.Module, graph: SpikingGraph) -> None:
    assert diagnose(sound, graph, images(8)).verdict in ("equal", "equal but for ties")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"v_reset": None}, "resets by subtraction of the threshold"),
        ({"decay_input": True}, "scales its current by 1 - decay"),
        ({"tau": 1e12}, "does not leak"),
    ],
    ids=["v_reset", "decay_input", "tau"],
)
def test_neurons_of_torch_set_otherwise(sound: nn.Module, changed: dict[str, Any], says: str) -> None:
    found = diagnose(sound, network(sound, **changed), images(8))
    assert names(found) == [says] and found.causes[0].everywhere  # the encoder's neurons, too


class Strictly(nn.Module):
    """A spike needs v > threshold."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0).to(x)


def test_torch_neurons_that_fire_on_more_than_the_threshold(sound: nn.Module) -> None:
    """Weights of quarters and halved membranes: floats that are exact, so that many meet the threshold."""
    quarters = network(sound, tau=2.0)
    with torch.no_grad():
        for module in (quarters.stem[0], quarters.middle, quarters.readout):
            module.weight.copy_((8 * module.weight).round() / 4)
        quarters.stem[0].bias.zero_()
    quarters.stem[1] = nn.Identity()
    quarters.norm = nn.Identity()
    strict = copy.deepcopy(quarters)
    for neurons in (strict.first, strict.second):
        neurons.surrogate_function = Strictly()
    found = diagnose(quarters, strict, images(8).round())
    assert [(c.rule, c.name) for c in found.causes] == [("tie rule", "fires on v > threshold only")]
    assert found.verdict == "different"
    assert diagnose(quarters, copy.deepcopy(quarters), images(8).round()).verdict == "equal"


def test_a_batch_norm_in_training_mode(sound: nn.Module, graph: SpikingGraph) -> None:
    before = {name: value.clone() for name, value in sound.state_dict().items()}
    training = network(sound)
    for module in training.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    other = {name: value.clone() for name, value in training.state_dict().items()}
    for reference in (sound, graph):
        found = diagnose(reference, training, images(8))
        assert (found.rules, names(found)) == (("batch norm",), ["has batch norms in training mode"])
    assert all(m.training == isinstance(m, nn.BatchNorm2d) for m in training.modules())  # left as it was
    for module, kept in ((sound, before), (training, other)):
        assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())


def test_images_of_another_range(sound: nn.Module) -> None:
    found = diagnose(sound, run(sound, images(8) / 2), images(8))
    assert ("input scale", "gets half of the image") in {(c.rule, c.name) for c in found.causes}
    assert found.rules == ("input scale",)


def test_model_onnx_of_another_reset(sound: nn.Module, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", network(sound, v_reset=None), torch.from_numpy(images(1)), {})
    assert names(diagnose(sound, path, images(8))) == ["resets by subtraction of the threshold"]
    turned = diagnose(path, sound, images(8))  # the file does not say its rules, the network does
    assert names(turned) == ["resets by subtraction of the threshold"]
    assert any("does not say how it computes" in note for note in turned.notes)


def test_a_netx_file_with_flipped_kernels(chip: SpikingGraph, spikes: np.ndarray, tmp_path: Path) -> None:
    wrong = weights_of(chip, "second", lambda w: w[:, :, ::-1, ::-1])
    file = write_netx(tmp_path / "network.net", wrong)
    found = diagnose(chip, file, spikes)
    assert (found.verdict, names(found)) == ("different", ["flips kernels, rows and columns"])
    assert diagnose(chip, write_netx(tmp_path / "sound.net", chip), spikes).verdict == "equal"


def test_a_matrix_whose_columns_were_permuted(chip: SpikingGraph, spikes: np.ndarray, tmp_path: Path) -> None:
    """Of the readout: no spike differs, its membranes do."""
    channels_last = weights_of(chip, "readout", lambda w: w.reshape(4, 4, 6, 6).transpose(0, 2, 3, 1).reshape(4, 144))
    write_netx(tmp_path / "network.net", channels_last)
    twin = write_twin(tmp_path / "twin.onnx", channels_last, {})
    found = diagnose(chip, twin, spikes)
    assert [(c.rule, c.name) for c in found.causes] == [("axis order", "has matrices whose columns count H, W, C")]
    assert [row.name for row in found.populations if row.differing] == ["answers"]


def test_weights_rounded_otherwise(graph: SpikingGraph, chip: SpikingGraph, spikes: np.ndarray) -> None:
    lowered = lower(graph)
    (exact,) = lowered.incoming("second")
    threshold = {p.name: float(p.threshold) for p in lowered.populations}
    scale = next(float(p.threshold) for p in chip.populations if p.name == "second") + 1
    ideal = exact.kernel.weight * scale / threshold["second"]
    roundings = {
        "rounds weights to even numbers, toward zero": lambda w: 2 * np.fix(ideal / 2),
        "rounds weights to the nearest number, odd ones too": lambda w: np.rint(ideal),
    }
    for says, rounded in roundings.items():
        found = diagnose(chip, weights_of(chip, "second", rounded), spikes, unrounded=lowered)
        assert says in names(found) and found.rules == ("weight rounding",)


def test_a_float_network_and_its_integers(sound: nn.Module, chip: SpikingGraph) -> None:
    found = diagnose(sound, chip, images(8))
    assert [row.name for row in found.populations] == ["first", "second"]
    assert names(found) == ["computes in the chip's integers"]
    assert any("answers were not compared" in note for note in found.notes)


@pytest.mark.parametrize(("shift", "word"), [(1, "late"), (-1, "early")])
def test_a_record_that_is_a_step_off(graph: SpikingGraph, spikes: np.ndarray, shift: int, word: str) -> None:
    right = simulate(graph, {graph.inputs[0].name: spikes})
    moved = {name: np.zeros_like(fired) for name, fired in right.spikes.items()}
    for name, fired in right.spikes.items():
        if shift > 0:
            moved[name][1:] = fired[:-1]
        else:
            moved[name][:-1] = fired[1:]
    record = Record(spikes=moved, readout=right.readout[-1], margins={})
    found = diagnose(graph, record, spikes)
    assert f"is recorded one step {word}" in names(found)
    assert found.rules == ("delay or phase",)


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
def test_one_changed_weight_is_no_rule(
    graph: SpikingGraph, chip: SpikingGraph, spikes: np.ndarray, arithmetic: str
) -> None:
    right = graph if arithmetic == "float" else chip
    value = next(p for p in right.projections if p.target == "second").kernel.weight[2, 1, 0, 2]
    by = 0.9 if arithmetic == "float" else 30.0

    def changed(weight: np.ndarray) -> np.ndarray:
        weight = weight.copy()
        weight[2, 1, 0, 2] += by
        return weight

    found = diagnose(right, weights_of(right, "second", changed), spikes)
    assert (found.verdict, found.causes) == ("different", ())
    (left,) = found.unexplained
    assert (left.population, left.rows, left.of_rows) == ("second", (2,), 4)
    suspects = {s.index: s for s in left.suspects if s.kind == "weight"}
    assert (2, 1, 0, 2) in suspects
    here = suspects[2, 1, 0, 2]
    assert here.reference == value and here.low - 1e-3 <= value + by <= here.high + 1e-3
    assert found.tried[0].differing > 0  # nothing explains it


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
def test_one_changed_bias_and_one_threshold(
    graph: SpikingGraph, chip: SpikingGraph, spikes: np.ndarray, arithmetic: str
) -> None:
    right = graph if arithmetic == "float" else chip
    second = next(p for p in right.populations if p.name == "second")
    by = 0.25 if arithmetic == "float" else 9.0
    bias = second.bias.copy()
    bias[1] += by
    for kind, other in (
        ("bias", replace(second, bias=bias)),
        ("threshold", replace(second, threshold=second.threshold + by)),
    ):
        wrong = replace(right, populations=tuple(other if p.name == "second" else p for p in right.populations))
        (left,) = diagnose(right, wrong, spikes).unexplained
        suspect = next(s for s in left.suspects if s.kind == kind)
        there = suspect.reference + by
        assert suspect.low - 1e-3 <= there <= suspect.high + 1e-3


def test_recorded_layers_of_a_netx_file(chip: SpikingGraph, spikes: np.ndarray, tmp_path: Path) -> None:
    """What `spikeport run --out` writes, of a file and of one that is wrong, against the file."""
    file = write_netx(tmp_path / "network.net", chip)
    wrong = write_netx(tmp_path / "wrong.net", weights_of(chip, "second", lambda w: w.swapaxes(2, 3)))
    given = np.swapaxes(spikes, 0, 1)
    for path, verdict, causes in (
        (file, "equal", []),
        (wrong, "different", ["swaps rows and columns of kernels"]),
    ):
        write_run(tmp_path / "result.npz", run_netx(path, given))
        found = diagnose_files(file, tmp_path / "result.npz", given)
        assert (found.verdict, names(found)) == (verdict, causes)


def test_a_netx_file_with_input_neurons(tmp_path: Path) -> None:
    """Of images, as lava-dl's own files read them, and of a record whose neurons reset otherwise."""
    neurons = {"type": b"CUBA", "iDecay": 4096, "vDecay": 1024, "vThMant": 10}
    layers = [
        {"type": b"input", "shape": [1, 2, 3], "neuron": neurons, "weight": 8, "bias": 2},
        {"type": b"flatten"},
        {"type": b"dense", "shape": [4], "weight": 2 * np.arange(-8, 16).reshape(4, 6), "neuron": neurons},
        {"type": b"dense", "shape": [3], "weight": 4 * np.arange(-4, 8).reshape(3, 4), "neuron": neurons},
    ]
    path = tmp_path / "theirs.net"
    with h5py.File(path, "w") as file:
        for i, told in enumerate(layers):
            for name, value in told.items():
                if isinstance(value, dict):
                    for word, number in value.items():
                        file[f"layer/{i}/{name}/{word}"] = number
                else:
                    file[f"layer/{i}/{name}"] = value
    pictures = np.random.default_rng(2).random((5, 1, 2, 3), np.float32)
    right = run_netx(path, pictures, time_steps=7)
    write_run(tmp_path / "right.npz", right)
    assert diagnose_files(path, tmp_path / "right.npz", pictures, 7).verdict == "equal"
    graph = replace(right.network.graph, time_steps=7)
    entry = np.swapaxes(right.spikes[0], 0, 1)
    other = Replay({graph.inputs[0].name: entry}, meaning_of(graph))
    meaning = next(h.change(meaning_of(graph)) for h in hypotheses(graph, entry) if h.name == "does not reset")
    wrong = {f"spikes_{p.name[5:]}": other.population(meaning, p.name).spikes for p in graph.populations}
    assert all(0 < fired.mean() < 1 for fired in wrong.values())
    moved = {name: np.swapaxes(fired, 0, 1) for name, fired in wrong.items()}
    np.savez(tmp_path / "wrong.npz", spikes_0=right.spikes[0], **moved)
    found = diagnose_files(path, tmp_path / "wrong.npz", pictures, 7)
    assert names(found) == ["does not reset"]


def test_populations_of_other_names_are_matched_by_order(graph: SpikingGraph, spikes: np.ndarray) -> None:
    right = simulate(graph, {graph.inputs[0].name: spikes})
    names_of = dict(zip(right.spikes, ("lif1", "lif2"), strict=True))
    flat = {names_of[name]: fired.reshape(*fired.shape[:2], -1) for name, fired in right.spikes.items()}
    found = diagnose(graph, Record(spikes=flat, readout=right.readout[-1], margins={}), spikes)
    assert found.verdict == "equal"
    assert found.notes == (
        "populations without a name in both are matched by order: 'lif1' is 'first', 'lif2' is 'second'",
    )


def test_what_was_not_recorded_is_computed(sound: nn.Module, graph: SpikingGraph) -> None:
    """The candidate shows the encoder and its answer alone."""
    wrong = run(network(sound, v_reset=None), images(8))
    record = Record(spikes={"first": wrong.spikes["first"]}, readout=wrong.readout, margins={})
    found = diagnose(sound, record, images(8))
    assert "resets by subtraction of the threshold" in names(found)
    assert any("only the reference has them: second" in note for note in found.notes)


def test_rounding_of_floats_is_no_fault() -> None:
    """Sums of tenths meet the threshold in one order of adding, and miss it in another."""
    weight = np.full((1, 10), 0.1)
    neurons = Population(name="a", shape=(1,), decay=1.0, threshold=1.0, bias=np.zeros(1))
    out = Population(name="out", shape=(1,), decay=1.0, threshold=np.inf, bias=np.zeros(1), role="readout")
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="in", shape=(10,)),),
            populations=(neurons, out),
            projections=(
                Projection(source="in", target="a", kernel=Dense(weight=weight)),
                Projection(source="a", target="out", kernel=Dense(weight=np.ones((1, 1)))),
            ),
            time_steps=2,
        )
    )
    spikes = np.ones((2, 1, 10), np.uint8)
    found = simulate(graph, {"in": spikes})
    other = {"in": spikes, "a": np.concatenate([1 - found.spikes["a"][:1], np.ones((1, 1, 1), np.uint8)])}
    steps = np.cumsum(other["a"].astype(np.float64), axis=0)
    told = diagnose(graph, Record(spikes=other, readout=steps[-1], margins={}), spikes)
    assert told.verdict == "equal but for ties" and not told.causes


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda right: {"a": right["first"]}, "No population can be compared"),
        (lambda right: {name: fired[:, :3] for name, fired in right.items()}, "record both on the same input"),
    ],
    ids=["names", "samples"],
)
def test_what_cannot_be_compared(graph: SpikingGraph, spikes: np.ndarray, wrong: Any, says: str) -> None:
    right = simulate(graph, {graph.inputs[0].name: spikes}).spikes
    with pytest.raises(InputError, match=says):
        diagnose(graph, Record(spikes=wrong(right), readout=np.zeros((8, 4)), margins={}), spikes)


def test_inputs_that_nobody_reads(graph: SpikingGraph, sound: nn.Module, spikes: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither side reads images; give spikes"):
        diagnose(graph, graph, images(2))
    with pytest.raises(InputError, match=r"reads images, but the input has shape .* as spikes have"):
        diagnose(sound, graph, spikes)
    with pytest.raises(InputError, match="must be 0 or 1"):
        diagnose(graph, graph, 2.0 * spikes)
    with pytest.raises(InputError, match=r"There is no 'nowhere.net'; .* \.net, \.onnx, \.npz"):
        diagnose("nowhere.net", graph, spikes)
    (tmp_path / "network.nir").write_bytes(b"x")
    with pytest.raises(InputError, match="Nothing is known of the ending of"):
        diagnose(tmp_path / "network.nir", graph, spikes)
    np.savez(tmp_path / "odd.npz", first=2 * np.ones((2, 3, 4)))
    with pytest.raises(InputError, match=r"must hold spikes, 0 or 1, .* `first` is not"):
        diagnose(graph, tmp_path / "odd.npz", spikes)
    with pytest.raises(InputError, match="The spikes have 6 time steps, but 9 are asked for"):
        diagnose_files(tmp_path, tmp_path, np.swapaxes(spikes, 0, 1), 9)


def test_kernels_have_a_shape(graph: SpikingGraph) -> None:
    assert any(isinstance(p.kernel, Conv) for p in graph.projections)  # else nothing above is flipped
