"""Forward and backward of a batch: one by one, and on a GPU as a graph that is replayed."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from spikeport.search.machine.channels_last import channels_last
from spikeport.search.machine.device import Arithmetic
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.training.loop import cross_entropy_of
from spikeport.search.training.passes import WARM_UP, Passes

CONFIG = NetworkConfig(channels=4, cells=3, time_steps=2, classes=4, input_shape=(3, 8, 8))


def network() -> SpikingNetwork:
    torch.manual_seed(3)
    return SpikingNetwork(random_genotype(np.random.default_rng(3), "darts"), CONFIG).train()


def batch(seed: int, images: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.randn(images, 3, 8, 8), torch.arange(images) % 4


def test_gradients_are_those_of_this_batch_alone() -> None:
    one, other = network(), network()
    parameters = list(one.parameters())
    passes = Passes(one, parameters, cross_entropy_of(one), Arithmetic("float32", torch.device("cpu")))
    passes(*batch(1))
    passes(*batch(2))
    # the running averages have moved, which a training network does not look at
    expected = Passes(
        other, list(other.parameters()), cross_entropy_of(other), Arithmetic("float32", torch.device("cpu"))
    )
    passed = expected(*batch(2))
    for parameter, same in zip(parameters, other.parameters(), strict=True):
        assert torch.equal(parameter.grad, same.grad)
    assert passed.logits.shape == (6, 4) and not passed.loss.requires_grad
    assert sum(map(float, passed.spikes.values())) > 0


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_replayed_graph_gives_what_kernel_by_kernel_gives(precision: str) -> None:
    device = torch.device("cuda", 0)
    found: list[list[Tensor]] = []
    for as_graph in (False, True):
        trained = copy.deepcopy(network()).to(device)
        parameters = list(trained.parameters())
        optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
        arithmetic = Arithmetic(precision, device)
        told: list[Tensor] = []
        with channels_last(trained):
            passes = Passes(trained, parameters, cross_entropy_of(trained), arithmetic, as_graph=as_graph)
            for step in range(WARM_UP + 4):
                # a batch of another size in between runs as before, and does not disturb the graph
                for images in (6, 5) if step == WARM_UP + 2 else (6,):
                    passed = passes(*(tensor.to(device) for tensor in batch(step, images)))
                    told += [passed.loss.clone(), passed.logits.clone()]
                    told += [torch.as_tensor(count).clone() for count in passed.spikes.values()]
                    arithmetic.update(optimizer, parameters, 5.0)
            assert passes._as_graph == as_graph and bool(passes._graphs) == as_graph
        found.append([*told, *(buffer.clone() for buffer in trained.buffers()), *(p.detach() for p in parameters)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
