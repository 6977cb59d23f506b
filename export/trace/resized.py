"""Maps that change their size as no convolution does: full matrices, of torch's own weights."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ...errors import UnsupportedError
from ..graph import Array
from . import linear
from .linear import Expression, Map

IMAGE_MODES = ("nearest", "nearest-exact", "bilinear", "bicubic")


def averages(size: tuple[int, int]) -> Map:
    """Adaptive average pooling to (rows, columns), where windows differ."""
    return _of_torch(lambda values: functional.adaptive_avg_pool2d(values, size))


def upsampled(x: Expression, module: Any) -> Expression:
    """x at more places, each value repeated or between its neighbours, as the mode says. Repeated spikes are spikes."""
    if module.mode not in IMAGE_MODES or len(x.shape) != 3:
        raise UnsupportedError(f"an Upsample has a rule for images, mode {', '.join(IMAGE_MODES)}, not '{module.mode}'")
    operation = _of_torch(
        lambda values: functional.interpolate(
            values, module.size, module.scale_factor, module.mode, align_corners=module.align_corners
        )
    )
    shape = operation(np.zeros((1, *x.shape))).shape[1:]
    found = linear.mapped(x, operation, shape)
    return replace(found, binary=True) if x.binary and module.mode.startswith("nearest") else found


def _of_torch(operation: Any) -> Map:
    def on_arrays(values: Array) -> Array:
        with torch.no_grad():
            found: Array = operation(torch.from_numpy(np.ascontiguousarray(values))).numpy()
        return found

    return on_arrays
