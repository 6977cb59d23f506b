"""What the tests of the search share: a problem that takes milliseconds."""

from pathlib import Path

import numpy as np
import pytest

from spikeport.search.data.datasets import Dataset
from spikeport.search.settings.run import SearchSettings, choose


@pytest.fixture(scope="session")
def blobs() -> Dataset:
    """48 training and 12 test images of 1x4x4 in three classes: the class is the row that is lit."""
    rng = np.random.default_rng(5)
    images = (0.2 * rng.random((60, 1, 4, 4))).astype(np.float32)
    labels = np.arange(60, dtype=np.int64) % 3
    images[np.arange(60), 0, labels] += 0.8
    return Dataset("blobs", images[:48], labels[:48], images[48:], labels[48:], classes=3)


@pytest.fixture(scope="session")
def blobs_npz(blobs: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same images as files, by the dataset's name."""
    folder: Path = tmp_path_factory.mktemp("blobs")
    for split, images, labels in (
        ("train", blobs.train_images, blobs.train_labels),
        ("test", blobs.test_images, blobs.test_labels),
    ):
        np.savez(folder / f"{split}.npz", images=(255 * images).astype(np.uint8).transpose(0, 2, 3, 1), labels=labels)
    return f"npz:{folder / 'train.npz'},{folder / 'test.npz'}"


@pytest.fixture(scope="session")
def tiny(blobs_npz: str) -> SearchSettings:
    """A search and a training of two epochs of a few batches each, on the blobs."""
    return choose(
        dataset=blobs_npz,
        primitives="plain",
        channels=2,
        cells=3,
        time_steps=2,
        seed=3,
        batch_size=12,
        search_epochs=2,
        train_epochs=2,
        alpha_learning_rate=0.1,
        learning_rate=0.1,
        train_learning_rate=0.1,
        shift=1,
    )
