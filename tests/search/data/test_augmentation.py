from dataclasses import replace

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.data.augmentation import Augmentation, augmentation_of, holed, moved
from spikeport.search.data.datasets import Dataset, Images
from spikeport.search.settings.data import DataSettings

SQUARE = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)


def test_moved_by_hand() -> None:
    """Corner (0, 2) of the image padded by 1: one row comes in from above, one column from the right."""
    [[found]] = moved(SQUARE, np.array([[0], [2]]), 1, np.array([-1], np.float32))
    assert found.tolist() == [[-1, -1, -1], [2, 3, -1], [5, 6, -1]]


def test_moves_occur_in_all_directions() -> None:
    augmentation = Augmentation(shift=1)
    images = SQUARE.repeat(200, axis=0)
    moved_ = augmentation.apply(images, augmentation.draw(np.random.default_rng(0), 200, 3, 3))
    assert moved_.shape == images.shape
    assert len(np.unique(moved_.reshape(200, 9), axis=0)) == 9


def test_crop_fills_with_what_black_is_per_channel() -> None:
    images = np.ones((1, 2, 2, 2), np.float32)
    augmentation = Augmentation(crop=1, black=np.array([-3, -4], np.float32))
    found = augmentation.apply(images, {"crop": np.array([[0], [0]])})
    assert found[0].tolist() == [[[-3, -3], [-3, 1]], [[-4, -4], [-4, 1]]]


def test_crop_fills_with_what_is_reflected_at_the_border() -> None:
    """The corner (0, 4) of the image padded by 2: two rows from above, two columns from the right."""
    augmentation = Augmentation(crop=2, crop_filling="reflect", black=np.array([-3], np.float32))
    found = augmentation.apply(SQUARE, {"crop": np.array([[0], [4]])})
    assert found[0, 0].tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]


def test_an_image_is_reflected_once_at_most(blobs: Dataset) -> None:
    settings = DataSettings(crop=4, crop_filling="reflect")
    with pytest.raises(InputError, match="`crop < 4` must hold with --crop-filling reflect and images of 4 pixels, bu"):
        augmentation_of(settings, blobs)
    assert augmentation_of(replace(settings, crop=3), blobs).crop_filling == "reflect"
    assert augmentation_of(replace(settings, crop_filling="black"), blobs).crop == 4


def test_a_signal_is_reflected_along_its_row() -> None:
    signals = np.arange(12, dtype=np.float32).reshape(1, 2, 1, 6)
    augmentation = Augmentation(crop=2, crop_filling="reflect")
    assert augmentation.draw(np.random.default_rng(0), 50, 1, 6)["crop"][0].tolist() == [2] * 50
    found = augmentation.apply(signals, {"crop": np.array([[2], [4]])})
    assert found[0, :, 0].tolist() == [[2, 3, 4, 5, 4, 3], [8, 9, 10, 11, 10, 9]]
    dataset = Dataset("signals", signals, np.zeros(1, np.int64), signals, np.zeros(1, np.int64), classes=2)
    assert augmentation_of(DataSettings(crop=5, crop_filling="reflect"), dataset).crop == 5
    with pytest.raises(InputError, match="`crop < 6` must hold"):
        augmentation_of(DataSettings(crop=6, crop_filling="reflect"), dataset)


def test_flip_mirrors_the_images_that_were_drawn() -> None:
    found = Augmentation(flip=True).apply(SQUARE.repeat(2, axis=0), {"flip": np.array([[1, 0]])})
    assert found[0, 0].tolist() == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]
    assert np.array_equal(found[1], SQUARE[0])


@pytest.mark.parametrize(
    ("centre", "side", "expected"),
    [
        ((0, 2), 2, [[1, 0, 0], [4, 5, 6], [7, 8, 9]]),  # rows -1..0, columns 1..2
        ((1, 1), 1, [[1, 2, 3], [4, 0, 6], [7, 8, 9]]),
        ((2, 0), 3, [[1, 2, 3], [0, 0, 6], [0, 0, 9]]),  # rows 1..3, columns -1..1
    ],
)
def test_cutout_by_hand(centre: tuple[int, int], side: int, expected: list[list[int]]) -> None:
    assert holed(SQUARE, np.array(centre)[:, None], side)[0, 0].tolist() == expected


ALL = Augmentation(shift=1, crop=1, flip=True, cutout=1)


def test_a_batch_depends_on_its_own_draws_alone() -> None:
    rng = np.random.default_rng(1)
    images: Images = rng.random((20, 1, 3, 3), np.float32)
    draws = ALL.draw(rng, 20, 3, 3)
    some = ALL.apply(images[5:9], {name: draw[:, 5:9] for name, draw in draws.items()})
    assert np.array_equal(some, ALL.apply(images, draws)[5:9])


def test_what_is_off_draws_nothing() -> None:
    assert Augmentation().draw(np.random.default_rng(0), 5, 3, 3) == {}
    assert Augmentation().apply(SQUARE, {}) is SQUARE
    assert list(ALL.draw(np.random.default_rng(0), 5, 3, 3)) == ["shift", "crop", "flip", "cutout"]
