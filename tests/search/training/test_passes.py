"""Forward and backward of a batch: one by one, and on a GPU as a graph that is replayed."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spikeport.search.machine.channels_last import channels_last
from spikeport.search.machine.device import Arithmetic
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.supernet.kernel_space import KernelSupernet
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


class Copies(TorchDispatchMode):
    """Notes what reads a tensor in the CPU's memory, but for scalars, or brings one number back."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if any(one.device.type == "cpu" and one.ndim for one in tensors) or "local_scalar" in str(func):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["network", "supernet"])
def test_a_step_neither_copies_to_its_device_nor_waits_for_it(kind: str) -> None:
    """Else it could be no graph. The device is `meta`, on which nothing is computed."""
    built = network() if kind == "network" else KernelSupernet("darts", CONFIG).train()
    there = built.to("meta")
    arithmetic = Arithmetic("float32", torch.device("cpu"))
    passes = Passes(there, list(there.parameters()), cross_entropy_of(there), arithmetic)
    images, labels = (tensor.to("meta") for tensor in batch(1))
    with channels_last(there):
        passes(images, labels)  # constants are made
        with Copies() as copies:
            passes(images, labels)
        assert copies.found == []
        with Copies() as copies:
            torch.tensor([1, 2]).to("meta")
        assert copies.found
