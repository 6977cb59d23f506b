"""What training images are changed by: moves, mirror images and holes, for a whole batch at once.

Signals of one row are moved along it, never out of it.

Everything random is drawn for an epoch in advance (`draw`), so that a batch is a function of the seed, the epoch and
its number, whichever process makes it and however often a run is resumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..settings.data import DataSettings, Filling
from .datasets import Dataset, Images

Draws = Mapping[str, NDArray[np.int64]]  # name of the change -> what it needs, [.., images]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """DARTS (arXiv 1806.09055, section A.1.2) has crop 4, flip and cutout 16 on CIFAR; nothing is on by itself."""

    shift: int = 0  # move by up to so many pixels; 0 comes in
    crop: int = 0  # the same, black comes in, or the image reflected at its border
    crop_filling: Filling = "black"
    flip: bool = False  # mirror every other image, left to right
    cutout: int = 0  # side of a square at a random place that becomes 0 (DeVries and Taylor, arXiv 1708.04552)
    black: NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))  # [C] or [1]

    def draw(self, rng: np.random.Generator, images: int, rows: int, columns: int) -> Draws:
        """The random numbers of so many images of that size; a change that is off draws none."""
        draws = {}
        if self.shift:
            draws["shift"] = _corners(rng, self.shift, images, rows)
        if self.crop:
            draws["crop"] = _corners(rng, self.crop, images, rows)
        if self.flip:
            draws["flip"] = rng.integers(0, 2, (1, images))
        if self.cutout:
            draws["cutout"] = np.stack([rng.integers(0, rows, images), rng.integers(0, columns, images)])
        return draws

    def apply(self, images: Images, draws: Draws) -> Images:
        """[N, C, H, W] -> the same shape, with the draws of just these images; [N, T, C, H, W]: all frames alike."""
        if images.ndim == 5:
            return self.apply(images.reshape(len(images), -1, *images.shape[3:]), draws).reshape(images.shape)
        if self.shift:
            images = moved(images, draws["shift"], self.shift, np.zeros(1, np.float32))
        if self.crop:
            reflects = self.crop_filling == "reflect"
            images = moved(images, draws["crop"], self.crop, None if reflects else self.black)
        if self.flip:
            images = np.where(draws["flip"][0, :, None, None, None] == 1, images[..., ::-1], images)
        if self.cutout:
            images = holed(images, draws["cutout"], self.cutout)
        return images


def _corners(rng: np.random.Generator, reach: int, images: int, rows: int) -> NDArray[np.int64]:
    """[2, images], 0 .. 2 * reach; where there is one row, `reach` rows down, which is where it was."""
    corners = rng.integers(0, 2 * reach + 1, (2, images))
    if rows == 1:
        corners[0] = reach
    return corners


def moved(images: Images, corners: NDArray[np.int64], reach: int, filling: NDArray[np.float32] | None) -> Images:
    """[N, C, H, W] -> the windows of that size whose upper left corners [2, N] lie in images padded by `reach`.

    filling: [C] or [1]; without one the image reflected at its border, which itself is there once.
    """
    count, channels, rows, columns = images.shape
    if filling is None:
        padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    else:
        padded = np.empty((count, channels, rows + 2 * reach, columns + 2 * reach), np.float32)
        padded[:] = filling[:, None, None]
        padded[..., reach : reach + rows, reach : reach + columns] = images
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(2, 3))
    down, right = corners
    return np.ascontiguousarray(windows[np.arange(count), :, down, right])


def holed(images: Images, centres: NDArray[np.int64], side: int) -> Images:
    """[N, C, H, W] -> the same with 0 in a square around the centres [2, N], cut off at the border."""
    inside = [
        (np.arange(size) >= centre[:, None] - side // 2) & (np.arange(size) < centre[:, None] + side - side // 2)
        for size, centre in zip(images.shape[2:], centres, strict=True)
    ]
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return np.where(hole, np.float32(0), images)


def augmentation_of(settings: DataSettings, dataset: Dataset) -> Augmentation:
    """What the training images of a dataset are changed by.

    Raises InputError where a crop reaches farther than an image can be reflected.
    """
    rows, columns = dataset.input_shape[1:]
    least = columns if rows == 1 else min(rows, columns)
    if settings.crop_filling == "reflect" and settings.crop >= least:
        raise InputError(
            f"`crop < {least}` must hold with --crop-filling reflect and images of {least} pixels, but got "
            f"crop={settings.crop}; crop less or fill with black."
        )
    return Augmentation(
        shift=settings.shift,
        crop=settings.crop,
        crop_filling=settings.crop_filling,
        flip=settings.flip,
        cutout=settings.cutout,
        black=dataset.black,
    )
