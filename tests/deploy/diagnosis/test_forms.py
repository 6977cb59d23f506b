"""Graphs, files and records: whatever is compared, the fault that was planted in it is found."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from spikeport.deploy.diagnosis.diagnose import diagnose, diagnose_files
from spikeport.deploy.diagnosis.hypotheses import hypotheses
from spikeport.deploy.diagnosis.replay import Replay
from spikeport.deploy.diagnosis.rules import meaning_of
from spikeport.deploy.run.netx import run_netx, write_run
from spikeport.deploy.run.record import Record
from spikeport.errors import InputError
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.netx.writer import write_netx
from spikeport.export.nir.writer import write_nir
from spikeport.export.onnx.float_graph import write_graph
from spikeport.export.onnx.twin import write_twin
from spikeport.export.onnx.window import write_model
from spikeport.export.passes import lower
from spikeport.export.simulate import simulate
from spikeport.search.runs import create_run

from .small_torch import images, names, network, weights_of


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


def test_a_nir_file_with_flipped_kernels(graph: SpikingGraph, spikes: np.ndarray, tmp_path: Path) -> None:
    wrong = write_nir(tmp_path / "wrong.nir", weights_of(graph, "second", lambda w: w[:, :, ::-1, ::-1]))
    right = write_nir(tmp_path / "right.nir", graph)
    assert names(diagnose(graph, wrong, spikes)) == ["flips kernels, rows and columns"]
    assert names(diagnose(right, wrong, spikes)) == ["flips kernels, rows and columns"]
    assert diagnose(graph, right, spikes).verdict == "equal"


def test_a_float_graph_in_onnx(graph: SpikingGraph, spikes: np.ndarray, tmp_path: Path) -> None:
    right = write_graph(tmp_path / "right.onnx", graph, {})
    wrong = weights_of(graph, "second", lambda w: w.swapaxes(2, 3))
    assert diagnose(graph, right, spikes).verdict in ("equal", "equal but for ties")
    assert names(diagnose(right, wrong, spikes)) == ["swaps rows and columns of kernels"]


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


def test_no_code_of_an_imported_network_runs_for_a_file(
    chip: SpikingGraph, spikes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(tmp_path / "run", {"command": "test", "settings": {}})
    run.config.parent.mkdir()
    run.config.write_text('{"imported": {}}')
    run.export_folder("loihi").mkdir(parents=True)
    file = write_netx(run.export_folder("loihi") / "network.net", chip)
    monkeypatch.setattr("spikeport.deploy.diagnosis.forms.load_network", lambda run: pytest.fail("it was run"))
    flipped = weights_of(chip, "second", lambda w: w[:, :, ::-1, ::-1])
    assert names(diagnose(file, flipped, spikes)) == ["flips kernels, rows and columns"]


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
    meaning = next(h.change(meaning_of(graph)) for h in hypotheses(entry) if h.name == "does not reset")
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
    without = Record(spikes={"lif2": flat["lif2"]}, readout=right.readout[-1], margins={})  # the input was not recorded
    found = diagnose(graph, without, spikes)
    assert found.verdict == "equal"
    assert found.notes[0].endswith("by order: 'lif2' is 'second'")


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


def test_inputs_that_nobody_reads(
    graph: SpikingGraph, chip: SpikingGraph, sound: nn.Module, spikes: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="neither side reads images; give spikes"):
        diagnose(graph, graph, images(2))
    with pytest.raises(InputError, match=r"reads images, but the input has shape .* as spikes have"):
        diagnose(sound, graph, spikes)
    with pytest.raises(InputError, match="must be 0 or 1"):
        diagnose(graph, graph, 2.0 * spikes)
    with pytest.raises(InputError, match=r"There is no 'nowhere.net'; .* \.net, \.nir, \.onnx, \.npz"):
        diagnose("nowhere.net", graph, spikes)
    bare = onnx.load(write_twin(tmp_path / "twin.onnx", chip, {}))
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    with pytest.raises(InputError, match=r"neither reads images nor carries its graph, and there is no .*network.net"):
        diagnose(chip, tmp_path / "bare.onnx", spikes)
    write_netx(tmp_path / "network.net", chip)
    assert diagnose(chip, tmp_path / "bare.onnx", spikes).verdict == "equal"
    (tmp_path / "network.keras").write_bytes(b"x")
    with pytest.raises(InputError, match="Nothing is known of the ending of"):
        diagnose(tmp_path / "network.keras", graph, spikes)
    np.savez(tmp_path / "odd.npz", first=2 * np.ones((2, 3, 4)))
    with pytest.raises(InputError, match=r"must hold spikes, 0 or 1, .* `first` is not"):
        diagnose(graph, tmp_path / "odd.npz", spikes)
    with pytest.raises(InputError, match="The spikes have 6 time steps, but 9 are asked for"):
        diagnose_files(tmp_path, tmp_path, np.swapaxes(spikes, 0, 1), 9)
