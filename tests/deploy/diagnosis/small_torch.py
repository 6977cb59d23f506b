"""A small torch network whose layers all spike, images for it, and what tests say of a diagnosis."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from spikeport.deploy.diagnosis.diagnosis import Diagnosis
from spikeport.export.graph import SpikingGraph

STEPS = 6


class Network(nn.Module):
    """Images [N, 1, 6, 6] -> logits [N, 4]; every layer has a batch norm that has seen a few batches."""

    def __init__(self, **neurons: Any) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.first = lif(**neurons)
        self.middle = layer.Conv2d(3, 4, 3, padding=1, bias=False, step_mode="m")
        self.norm = layer.BatchNorm2d(4, step_mode="m")
        self.second = lif(**neurons)
        self.readout = nn.Linear(144, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        current = self.stem(images).unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)
        spikes = self.second(self.norm(self.middle(self.first(current))))
        return self.readout(spikes.flatten(2)).mean(0)


def lif(**changed: Any) -> nn.Module:
    return neuron.LIFNode(**({"tau": 1.6, "decay_input": False, "v_reset": 0.0, "step_mode": "m"} | changed))


def network(weights: nn.Module | None = None, **neurons: Any) -> nn.Module:
    made = Network(**neurons).train()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.uniform_(module.bias, -0.2, 0.6)
            module.momentum = None
    if weights is not None:
        made.load_state_dict(weights.state_dict())
        return made.eval()
    with torch.no_grad():
        for seed in range(2):
            made(torch.from_numpy(images(16, seed)))
            functional.reset_net(made)
    return made.eval()


def images(number: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random((number, 1, 6, 6), np.float32)


def names(found: Diagnosis) -> list[str]:
    return [cause.name for cause in found.causes]


def weights_of(graph: SpikingGraph, target: str, change: Callable[[np.ndarray], np.ndarray]) -> SpikingGraph:
    return replace(
        graph,
        projections=tuple(
            replace(p, kernel=replace(p.kernel, weight=change(p.kernel.weight))) if p.target == target else p
            for p in graph.projections
        ),
    )
