from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn

from spikeport.errors import InputError
from spikeport.search.data.datasets import Dataset
from spikeport.search.evaluators.from_scratch import train_network
from spikeport.search.random_streams import generator, seeded
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.settings.training import Precision
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import SpikingNetwork, network_config
from spikeport.search.training.batches import epoch_batches
from spikeport.search.training.checkpoint import Row
from spikeport.search.training.loop import evaluate, train_epoch, weight_optimizer
from spikeport.search.training.progress import ProgressEvent
from spikeport.search.training.spike_counts import cell_of, counting_spikes

pytestmark = pytest.mark.training


def small(dataset: Dataset, settings: SearchSettings) -> SpikingNetwork:
    with seeded(0, "train weights"):
        return SpikingNetwork(
            random_genotype(np.random.default_rng(0), "plain"), network_config(settings.network, dataset)
        )


@pytest.fixture
def network(blobs: Dataset, tiny: SearchSettings) -> SpikingNetwork:
    return small(blobs, tiny)


def test_seeded_leaves_the_outer_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(5, "train weights"):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(5, "train weights"):
        assert torch.equal(torch.rand(2), first)
    with seeded(5, "search weights"):
        assert not torch.equal(torch.rand(2), first)


def test_evaluate_by_hand(network: SpikingNetwork, blobs: Dataset) -> None:
    images, labels = blobs.test_images, blobs.test_labels
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    score = evaluate(network, images, labels)
    logits = network(torch.from_numpy(images))
    probability = torch.softmax(logits, dim=1)[torch.arange(len(labels)), torch.from_numpy(labels)]
    assert score.loss == pytest.approx(-probability.log().mean().item(), rel=1e-5)
    assert score.accuracy == (logits.argmax(1).numpy() == labels).mean()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_spikes_are_counted_per_cell(network: SpikingNetwork, blobs: Dataset) -> None:
    by_hand = {"stem": 0, "cells.0": 0, "cells.1": 0, "cells.2": 0}
    for path, module in network.named_modules():
        if isinstance(module, LIFNode):

            def add(module: nn.Module, inputs: object, spikes: torch.Tensor, cell: str = path) -> None:
                by_hand[".".join(cell.split(".")[:-2]) or "stem"] += int(spikes.sum())

            module.register_forward_hook(add)
    with counting_spikes(network) as count:
        network(torch.from_numpy(blobs.test_images))
    assert count.cells == by_hand
    assert count.total == sum(by_hand.values()) > 0
    assert count.per_image(12)["cells.1"] == by_hand["cells.1"] / 12
    reset_net(network)
    network(torch.from_numpy(blobs.test_images))
    assert count.total == sum(by_hand.values()) / 2  # the block is over: nothing is counted any more
    assert (cell_of("stem.lif"), cell_of("cells.10.n1.lif")) == ("stem", "cells.10")


def test_only_the_optimizers_parameters_learn(network: SpikingNetwork, blobs: Dataset, tiny: SearchSettings) -> None:
    frozen = network.readout.weight
    before = frozen.detach().clone()
    optimizer = weight_optimizer([p for p in network.parameters() if p is not frozen], tiny.training)
    stem = network.stem.conv.weight.detach().clone()
    batches = epoch_batches(blobs.train_images, blobs.train_labels, 16, np.random.default_rng(0))
    score = train_epoch(network, optimizer, batches, gradient_clip=5.0)
    assert frozen.grad is None
    assert torch.equal(frozen, before)
    assert not torch.equal(network.stem.conv.weight, stem)
    assert set(score.spikes_per_cell) == {"stem", "cells.0", "cells.1", "cells.2"}
    assert score.spikes == sum(score.spikes_per_cell.values())


def test_training_learns_and_tells(
    network: SpikingNetwork, blobs: Dataset, tiny: SearchSettings, tmp_path: Path
) -> None:
    rows: list[Row] = []
    events: list[ProgressEvent] = []
    settings = changed(tiny, train_epochs=12, shift=0)
    train_network(network, blobs, settings, tmp_path / "c.safetensors", rows.extend, events.append)
    assert evaluate(network, blobs.test_images, blobs.test_labels).accuracy >= 0.9
    # 48 images, 5 of them kept out, batches of 12
    assert [(event.epoch, event.step) for event in events] == [(e, s) for e in range(1, 13) for s in range(1, 5)]
    last = events[-1]
    assert (last.stage, last.epochs, last.steps, last.seconds_left) == ("train", 12, 4, 0)
    assert last.loss == rows[-1]["train"]["loss"]
    assert last.spikes == sum(rows[-1]["train"]["spikes_per_cell"].values())
    assert rows[-1]["epoch"] == 12
    assert set(rows[-1]) == {"stage", "epoch", "train", "validation"}


def test_divergence_is_told(network: SpikingNetwork, blobs: Dataset, tiny: SearchSettings) -> None:
    batches = epoch_batches(blobs.train_images * np.float32(np.nan), blobs.train_labels, 16, np.random.default_rng(0))
    optimizer = weight_optimizer(list(network.parameters()), tiny.training)
    nn.init.constant_(network.readout.weight, torch.nan)
    with pytest.raises(InputError, match="The loss must be finite, but is nan; train again with a lower learning rate"):
        train_epoch(network, optimizer, batches, gradient_clip=5.0)


@pytest.mark.parametrize(
    "change",
    [
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "auxiliary_weight": 0.4, "precision": "bfloat16"},
    ],
)
def test_gradient_checkpointing_changes_nothing(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, change: dict[str, Any]
) -> None:
    def trained(name: str, settings: SearchSettings) -> tuple[dict[str, torch.Tensor], list[Row]]:
        rows: list[Row] = []
        network = small(blobs, settings)
        train_network(network, blobs, settings, tmp_path / name, lambda new: rows.extend(new[len(rows) :]))
        return network.state_dict(), rows

    settings = changed(tiny, **change)
    weights, rows = trained("a", settings)
    expected, expected_rows = trained("b", changed(settings, gradient_checkpointing=False))
    assert rows == expected_rows
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns(blobs: Dataset, tiny: SearchSettings, tmp_path: Path, precision: Precision) -> None:
    settings = changed(tiny, train_epochs=12, shift=0, precision=precision)
    network = small(blobs, settings)
    train_network(network, blobs, settings, tmp_path / "c", lambda rows: None)
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    assert evaluate(network, blobs.test_images, blobs.test_labels).accuracy >= 0.8
    exact = small(blobs, settings)
    train_network(exact, blobs, changed(settings, precision="float32"), tmp_path / "d", lambda rows: None)
    assert not torch.equal(network.readout.weight, exact.readout.weight)


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "float16"},
        {"auxiliary_weight": 0.4, "crop": 1, "flip": True},
        {"warmup_share": 0.6, "nesterov": True, "decay_weights_only": True},
        {"average_decay": 0.8, "auxiliary_weight": 0.4},
        {"teacher_epochs": 1, "average_decay": 0.8},
    ],
)
def test_resumed_training_ends_as_it_would_have(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, change: dict[str, Any]
) -> None:
    """A training that stops in its second epoch, and one that does not."""
    settings = changed(tiny, **change)

    def stop(event: ProgressEvent) -> None:
        if (event.epoch, event.step) == (2, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_network(small(blobs, settings), blobs, settings, tmp_path / "c", lambda rows: None, stop)
    resumed, whole = small(blobs, settings), small(blobs, settings)
    train_network(resumed, blobs, settings, tmp_path / "c", lambda rows: None)
    train_network(whole, blobs, settings, tmp_path / "d", lambda rows: None)
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_the_rate_rises_in_every_step_of_a_warm_up(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of four steps, the first half of which rises to 0.1, the second falls to 0."""
    rates: list[float] = []
    step = torch.optim.SGD.step

    def spy(optimizer: torch.optim.SGD, *more: Any) -> Any:
        rates.extend(group["lr"] for group in optimizer.param_groups)
        return step(optimizer, *more)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    settings = changed(tiny, schedule="linear", warmup_share=0.5, minimum_learning_rate=0.0)
    train_network(small(blobs, settings), blobs, settings, tmp_path / "c", lambda rows: None)
    assert rates == pytest.approx([0.0125, 0.0375, 0.0625, 0.0875, 0.0875, 0.0625, 0.0375, 0.0125])


def test_the_auxiliary_head_helps_in_training_and_is_gone_after_it(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path
) -> None:
    plain, helped = small(blobs, tiny), small(blobs, tiny)
    names = list(plain.state_dict())
    train_network(plain, blobs, tiny, tmp_path / "a", lambda rows: None)
    train_network(helped, blobs, changed(tiny, auxiliary_weight=0.4), tmp_path / "b", lambda rows: None)
    assert list(helped.state_dict()) == names
    assert not torch.equal(plain.stem.conv.weight, helped.stem.conv.weight)
    assert not any(module._forward_hooks for module in helped.modules())


def test_the_average_of_the_weights_is_tested_and_is_the_result(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a training without an average goes through, averaged by hand: the last 8 steps count 0.5^7 .. 1."""
    steps: list[dict[str, torch.Tensor]] = []
    plain, averaged = small(blobs, tiny), small(blobs, tiny)
    step = torch.optim.SGD.step

    def spy(optimizer: torch.optim.SGD, *more: Any) -> Any:
        found = step(optimizer, *more)
        steps.append({name: tensor.clone() for name, tensor in plain.state_dict().items()})
        return found

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", spy)
        train_network(plain, blobs, tiny, tmp_path / "a", lambda rows: None)
    rows: list[Row] = []
    train_network(averaged, blobs, changed(tiny, average_decay=0.5), tmp_path / "b", rows.extend)
    counts = [0.5**back for back in reversed(range(8))]
    order = generator(tiny.seed, "validation").permutation(48)
    by_hand = small(blobs, tiny).train()
    for name, parameter in by_hand.named_parameters():
        parameter.data = sum(count * seen[name] for count, seen in zip(counts, steps, strict=True)) / sum(counts)
    for module in by_hand.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    by_hand(torch.from_numpy(blobs.train_images[order[5:]]))
    for name, tensor in averaged.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, by_hand.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
        else:
            assert tensor == plain.state_dict()[name] == 8  # batches that a norm has seen
    score = evaluate(averaged, blobs.train_images[np.sort(order[:5])], blobs.train_labels[np.sort(order[:5])])
    assert rows[-1]["validation"]["loss"] == pytest.approx(score.loss, rel=1e-5)


def test_images_grow_and_are_tested_as_they_are(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(tiny, train_epochs=4, first_size=0.5, growth_share=0.75)
    large = replace(blobs, train_images=np.kron(blobs.train_images, np.ones((2, 2), np.float32)))
    network, seen = small(large, settings), list[tuple[bool, int, int]]()
    network.stem.register_forward_hook(lambda stem, images, out: seen.append((stem.training, *images[0].shape[2:])))
    train_network(network, large, settings, tmp_path / "c", lambda rows: None)
    assert list(dict.fromkeys(seen)) == [(True, 4, 4), (False, 8, 8), (True, 8, 8)]
    assert [size for training, size, _ in seen if training] == [4] * 8 + [8] * 8


@pytest.mark.parametrize("stop", [("teacher", 1, 2), ("teacher", 2, 2), ("train", 1, 3), ("train", 2, 1)])
def test_a_teacher_is_trained_once(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, stop: tuple[str, int, int]
) -> None:
    """Broken in any of its epochs, a run goes on in that epoch and ends as it would have."""
    settings = changed(tiny, teacher_epochs=2)
    events: list[tuple[str, int, int]] = []

    def tell(event: ProgressEvent) -> None:
        events.append((event.stage, event.epoch, event.step))
        if events[-1] == stop and events.count(stop) == 1:
            raise KeyboardInterrupt

    def trained(name: str, progress: Any) -> list[Row]:
        told: list[list[Row]] = []
        train_network(small(blobs, settings), blobs, settings, tmp_path / name, told.append, progress)
        return told[-1]

    with pytest.raises(KeyboardInterrupt):
        trained("c", tell)
    before = len(events)
    rows = trained("c", tell)
    assert events[before] == (*stop[:2], 1)
    assert rows == trained("d", lambda event: None)
    assert [(row["stage"], row["epoch"]) for row in rows] == [("train", 1), ("train", 2)]
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()


def test_a_teacher_changes_what_is_learned_and_not_what_is_made(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path
) -> None:
    """A teacher whose word counts nearly nothing leaves the weights nearly as they are; one that counts does not."""

    def trained(name: str, **changes: Any) -> SpikingNetwork:
        network = small(blobs, tiny)
        train_network(network, blobs, changed(tiny, train_epochs=1, **changes), tmp_path / name, lambda rows: None)
        return network

    alone, hardly = trained("a"), trained("b", teacher_epochs=1, teacher_weight=1e-9)
    much = trained("c", teacher_epochs=1, teacher_weight=1.0)
    assert list(alone.state_dict()) == list(much.state_dict())
    torch.testing.assert_close(hardly.readout.weight, alone.readout.weight, rtol=1e-4, atol=1e-5)
    assert (much.readout.weight - alone.readout.weight).abs().max() > 1e-2


def test_label_smoothing_is_trained_on_and_not_reported(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    """After one step from the same weights the reported loss is the same, the weights are not."""
    settings = changed(tiny, train_epochs=1, batch_size=43)

    def first(name: str, smoothing: float) -> tuple[Row, torch.Tensor]:
        rows: list[Row] = []
        network = small(blobs, settings)
        smoothed = changed(settings, label_smoothing=smoothing)
        train_network(network, blobs, smoothed, tmp_path / name, rows.extend)
        return rows[0], network.readout.weight

    (plain, plain_weight), (smooth, smooth_weight) = first("a", 0.0), first("b", 0.5)
    assert plain["train"] == smooth["train"]
    assert not torch.equal(plain_weight, smooth_weight)
