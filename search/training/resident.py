"""A data set that stays on the GPU, and is indexed and augmented there: no image crosses the bus in a step.

On a CPU, and where the GPU has no room, arrays stay arrays (`batches.py` makes their batches in a thread). Both ways
give the same numbers: augmentation moves pixels and computes nothing.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ..data.augmentation import Augmentation, Draws
from ..data.datasets import Dataset, Images, Labels

LEAST_FREE = 0.5  # of the GPU's memory that is free, what the images may take


def resident(dataset: Dataset, device: torch.device) -> tuple[Images | Tensor, Labels | Tensor]:
    """The training images and labels where they are used."""
    images, labels = dataset.train_images, dataset.train_labels
    if device.type != "cuda" or images.nbytes > LEAST_FREE * torch.cuda.mem_get_info(device)[0]:
        return images, labels
    return torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)


def rows_of(values: Any, rows: NDArray[np.int64]) -> Any:
    """Some of the first axis."""
    return values[torch.from_numpy(rows).to(values.device)] if isinstance(values, Tensor) else values[rows]


def augmented(augmentation: Augmentation, images: Tensor, draws: Draws) -> Tensor:
    """What `Augmentation.apply` does, where the images are."""
    if images.ndim == 5:
        return augmented(augmentation, images.flatten(1, 2).float(), draws).view(images.shape)
    there = {name: torch.from_numpy(draw).to(images.device, non_blocking=True) for name, draw in draws.items()}
    if augmentation.shift:
        images = _moved(images, there["shift"], augmentation.shift, torch.zeros(1, device=images.device))
    if augmentation.crop:
        reflects = augmentation.crop_filling == "reflect"
        filling = None if reflects else torch.from_numpy(augmentation.black).to(images.device)
        images = _moved(images, there["crop"], augmentation.crop, filling)
    if augmentation.flip:
        images = torch.where(there["flip"][0, :, None, None, None] == 1, images.flip(-1), images)
    if augmentation.cutout:
        images = _holed(images, there["cutout"], augmentation.cutout)
    return images


def _moved(images: Tensor, corners: Tensor, reach: int, filling: Tensor | None) -> Tensor:
    count, channels, rows, columns = images.shape
    above = 0 if filling is None and rows == 1 else reach  # one row has nothing to reflect, and is not moved down
    if filling is None:
        padded = pad(images, (reach, reach, above, above), mode="reflect")
    else:
        padded = filling[:, None, None].expand(count, channels, rows + 2 * reach, columns + 2 * reach).clone()
        padded[..., reach : reach + rows, reach : reach + columns] = images
    down = corners[0][:, None] - reach + above + torch.arange(rows, device=images.device)  # [N, H]
    right = corners[1][:, None] + torch.arange(columns, device=images.device)
    one = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[one, channel, down[:, None, :, None], right[:, None, None, :]]


def _holed(images: Tensor, centres: Tensor, side: int) -> Tensor:
    inside = []
    for size, centre in zip(images.shape[2:], centres, strict=True):
        place = torch.arange(size, device=images.device)
        inside.append((place >= centre[:, None] - side // 2) & (place < centre[:, None] + side - side // 2))
    return images.masked_fill(inside[0][:, None, :, None] & inside[1][:, None, None, :], 0)
