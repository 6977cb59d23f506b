"""Run a trained network on any number of images."""

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional
from torch import nn

BATCH = 128


def predict(network: nn.Module, images: NDArray[np.float32 | np.uint8]) -> torch.Tensor:
    """Logits [N, classes] of images [N, C, H, W] or frames [N, T, C, H, W]; the network is in eval mode."""
    logits = []
    for start in range(0, len(images), BATCH):
        functional.reset_net(network)
        with torch.no_grad():
            logits.append(network(torch.from_numpy(images[start : start + BATCH]).float()))
    functional.reset_net(network)
    return torch.cat(logits)
