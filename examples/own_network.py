"""A SpikingJelly network of your own, from torch to a NetX file for Loihi, run without Lava.

    python examples/own_network.py     # writes own.net and spikes.npy into the working folder

Trains a small network on scikit-learn's digits, traces it and compares the graph with it, lowers the graph to levels,
quantizes it to the chip's integers, writes the NetX file and runs that file on the spikes of the test images.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

import spikeport

TIME_STEPS = 4
EPOCHS = 5
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


def main() -> None:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(digits)
    test_images, test_labels = images[-TEST_IMAGES:], digits[-TEST_IMAGES:]
    images, labels = images[:-TEST_IMAGES], labels[:-TEST_IMAGES]
    network = Network()
    train(network, images, labels)
    network.eval()

    traced = spikeport.trace(network, images[:1], TIME_STEPS)
    peak = np.abs(spikeport.run(network, images).readout).max()  # the readout's register shall hold the largest logit
    graph = spikeport.quantize(spikeport.lower(traced.graph), float(peak))
    spikeport.write_netx("own.net", graph)

    spikes = spikeport.encode(traced.encoder, test_images)  # uint8 [T, N, C, H, W]
    np.save("spikes.npy", spikes.swapaxes(0, 1))  # [N, T, C, H, W], as the command line reads them
    torch_record = spikeport.run(network, test_images)
    check = spikeport.compare(torch_record, spikeport.run(traced.graph, spikes))
    print(f"trace: {check.verdict}, {check.spikes_differing} of {check.spikes_compared} spikes differ from torch")
    for name, record in (("torch", torch_record), ("own.net", spikeport.run("own.net", spikes))):
        print(f"accuracy {np.mean(record.predictions == test_labels):.4f} {name}")


if __name__ == "__main__":
    main()
