"""What is done to images that no member shall know."""

from dataclasses import replace

import numpy as np
import pytest

from spikeport.deploy.ensemble.shifted import shifted
from spikeport.search.data.datasets import Dataset, Normalisation

IMAGES = np.arange(2 * 1 * 4 * 8, dtype=np.float32).reshape(2, 1, 4, 8) / 64
LABELS = np.zeros(2, np.int64)
DATA = Dataset("made up", IMAGES, LABELS, IMAGES, LABELS, classes=2)


def test_moved_to_the_lower_right() -> None:
    found = shifted(IMAGES, DATA, 0.25, 0.0)
    assert (found.images[:, :, 1:, 2:] == IMAGES[:, :, :3, :6]).all()
    assert (found.images[:, :, 0] == 0).all() and (found.images[..., :2] == 0).all()
    assert found.rule.startswith("each test image moved by 1 rows and 2 columns, empty places black")


def test_black_is_what_the_data_set_calls_so() -> None:
    normal = replace(DATA, normalisation=Normalisation(mean=(0.5,), std=(0.25,)))
    assert (shifted(IMAGES, normal, 0.5, 0.0).images[:, :, 0] == -2.0).all()


def test_noise_is_the_same_every_time_and_as_large_as_it_says() -> None:
    many = np.random.default_rng(0).random((50, 1, 8, 8), np.float32)
    found = shifted(many, DATA, 0.0, 0.5)
    assert (found.images == shifted(many, DATA, 0.0, 0.5).images).all()
    assert (found.images - many).std() == pytest.approx(0.5 * many.std(), rel=0.05)
    assert found.images.dtype == np.float32


def test_spikes_flip() -> None:
    frames = np.zeros((20, 3, 1, 8, 8), np.uint8)
    found = shifted(frames, DATA, 0.25, 1.0)
    assert found.images.dtype == np.uint8 and set(np.unique(found.images)) == {0, 1}
    assert found.images.mean() == pytest.approx(0.1, abs=0.02)
    assert found.rule.endswith("then spikes flipped with probability 0.1")
