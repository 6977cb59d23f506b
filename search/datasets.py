"""Name -> images and labels, split into train and test the same way every time."""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Images = NDArray[np.float32]  # [N, C, H, W], 0..1
Labels = NDArray[np.int64]  # [N], 0..classes - 1

DIGITS_TEST = 360
DIGITS_SPLIT_SEED = 0  # of the split alone: the test images stay the same whatever the seed of a run


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images float32 [N, C, H, W] in 0..1 and labels int64 [N]; `sha256` covers all four arrays."""

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: int

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of an image."""
        channels, rows, columns = self.train_images.shape[1:]
        return channels, rows, columns

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _digits(argument: str) -> Dataset:
    """scikit-learn's 1797 handwritten digits, 8x8 pixels of 0..16; they come with the package."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    split = train_test_split(
        images, labels.astype(np.int64), test_size=DIGITS_TEST, stratify=labels, random_state=DIGITS_SPLIT_SEED
    )
    train_images, test_images, train_labels, test_labels = split
    return Dataset("digits", train_images, train_labels, test_images, test_labels, classes=10)


def _npz(argument: str) -> Dataset:
    """Two files written by numpy.savez with `images` uint8 [N, H, W, C] and `labels` integers [N]."""
    files = argument.split(",")
    if len(files) != 2 or not all(files):
        raise InputError(f"The dataset 'npz:' needs two files, npz:TRAIN.npz,TEST.npz, but got 'npz:{argument}'.")
    train_images, train_labels = _read_npz(Path(files[0]))
    test_images, test_labels = _read_npz(Path(files[1]))
    if train_images.shape[1:] != test_images.shape[1:]:
        raise InputError(
            f"Train and test images must have the same shape (C, H, W), but '{files[0]}' has "
            f"{train_images.shape[1:]} and '{files[1]}' has {test_images.shape[1:]}."
        )
    classes = int(train_labels.max()) + 1
    missing = sorted(set(test_labels.tolist()) - set(train_labels.tolist()))
    if missing or classes < 2:
        raise InputError(
            f"'{files[0]}' must hold at least two classes and every class of '{files[1]}', "
            f"but holds {classes} and lacks {missing}."
        )
    return Dataset(f"npz:{argument}", train_images, train_labels, test_images, test_labels, classes)


def _read_npz(path: Path) -> tuple[Images, Labels]:
    try:
        with path.open("rb") as handle:
            if not is_zipfile(handle):  # np.load would take it for something else
                raise BadZipFile("it is no zip archive, or is cut short")
            with np.load(handle, allow_pickle=False) as file:
                found: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"There is no file '{path}'; name an .npz file with `images` and `labels`.") from error
    except (BadZipFile, OSError, ValueError, zlib.error) as error:
        raise InputError(f"'{path}' must be an .npz file of plain arrays, but cannot be read ({error}).") from error
    if not {"images", "labels"} <= found.keys():
        raise InputError(
            f"'{path}' must hold the arrays `images` and `labels`, but holds {', '.join(found) or 'none'}."
        )
    images, labels = found["images"], found["labels"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
        raise InputError(
            f"'{path}': `images` must be uint8 [N, H, W, C] and not empty, but is {images.dtype} {images.shape}."
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min() < 0:
        raise InputError(
            f"'{path}': `labels` must be {len(images)} integers from 0, but is {labels.dtype} {labels.shape}."
        )
    scaled = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
    return scaled, labels.astype(np.int64)


# name (before a colon) -> loader of what follows the colon, and how the name is written in full
LOADERS: Mapping[str, Callable[[str], Dataset]] = {"digits": _digits, "npz": _npz}
SPELLING: Mapping[str, str] = {"digits": "digits", "npz": "npz:TRAIN.npz,TEST.npz"}


def load_dataset(name: str) -> Dataset:
    """The dataset of that name. Raises InputError when it is unknown or its files are not what they have to be."""
    kind, colon, argument = name.partition(":")
    if kind not in LOADERS or bool(colon) != (":" in SPELLING[kind]):
        raise InputError(f"Unknown dataset '{name}'; choose from {', '.join(SPELLING.values())}.")
    return LOADERS[kind](argument)
