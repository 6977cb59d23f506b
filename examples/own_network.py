"""A SpikingJelly network of your own, from torch to a NetX file for Loihi, run without Lava.

    python examples/own_network.py     # writes own.net and spikes.npy into the working folder

Trains a small network on scikit-learn's digits, traces it, lowers it to a chain of levels, quantizes it to the chip's
integers, writes the NetX file and runs that file on the spikes of the test images.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from spikeport.deploy.run.kernels.runner import compiled
from spikeport.deploy.run.netx import run_netx
from spikeport.export.netx.chain import chain_of
from spikeport.export.netx.writer import write_netx
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.trace.walk import trace

TIME_STEPS = 4
EPOCHS = 10
TEST_IMAGES = 360


def lif() -> nn.Module:
    """v = v / 2 + I, a spike at v >= 1, then v = 0."""
    return neuron.LIFNode(tau=2.0, decay_input=False, surrogate_function=surrogate.ATan(), step_mode="m")


class Network(nn.Module):
    """Images [N, 1, 8, 8] -> logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layer.Conv2d(1, 8, 3, padding=1, step_mode="m")
        self.stem_lif = lif()  # the first spiking layer; up to here is the encoder, which stays on the host
        self.body = nn.Sequential(
            layer.Conv2d(8, 16, 3, padding=1, bias=False, step_mode="m"),
            layer.BatchNorm2d(16, step_mode="m"),
            lif(),
            layer.MaxPool2d(2, step_mode="m"),
            layer.Flatten(step_mode="m"),
        )
        self.readout = layer.Linear(16 * 4 * 4, 10, step_mode="m")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.unsqueeze(0).repeat(TIME_STEPS, 1, 1, 1, 1)  # [T, N, C, H, W]
        return self.readout(self.body(self.stem_lif(self.stem(x)))).mean(0)


def train(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            functional.reset_net(network)


@torch.no_grad()
def fresh(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What a module makes of images, from empty membranes."""
    functional.reset_net(module)
    return module(images)


def main() -> None:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(digits)
    images, test_images = images[:-TEST_IMAGES], images[-TEST_IMAGES:]
    labels, test_labels = labels[:-TEST_IMAGES], labels[-TEST_IMAGES:]
    network = Network()
    train(network, images, labels)
    network.eval()
    logits = fresh(network, test_images)

    traced = trace(network, test_images[:1], TIME_STEPS)
    peak = float(fresh(network, images).abs().max())  # the readout's register shall hold the largest logit
    graph = quantize(lower(traced.graph), peak)
    write_netx(Path("own.net"), chain_of(graph), graph)

    spikes = fresh(traced.encoder, test_images).transpose(0, 1).numpy().astype(np.uint8)  # [S, T, C, H, W]
    np.save("spikes.npy", spikes)
    run = run_netx(Path("own.net"), spikes, runner=compiled)  # the first time it compiles, which takes a while
    answers = run.membrane[:, -1].argmax(1)  # the readout's membrane after the last step: the logits, scaled
    print(f"accuracy {(logits.argmax(1) == test_labels).float().mean():.4f} float in torch")
    print(f"accuracy {np.mean(answers == test_labels.numpy()):.4f} in the chip's integers, own.net")


if __name__ == "__main__":
    main()
