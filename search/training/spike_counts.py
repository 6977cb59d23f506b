"""Spike counts per cell: hooks on every layer of neurons."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn


def cell_of(path: str) -> str:
    """The cell of a layer of neurons: `stem.lif` -> stem, `cells.0.n1.lif` -> cells.0."""
    parts = path.split(".")
    return ".".join(parts[:2]) if parts[0] == "cells" else parts[0]


@dataclass(slots=True)
class SpikeCount:
    """Spikes per cell, summed over images, time steps and neurons; whole numbers.

    Counts stay where they were counted until somebody asks, so that nobody waits for a GPU at every layer.
    """

    counted: dict[str, Tensor | int] = field(default_factory=dict)

    @property
    def cells(self) -> dict[str, int]:
        return {cell: int(spikes) for cell, spikes in self.counted.items()}

    def per_image(self, images: int) -> dict[str, float]:
        return {cell: spikes / images for cell, spikes in self.cells.items()}

    @property
    def total(self) -> int:
        return sum(self.cells.values())


@contextmanager
def counting_spikes(network: nn.Module) -> Iterator[SpikeCount]:
    """Count the spikes of every forward pass inside the block."""
    layers = {path: module for path, module in network.named_modules() if isinstance(module, BaseNode)}
    count = SpikeCount({cell_of(path): 0 for path in layers})

    def hook(cell: str) -> object:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
            # Exact while a part has fewer than 2**24 neurons, and takes a twentieth of the time of count_nonzero.
            parts = spikes.detach().sum(dim=tuple(range(2, spikes.ndim)), dtype=torch.float32)
            count.counted[cell] = count.counted[cell] + parts.sum(dtype=torch.float64)

        return add

    handles = [module.register_forward_hook(hook(cell_of(path))) for path, module in layers.items()]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()
