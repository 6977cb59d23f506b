"""Made-up syllables: always the same, and told apart by their order in time alone."""

import hashlib

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.data import syllables
from spikeport.search.data.datasets import load_dataset


def test_they_are_signals_of_one_dimension() -> None:
    dataset = load_dataset("syllables")
    assert (dataset.input_shape, dataset.classes, dataset.frames) == ((16, 1, 64), 10, None)
    assert (len(dataset.train_images), len(dataset.test_images)) == (1200, 400)
    assert dataset.train_images.min() == 0 and 0.9 < dataset.train_images.max() <= 1
    for labels in (dataset.train_labels, dataset.test_labels):
        assert np.bincount(labels).tolist() == [len(labels) // 10] * 10
    assert "nothing was recorded" in dataset.notes[0] and dataset.labelled
    assert load_dataset("syllables").sha256 == dataset.sha256
    with pytest.raises(InputError, match="Unknown dataset 'syllables:3'"):
        load_dataset("syllables:3")


def test_another_seed_makes_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin."""

    def digest() -> str:
        return hashlib.sha256(syllables.syllables()[0].tobytes()).hexdigest()

    first = digest()
    monkeypatch.setattr(syllables, "SEED", 1)
    assert digest() != first


def test_means_over_time_do_not_tell_the_two_of_a_pair_apart() -> None:
    """A nearest mean finds the pair nearly always, and which of the two as often as a coin does."""
    dataset = load_dataset("syllables")
    train, test = (images.mean((2, 3)) for images in (dataset.train_images, dataset.test_images))
    train, test = train - train.mean(1, keepdims=True), test - test.mean(1, keepdims=True)
    means = np.stack([train[dataset.train_labels == label].mean(0) for label in range(10)])
    found = np.square(test[:, None] - means).sum(2).argmin(1)
    assert (found // 2 == dataset.test_labels // 2).mean() > 0.9
    assert 0.4 < (found == dataset.test_labels).mean() < 0.6
