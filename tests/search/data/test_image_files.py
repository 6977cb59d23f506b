"""Images as files: what is decoded is the pixels, once; what cannot be is named."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spikeport.errors import InputError
from spikeport.search.data import image_files
from spikeport.search.data.datasets import load_dataset

Pixels = NDArray[np.uint8]
COUNT = 6  # of a split


def pixels(seed: int, channels: int = 3) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (COUNT, 8, 12, channels), np.uint8)


def save(path: Path, image: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path)


def folders(tmp_path: Path, train: Pixels, test: Pixels) -> str:
    """Image i is of the class i % 3; within a class they are in the order of their names."""
    for split, images in (("train", train), ("test", test)):
        for i, image in enumerate(images):
            save(tmp_path / split / ("ape", "bee", "cat")[i % 3] / f"{i}.png", image)
    return f"folder:{tmp_path / 'train'},{tmp_path / 'test'}"


def by_class(images: Pixels) -> Pixels:
    return images[np.argsort(np.arange(COUNT) % 3, kind="stable")]


def as_pixels(images: NDArray[np.float32]) -> Pixels:
    return np.round(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (1, 3), (3, 1)])
def test_folders(tmp_path: Path, channels: tuple[int, int]) -> None:
    train, test = pixels(0, channels[0]), pixels(1, channels[1])
    found = load_dataset(folders(tmp_path, train, test), tmp_path)
    np.testing.assert_array_equal(found.train_labels, [0, 0, 1, 1, 2, 2])
    wanted = max(channels)
    for images, given in ((found.train_images, train), (found.test_images, test)):
        assert images.shape == (COUNT, wanted, 8, 12)
        np.testing.assert_array_equal(as_pixels(images), np.broadcast_to(by_class(given), (COUNT, 8, 12, wanted)))
    assert found.classes == 3 and found.notes == ("classes 0 to 2 are ape, bee, cat",)


def archive(path: Path, **changes: Any) -> str:
    """Written as JPEG of the best quality."""
    arrays: dict[str, Any] = {}
    for split, seed in (("train", 0), ("test", 1)):
        blobs = []
        for image in np.repeat(np.repeat(pixels(seed)[:, :2, :3], 4, 1), 4, 2):  # smooth, so that JPEG keeps it
            data = io.BytesIO()
            Image.fromarray(image).save(data, "JPEG", quality=100, subsampling=0)
            blobs.append(data.getvalue())
        arrays[f"{split}_jpeg"] = np.frombuffer(b"".join(blobs), np.uint8)
        arrays[f"{split}_offsets"] = np.cumsum([0, *map(len, blobs)])
        arrays[f"{split}_labels"] = np.arange(COUNT) % 2
    np.savez(path, classes=np.array(["a", "b"]), **arrays | changes)
    return f"npz:{path}"


def test_an_archive_of_jpeg_images(tmp_path: Path) -> None:
    found = load_dataset(archive(tmp_path / "a.npz"), tmp_path)
    smooth = np.repeat(np.repeat(pixels(1)[:, :2, :3], 4, 1), 4, 2).astype(int)
    assert np.abs(as_pixels(found.test_images).astype(int) - smooth).max() < 30
    np.testing.assert_array_equal(found.test_labels, [0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_jpeg": np.zeros(9)}, r"must hold train_jpeg uint8 \[bytes\].* holds float64 \(9,\)"),
        ({"test_offsets": np.arange(3)}, r"test_offsets \[N \+ 1\], but holds"),
        ({"train_offsets": np.array([0, 9, 3, 4, 5, 6, 7])}, "train_offsets must grow from 0 to"),
        ({"test_labels": np.array([0, -1, 0, 1, 0, 1])}, "labels be from 0, but .* begin at -1"),
        ({"test_labels": np.array([0, 1, 2, 1, 0, 1])}, r"must hold at least two classes.*lacks \[2\]"),
        ({"train_jpeg": np.zeros(9, np.uint8), "train_offsets": np.arange(7)}, r"a\.npz: image 0 of train' is no"),
    ],
)  # fmt: skip
def test_an_archive_that_is_none(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_dataset(archive(tmp_path / "a.npz", **changes), tmp_path)


def test_they_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [folders(tmp_path / "f", pixels(0), pixels(1)), archive(tmp_path / "a.npz")]
    first = [load_dataset(name, tmp_path).sha256 for name in names]
    with monkeypatch.context() as patch:
        patch.setattr(image_files, "_pixels", lambda image: pytest.fail("decoded again"))
        assert [load_dataset(name, tmp_path).sha256 for name in names] == first
    save(tmp_path / "f/train/ape/0.png", pixels(5)[0])
    os.utime(tmp_path / "f/train/ape/0.png", (1, 1))
    archive(tmp_path / "a.npz", train_labels=np.arange(COUNT) % 3)
    assert all(load_dataset(name, tmp_path).sha256 != old for name, old in zip(names, first, strict=True))


def test_what_was_kept_and_is_damaged_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = archive(tmp_path / "a.npz")
    first = load_dataset(name, tmp_path).sha256
    (kept,) = (tmp_path / image_files.KEPT_IN).iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    assert load_dataset(name, tmp_path).sha256 == first
    assert "Decoding it again" in caplog.text
    assert load_dataset(name, tmp_path).sha256 == first


def test_without_a_place_to_keep_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert len(load_dataset(archive(tmp_path / "a.npz"), tmp_path / "file").train_labels) == COUNT
    assert "are not kept" in caplog.text


def too_wide(path: Path) -> None:
    """A PNG header that declares 2^30 pixels."""
    save(path, pixels(0)[0])
    data = path.read_bytes()
    path.write_bytes(data[:16] + (2**15).to_bytes(4, "big") * 2 + data[24:])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_text("no image"), r"ape/0\.png' is no readable image"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), r"ape/0\.png' is no readable image"),
        (too_wide, r"ape/0\.png' is no readable image"),
        (lambda path: save(path, pixels(0)[0][:4]), r"has 4 rows x 12 columns and .*3\.png' has 8 x 12; resize them"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "git lfs"),
    ],
)
def test_an_image_that_is_none(tmp_path: Path, damage: Any, said: str) -> None:
    name = folders(tmp_path, pixels(0), pixels(1))
    damage(tmp_path / "train/ape/0.png")
    with pytest.raises(InputError, match=said):
        load_dataset(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder:{0}/train", "needs two folders, folder:TRAIN,TEST"),
        ("folder:{0}/train,{0}/nowhere", "There is no folder '.*nowhere'; name one with a sub-folder of images"),
        ("folder:{0}/train,{0}/train/ape", "ape' must have a sub-folder of images for each class, but has none"),
        ("folder:{0}/train,{0}/other", "Every class of '.*other' must be in '.*train', but dog is not"),
        ("folder:{0}/other,{0}/other", "dog' must hold images .*, but holds none"),
    ],
)
def test_folders_that_are_none(tmp_path: Path, name: str, said: str) -> None:
    folders(tmp_path, pixels(0), pixels(1))
    (tmp_path / "other/dog").mkdir(parents=True)
    (tmp_path / "other/dog/notes.txt").write_text("no image")
    with pytest.raises(InputError, match=said):
        load_dataset(name.format(tmp_path), tmp_path)
