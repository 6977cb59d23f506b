"""Weights by which gradients pass every layer in their size."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from spikeport.errors import InputError
from spikeport.search.data.datasets import Dataset
from spikeport.search.evaluators.isometry import isometric, phi
from spikeport.search.pipeline import train
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.space.cell import Preprocess
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> SpikingNetwork:
    torch.manual_seed(0)
    config = NetworkConfig(channels=3, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
    return SpikingNetwork(random_genotype(np.random.default_rng(0), "plain"), config)


def test_phi_by_the_whole_jacobian() -> None:
    torch.manual_seed(0)
    layer = Preprocess(2, 2, halve=False)
    spikes = (torch.rand(2, 3, 2, 2, 2) < 0.5).float()
    rng = torch.Generator().manual_seed(1)
    estimate = np.mean([phi(layer, [spikes], rng) for _ in range(60)])

    def fire(read: torch.Tensor) -> torch.Tensor:
        layer.lif.reset()
        fired: torch.Tensor = layer(read)
        return fired

    jacobian = torch.autograd.functional.jacobian(fire, spikes).reshape(spikes.numel(), spikes.numel())
    assert estimate == pytest.approx(float(jacobian.square().sum()) / spikes.numel(), rel=0.1)


def test_every_layer_comes_to_one_and_kernels_are_orthogonal() -> None:
    made = network()
    before = {name: buffer.clone() for name, buffer in made.named_buffers()}
    found = isometric(made, IMAGES, seed=0)
    assert len(found) == 3 * 6
    assert sum(abs(math.log(value)) < 0.3 for value in found.values() if value > 0) >= 15, found
    kernel = next(m for m in made.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)).weight
    rows = kernel.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)
    assert all(torch.equal(buffer, before[name]) for name, buffer in made.named_buffers())


def test_the_same_every_time() -> None:
    one, two = network(), network()
    assert isometric(one, IMAGES, seed=0) == isometric(two, IMAGES, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.training
def test_a_training_begins_with_them(blobs: Dataset, tiny: SearchSettings) -> None:
    genotype = random_genotype(np.random.default_rng(0), "plain")
    settings = changed(tiny, train_epochs=1, initialisation="isometry")
    one, two = train(genotype, settings, blobs), train(genotype, changed(tiny, train_epochs=1), blobs)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(InputError, match="Unknown initialisation 'xavier'; choose from default, isometry"):
        choose(initialisation="xavier")
