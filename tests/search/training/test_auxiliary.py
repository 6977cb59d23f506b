from dataclasses import replace

import numpy as np
import torch

from spikeport.search.space.genotype import Layer, random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.training.auxiliary import AuxiliaryHead, WithAuxiliary

PATH = tuple(Layer(kind, 1.0) for kind in ("normal", "reduce", "normal", "reduce", "normal"))


def test_the_head_reads_the_second_reduction_cell() -> None:
    settings = NetworkConfig(channels=2, cells=6, time_steps=2, classes=3, input_shape=(1, 8, 8))
    network = SpikingNetwork(random_genotype(np.random.default_rng(0), "plain"), settings)
    helped = WithAuxiliary(network)
    heard: list[torch.Tensor] = []
    network.cells[4].register_forward_hook(lambda cell, inputs, spikes: heard.append(spikes))
    logits, more = helped(torch.rand(5, 1, 8, 8))
    assert logits.shape == more.shape == (5, 3)
    assert heard[0].shape == (2, 5, 4 * 2 * 4, 2, 2)
    helped.head.eval()
    torch.testing.assert_close(helped.head(heard[0]), helped.head.layers(heard[0].mean(0)))


def test_the_head_takes_the_channels_of_any_path() -> None:
    genotype = replace(random_genotype(np.random.default_rng(0), "plain"), layers=PATH)
    settings = NetworkConfig(channels=4, cells=5, time_steps=2, classes=3, input_shape=(1, 8, 8))
    network = SpikingNetwork(genotype, settings)
    heard: list[torch.Tensor] = []
    network.cells[3].register_forward_hook(lambda cell, inputs, spikes: heard.append(spikes))
    assert WithAuxiliary(network)(torch.rand(5, 1, 8, 8))[1].shape == (5, 3)
    assert heard[0].shape == (2, 5, 4 * 16, 2, 2)


def test_every_size_of_image() -> None:
    head = AuxiliaryHead(4, 3).eval()
    assert [head(torch.ones(2, 1, 4, size, size)).shape for size in (1, 2, 7, 8)] == [(1, 3)] * 4
