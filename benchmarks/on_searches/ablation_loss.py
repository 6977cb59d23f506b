"""What D-DARTS' ablation loss (arXiv 2108.09306, section 3.3) would add, if it had a gradient, in a search of our own.

    python benchmarks/on_searches/ablation_loss.py [--channels 6] [--cells 4] [--epochs 2] [--seed 0] [--json]

There cell i is told, beside the cross-entropy CE, w2 = 0.7 times

    -(mc_i - mean mc) / mean mc       mc_i = CE of the network - CE of the network without cell i

in numbers that carry no gradient. Here the weights and alphas of a search on scikit-learn's digits are trained for some
epochs, and the term is differentiated by the alphas of cell i for what it is, the mean and all networks without a cell
along with it. Printed per cell: mc_i; the cosine between the gradient of the term and that of CE; and how long it is
against that of CE. Cosines of 1 say that the term changes the length of a step only, which Adam takes away again.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy
from torch.optim import Adam

from spikeport.search.data.datasets import load_dataset
from spikeport.search.random_streams import generator, seeded
from spikeport.search.settings.run import choose
from spikeport.search.space.network import network_config
from spikeport.search.strategies.darts.search import alpha_step, supernet_of
from spikeport.search.supernet.supernet import Supernet
from spikeport.search.training.batches import epoch_batches
from spikeport.search.training.loop import train_epoch, weight_optimizer

WEIGHT = 0.7  # w2 of D-DARTS on CIFAR-10
IMAGES = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("channels", 6), ("cells", 4), ("epochs", 2), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measured(options)
    if options.json:
        print(json.dumps({"cells": rows}))
        return
    for row in rows:
        print("cell {cell}: mc {mc:+.4f}  cosine {cosine:+.4f}  length {length:.3f} of that of CE".format(**row))


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    given = {name: getattr(options, name) for name in ("channels", "cells", "seed")}
    settings = choose(primitives="plain", dataset="digits", cells_per_layer=True, learning_rate=0.1, **given)
    dataset = load_dataset("digits")
    with seeded(options.seed, "search weights"):
        supernet = supernet_of(settings, network_config(settings.network, dataset, "search"))
    images, labels = torch.from_numpy(dataset.train_images), torch.from_numpy(dataset.train_labels)
    weights, alphas = weight_optimizer(supernet.weights(), settings.training), Adam(supernet.architecture(), lr=0.02)
    for epoch in range(options.epochs):
        for batch in epoch_batches(images, labels, 64, generator(options.seed, "search alphas", epoch)):
            alpha_step(supernet, alphas, batch)
        batches = epoch_batches(images, labels, 64, generator(options.seed, "search weights", epoch))
        train_epoch(supernet, weights, batches, gradient_clip=settings.training.gradient_clip)
    supernet.eval()
    return rows_of(supernet, images[:IMAGES].float(), labels[:IMAGES])


def rows_of(supernet: Supernet, images: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    def loss(without: int | None = None) -> Tensor:
        reset_net(supernet)
        with silenced(supernet, without):
            return cross_entropy(supernet(images), labels)

    whole = loss()
    ablations = torch.stack([whole - loss(place) for place in range(len(supernet.cells))])
    rows = []
    for place, own in enumerate(supernet.own["alphas"].parameters()):
        term = -WEIGHT * (ablations[place] - ablations.mean()) / ablations.mean()
        (usual,), (added,) = (torch.autograd.grad(value, own, retain_graph=True) for value in (whole, term))
        cosine = cosine_similarity(usual.flatten(), added.flatten(), dim=0).item()
        length = (added.norm() / usual.norm()).item()
        rows.append({"cell": place, "mc": ablations[place].item(), "cosine": cosine, "length": length})
    return rows


@contextmanager
def silenced(supernet: Supernet, place: int | None) -> Iterator[None]:
    """Nothing comes out of one of the cells inside the block."""
    if place is None:
        yield
        return
    handle = supernet.cells[place].register_forward_hook(lambda module, inputs, spikes: 0 * spikes)
    try:
        yield
    finally:
        handle.remove()


if __name__ == "__main__":
    main()
