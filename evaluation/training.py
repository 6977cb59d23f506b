"""A genotype and a seed -> a row of a table: trained from scratch, tested once, carried to the chips."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based.functional import reset_net
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn

from ..deploy.cost.profiles import Profile
from ..errors import InputError, UnsupportedError
from ..search.data.datasets import Dataset, Images
from ..search.objective.priced_loss import Price, mean_sops
from ..search.pipeline import train
from ..search.random_streams import seeded
from ..search.settings.run import SearchSettings, changed
from ..search.space.genotype import Genotype, to_dict
from ..search.space.network import SpikingNetwork, count_parameters, network_config
from ..search.space.predict import predict
from ..search.spaces.canonical import key_of
from ..search.tables.row import Row, Status, rounded, to_bits
from ..search.training.checkpoint import Row as EpochRow
from .chip_figures import chip_figures

INITIAL_IMAGES = 128  # of the train split, on which rates are measured before the training
DECIMALS = 3  # of a rate
NOT_FINITE = "The loss must be finite"  # as the training begins to say so


def row_of_training(
    genotype: Genotype, seed: int, settings: SearchSettings, dataset: Dataset, profiles: Sequence[Profile]
) -> Row:
    """Train, test, carry over, measure. A training that diverges and a network that falls silent are rows, too.

    The same arguments give the same row on the same machine, but for its seconds.
    """
    start = time.process_time()
    settings = changed(settings, seed=seed)
    initial = _initial_rates(genotype, settings, dataset)
    epochs: list[EpochRow] = []

    def record(rows: list[EpochRow]) -> None:
        epochs[:] = rows

    with seeded(settings.seed, "train weights"):
        parameters = count_parameters(SpikingNetwork(genotype, network_config(settings.network, dataset)))
    known = Row(
        key=key_of(genotype),
        genotype=to_dict(genotype),
        seed=seed,
        status="diverged",
        seconds=0.0,
        curve={},
        parameters=parameters,
        init_rates=initial.short,
    )
    try:
        network = train(genotype, settings, dataset, record=record)
    except InputError as error:
        if NOT_FINITE not in str(error):
            raise
        return replace(known, curve=_curve(epochs), seconds=_since(start), reason=str(error))
    tested = rates_of(network, dataset.test_images)
    correct = tested.answers == dataset.test_labels
    sops = sum(mean_sops(Price(network, settings.objective), dataset.test_images).values())
    status: Status = "silent" if tested.heard == 0 else "ok"
    row = replace(
        known,
        status=status,
        curve=_curve(epochs),
        val_accuracy=rounded(epochs[-1]["validation"]["accuracy"]),
        test_accuracy=rounded(float(correct.mean())),
        test_correct=to_bits(correct),
        spikes=rounded(tested.spikes),
        sops=rounded(sops),
        rates=tested.short,
    )
    try:
        figures = asdict(chip_figures(network, dataset, profiles))
    except UnsupportedError as error:
        return replace(row, seconds=_since(start), reason=str(error))
    figures |= {name: rounded(figures[name]) for name in ("int8_accuracy", "int4_accuracy")}
    return replace(row, seconds=_since(start), **figures)


def _since(start: float) -> float:
    return round(time.process_time() - start, 2)


def _curve(epochs: Sequence[EpochRow]) -> dict[str, list[float]]:
    """Name of CURVES -> a value for each epoch."""
    columns = {
        "train_loss": [row["train"]["loss"] for row in epochs],
        "train_accuracy": [row["train"]["accuracy"] for row in epochs],
        "val_loss": [row["validation"]["loss"] for row in epochs],
        "val_accuracy": [row["validation"]["accuracy"] for row in epochs],
        "spikes": [sum(row["validation"]["spikes_per_cell"].values()) for row in epochs],
    }
    return {name: [rounded(value) or 0.0 for value in values] for name, values in columns.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """rates: of each population, spikes per neuron and step. spikes: per image. heard: those that reach the readout.
    answers [images]."""

    rates: dict[str, float]
    spikes: float
    heard: float
    answers: NDArray[np.int64]

    @property
    def short(self) -> list[float]:
        return [round(rate, DECIMALS) for rate in self.rates.values()]


def populations_of(network: SpikingNetwork) -> dict[str, nn.Module]:
    """Name -> neurons, as everywhere: `stem.lif`, `cells.<i>.<p0 | p1 | n1 .. n4>.lif`."""
    return {name: module for name, module in network.named_modules() if isinstance(module, BaseNode)}


def rates_of(network: SpikingNetwork, images: Images, *, training: bool = False) -> Rates:
    """What fires on images. training: with the batch's own means and variances, which the network does not keep."""
    counted: dict[str, float] = {}
    size: dict[str, int] = {}
    network.train(training)
    with _listening(network, counted, size), _keeping_norms(network):
        if training:
            with torch.no_grad():
                reset_net(network)
                answers = network(torch.from_numpy(images).float())
                reset_net(network)
        else:
            answers = predict(network, images)
    last = f"cells.{len(network.plan) - 1}.n"
    return Rates(
        rates={name: counted[name] / (len(images) * size[name]) for name in counted},
        spikes=sum(counted.values()) / len(images),
        heard=sum(number for name, number in counted.items() if name.startswith(last)),
        answers=np.asarray(answers.numpy().argmax(1), np.int64),
    )


@contextmanager
def _listening(network: SpikingNetwork, counted: dict[str, float], size: dict[str, int]) -> Iterator[None]:
    """Adds up the spikes of every population, and notes its neurons times steps."""

    def listen(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        counted[name] = 0.0

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
            counted[name] += float(spikes.detach().sum(dtype=torch.float64))
            size[name] = spikes.numel() // spikes.shape[1]

        return module.register_forward_hook(hook)

    handles = [listen(name, module) for name, module in populations_of(network).items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _keeping_norms(network: nn.Module) -> Iterator[None]:
    """Running means and variances are afterwards what they were."""
    before = {name: value.clone() for name, value in network.named_buffers()}
    try:
        yield
    finally:
        for name, value in network.named_buffers():
            value.copy_(before[name]) if name in before else None


def _initial_rates(genotype: Genotype, settings: SearchSettings, dataset: Dataset) -> Rates:
    """Of the network as its training begins, on the first training images, normalised by their own statistics."""
    with seeded(settings.seed, "train weights"):
        network = SpikingNetwork(genotype, network_config(settings.network, dataset))
    return rates_of(network, dataset.train_images[:INITIAL_IMAGES], training=True)
