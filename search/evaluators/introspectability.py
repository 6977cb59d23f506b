"""Introspectability: how differently a trained network behaves for different answers (XNAS, arXiv 2112.08645).

    a_c = spikes of every neuron on all images that are answered with class c
    I   = mean over pairs of classes of 1 - cos(a_c, a_d)

In XNAS a_c are real activations; spikes of all time steps take their place. 0: all classes look alike, 1: no neuron
spikes for two of them. Classes that are never answered, or without a spike, have no direction and are left out; with
fewer than two others there is no number.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn

from ..data.datasets import Images
from ..space.predict import BATCH, predict


def introspectability(network: nn.Module, images: Images, classes: int) -> float:
    """Of a network in eval mode on images [N, C, H, W] or frames; NaN where fewer than two classes have spikes."""
    return separation(spikes_per_class(network, images, classes))


def separation(counts: NDArray[np.float64]) -> float:
    """Mean of 1 - cosine over pairs of rows [classes, neurons] that are not zero."""
    norms = np.linalg.norm(counts, axis=1)
    rows = counts[norms > 0] / norms[norms > 0, None]
    if len(rows) < 2:
        return math.nan
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return float(1 - cosines.mean())


def spikes_per_class(network: nn.Module, images: Images, classes: int) -> NDArray[np.float64]:
    """[classes, neurons]: spikes on the images that are answered with a class."""
    counts: NDArray[np.float64] | None = None
    for start in range(0, len(images), BATCH):
        fired: list[Tensor] = []

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], spikes: Tensor, fired: list[Tensor] = fired) -> None:
            fired.append(spikes.detach().sum(0).flatten(1))  # [N, neurons]

        layers = [module for module in network.modules() if isinstance(module, BaseNode)]
        handles = [layer.register_forward_hook(hook) for layer in layers]
        try:
            answers = predict(network, images[start : start + BATCH]).argmax(1)
        finally:
            for handle in handles:
                handle.remove()
        rows = torch.cat(fired, 1).double()
        summed = torch.zeros(classes, rows.shape[1], dtype=torch.float64).index_add_(0, answers, rows).numpy()
        counts = summed if counts is None else counts + summed
    return np.zeros((classes, 0)) if counts is None else counts
