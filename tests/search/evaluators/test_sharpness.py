"""How sharp surrogates are, chosen by differentiable gradient search: the branches, the choice, the run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor
from torch.nn.functional import cross_entropy

from spikeport.errors import InputError
from spikeport.search.data.augmentation import Augmentation
from spikeport.search.data.datasets import Dataset
from spikeport.search.evaluators import from_scratch
from spikeport.search.evaluators import sharpness as dgs
from spikeport.search.evaluators.from_scratch import train_network
from spikeport.search.evaluators.sharpness import LEAST, MOST, OFFSETS, Branches, Sharpness, blocks_of
from spikeport.search.loops.window_lif import from_rest
from spikeport.search.machine.channels_last import channels_last
from spikeport.search.random_streams import seeded
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.layers import lif_neurons
from spikeport.search.space.network import SpikingNetwork, network_config
from spikeport.search.training.batches import Batches, epoch_batches
from spikeport.search.training.checkpoint import Row


@pytest.fixture
def network(blobs: Dataset, tiny: SearchSettings) -> SpikingNetwork:
    genotype = random_genotype(np.random.default_rng(0), "plain")
    with seeded(0, "train weights"):
        return SpikingNetwork(genotype, network_config(tiny.network, blobs))


def batches_of(dataset: Dataset, size: int = 12) -> Batches:
    images, labels = dataset.train_images, dataset.train_labels
    return epoch_batches(images, labels, size, np.random.default_rng(0), augmentation=Augmentation())


@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0])
def test_the_loops_have_the_surrogate_of_spikingjelly(alpha: float) -> None:
    torch.manual_seed(0)
    current, gradient = 1.5 * torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    usual = lif_neurons()
    usual.surrogate_function.alpha = alpha
    found = []
    for neurons in (usual, lambda currents: from_rest(currents, sharpness=alpha)):
        leaf = current.clone().requires_grad_()
        neurons(leaf).backward(gradient)
        found.append(leaf.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-7)
    leaf = current.clone().requires_grad_()
    from_rest(leaf, sharpness=alpha + 1).backward(gradient)
    assert leaf.grad is not None and not torch.allclose(leaf.grad, found[0], rtol=1e-2)


def test_laid_out_neurons_leak_and_learn_as_they_are(network: SpikingNetwork) -> None:
    """In the layout that trains fastest a neuron keeps its own decay and its own surrogate."""
    node = network.cells[0].get_submodule("n1")
    current = torch.rand(4, 2, 2, 4, 4)
    found: dict[float, list[Tensor]] = {}
    for decay in (0.5, 0.875):
        node.lif = lif_neurons(decay)
        node.lif.surrogate_function.alpha = 3.0
        usual, laid = current.clone().requires_grad_(), current.clone().requires_grad_()
        spikes = node.lif(usual)
        spikes.square().sum().backward()
        reset_net(node)
        with channels_last(network):
            assert torch.equal(node.lif(laid), spikes)
            node.lif(laid).square().sum().backward()
        assert usual.grad is not None and laid.grad is not None
        torch.testing.assert_close(laid.grad, usual.grad, rtol=1e-5, atol=1e-6)
        found[decay] = [spikes.detach(), usual.grad]
    assert not torch.equal(found[0.5][0], found[0.875][0])


def test_branches_begin_with_the_same_spikes_and_step_each_by_its_own_surrogate(
    network: SpikingNetwork, blobs: Dataset
) -> None:
    images, labels = torch.from_numpy(blobs.train_images[:8]), torch.from_numpy(blobs.train_labels[:8])
    with dgs._in_branches(network, {"cells.2.n4": 2.0}, 0.5) as (twin, (branch,)):
        network.train()
        for _ in range(2):  # a second pair begins where the first did
            branch.restart()
            dgs._backward(twin, images, labels)
            branch.step(0.1)
        stepped = [dict(block.named_parameters()) for block in branch.blocks]
    assert [block.lif.surrogate_function.alpha for block in branch.blocks] == [2.0, 1.0, 1.5, 2.5, 3.0]
    alone = network.cells[2].get_submodule("n4")
    for offset, parameters in zip(OFFSETS, stepped, strict=True):
        reset_net(network)
        network.zero_grad()
        alone.lif.surrogate_function.alpha = 2.0 + 0.5 * offset
        cross_entropy(network(images), labels).backward()
        for name, parameter in alone.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(parameters[name], parameter - 0.1 * parameter.grad, rtol=1e-4, atol=1e-6)
    assert not torch.equal(stepped[1]["norm.weight"], stepped[4]["norm.weight"])


class OneBranch(Branches):
    """Whose shares say that the branch `best` led."""

    best = 4

    def shares(self) -> Tensor:
        return torch.eye(len(OFFSETS))[self.best] + 0 * super().shares()


def test_the_winner_is_where_each_layer_moves_to(
    network: SpikingNetwork, blobs: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    sharpness = Sharpness(network)
    assert set(sharpness.row().values()) == {2.0} and list(sharpness.row()) == blocks_of(network)
    monkeypatch.setattr(dgs, "Branches", OneBranch)
    monkeypatch.setattr(OneBranch, "step", lambda self, rate: None)
    for best, expected in ((4, 4.0), (4, MOST), (4, MOST), (1, MOST - 2), (0, MOST - 2), (1, 2.0), (1, LEAST)):
        OneBranch.best = best
        sharpness.move(network, batches_of(blobs, 24), 0.1, 1.0)
        assert set(sharpness.row().values()) == {expected}
    sharpness.act_on(network)
    assert {network.get_submodule(path).lif.surrogate_function.alpha for path in blocks_of(network)} == {LEAST}
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_nothing_of_it_is_in_a_forward_pass(network: SpikingNetwork, blobs: Dataset) -> None:
    images, sharpness = torch.from_numpy(blobs.test_images), Sharpness(network)
    network.eval()
    found = network(images)
    reset_net(network)
    sharpness.numbers.fill_(5.0)
    sharpness.act_on(network)
    assert torch.equal(network(images), found) and found.any()


@pytest.mark.training
def test_a_resumed_training_ends_as_a_whole_one(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    settings = changed(tiny, train_epochs=4, sharpness_every=1, sharpness_step=1.0)
    genotype = random_genotype(np.random.default_rng(0), "plain")

    def trained(name: str, progress: Any = lambda event: None, **options: Any) -> list[Row]:
        rows: list[Row] = []
        now = changed(settings, **options)
        with seeded(0, "train weights"):
            network = SpikingNetwork(genotype, network_config(now.network, blobs))
        train_network(network, blobs, now, tmp_path / name, lambda new: rows.extend(new[len(rows) :]), progress)
        return rows

    def stop(event: Any) -> None:
        if (event.epoch, event.step) == (3, 1):
            raise KeyboardInterrupt

    whole = trained("whole")
    with pytest.raises(KeyboardInterrupt):
        trained("broken", stop)
    assert trained("broken") == whole
    assert (tmp_path / "broken").read_bytes() == (tmp_path / "whole").read_bytes()
    numbers = [row["train"]["sharpness"] for row in whole]
    assert set(numbers[0].values()) == {2.0} and len(set(numbers[-1].values())) > 1
    plain = trained("plain", sharpness_every=0, sharpness_step=0.2)
    assert "sharpness" not in plain[-1]["train"]
    assert plain[0]["train"]["loss"] == whole[0]["train"]["loss"] and plain[-1]["train"] != whole[-1]["train"]


def test_refused(
    network: SpikingNetwork, blobs: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        InputError, match=r"needs two batches, one for a step .* but all 48 images are one; say a small"
    ):
        Sharpness(network).move(network, batches_of(blobs, 48), 0.1, 0.2)
    with pytest.raises(InputError, match=r"sharpness_step=0.5 is of a search of sharpness, and there is none; say --"):
        choose(sharpness_step=0.5)
    message = r"`sharpness_every < train_epochs - chip_aware` must hold, but got sharpness_every=4"
    with pytest.raises(InputError, match=message):
        choose(train_epochs=5, chip_aware=1, sharpness_every=4)
    monkeypatch.setattr(from_scratch.processes, "world", lambda: 2)
    with pytest.raises(InputError, match="--sharpness-every takes one process; start without torchrun or leave it out"):
        train_network(network, blobs, changed(tiny, sharpness_every=1), tmp_path / "c", lambda rows: None)
