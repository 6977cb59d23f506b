"""What the tests of deploy share: networks that are small but really spike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional
from torch import nn

from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.space.spike_gates import Gate


@pytest.fixture(scope="session")
def spiking_network() -> Callable[..., SpikingNetwork]:
    return _spiking_network


@pytest.fixture(scope="session")
def images_of() -> Callable[..., NDArray[np.float32]]:
    return _images_of


def _spiking_network(
    seed: int, primitives: PrimitiveSet, *, channels: int, time_steps: int, rows: int, columns: int, **more: Any
) -> SpikingNetwork:
    """A random genotype in cells, of three the middle and the last of which reduce, in eval mode.

    The random scales and shifts of its batch norms keep every layer firing; they have seen a few batches.
    """
    torch.manual_seed(seed)
    genotype = random_genotype(np.random.default_rng(seed), primitives)
    settings = NetworkConfig(
        **{"cells": 3, "channels": channels, "time_steps": time_steps, "classes": 4} | more,
        input_shape=(1, rows, columns),
    )
    network = SpikingNetwork(genotype, settings).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.6)
            module.momentum = None  # the mean over the batches
    for module in network.modules():
        if isinstance(module, Gate):
            nn.init.uniform_(module.norm.bias, 0.6, 1.3)  # it fires in most steps
    for _ in range(3):
        network(torch.rand(16, 1, rows, columns))
        functional.reset_net(network)
    return network.eval()


def _images_of(network: SpikingNetwork, number: int, seed: int = 0) -> NDArray[np.float32]:
    shape = (number, *network.config.input_shape)
    return np.random.default_rng(seed).random(shape, np.float32)
