from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.datasets import Dataset, load_dataset


def test_digits_split() -> None:
    digits = load_dataset("digits")
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.train_images.dtype == digits.test_images.dtype == np.float32
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 1)
    assert np.bincount(digits.test_labels).min() >= 34  # stratified: 35 or 36 of most classes
    assert digits.classes == 10
    assert digits.input_shape == (1, 8, 8)
    train = {image.tobytes() for image in digits.train_images}
    assert not train & {image.tobytes() for image in digits.test_images}
    assert load_dataset("digits").sha256 == digits.sha256


def test_sha256_sees_every_array(blobs: Dataset) -> None:
    others = [
        Dataset("x", blobs.train_images * 2, blobs.train_labels, blobs.test_images, blobs.test_labels, 3),
        Dataset("x", blobs.train_images, blobs.train_labels + 1, blobs.test_images, blobs.test_labels, 3),
        Dataset("x", blobs.train_images, blobs.train_labels, blobs.test_images * 2, blobs.test_labels, 3),
        Dataset("x", blobs.train_images, blobs.train_labels, blobs.test_images, blobs.test_labels + 1, 3),
    ]
    assert len({blobs.sha256} | {other.sha256 for other in others}) == 5


def test_npz(blobs: Dataset, blobs_npz: str) -> None:
    loaded = load_dataset(blobs_npz)
    assert loaded.classes == 3
    assert loaded.train_images.shape == (48, 1, 4, 4)
    np.testing.assert_allclose(loaded.test_images, blobs.test_images, atol=1 / 255)
    np.testing.assert_array_equal(loaded.test_labels, blobs.test_labels)


def test_npz_puts_channels_first(tmp_path: Path) -> None:
    images = np.zeros((2, 4, 8, 3), np.uint8)
    images[1, 2, 5, 1] = 51
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([0, 1], np.uint8))
    loaded = load_dataset(f"npz:{tmp_path / 'a.npz'},{tmp_path / 'a.npz'}")
    assert loaded.train_images.shape == (2, 3, 4, 8)
    assert loaded.train_images[1, 1, 2, 5] == np.float32(0.2)
    assert np.count_nonzero(loaded.train_images) == 1


@pytest.mark.parametrize("name", ["mnist", "digits:x", "npz", ""])
def test_unknown(name: str) -> None:
    with pytest.raises(InputError, match=rf"^Unknown dataset '{name}'; choose from digits, npz:TRAIN.npz,TEST.npz\.$"):
        load_dataset(name)


GOOD: dict[str, Any] = {"images": np.zeros((4, 8, 8, 1), np.uint8), "labels": np.array([0, 1, 1, 0])}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": GOOD["labels"]}, "must hold the arrays `images` and `labels`, but holds labels"),
        (GOOD | {"images": np.zeros((4, 8, 8, 1))}, r"`images` must be uint8 \[N, H, W, C\] .* float64 \(4, 8, 8, 1\)"),
        (GOOD | {"images": np.zeros((4, 8, 8), np.uint8)}, r"but is uint8 \(4, 8, 8\)"),
        (GOOD | {"images": np.zeros((0, 8, 8, 1), np.uint8)}, "not empty"),
        (GOOD | {"labels": np.array([0, 1, 1])}, r"`labels` must be 4 integers from 0, but is int64 \(3,\)"),
        (GOOD | {"labels": np.array([0, 1, 1, -1])}, "integers from 0"),
        (GOOD | {"labels": np.zeros(4)}, "integers from 0, but is float64"),
        (GOOD | {"images": np.zeros((4, 8, 6, 1), np.uint8)}, r"same shape \(C, H, W\).*\(1, 8, 8\).*\(1, 8, 6\)"),
        (GOOD | {"labels": np.array([0, 1, 1, 2])}, r"every class of .* holds 2 and lacks \[2\]"),
    ],
)
def test_bad_npz(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "good.npz", **GOOD)
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_dataset(f"npz:{tmp_path / 'good.npz'},{tmp_path / 'bad.npz'}")


def test_npz_files_must_be_there_and_whole(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no file '.*a\.npz'"):
        load_dataset(f"npz:{tmp_path / 'a.npz'},{tmp_path / 'a.npz'}")
    with pytest.raises(InputError, match=r"needs two files, npz:TRAIN.npz,TEST.npz, but got 'npz:one.npz'"):
        load_dataset("npz:one.npz")
    np.savez(tmp_path / "a.npz", **GOOD)
    whole = (tmp_path / "a.npz").read_bytes()
    for damaged in (whole[:200], b"", b"text"):
        (tmp_path / "a.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"must be an .npz file of plain arrays, but cannot be read"):
            load_dataset(f"npz:{tmp_path / 'a.npz'},{tmp_path / 'a.npz'}")
