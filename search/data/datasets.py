"""Name -> images and labels, split into train and test the same way every time.

Pixels are read as uint8 arrays once and become float32 here and nowhere else (`normalised`), so that the training, the
export and the check of the exported forms see the same numbers. Events are frames of spikes (`events.py`), which stay
uint8 until a batch of them is made. What else is done to images is in `Dataset.notes`.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...path_kind import ARRAYS, expected
from ...reading.arrays import read_arrays
from ..settings.data import DataSettings
from .events import Binned, of_events
from .image_files import Decoded, of_archive, of_folders
from .syllables import CLASSES, NOTE, syllables
from .unlabelled import Inputs, of_file, of_random

Images = NDArray[np.float32 | np.uint8]  # float32 [N, C, H, W], or frames of spikes uint8 [N, T, C, H, W]
Pixels = NDArray[np.uint8]  # [N, H, W, C]
Labels = NDArray[np.int64]  # [N], 0..classes - 1

DATA_FOLDER = DataSettings().data_folder
DIGITS_TEST = 360
DIGITS_SPLIT_SEED = 0  # of the split alone: the test images stay the same whatever the seed of a run
MNIST_SIZE = 32  # 28 pixels cannot be halved more than twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """(pixel / 255 - mean) / std, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def black(self) -> NDArray[np.float32]:
        """What a black pixel becomes, [C]."""
        return np.array([-mean / std for mean, std in zip(self.mean, self.std, strict=True)], np.float32)


# Of the train split; every other data set stays in 0..1.
NORMALISATIONS: Mapping[str, Normalisation] = {
    # quark0/darts, cnn/utils.py, _data_transforms_cifar10
    "cifar10": Normalisation(mean=(0.49139968, 0.48215827, 0.44653124), std=(0.24703233, 0.24348505, 0.26158768)),
    # pytorch-cifar100, conf/global_settings.py
    "cifar100": Normalisation(
        mean=(0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
        std=(0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images float32 [N, C, H, W], in 0..1 or normalised, or frames of spikes uint8 [N, T, C, H, W], 0 or 1, and labels
    int64 [N]; `sha256` covers all four arrays."""

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: int
    normalisation: Normalisation | None = None  # None: pixels in 0..1
    notes: tuple[str, ...] = ()  # what was done to the images, a sentence each
    labelled: bool = True  # False: nobody knows the classes, and all labels are 0

    def record(self) -> dict[str, Any]:
        """What a run writes down about its images."""
        normalisation = None if self.normalisation is None else asdict(self.normalisation)
        return {
            "name": self.name,
            "sha256": self.sha256,
            "normalisation": normalisation,
            "notes": list(self.notes),
        }

    @property
    def black(self) -> NDArray[np.float32]:
        """What fills the place of pixels that are moved or cut out of sight, [C], or [1] for all channels alike."""
        return np.zeros(1, np.float32) if self.normalisation is None else self.normalisation.black

    @property
    def frames(self) -> int | None:
        """T of the frames of spikes that a sample is; None: it is an image."""
        return self.train_images.shape[1] if self.train_images.ndim == 5 else None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of an image or a frame."""
        channels, rows, columns = self.train_images.shape[-3:]
        return channels, rows, columns

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a name does not say: see `load_dataset`."""

    folder: Path
    download: bool
    time_steps: int | None


def normalised(pixels: Pixels, normalisation: Normalisation | None) -> NDArray[np.float32]:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W]."""
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)
    images /= np.float32(255)
    if normalisation is not None:
        images -= np.array(normalisation.mean, np.float32)[:, None, None]
        images /= np.array(normalisation.std, np.float32)[:, None, None]
    return images


def _digits(argument: str, wanted: Wanted) -> Dataset:
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


def _syllables(argument: str, wanted: Wanted) -> Dataset:
    """Signals of one dimension that are made up, [16, 1, 64]."""
    train, train_labels, test, test_labels = syllables()
    images = normalised(train, None), normalised(test, None)
    return Dataset("syllables", images[0], train_labels, images[1], test_labels, CLASSES, notes=(NOTE,))


def _npz(argument: str, wanted: Wanted) -> Dataset:
    """Two files written by numpy.savez with `images` uint8 [N, H, W, C] and `labels` integers [N], or one archive of
    images as they are in files (`image_files.of_archive`)."""
    files = argument.split(",")
    if len(files) > 2 or not all(files):
        raise InputError(
            "The dataset 'npz:' needs two files, npz:TRAIN.npz,TEST.npz, or one archive of JPEG images, but got "
            f"'npz:{argument}'."
        )
    for file in files:
        expected(Path(file), ARRAYS, "search --dataset npz:")
    if len(files) == 1:
        found = of_archive(Path(argument), wanted.folder)
    else:
        (train, train_labels), (test, test_labels) = (_read_npz(Path(file)) for file in files)
        found = Decoded(train, train_labels, test, test_labels)
    return _of_pixels(f"npz:{argument}", files[0], files[-1], found)


def _folders(argument: str, wanted: Wanted) -> Dataset:
    """Two folders with a sub-folder of images for each class."""
    places = argument.split(",")
    if len(places) != 2 or not all(places):
        raise InputError(f"The dataset 'folder:' needs two folders, folder:TRAIN,TEST, but got 'folder:{argument}'.")
    found, names = of_folders(Path(places[0]), Path(places[1]), wanted.folder)
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return _of_pixels(
        f"folder:{argument}", places[0], places[1], found, (f"classes 0 to {len(names) - 1} are {listed}",)
    )


def _events(argument: str, wanted: Wanted) -> Dataset:
    """Two files of recordings of an event camera."""
    files = argument.split(",")
    if len(files) != 2 or not all(files):
        raise InputError(
            f"The dataset 'events:' needs two files, events:TRAIN.npz,TEST.npz, but got 'events:{argument}'."
        )
    if wanted.time_steps is None:
        raise InputError("Events are binned into time steps; say how many, load_dataset(name, time_steps=8).")
    found = of_events(Path(files[0]), Path(files[1]), wanted.time_steps)
    classes = _classes(files[0], files[1], found)
    images, labels = (found.train_images, found.test_images), (found.train_labels, found.test_labels)
    return Dataset(f"events:{argument}", images[0], labels[0], images[1], labels[1], classes, notes=found.notes)


def _random(argument: str, wanted: Wanted) -> Dataset:
    return _unlabelled(f"random:{argument}", of_random(argument, wanted.time_steps))


def _inputs(argument: str, wanted: Wanted) -> Dataset:
    return _unlabelled(f"inputs:{argument}", of_file(Path(argument), wanted.time_steps))


def _unlabelled(name: str, found: Inputs) -> Dataset:
    labels = np.zeros(len(found.values), np.int64)
    return Dataset(name, found.values, labels, found.values, labels, classes=0, notes=(found.note,), labelled=False)


def _of_pixels(name: str, train: str, test: str, found: Decoded, notes: tuple[str, ...] = ()) -> Dataset:
    """train, test: where the images are from. Raises InputError where they do not fit."""
    if found.train_images.shape[1:] != found.test_images.shape[1:]:
        shapes = [(pixels.shape[3], *pixels.shape[1:3]) for pixels in (found.train_images, found.test_images)]
        raise InputError(
            f"Train and test images must have the same shape (C, H, W), but '{train}' has {shapes[0]} and '{test}' "
            f"has {shapes[1]}."
        )
    classes = _classes(train, test, found)
    images = normalised(found.train_images, None), normalised(found.test_images, None)
    return Dataset(name, images[0], found.train_labels, images[1], found.test_labels, classes, None, notes)


def _classes(train: str, test: str, found: Decoded | Binned) -> int:
    """How many there are. Raises InputError for one, and for one of the test split alone."""
    classes = int(found.train_labels.max()) + 1
    missing = sorted(set(found.test_labels.tolist()) - set(found.train_labels.tolist()))
    if missing or classes < 2:
        raise InputError(
            f"'{train}' must hold at least two classes and every class of '{test}', but holds {classes} and lacks "
            f"{missing}."
        )
    return classes


def _read_npz(path: Path) -> tuple[Pixels, Labels]:
    images, labels = read_arrays(path, ("images", "labels"))
    if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
        raise InputError(
            f"'{path}': `images` must be uint8 [N, H, W, C] and not empty, but is {images.dtype} {images.shape}."
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min() < 0:
        raise InputError(
            f"'{path}': `labels` must be {len(images)} integers from 0, but is {labels.dtype} {labels.shape}"
            f"{f' with {labels.min()}' if labels.dtype.kind in 'iu' and labels.size else ''}."
        )
    return images.astype(np.uint8, copy=False), labels.astype(np.int64)


def _mnist(argument: str, wanted: Wanted) -> Dataset:
    """60000 and 10000 handwritten digits of 28x28 grey pixels, padded to 32x32."""
    (train, train_labels), (test, test_labels) = _torchvision("mnist", "MNIST", wanted)
    before = (MNIST_SIZE - train.shape[1]) // 2
    after = MNIST_SIZE - train.shape[1] - before
    margin = ((0, 0), (before, after), (before, after), (0, 0))
    note = (
        f"images of mnist are padded with black from 28x28 to {MNIST_SIZE}x{MNIST_SIZE}, to be halved more than twice"
    )
    images = (normalised(np.pad(pixels, margin), None) for pixels in (train, test))
    return Dataset(
        f"mnist:{wanted.folder.as_posix()}", next(images), train_labels, next(images), test_labels, 10, None, (note,)
    )


def _cifar(name: str, source: str, classes: int, wanted: Wanted) -> Dataset:
    """50000 and 10000 photographs of 32x32 pixels in colour, normalised."""
    (train, train_labels), (test, test_labels) = _torchvision(name, source, wanted)
    normalisation = NORMALISATIONS[name]
    return Dataset(
        f"{name}:{wanted.folder.as_posix()}",
        normalised(train, normalisation),
        train_labels,
        normalised(test, normalisation),
        test_labels,
        classes,
        normalisation,
    )


def _cifar10(argument: str, wanted: Wanted) -> Dataset:
    return _cifar("cifar10", "CIFAR10", 10, wanted)


def _cifar100(argument: str, wanted: Wanted) -> Dataset:
    return _cifar("cifar100", "CIFAR100", 100, wanted)


def _torchvision(name: str, source: str, wanted: Wanted) -> list[tuple[Pixels, Labels]]:
    """Train and test split of a torchvision data set, its own checks of the files included.

    Raises InputError when the files are missing, damaged or cannot be downloaded.
    """
    from torchvision import datasets

    folder, download = wanted.folder, wanted.download
    try:
        splits = [getattr(datasets, source)(folder, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if download:
            raise InputError(
                f"'{name}' could not be downloaded to '{folder}' ({reason}); "
                f"go online, or copy torchvision's files of {source} there."
            ) from error
        alone = (
            f"from spikeport.search.data.datasets import load_dataset; load_dataset('{name}:{folder}', download=True)"
        )
        raise InputError(
            f"There are no complete files of {name} in '{folder}'; add --download, name their folder with "
            f'--data-folder, or fetch them now: python -c "{alone}".'
        ) from error
    return [_arrays(split) for split in splits]


def _arrays(split: Any) -> tuple[Pixels, Labels]:
    """The data of a torchvision data set -> uint8 [N, H, W, C], int64 [N]."""
    pixels = np.asarray(split.data)
    pixels = pixels if pixels.ndim == 4 else pixels[..., None]  # grey: [N, H, W]
    return pixels, np.asarray(split.targets, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a data set comes from: `load(what follows the colon, wanted)`, and how its name is written."""

    load: Callable[[str, Wanted], Dataset]
    spelling: str
    colon: Literal["never", "possible", "needed"]


SOURCES: Mapping[str, Source] = {
    "digits": Source(load=_digits, spelling="digits", colon="never"),
    "syllables": Source(load=_syllables, spelling="syllables", colon="never"),
    "mnist": Source(load=_mnist, spelling="mnist[:FOLDER]", colon="possible"),
    "cifar10": Source(load=_cifar10, spelling="cifar10[:FOLDER]", colon="possible"),
    "cifar100": Source(load=_cifar100, spelling="cifar100[:FOLDER]", colon="possible"),
    "npz": Source(load=_npz, spelling="npz:TRAIN.npz,TEST.npz", colon="needed"),
    "folder": Source(load=_folders, spelling="folder:TRAIN,TEST", colon="needed"),
    "events": Source(load=_events, spelling="events:TRAIN.npz,TEST.npz", colon="needed"),
    # without labels, for networks that were imported
    "inputs": Source(load=_inputs, spelling="inputs:FILE.npy", colon="needed"),
    "random": Source(load=_random, spelling="random:3x32x32", colon="needed"),
}


def dataset_kind(name: str) -> str:
    """What stands before the colon. Raises InputError when the name is of no known data set."""
    kind, colon, argument = name.partition(":")
    if kind not in SOURCES or SOURCES[kind].colon == ("never" if colon else "needed") or bool(colon) != bool(argument):
        known = ", ".join(source.spelling for source in SOURCES.values())
        raise InputError(f"Unknown dataset '{name}'; choose from {known}.")
    return kind


def load_dataset(
    name: str, folder: str | Path = DATA_FOLDER, *, download: bool = False, time_steps: int | None = None
) -> Dataset:
    """The dataset of that name; `Dataset.name` is the whole name, with which it is found again.

    `folder` is where torchvision keeps its files, unless the name says another, and decoded images are kept; `download`
    lets it fetch them. Events are binned into `time_steps`, of which images know nothing. Raises InputError when the
    name is unknown or its files are not what they have to be.

    >>> spikeport.load_dataset("digits").test_images.shape
    (360, 1, 8, 8)
    """
    source, argument = SOURCES[dataset_kind(name)], name.partition(":")[2]
    place = argument if argument and source.colon == "possible" else folder
    return source.load(argument, Wanted(folder=Path(place), download=download, time_steps=time_steps))
