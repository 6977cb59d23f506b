from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn

from spikeport.errors import InputError
from spikeport.search.checkpoint import Row, load_checkpoint, save_checkpoint
from spikeport.search.datasets import Dataset
from spikeport.search.genotype import random_genotype
from spikeport.search.network import SpikingNetwork
from spikeport.search.progress import ProgressEvent
from spikeport.search.settings import SearchSettings
from spikeport.search.spikes import cell_of, counting_spikes
from spikeport.search.training import (
    cosine,
    epoch_batches,
    evaluate,
    generator,
    seeded,
    shifted,
    train_epoch,
    train_network,
    weight_optimizer,
)


@pytest.fixture
def network(blobs: Dataset, tiny: SearchSettings) -> SpikingNetwork:
    with seeded(0, "train weights"):
        return SpikingNetwork(random_genotype(np.random.default_rng(0), "plain"), tiny.network(blobs))


def test_shifted_moves_whole_images_and_fills_with_zeros() -> None:
    images = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3).repeat(200, axis=0)
    moved = shifted(images, np.random.default_rng(0), 1)
    assert moved.shape == images.shape
    assert len(np.unique(moved.reshape(200, 9), axis=0)) == 9  # every move by -1, 0, 1 along two axes occurs
    down = np.array([[0, 0, 0], [1, 2, 3], [4, 5, 6]], np.float32)
    assert (moved[:, 0] == down).all(axis=(1, 2)).any()
    assert shifted(images, np.random.default_rng(0), 0) is images


def test_batches_hold_every_sample_once_and_follow_the_generator(blobs: Dataset) -> None:
    def batches(epoch: int) -> list[torch.Tensor]:
        rng = generator(3, "train", epoch)
        return [images for images, _ in epoch_batches(blobs.train_images, blobs.train_labels, 10, rng)]

    assert [len(images) for images in batches(0)] == [10, 10, 10, 10, 8]
    rows = {images.numpy().tobytes() for images in torch.cat(batches(0))}
    assert rows == {image.tobytes() for image in blobs.train_images}
    assert torch.equal(torch.cat(batches(1)), torch.cat(batches(1)))
    assert not torch.equal(torch.cat(batches(0)), torch.cat(batches(1)))


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


def test_cosine_by_hand() -> None:
    assert [cosine(0.5, 0.1, epoch, 4) for epoch in (0, 2)] == [0.5, pytest.approx(0.3, rel=1e-12)]
    assert 0.1 < cosine(0.5, 0.1, 3, 4) < 0.2


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
    optimizer = weight_optimizer([p for p in network.parameters() if p is not frozen], tiny)
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
    settings = replace(tiny, train_epochs=12, shift=0)
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
    optimizer = weight_optimizer(list(network.parameters()), tiny)
    nn.init.constant_(network.readout.weight, torch.nan)
    with pytest.raises(InputError, match="The loss must be finite, but is nan; train again with a lower learning rate"):
        train_epoch(network, optimizer, batches, gradient_clip=5.0)


def test_checkpoint_holds_everything(tmp_path: Path) -> None:
    def problem() -> tuple[nn.Module, dict[str, torch.optim.Optimizer]]:
        torch.manual_seed(2)
        module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        return module, {
            "weights": torch.optim.SGD(module[0].parameters(), lr=0.1, momentum=0.9),
            "alphas": torch.optim.Adam(module[1].parameters(), lr=0.1),
        }

    def step(module: nn.Module, optimizers: dict[str, torch.optim.Optimizer], x: torch.Tensor) -> None:
        module.zero_grad()
        module(x).pow(3).sum().backward()
        for optimizer in optimizers.values():
            optimizer.step()

    inputs = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0))
    module, optimizers = problem()
    for x in inputs[:3]:
        step(module, optimizers, x)
    save_checkpoint(tmp_path / "c.safetensors", module, optimizers, [{"epoch": 1}])
    resumed, resumed_optimizers = problem()
    assert load_checkpoint(tmp_path / "c.safetensors", resumed, resumed_optimizers) == [{"epoch": 1}]
    for x in inputs[3:]:
        step(module, optimizers, x)
        step(resumed, resumed_optimizers, x)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_checkpoint_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    assert load_checkpoint(path, nn.Linear(2, 2), {}) == []
    save_checkpoint(path, nn.Linear(2, 2, bias=False), {}, [])
    with pytest.raises(InputError, match="misses tensor 'bias'"):
        load_checkpoint(path, nn.Linear(2, 2), {})
    save_checkpoint(path, nn.Linear(2, 3), {}, [])
    with pytest.raises(InputError, match=r"tensor 'weight' must have shape \[2, 2\], but has \[3, 2\]"):
        load_checkpoint(path, nn.Linear(2, 2), {})
