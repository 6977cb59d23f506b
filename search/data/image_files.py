"""Images as JPEG, PNG and the like, in folders by class or one after another in an archive, decoded to pixels.

Decoding takes as long as an epoch of a small network, so the pixels are kept in the data folder, under a name that
follows from the files; other files have another name.
"""

import hashlib
import io
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import InputError
from ...files import replacing
from ...path_kind import itself
from ...reading.arrays import read_arrays

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}  # as torchvision's ImageFolder
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
GREY = {"1", "L"}
MAX_PIXELS = 2**24  # of an image
KEPT_IN = "decoded"


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Pixels uint8 [N, H, W, C], labels int64 [N]."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


NAMES = tuple(field.name for field in fields(Decoded))


def of_folders(train: Path, test: Path, folder: Path) -> tuple[Decoded, list[str]]:
    """Two folders with a sub-folder per class, and the names of the classes, sorted: number i is the i-th.

    folder: where pixels are kept. Raises InputError that names the folder or the image at fault.
    """
    classes = _classes(train)
    unknown = sorted(set(_classes(test)) - set(classes))
    if unknown:
        raise InputError(
            f"Every class of '{test}' must be in '{train}', but {', '.join(unknown[:5])} is not; add images of it."
        )
    files = [_files(train, classes), _files(test, classes)]
    stats = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for part in files for path, _ in part]

    def decode() -> Decoded:
        pixels = [_decoded([(str(path), path) for path, _ in part]) for part in files]
        return _together(pixels, [np.array([label for _, label in part], np.int64) for part in files])

    return _kept(folder, repr(stats).encode(), decode), classes


def of_archive(path: Path, folder: Path) -> Decoded:
    """An `.npz` file of images as they are in files: `train_jpeg` uint8, one file after the other, `train_offsets`
    [N + 1], where each begins and the last ends, `train_labels` [N], and the same of `test_`.

    folder: where pixels are kept. Raises InputError for what is not so, and for what is no image.
    """
    names = [f"{split}_{word}" for split in ("train", "test") for word in ("jpeg", "offsets", "labels")]
    with itself(path).open("rb") as file:
        key = hashlib.file_digest(file, "sha256").digest()

    def decode() -> Decoded:
        arrays = dict(zip(names, read_arrays(path, names), strict=True))
        decoded, classes = [], []
        for split in ("train", "test"):
            data, offsets, labels = (arrays[f"{split}_{word}"] for word in ("jpeg", "offsets", "labels"))
            whole = data.dtype == np.uint8 and data.ndim == 1 and {offsets.dtype.kind, labels.dtype.kind} <= set("iu")
            if not whole or labels.ndim != 1 or not len(labels) or offsets.shape != (len(labels) + 1,):
                raise InputError(
                    f"'{path}' must hold {split}_jpeg uint8 [bytes], {split}_labels [N >= 1] and {split}_offsets "
                    f"[N + 1], but holds {data.dtype} {data.shape}, {labels.dtype} {labels.shape} and {offsets.dtype} "
                    f"{offsets.shape}."
                )
            bounds = offsets.astype(np.int64)
            if bounds[0] < 0 or bounds[-1] > len(data) or (np.diff(bounds) < 0).any() or labels.min() < 0:
                raise InputError(
                    f"'{path}': {split}_offsets must grow from 0 to {len(data)}, and labels be from 0, but they lie in "
                    f"[{bounds.min()}, {bounds.max()}] and begin at {labels.min()}."
                )
            blobs = [data[a:b].tobytes() for a, b in itertools.pairwise(bounds)]
            decoded.append(_decoded([(f"{path}: image {i} of {split}", blob) for i, blob in enumerate(blobs)]))
            classes.append(labels.astype(np.int64))
        return _together(decoded, classes)

    return _kept(folder, key, decode)


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'; name one with a sub-folder of images for each class.")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise InputError(f"'{folder}' must have a sub-folder of images for each class, but has none.")
    return names


def _files(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """Every image and its label; in the same order on every machine."""
    found = []
    for label, name in enumerate(classes):
        paths = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in ENDINGS)
        if not paths and (folder / name).is_dir():
            raise InputError(
                f"'{folder / name}' must hold images ({', '.join(sorted(ENDINGS))}), but holds none; add some, or "
                "remove the folder."
            )
        found += [(path, label) for path in paths]
    return found


def _decoded(images: Sequence[tuple[str, Path | bytes]]) -> NDArray[np.uint8]:
    """[N, H, W, C], with one channel if all are grey."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        pixels = list(threads.map(_pixels, images))
    sizes = [one.shape[:2] for one in pixels]
    if len(set(sizes)) > 1:
        other = next(i for i, size in enumerate(sizes) if size != sizes[0])
        raise InputError(
            f"All images must have the same size, but '{images[0][0]}' has {sizes[0][0]} rows x {sizes[0][1]} columns "
            f"and '{images[other][0]}' has {sizes[other][0]} x {sizes[other][1]}; resize them first."
        )
    if len({one.shape[2] for one in pixels}) > 1:
        pixels = [np.broadcast_to(one, (*one.shape[:2], 3)) for one in pixels]
    return np.stack(pixels)


def _pixels(image: tuple[str, Path | bytes]) -> NDArray[np.uint8]:
    """[H, W, 1] of a grey image, else [H, W, 3]."""
    where, data = image
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else itself(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{opened.width} x {opened.height} pixels, more than {MAX_PIXELS}")
            pixels = np.asarray(opened.convert("L" if opened.mode in GREY else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(data), "it") if isinstance(data, Path) else "of an unknown or damaged format"
        raise InputError(f"'{where}' is no readable image ({reason}); replace or remove it.") from error
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _together(pixels: Sequence[NDArray[np.uint8]], labels: Sequence[NDArray[np.int64]]) -> Decoded:
    """Train and test split; where one is grey and the other is not, both have three channels."""
    if len({part.shape[3] for part in pixels}) > 1:
        pixels = [np.broadcast_to(part, (*part.shape[:3], 3)) for part in pixels]
    return Decoded(pixels[0], labels[0], pixels[1], labels[1])


def _kept(folder: Path, key: bytes, decode: Callable[[], Decoded]) -> Decoded:
    """What was decoded from the same files before, or now and kept. A folder that is closed keeps nothing."""
    path = folder / KEPT_IN / f"{hashlib.sha256(key).hexdigest()[:32]}.npz"
    if path.exists():
        try:
            return Decoded(*cast(list[Any], read_arrays(path, NAMES)))  # as they were written
        except InputError as error:
            logging.getLogger(__name__).warning("%s Decoding it again.", error)
    made = decode()
    try:
        with replacing(path) as temporary:
            np.savez(temporary, **{name: getattr(made, name) for name in NAMES})
    except InputError as error:
        logging.getLogger(__name__).warning("Decoded images are not kept: %s", error)
    return made
