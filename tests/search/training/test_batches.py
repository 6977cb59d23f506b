import time

import numpy as np
import pytest
import torch

from spikeport.errors import InputError
from spikeport.search.data.augmentation import Augmentation
from spikeport.search.data.datasets import Dataset
from spikeport.search.machine import processes
from spikeport.search.random_streams import generator
from spikeport.search.training.batches import Batches, epoch_batches


def test_batches_hold_every_sample_once_and_follow_the_generator(blobs: Dataset) -> None:
    def batches(epoch: int) -> list[torch.Tensor]:
        rng = generator(3, "train", epoch)
        return [images for images, _ in epoch_batches(blobs.train_images, blobs.train_labels, 10, rng)]

    assert [len(images) for images in batches(0)] == [10, 10, 10, 10, 8]
    rows = {images.numpy().tobytes() for images in torch.cat(batches(0))}
    assert rows == {image.tobytes() for image in blobs.train_images}
    assert torch.equal(torch.cat(batches(1)), torch.cat(batches(1)))
    assert not torch.equal(torch.cat(batches(0)), torch.cat(batches(1)))


def changed(blobs: Dataset, rows: list[int] | None = None) -> Batches:
    augmentation = Augmentation(crop=1, flip=True, cutout=2)
    chosen = None if rows is None else np.array(rows)
    rng = np.random.default_rng(2)
    return epoch_batches(blobs.train_images, blobs.train_labels, 7, rng, rows=chosen, augmentation=augmentation)


def test_a_batch_made_ahead_is_the_batch_asked_for(blobs: Dataset) -> None:
    batches = changed(blobs)
    ahead = list(batches)
    assert len(ahead) == len(batches) == 7
    for step in (6, 0, 3):
        assert torch.equal(batches[step][0], ahead[step][0])
        assert torch.equal(batches[step][1], ahead[step][1])


def test_only_the_rows_that_are_wanted(blobs: Dataset) -> None:
    wanted = [40, 3, 17]
    batches = epoch_batches(blobs.train_images, blobs.train_labels, 2, np.random.default_rng(0), rows=np.array(wanted))
    found = {image.numpy().tobytes() for images, _ in batches for image in images}
    assert found == {blobs.train_images[row].tobytes() for row in wanted}


def test_shares_of_all_processes_are_the_batch(blobs: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(changed(blobs))
    shares = []
    for rank in range(3):
        monkeypatch.setattr(processes, "world", lambda: 3)
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        shares.append(list(changed(blobs)))
    for step, (images, labels) in enumerate(whole):
        assert torch.equal(torch.cat([share[step][0] for share in shares]), images)
        assert torch.equal(torch.cat([share[step][1] for share in shares]), labels)
        assert {len(share[step][0]) for share in shares} <= {len(images) // 3, len(images) // 3 + 1}


def test_a_last_batch_of_one_image(blobs: Dataset) -> None:
    """A batch norm after a global pool needs two."""
    images, labels = blobs.train_images, blobs.train_labels
    assert epoch_batches(images, labels, 47, np.random.default_rng(0)).cuts == (0, 48)
    assert epoch_batches(images[:2], labels[:2], 1, np.random.default_rng(0)).cuts == (0, 1, 2)


def test_a_last_batch_that_is_too_small_for_all_processes(blobs: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "world", lambda: 3)
    images, labels = blobs.train_images, blobs.train_labels
    assert epoch_batches(images, labels, 46, np.random.default_rng(0)).cuts == (0, 48)
    assert epoch_batches(images, labels, 45, np.random.default_rng(0)).cuts == (0, 45, 48)
    with pytest.raises(InputError, match="1 images make batches of 5 for 3 processes; start fewer"):
        epoch_batches(images[:1], labels[:1], 5, np.random.default_rng(0))


def test_batches_are_made_while_the_last_one_is_used(blobs: Dataset) -> None:
    """When the second batch is asked for, the third is made already."""
    made: list[float] = []

    class Watched(Augmentation):
        def apply(self, images: np.ndarray, draws: object) -> np.ndarray:
            made.append(time.monotonic())
            return images

    batches = epoch_batches(blobs.train_images, blobs.train_labels, 7, np.random.default_rng(0), augmentation=Watched())
    iterator = iter(batches)
    next(iterator)
    deadline = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(made) == 3  # and no more than two ahead
    iterator.close()
