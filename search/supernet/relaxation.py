"""From architecture weights alpha to the weights of a mixture, and a skip beside it that fades out.

softmax   exp(a_o) / sum over o' of exp(a_o')     primitives of an edge compete (DARTS, arXiv 1806.09055)
sigmoid   1 / (1 + exp(-a_o))                     each is taken by itself (FairDARTS, arXiv 1911.12126)
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ..settings.supernet import Relaxation

# [edges, primitives] -> the same shape, >= 0
RELAXATIONS: Mapping[Relaxation, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=1),
    "sigmoid": torch.sigmoid,
}


def fading(epoch: int, epochs: int) -> float:
    """1 in the first epoch (0), 0 in the last, linear between (the beta of DARTS-, arXiv 2009.01027)."""
    return 1 - rising(epoch, epochs)


def rising(epoch: int, epochs: int) -> float:
    """0 in the first epoch (0), 1 in the last, linear between; with one epoch 1."""
    return epoch / (epochs - 1) if epochs > 1 else 1.0
