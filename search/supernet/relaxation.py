"""From architecture weights alpha to the weights of a mixture, and a skip beside it that fades out.

softmax   exp(a_o) / sum over o' of exp(a_o')     primitives of an edge compete (DARTS, arXiv 1806.09055)
sigmoid   1 / (1 + exp(-a_o))                     each is taken by itself (FairDARTS, arXiv 1911.12126)
gumbel    softmax of (a_o + G_o) / T              nearly one of them, drawn anew for every batch (LF-MMI, 2007.08818)

G_o = -log(-log U_o) with U_o uniform in 0..1, so that primitive o is the largest with its share in the softmax of a.
The lower the temperature T, the nearer is a mixture to that one. Without noise `gumbel` is the softmax, which is the
mean of what is drawn: that is what a supernet in eval mode mixes, and what a genotype is derived from.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ..settings.supernet import Relaxation

# [edges, primitives] -> the same shape, >= 0; of `gumbel` (a + G) / T
RELAXATIONS: Mapping[Relaxation, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=1),
    "sigmoid": torch.sigmoid,
    "gumbel": partial(torch.softmax, dim=1),
}


def temperature_at(start: float, end: float, epoch: int, epochs: int) -> float:
    """T of an epoch 0..epochs - 1: from start to end by equal factors (T of LF-MMI and of SNAS, arXiv 1812.09926)."""
    return float(start * (end / start) ** rising(epoch, epochs))


def fading(epoch: int, epochs: int) -> float:
    """1 in the first epoch (0), 0 in the last, linear between (the beta of DARTS-, arXiv 2009.01027)."""
    return 1 - rising(epoch, epochs)


def rising(epoch: int, epochs: int) -> float:
    """0 in the first epoch (0), 1 in the last, linear between; with one epoch 1."""
    return epoch / (epochs - 1) if epochs > 1 else 1.0
