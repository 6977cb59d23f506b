"""The small torch network, its graph, its integers, and the spikes that enter them."""

import numpy as np
import pytest
import torch
from torch import nn

from spikeport.deploy.run.any_form import encode
from spikeport.export.graph import SpikingGraph
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.trace.walk import trace

from .small_torch import STEPS, images, network


@pytest.fixture(scope="session")
def sound() -> nn.Module:
    return network()


@pytest.fixture(scope="session")
def graph(sound: nn.Module) -> SpikingGraph:
    return trace(sound, torch.from_numpy(images(1)), STEPS).graph


@pytest.fixture(scope="session")
def chip(graph: SpikingGraph) -> SpikingGraph:
    return quantize(lower(graph), peak=8.0)


@pytest.fixture(scope="session")
def spikes(sound: nn.Module) -> np.ndarray:
    return encode(sound, images(8))
