"""A second readout at 2/3 of the depth that helps the training (DARTS, `AuxiliaryHeadCIFAR`); it is never saved.

It reads the firing rates of the cell there, in the usual layout the second reduction, with usual, real-valued layers:
nothing of it goes to a chip.
"""

from typing import cast

from torch import Tensor, nn

from ..space.genotype import NODES
from ..space.network import SpikingBackbone

HIDDEN = (128, 768)  # channels, as in DARTS


class AuxiliaryHead(nn.Module):
    """Spikes [T, N, C, H, W] -> logits [N, classes]. DARTS pools 8x8 to 2x2 with windows of 5; here any size to 2x2."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        first, second = HIDDEN
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(channels, first, 1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 2, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second, classes),
        )

    def forward(self, spikes: Tensor) -> Tensor:
        return cast(Tensor, self.layers(spikes.mean(0)))


class WithAuxiliary(nn.Module):
    """Images -> (logits of the network, logits of the head)."""

    def __init__(self, network: SpikingBackbone) -> None:
        super().__init__()
        self.network = network
        self.depth = 2 * len(network.plan) // 3
        self.head = AuxiliaryHead(NODES * network.plan[self.depth].channels, network.config.classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        heard: list[Tensor] = []
        hook = self.network.cells[self.depth].register_forward_hook(lambda cell, inputs, spikes: heard.append(spikes))
        try:
            logits = self.network(images)
        finally:
            hook.remove()
        return logits, self.head(heard[0])
