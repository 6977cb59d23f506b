"""What a settings file would cost to run: an estimate from a few measured steps of the search and of the training.

    python benchmarks/recipe_cost.py examples/cifar10_paper.toml [--images 8] [--count-only] [--json]

Takes random images of the data set's size, so it needs none of its files. A step costs a part of its own (mixing
kernels, moving weights) and a part for each image; both come from steps of --images and of twice as many, and are
multiplied by the steps and images of all epochs. Multiply-accumulates (forward and backward, those of convolutions and
matrix products) are counted, seconds are measured on this machine in a second step, unless --count-only. The test of
each epoch and the loading of images are left out. With --json one object {"settings", "device", "threads", "search",
"trials" if there are any, "training"}, these three with "steps", "batch_size", "macs_per_step", "macs" and, when
measured, "seconds_per_step", "hours".
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from spikeport.search.data.datasets import dataset_kind, load_dataset
from spikeport.search.evaluators.trials import rounds_of
from spikeport.search.machine.device import Arithmetic, find_device
from spikeport.search.machine.gradient_checkpointing import recomputed
from spikeport.search.settings.file import resolve_settings
from spikeport.search.settings.run import SearchSettings
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.strategies.darts.search import alpha_step, dtype_of, supernet_of
from spikeport.search.supernet.kernel_space import calculate_in
from spikeport.search.training.auxiliary import WithAuxiliary
from spikeport.search.training.batches import Batch

# shape of an image, classes, training images; of other data sets the files are read
KNOWN = {
    "mnist": ((1, 32, 32), 10, 60000),
    "cifar10": ((3, 32, 32), 10, 50000),
    "cifar100": ((3, 32, 32), 100, 50000),
}


def known(settings: SearchSettings) -> tuple[NetworkConfig, int]:
    """The network of the settings, and the number of training images."""
    kind = dataset_kind(settings.data.dataset)
    if kind in KNOWN:
        shape, classes, images = KNOWN[kind]
    else:
        dataset = load_dataset(settings.data.dataset)
        shape, classes, images = dataset.input_shape, dataset.classes, len(dataset.train_images)
    network = NetworkConfig(
        channels=settings.network.channels,
        cells=settings.network.cells,
        time_steps=settings.network.time_steps,
        classes=classes,
        input_shape=shape,
        stem_stride=settings.network.stem_stride,
        attention=settings.network.attention,
    )
    return network, images


Step = Callable[[Batch], None]
Found = dict[str, float]


def cost(step: Step, batch: Batch, timed: bool) -> np.ndarray:
    """(multiply-accumulates, seconds) of a step; seconds are 0 unless they are measured."""
    with FlopCounterMode(display=False) as counter:
        step(batch)
    macs = counter.get_total_flops() / 2
    started = time.perf_counter()
    if timed:
        step(batch)
        if batch[0].is_cuda:
            torch.cuda.synchronize()
    return np.array([macs, time.perf_counter() - started if timed else 0.0])


def measured(step: Step, batch: Batch, settings: SearchSettings, images: int, timed: bool) -> Found:
    """Of so many images, all epochs together, in batches of the settings; `batch` is the larger of those measured."""
    few = len(batch[0]) // 2
    one, two = cost(step, (batch[0][:few], batch[1][:few]), timed), cost(step, batch, timed)
    per_image = (two - one) / few
    macs, seconds = np.maximum(one - few * per_image, 0) + settings.training.batch_size * per_image
    steps = images // settings.training.batch_size
    found = {"steps": steps, "batch_size": settings.training.batch_size, "macs_per_step": macs, "macs": steps * macs}
    return found | ({"seconds_per_step": seconds, "hours": steps * seconds / 3600} if timed else {})


def weight_step(network: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, arithmetic: Arithmetic) -> None:
    network.train()
    reset_net(network)
    with arithmetic.autocast():
        answers = network(batch[0])
        loss = sum(cross_entropy(logits, batch[1]) for logits in (answers if isinstance(answers, tuple) else [answers]))
    arithmetic.step(loss, optimizer, [p for group in optimizer.param_groups for p in group["params"]])


def of_search(settings: SearchSettings, wanted: NetworkConfig, images: int, batch: Batch, timed: bool) -> Found:
    """Half of the images are for the weights and half for the alphas: a step takes a batch of each."""
    device = batch[0].device
    supernet = supernet_of(settings, wanted).to(device)
    calculate_in(supernet, dtype_of(settings, device))
    weights = torch.optim.SGD(supernet.weights(), lr=0.0)
    alphas = torch.optim.Adam(supernet.architecture(), lr=0.0)

    def step(some: Batch) -> None:
        alpha_step(supernet, alphas, some)
        weight_step(supernet, weights, some, Arithmetic("float32", device))

    return measured(step, batch, settings, images // 2 * settings.darts.search_epochs, timed)


def of_training(
    settings: SearchSettings, wanted: NetworkConfig, images: int, epochs: int, batch: Batch, timed: bool
) -> Found:
    """Of a random cell: which one will be found is not known."""
    device = batch[0].device
    genotype = random_genotype(np.random.default_rng(settings.seed), settings.network.primitives)
    network = SpikingNetwork(genotype, wanted)
    trained = (WithAuxiliary(network) if settings.training.auxiliary_weight else network).to(device)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.0)
    arithmetic = Arithmetic(settings.training.precision, device)
    learned = round(images * (1 - settings.training.validation_fraction)) * epochs
    with recomputed(network.cells) if settings.training.gradient_checkpointing else nullcontext():
        return measured(lambda some: weight_step(trained, optimizer, some, arithmetic), batch, settings, learned, timed)


def estimate(settings: SearchSettings, few: int, timed: bool) -> dict[str, object]:
    device = find_device(settings.training.device)
    wanted, images = known(settings)
    labels = torch.zeros(2 * few, dtype=torch.int64, device=device)
    batch = torch.rand(2 * few, *wanted.input_shape, device=device), labels
    rounds = rounds_of(settings.trials.trials, settings.trials)
    epochs = {"trials": sum(cells * each for cells, each in rounds), "training": settings.training.float_epochs}
    sizes = {"trials": images // 2, "training": images}
    stages = {"search": of_search(settings, wanted, images, batch, timed)}
    for stage in epochs:
        if epochs[stage]:
            stages[stage] = of_training(settings, wanted, sizes[stage], epochs[stage], batch, timed)
    return {"device": str(device), "threads": torch.get_num_threads(), **stages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--images", type=int, default=8, help="of the smaller measured step, at least 2")
    parser.add_argument("--count-only", action="store_true", help="multiply-accumulates, no seconds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    result = {"settings": str(options.settings)}
    result |= estimate(resolve_settings(options.settings, {}), options.images, not options.count_only)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{options.settings}, an estimate from steps of {options.images} and {2 * options.images} images:")
    for stage in ("search", "trials", "training"):
        if stage not in result:
            continue
        row = result[stage]
        line = f"  {stage:8s} {row['steps']:9,} steps of {row['batch_size']} images, "
        line += f"{row['macs_per_step'] / 1e9:9.1f} GMAC each: {row['macs'] / 1e15:.3g} PMAC"
        if "hours" in row:
            line += f"; {row['seconds_per_step']:.2f} s each on {result['device']}: {row['hours']:.1f} hours"
        print(line)


if __name__ == "__main__":
    main()
