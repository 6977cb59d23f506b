"""Images that stay on a device: the same batches and the same training as from arrays, bit for bit on a CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.search.data.augmentation import Augmentation
from spikeport.search.data.datasets import Dataset
from spikeport.search.evaluators import from_scratch
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import SpikingNetwork, network_config
from spikeport.search.strategies.darts import search as darts
from spikeport.search.training import loop
from spikeport.search.training.batches import Waiting, epoch_batches
from spikeport.search.training.progress import ProgressEvent
from spikeport.search.training.resident import augmented, resident

BLACK = np.array([-0.5, 0.25, 3.0], np.float32)
CHANGES = {
    "shift": Augmentation(shift=2),
    "crop": Augmentation(crop=3, black=BLACK),
    "reflected": Augmentation(crop=3, crop_filling="reflect", black=BLACK),
    "flip": Augmentation(flip=True),
    "cutout": Augmentation(cutout=5),
    "all": Augmentation(shift=1, crop=2, flip=True, cutout=4, black=BLACK),
    "none": Augmentation(),
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CHANGES)
def test_augmentation_is_the_same(name: str, device: str) -> None:
    random = np.random.default_rng(0)
    images = random.random((40, 3, 7, 9), np.float32)
    draws = CHANGES[name].draw(random, 40, 7, 9)
    wanted = CHANGES[name].apply(images, draws)
    found = augmented(CHANGES[name], torch.from_numpy(images).to(device), draws)
    np.testing.assert_array_equal(found.cpu().numpy(), wanted)
    assert name == "none" or (wanted != images).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CHANGES)
def test_signals_of_one_row_are_moved_along_it(name: str, device: str) -> None:
    random = np.random.default_rng(0)
    signals = 1 + random.random((40, 3, 1, 9), np.float32)
    draws = CHANGES[name].draw(random, 40, 1, 9)
    wanted = CHANGES[name].apply(signals, draws)
    found = augmented(CHANGES[name], torch.from_numpy(signals).to(device), draws)
    np.testing.assert_array_equal(found.cpu().numpy(), wanted)
    assert (np.isin(wanted[:, 0], signals[:, 0]).any((1, 2))).all()  # none has left the row
    assert name == "none" or (wanted != signals).any()


@pytest.mark.parametrize("device", DEVICES)
def test_frames_of_spikes_are_augmented_alike_and_become_numbers(device: str) -> None:
    random = np.random.default_rng(0)
    frames, labels = (random.random((40, 3, 2, 7, 9)) < 0.3).astype(np.uint8), np.arange(40)
    augmentation = Augmentation(shift=1, crop=2, crop_filling="reflect", flip=True, cutout=4)
    both = [
        list(epoch_batches(*there, 7, np.random.default_rng(1), augmentation=augmentation))
        for there in ((frames, labels), tuple(torch.from_numpy(values).to(device) for values in (frames, labels)))
    ]
    for (images, _), (again, _) in zip(*both, strict=True):
        assert images.dtype == again.dtype == torch.float32
        assert torch.equal(images, again.cpu())


@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_the_same(blobs: Dataset, device: str) -> None:
    def batches(images: Any, labels: Any) -> list[Any]:
        rng, rows = np.random.default_rng(2), np.arange(5, 45)
        return list(epoch_batches(images, labels, 7, rng, rows=rows, augmentation=Augmentation(crop=1, flip=True)))

    arrays = batches(blobs.train_images, blobs.train_labels)
    there = [torch.from_numpy(values).to(device) for values in (blobs.train_images, blobs.train_labels)]
    tensors = batches(*there)
    assert len(arrays) == len(tensors) == 6
    for one, other in zip(arrays, tensors, strict=True):
        assert all(torch.equal(a, b.cpu()) for a, b in zip(one, other, strict=True))
        assert {part.device.type for part in other} == {device}


def as_tensors(dataset: Dataset, device: torch.device) -> Any:
    return torch.from_numpy(dataset.train_images), torch.from_numpy(dataset.train_labels)


def trained(blobs: Dataset, settings: SearchSettings, folder: Path) -> tuple[SpikingNetwork, list[Any]]:
    torch.manual_seed(0)
    genotype = random_genotype(np.random.default_rng(0), "plain")
    network, rows = SpikingNetwork(genotype, network_config(settings.network, blobs)), list[Any]()
    folder.mkdir()
    from_scratch.train_network(network, blobs, settings, folder / "c.safetensors", rows.extend)
    return network, rows


@pytest.mark.training
def test_a_training_and_a_search_are_the_same(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(tiny, crop=1, flip=True, train_epochs=2, search_epochs=1)
    arrays, rows = trained(blobs, settings, tmp_path / "arrays")
    found = darts.search(blobs, settings, tmp_path / "arrays/search.safetensors")
    for module in (from_scratch, darts):
        monkeypatch.setattr(module, "resident", as_tensors)
    tensors, again = trained(blobs, settings, tmp_path / "tensors")
    assert rows == again
    assert all(
        torch.equal(a, b) for a, b in zip(arrays.state_dict().values(), tensors.state_dict().values(), strict=True)
    )
    assert darts.search(blobs, settings, tmp_path / "tensors/search.safetensors") == found


def test_a_cpu_keeps_arrays(blobs: Dataset) -> None:
    images, labels = resident(blobs, torch.device("cpu"))
    assert images is blobs.train_images and labels is blobs.train_labels


def test_images_that_a_gpu_has_no_room_for_stay(blobs: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (blobs.train_images.nbytes, 10**12))
    assert resident(blobs, torch.device("cuda"))[0] is blobs.train_images


@pytest.mark.cuda
def test_a_gpu_is_asked_for_numbers_now_and_then(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "TELL_S", 1e9)
    settings = changed(tiny, device="cuda", train_epochs=2, batch_size=6)
    network = SpikingNetwork(
        random_genotype(np.random.default_rng(0), "plain"), network_config(settings.network, blobs)
    )
    events = list[ProgressEvent]()
    from_scratch.train_network(network, blobs, settings, tmp_path / "c.safetensors", lambda rows: None, events.append)
    last = events[-1].steps
    assert last > 2 and [(e.epoch, e.step) for e in events] == [(1, 1), (1, last), (2, 1), (2, last)]


def test_waiting_is_a_share() -> None:
    waiting = Waiting(started=0.0)
    waiting.seconds = 0.0
    with waiting:
        pass
    assert 0 <= waiting.share < 0.01
