"""Tensors as the compiled loops read them (neurons.py): NumPy arrays of the same memory.

Numbers are float32. Spikes are float32 or bfloat16, which NumPy has not: there they are int16, with the bits of 1.0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

SPIKES = (torch.float32, torch.bfloat16)
BFLOAT16_ONE = np.int16(0x3F80)


def takes_loops(tensor: Tensor, dtypes: Sequence[torch.dtype] = (torch.float32,)) -> bool:
    """Whether the compiled loops can read it: of these types, in the CPU's memory."""
    return tensor.device.type == "cpu" and tensor.dtype in dtypes


def bits(tensor: Tensor) -> Any:
    """The array of a contiguous tensor."""
    tensor = tensor.detach()
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def one(array: Any) -> Any:
    """A spike in an array from `bits`."""
    return BFLOAT16_ONE if array.dtype == np.int16 else np.float32(1)
