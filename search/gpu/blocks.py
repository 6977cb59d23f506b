"""How the work of a kernel is cut: tiles of rows and channels, which lie together in memory.

All maps are contiguous with their channels last. Sums over rows are taken in parts that do not depend on the GPU, so
that the same numbers come out the same every time.
"""

import functools
from importlib.util import find_spec

import torch
from torch import Tensor

TILE = 2048  # numbers
CHANNELS = 64  # of a tile, at most
PARTS = 1024  # of a sum over rows, at most

KERNEL_TYPES = (torch.float32, torch.bfloat16, torch.float16)


@functools.cache
def has_triton() -> bool:
    return find_spec("triton") is not None


def takes_kernels(tensor: Tensor) -> bool:
    """Whether the kernels can read it: of their types, on a GPU, and Triton is there."""
    return tensor.device.type == "cuda" and tensor.dtype in KERNEL_TYPES and has_triton()


def power_of_two(number: int) -> int:
    """The least that is not below."""
    return 1 << max(0, number - 1).bit_length()


def tile(channels: int) -> tuple[int, int]:
    """(rows, channels) of a tile."""
    wide = min(CHANNELS, power_of_two(channels))
    return TILE // wide, wide


def ceil_div(number: int, part: int) -> int:
    return -(-number // part)
