import numpy as np
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn

from spikeport.search.machine.channels_last import channels_last
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.supernet.plain import PlainSupernet

SETTINGS = NetworkConfig(channels=2, cells=3, time_steps=3, classes=3, input_shape=(1, 8, 8))


def network() -> SpikingNetwork:
    torch.manual_seed(0)
    return SpikingNetwork(random_genotype(np.random.default_rng(1), "darts"), SETTINGS).double()


def test_a_pass_gives_the_same_numbers_and_gradients() -> None:
    images = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    plain = logits_and_gradients(network(), images)
    with channels_last(laid_out := network()):
        for one, other in zip(plain, logits_and_gradients(laid_out, images), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def logits_and_gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    logits = network(images)
    logits.square().sum().backward()
    return [logits, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]


def test_spikes_lie_channels_last_and_only_inside_the_block() -> None:
    trained, layouts = network(), list[bool]()

    def note(module: nn.Module, inputs: object, spikes: Tensor) -> None:
        layouts.append(spikes.permute(0, 1, 3, 4, 2).is_contiguous())

    for part in (trained.stem.get_submodule("lif"), *trained.cells):
        part.register_forward_hook(note)
    with channels_last(trained):
        trained(torch.rand(4, 1, 8, 8, dtype=torch.float64))
    assert all(layouts) and len(layouts) == 4
    layouts.clear()
    reset_net(trained)
    trained(torch.rand(4, 1, 8, 8, dtype=torch.float64))
    assert not any(layouts)


def test_the_loops_fire_as_the_neurons_of_spikingjelly_do() -> None:
    trained = network().float()
    images, lif = torch.rand(4, 1, 8, 8), trained.stem.get_submodule("lif")
    plain = trained.stem(images)
    with channels_last(trained):
        assert torch.equal(trained.stem(images), plain) and plain.any()
    assert "forward" not in lif.__dict__


def test_a_plain_supernet_is_laid_out_too() -> None:
    torch.manual_seed(0)
    supernet = PlainSupernet("darts", SETTINGS).double()
    images = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    plain = supernet(images)
    reset_net(supernet)
    with channels_last(supernet):
        torch.testing.assert_close(supernet(images), plain, rtol=1e-9, atol=1e-12)
