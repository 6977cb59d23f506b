"""A small spiking network and images for it, to try things on; nothing is trained and nothing is fetched."""

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

TIME_STEPS = 4
IMAGES = 8


class ExampleNetwork(nn.Module):
    """Images [N, 1, 8, 8] -> logits [N, 10]: a stem that stays on the host, one hidden spiking layer, a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.first = _lif()
        self.middle = layer.Conv2d(8, 16, 3, stride=2, padding=1, step_mode="m")
        self.hidden = _lif()
        self.readout = nn.Linear(16 * 4 * 4, 10)

    def forward(self, images: Tensor) -> Tensor:
        current = self.stem(images).unsqueeze(0).repeat(TIME_STEPS, 1, 1, 1, 1)
        spikes = self.hidden(self.middle(self.first(current)))
        logits: Tensor = self.readout(spikes.flatten(2)).mean(0)
        return logits


def example_network() -> tuple[nn.Module, Tensor]:
    """A spiking network of SpikingJelly with random weights, in eval mode, and 8 images of it [8, 1, 8, 8].

    The same every time. It has T = 4 time steps, two layers of neurons and ten classes.

    >>> network, images = spikeport.example_network()
    >>> images.shape
    torch.Size([8, 1, 8, 8])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ExampleNetwork().eval()
        with torch.no_grad():
            network.stem.weight.mul_(4)
            network.middle.weight.mul_(4)
        images: NDArray[np.float32] = np.random.default_rng(0).random((IMAGES, 1, 8, 8), np.float32)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network, torch.from_numpy(images)


def _lif() -> nn.Module:
    neurons: nn.Module = neuron.LIFNode(tau=2.0, decay_input=False, step_mode="m")
    return neurons
