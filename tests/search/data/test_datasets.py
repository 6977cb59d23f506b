from pathlib import Path
from typing import Any, ClassVar
from urllib.error import URLError

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.data.datasets import NORMALISATIONS, Dataset, load_dataset


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


KNOWN = (
    r"digits, syllables, mnist\[:FOLDER\], cifar10\[:FOLDER\], cifar100\[:FOLDER\], npz:TRAIN.npz,TEST.npz, "
    "folder:TRAIN,TEST, events:TRAIN.npz,TEST.npz, inputs:FILE.npy, random:3x32x32"
)


@pytest.mark.parametrize("name", ["mnost", "digits:x", "npz", "npz:", "cifar10:", ""])
def test_unknown(name: str) -> None:
    with pytest.raises(InputError, match=rf"^Unknown dataset '{name}'; choose from {KNOWN}\.$"):
        load_dataset(name)


def idx(path: Path, array: np.ndarray) -> None:
    """MNIST's format: two zeros, the type (8 is uint8), the number of axes, their sizes, the values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


def test_mnist_is_padded_visibly(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28))
    idx(raw / "train-images-idx3-ubyte", pixels)
    idx(raw / "train-labels-idx1-ubyte", np.array([3, 1, 4, 1, 5]))
    idx(raw / "t10k-images-idx3-ubyte", pixels[:2])
    idx(raw / "t10k-labels-idx1-ubyte", np.array([9, 2]))
    mnist = load_dataset("mnist", tmp_path)
    assert mnist.train_images.shape == (5, 1, 32, 32)
    np.testing.assert_array_equal(mnist.train_images[:, 0, 2:30, 2:30], pixels.astype(np.float32) / np.float32(255))
    assert np.count_nonzero(mnist.train_images) == np.count_nonzero(pixels)
    assert mnist.train_labels.tolist() == [3, 1, 4, 1, 5] and mnist.test_labels.tolist() == [9, 2]
    assert mnist.classes == 10
    assert mnist.notes == ("images of mnist are padded with black from 28x28 to 32x32, to be halved more than twice",)
    assert mnist.record()["notes"] == list(mnist.notes)
    assert load_dataset(mnist.name).sha256 == mnist.sha256  # the name says the folder


class FakeCifar:
    """As torchvision's: uint8 [N, 32, 32, 3] in `data`, a list in `targets`."""

    asked: ClassVar[list[tuple[Path, bool, bool]]] = []

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        self.asked.append((root, train, download))
        self.data = np.zeros((4 if train else 2, 32, 32, 3), np.uint8)
        self.data[0, 1, 2, 0] = 255
        self.targets = [7, 0, 2, 1][: len(self.data)]


@pytest.mark.parametrize(("name", "source", "classes"), [("cifar10", "CIFAR10", 10), ("cifar100", "CIFAR100", 100)])
def test_cifar_is_normalised(monkeypatch: pytest.MonkeyPatch, name: str, source: str, classes: int) -> None:
    monkeypatch.setattr(f"torchvision.datasets.{source}", FakeCifar)  # by its name: importing it takes seconds
    monkeypatch.setattr(FakeCifar, "asked", [])
    cifar = load_dataset(name, "/somewhere", download=True)
    folder = Path("/somewhere")
    assert FakeCifar.asked == [(folder, True, True), (folder, False, True)]
    assert (cifar.name, cifar.classes, cifar.train_images.shape) == (f"{name}:/somewhere", classes, (4, 3, 32, 32))
    assert cifar.train_labels.tolist() == [7, 0, 2, 1]
    how = NORMALISATIONS[name]
    assert cifar.train_images[0, 0, 1, 2] == pytest.approx((1 - how.mean[0]) / how.std[0], rel=1e-6)
    for channel in range(3):
        black = -how.mean[channel] / how.std[channel]
        assert cifar.train_images[0, channel, 0, 0] == pytest.approx(black, rel=1e-6)
        assert cifar.black[channel] == pytest.approx(black, rel=1e-6)
    assert cifar.record()["normalisation"] == {"mean": how.mean, "std": how.std}
    load_dataset(cifar.name)
    assert FakeCifar.asked[-1] == (folder, False, False)


def test_without_files_the_error_says_what_to_do(tmp_path: Path) -> None:
    message = (
        r"^There are no complete files of cifar10 in '.*'; add --download, "
        r"name their folder with --data-folder, or fetch them now: "
        r"python -c \"from spikeport.search.data.datasets import load_dataset; "
        rf"load_dataset\('cifar10:{tmp_path}', download=True\)\"\.$"
    )
    with pytest.raises(InputError, match=message):
        load_dataset("cifar10", tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"damaged")
    with pytest.raises(InputError, match="no complete files"):  # torchvision's check sums
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize(("name", "source"), [("mnist", "MNIST"), ("cifar100", "CIFAR100")])
def test_a_download_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, source: str
) -> None:
    def offline(*arguments: object, **options: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(
        InputError, match=rf"^'{name}' could not be downloaded .*not known.*; go online, or copy"
    ) as told:
        load_dataset(name, tmp_path, download=True)
    assert "\n" not in str(told.value)
    assert source in str(told.value)


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
    with pytest.raises(InputError, match=r"There is no '.*a\.npz'; give an \.npz file"):
        load_dataset(f"npz:{tmp_path / 'a.npz'},{tmp_path / 'a.npz'}")
    with pytest.raises(InputError, match=r"needs two files, npz:TRAIN\.npz,TEST\.npz, or one archive"):
        load_dataset("npz:one.npz,two.npz,three.npz")
    np.savez(tmp_path / "a.npz", **GOOD)
    whole = (tmp_path / "a.npz").read_bytes()
    for damaged, said in (
        (whole[:200], "must be an .npz file of plain arrays, but cannot be read"),
        (b"", "is an empty file, but search --dataset npz: reads an .npz file"),
        (b"text", "is a text file, but search --dataset npz: reads an .npz file"),
    ):
        (tmp_path / "a.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=said):
            load_dataset(f"npz:{tmp_path / 'a.npz'},{tmp_path / 'a.npz'}")
