"""Small images first: they cost less, and a network learns on them what it needs on large ones (progressive resizing).

    side = whole side * (first + (1 - first) * min(1, epoch / growing epochs)), to the nearest that can be halved

The one row of a signal stays.

Images are made smaller after they were augmented, by the mean over each pixel's area, where they are. What a network is
tested on has its whole size.
"""

from torch import Tensor
from torch.nn.functional import interpolate

from ..settings.training import TrainingSettings
from ..space.network import NetworkConfig


def size_at(
    settings: TrainingSettings, config: NetworkConfig, halvings: int, epoch: int, epochs: int
) -> tuple[int, int]:
    """Rows and columns of the training images of an epoch 0.. of a network that halves them so often after the stem."""
    growing = settings.growth_share * epochs
    share = settings.first_size + (1 - settings.first_size) * min(1.0, epoch / growing)
    least = config.stem_stride << halvings
    rows, columns = (max(least, least * round(share * side / least)) for side in config.input_shape[1:])
    return 1 if config.one_row else rows, columns


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """[N, C, H, W] -> [N, C, *size]; the images, or frames [N, T, C, H, W], themselves where they have it."""
    return images if images.shape[-2:] == size else interpolate(images, size, mode="area")
