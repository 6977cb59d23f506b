"""Training through the chip's integers: what it keeps, what it refuses, what an export says of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikeport.deploy.run.forms import EncoderRunner, NetxRunner, TwinRunner
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.importing import import_network
from spikeport.export.netx.writer import read_graph
from spikeport.export.passes import lower
from spikeport.export.passes.scales import largest_scales
from spikeport.export.settings import ExportSettings, learning_rate
from spikeport.export.simulate import simulate
from spikeport.export.targets import export
from spikeport.export.trace.walk import trace
from spikeport.export.tuning import integers
from spikeport.export.tuning.chip_network import ChipNetwork
from spikeport.export.tuning.finetune import Watched, finetune
from spikeport.export.tuning.integers import Source, integers_of
from spikeport.export.tuning.samples import Samples, entering, finished, samples_of
from spikeport.search.data.augmentation import Augmentation
from spikeport.search.data.datasets import load_dataset
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.imported import ImportSettings
from spikeport.search.settings.run import choose
from spikeport.search.space.example import example_network
from spikeport.search.training.history import read_history

FOUR = ExportSettings(weight_bits=4, finetune=3, finetune_learning_rate=0.02, finetune_batch_size=32)


@pytest.fixture(scope="module")
def source() -> Source:
    """The example network with random weights, on images whose class is the quarter that is lit."""
    network, _ = example_network()
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 4
    images = rng.random((160, 1, 2, 4, 2, 4)) * 0.5
    images[np.arange(160), 0, labels // 2, :, labels % 2] += 0.5
    samples = Samples(
        images=images.reshape(160, 1, 8, 8).astype(np.float32),
        labels=labels.astype(np.int64),
        learn=np.arange(40, 160),
        watch=np.arange(40),
        augmentation=Augmentation(shift=1),
        labelled=True,
        seed=0,
    )
    traced = trace(network, torch.from_numpy(samples.images[:1]), 4)
    return Source(network=network, graph=lower(traced.graph), encoder=traced.encoder, peak=3.0, samples=samples)


def test_it_learns_and_keeps_the_best_epoch(source: Source) -> None:
    told: list[str] = []
    chip = ChipNetwork(source.graph, largest_scales(source.graph, source.peak, 4))
    settings = replace(FOUR, finetune=6, teacher_share=0.0)
    done = finetune(chip, source.network, source.encoder, source.samples, settings, told.append)
    assert [one.epoch for one in done.epochs] == list(range(7)) and len(told) == 7
    assert done.epochs[done.kept].accuracy == max(one.accuracy for one in done.epochs)
    assert done.epochs[done.kept].accuracy > done.epochs[0].accuracy + 0.3
    images, labels = source.samples.images[:40], source.samples.labels[:40]
    spikes = entering(source.encoder, images).numpy().astype(np.uint8)
    answers = simulate(chip.chip_graph(), {source.graph.inputs[0].name: spikes}).readout[-1].argmax(1)
    assert float((answers == labels).mean()) == done.epochs[done.kept].accuracy
    assert f"epoch {done.kept} of 6: accuracy {done.epochs[done.kept].accuracy:.4f} on 40 images" in told[done.kept]


def test_what_gets_worse_is_not_kept(source: Source) -> None:
    chip = ChipNetwork(source.graph, largest_scales(source.graph, source.peak))
    untouched = [p.detach().clone() for p in chip.parameters()]
    unlabelled = replace(source.samples, labelled=False)  # then it began as well as it can: its answers are the wanted
    settings = replace(FOUR, finetune=1, finetune_learning_rate=3.0)
    done = finetune(chip, source.network, source.encoder, unlabelled, settings)
    assert done.kept == 0 and done.epochs[0].accuracy > done.epochs[1].accuracy
    assert all(torch.equal(a, b) for a, b in zip(untouched, chip.parameters(), strict=True))


def test_the_better_of_two_epochs() -> None:
    first = Watched(epoch=0, accuracy=0.5, loss=1.0)
    assert Watched(epoch=1, accuracy=0.5, loss=0.9).is_better(first)
    assert not Watched(epoch=1, accuracy=0.5, loss=1.0).is_better(first)
    assert not Watched(epoch=1, accuracy=0.4, loss=0.1).is_better(first)


def test_a_loss_that_is_not_finite_is_refused(source: Source) -> None:
    chip = ChipNetwork(source.graph, largest_scales(source.graph, source.peak))

    class Diverged(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), 10), torch.nan)

    with pytest.raises(InputError, match="loss of the fine-tuning must be finite, but is nan; try a lower --finetune"):
        finetune(chip, Diverged(), source.encoder, source.samples, FOUR)


def test_what_is_recorded(source: Source) -> None:
    plain = integers_of(source, ExportSettings())
    assert set(plain.record["agreement"]) == {"largest_weight"} and plain.record["finetuning"] is None
    tuned = integers_of(source, FOUR)
    record = json.loads(json.dumps(tuned.record))
    assert set(record["agreement"]) == {"largest_weight", "calibrated", "finetuned"}
    assert set(record["validation_accuracy"]) == {"float", *record["agreement"]}
    assert record["settings"]["weight_bits"] == 4 and record["finetuning"]["spikes_differing"] == 0
    assert record["finetuning"]["spikes_compared"] > 1000
    found = record["validation_accuracy"]
    assert found["finetuned"] >= found["calibrated"] == record["finetuning"]["validation_before"]["accuracy"]


def test_another_arithmetic_is_seen(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: ChipNetwork) -> Any:
        chip = whole(self)
        first = chip.projections[0]
        flipped = replace(first, kernel=replace(first.kernel, weight=-first.kernel.weight))
        return replace(chip, projections=(flipped, *chip.projections[1:]))

    whole: Callable[[ChipNetwork], Any] = ChipNetwork.chip_graph
    monkeypatch.setattr(integers.ChipNetwork, "chip_graph", broken)
    with pytest.raises(UnsupportedError, match=r"torch computes \d+ of \d+ spikes and membranes other than the chip's"):
        integers_of(source, replace(FOUR, finetune=1))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = ImportSettings(example="1x8x8", data="digits")
    folder = tmp_path_factory.mktemp("runs")
    load = "from spikeport.search.space.example import example_network"
    code = f"{load}\n\n\ndef build():\n    return example_network()[0]\n"
    (folder / "theirs.py").write_text(code)
    return import_network(f"{folder / 'theirs.py'}:build", folder / "theirs", settings).run


@pytest.mark.slow
def test_an_export_that_was_tuned_is_what_runs(imported: Run) -> None:
    """Of a network that was imported: its folder, its manifest, twin.onnx and network.net."""
    settings = ExportSettings(
        weight_bits=2, finetune=1, finetune_learning_rate=0.02, calibration_samples=32, teacher_share=0
    )
    told: list[str] = []
    export(imported, "loihi", told.append, settings)
    folder = imported.export_folder("loihi")
    record = json.loads((folder / "manifest.json").read_text())["integers"]
    found = record["validation_accuracy"]
    assert found["finetuned"] > found["calibrated"] and record["samples"] == 32
    assert any("fine-tuning, epoch 1 of 1" in line for line in told)
    graph, images = read_graph(folder / "network.net"), load_dataset("digits").test_images[:8]
    assert all(len(np.unique(p.kernel.weight)) <= 4 for p in graph.projections)
    spikes = EncoderRunner(folder / "encoder.onnx")(images)
    wanted = simulate(graph, {graph.inputs[0].name: spikes})
    for record in (TwinRunner(folder / "twin.onnx", graph)(spikes), NetxRunner(folder / "network.net", graph)(spikes)):
        assert all(np.array_equal(record.spikes[name], fired) for name, fired in wanted.spikes.items())
        assert np.array_equal(record.readout, wanted.readout[-1])


def test_the_images_of_a_run(imported: Run) -> None:
    dataset = load_dataset("digits")
    found = samples_of(imported, dataset)
    assert (len(found.watch), len(found.learn)) == (144, 1293)
    assert sorted([*found.watch.tolist(), *found.learn.tolist()]) == list(range(1437))
    seen = [(images.shape, labels) for images, labels in found.epoch(1, 100)]
    assert len(seen) == found.batches(100) == 13
    again = np.concatenate([labels for _, labels in found.epoch(1, 100)])
    other = np.concatenate([labels for _, labels in found.epoch(2, 100)])
    assert np.array_equal(np.concatenate([labels for _, labels in seen]), again) and not np.array_equal(again, other)
    few = [labels for _, labels in found.epoch(1, 100, most=130)]
    assert [len(labels) for labels in few] == [100, 30] and found.batches(100, most=130) == 2
    assert np.array_equal(np.concatenate(few), again[:130])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"weight_bits": 7}, "one of 2, 3, 4, 5, 6, 8 bits, but got weight_bits=7"),
        ({"finetune": -1}, "`finetune >= 0` must hold"),
        ({"teacher_share": 1.5}, "`teacher_share <= 1` must hold"),
        ({"finetune_learning_rate": -1.0}, "`finetune_learning_rate >= 0` must hold"),
    ],
)
def test_settings_out_of_range(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ExportSettings(**wrong)


def test_fewer_bits_learn_in_longer_steps() -> None:
    rates = [learning_rate(ExportSettings(weight_bits=bits)) for bits in (8, 4, 3, 2)]
    assert rates == [1e-3, 1e-3, 2e-3, 4e-3]
    assert learning_rate(ExportSettings(weight_bits=2, finetune_learning_rate=0.1)) == 0.1


def test_the_float_target_takes_none_of_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"are of the chip's integers, .*, but the target is onnx; say --target loihi"):
        export(Run(tmp_path), "onnx", print, ExportSettings(calibrate=True))


def test_a_training_leaves_its_last_epochs_to_the_export(tmp_path: Path) -> None:
    settings = choose(
        dataset="digits", primitives="plain", channels=2, cells=3, search_epochs=1, train_epochs=3, chip_aware=1
    )
    run = run_search(settings, tmp_path / "run")
    assert [row["stage"] for row in read_history(run)].count("train") == 2
    assert finished(run, ExportSettings(weight_bits=2)) == ExportSettings(weight_bits=2, finetune=1)
    assert finished(run, ExportSettings(finetune=5)).finetune == 5
    export(run, "loihi", lambda stage: None)
    record = json.loads((run.export_folder("loihi") / "manifest.json").read_text())["integers"]
    assert record["finetuning"]["epochs"] == 1 and record["settings"]["finetune"] == 1


def test_an_imported_network_is_as_it_is(imported: Run) -> None:
    assert finished(imported, ExportSettings()) == ExportSettings()


def test_all_epochs_cannot_be_left() -> None:
    with pytest.raises(InputError, match=r"`chip_aware < train_epochs` must hold, but got chip_aware=3"):
        choose(train_epochs=3, chip_aware=3)
