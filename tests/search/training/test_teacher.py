import math

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn

from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, count_parameters
from spikeport.search.training.teacher import divergence, taught, teacher_of

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=3, classes=4, input_shape=(1, 8, 8))


def test_a_teacher_is_the_same_network_without_spikes_and_time() -> None:
    network = SpikingNetwork(random_genotype(np.random.default_rng(0), "darts"), CONFIG)
    teacher = teacher_of(network)
    seen: list[Tensor] = []
    teacher.cells[0].register_forward_hook(lambda cell, inputs, out: seen.append(out))
    assert teacher(torch.rand(2, 1, 8, 8)).shape == (2, 4)
    assert seen[0].shape[0] == 1
    assert len(seen[0].unique()) > 2  # not 0 and 1
    assert seen[0].min() == 0
    assert not any(isinstance(module, BaseNode) for module in teacher.modules())
    assert any(isinstance(module, BaseNode) for module in network.modules())
    assert count_parameters(teacher) == count_parameters(network)


def test_divergence_by_hand() -> None:
    """At a temperature of 2 logits (2 ln 3, 0) are chances 3/4 and 1/4; the network's are 1/2 and 1/2."""
    wanted, found = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    by_hand = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert divergence(found, wanted, 2.0).item() == pytest.approx(by_hand, rel=1e-6)
    assert divergence(wanted, wanted, 2.0).item() == pytest.approx(0, abs=1e-7)
    assert divergence(found.repeat(3, 1), wanted.repeat(3, 1), 2.0).item() == pytest.approx(by_hand, rel=1e-6)


def test_the_loss_is_shared_and_the_teacher_learns_nothing() -> None:
    network, teacher = nn.Linear(2, 2), nn.Linear(2, 2)
    images, labels = torch.rand(5, 2), torch.zeros(5, dtype=torch.int64)
    objective = taught(lambda images, labels: (torch.tensor(8.0), network(images)), teacher, 0.25, 2.0)
    loss, logits = objective(images, labels)
    assert torch.equal(logits, network(images))
    assert loss.item() == pytest.approx(6 + 0.25 * divergence(logits, teacher(images), 2.0).item(), rel=1e-6)
    loss.backward()
    assert network.weight.grad is not None
    assert teacher.weight.grad is None
