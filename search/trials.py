"""Which of several cells is the best? Each is trained for a few epochs; that with the lowest loss is what is found.

A supernet's word for one cell is a guess: the mixture is trained, and never the cell. So beside the cell that its
architecture weights have come to, others are drawn from them (derive with Gumbel noise: a primitive is drawn with its
weight in the softmax), each is trained from scratch on the half of the train split that the weights learned on, and
scored on the half of the alphas by cross-entropy and price (objective.py). DARTS chooses so among four searches
(arXiv 1806.09055, section 3.1).

With `target_sops` only cells are tried that are likely to take at most so many synaptic operations per inference, and
of those that do the best is found; where none does, each percent above the target counts as 0.01 nats. What a cell is
likely to take is what it would take if its neurons spiked in REFERENCE_RATE of the time steps, times USUAL.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_json, write_json
from . import processes
from .cell_spikes import even_spikes
from .datasets import Dataset
from .genotype import Genotype, from_dict, to_dict
from .network import NetworkSettings, SpikingNetwork
from .objective import REFERENCE_RATE, Price, mean_cost, mean_sops
from .primitives import PRIMITIVES
from .progress import Progress, ProgressEvent
from .settings import SearchSettings
from .sops import chosen, sops_per_cell
from .supernet import Supernet
from .training import evaluate, seeded, train_network

DRAWS = 20  # at most so many for each genotype that is wanted: a search that is sure of itself repeats itself
USUAL = 0.75  # a rough guess of how much less trained networks take; what a trial measures decides


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a cell on validation images: cross-entropy and price in nats, accuracy 0..1, SOPs per image."""

    genotype: Genotype
    loss: float
    price: float
    accuracy: float
    sops: float

    def rank(self, target_sops: int) -> tuple[bool, float]:
        """The lower the better: those below the target first, if there is one; else a percent above it is 0.01 nats."""
        above = max(0.0, self.sops / target_sops - 1) if target_sops else 0.0
        return above > 0, self.loss + self.price + above

    def to_dict(self) -> dict[str, Any]:
        scores = {"loss": self.loss, "price": self.price, "accuracy": self.accuracy, "sops": self.sops}
        return {"genotype": to_dict(self.genotype)} | scores


def contenders(
    supernet: Supernet, count: int, rng: np.random.Generator, excess: Callable[[Genotype], float] = lambda cell: 0.0
) -> list[Genotype]:
    """The supernet's genotype and others drawn from its architecture weights, up to `count`.

    `excess` is what a genotype is likely to take above a target, 0 if nothing: those with the least come first.
    """
    first = supernet.genotype()
    found = {first: excess(first)}
    for _ in range(DRAWS * count):
        if sum(above == 0 for above in found.values()) >= count:
            break
        drawn = supernet.genotype(rng)
        if drawn not in found:
            found[drawn] = excess(drawn)
    return sorted(found, key=found.__getitem__)[:count]


def likely_sops(genotype: Genotype, settings: NetworkSettings) -> float:
    """Synaptic operations per inference of a network that nobody has trained yet."""
    spikes = even_spikes(settings, settings.plan(genotype.layers), REFERENCE_RATE)
    mixture, names = partial(chosen, genotype), list(PRIMITIVES[genotype.primitives])
    return USUAL * float(sum(sops_per_cell(spikes, mixture, names, settings.classes).values()))


def best_of(
    genotypes: Sequence[Genotype], dataset: Dataset, settings: SearchSettings, file: Path, progress: Progress
) -> Genotype:
    """Train each on the train split of `dataset` for `trial_epochs`, score it on the test split, return the best.

    `dataset` holds the halves of the search, no test images. What is finished is kept in `file`, and a trial that was
    killed goes on. Of equals the first wins.
    """
    short = replace(settings, train_epochs=settings.trial_epochs)
    trials = [Trial(**row | {"genotype": from_dict(row["genotype"])}) for row in _kept(file)]
    processes.wait()  # all have read it before one of them writes
    for number, genotype in enumerate(genotypes[len(trials) :], start=len(trials)):

        def tell(event: ProgressEvent, number: int = number) -> None:
            before = number * event.epochs
            whole = {"epoch": before + event.epoch, "epochs": len(genotypes) * event.epochs}
            progress(replace(event, stage="trials", **whole))

        checkpoint = _checkpoint(file, number)
        trials.append(_trial(genotype, dataset, short, checkpoint, tell))
        if processes.is_first():
            write_json(file, {"trials": [trial.to_dict() for trial in trials]})
        processes.wait()
    if processes.is_first():  # not before: a run may be killed between the row of a trial and this
        for number in range(len(trials)):
            _checkpoint(file, number).unlink(missing_ok=True)
    return min(trials, key=lambda trial: trial.rank(settings.target_sops)).genotype


def _checkpoint(file: Path, number: int) -> Path:
    return file.with_name(f"trial-{number + 1}.safetensors")


def _kept(file: Path) -> list[dict[str, Any]]:
    return read_json(file)["trials"] if file.exists() else []


def _trial(
    genotype: Genotype, dataset: Dataset, settings: SearchSettings, checkpoint: Path, progress: Progress
) -> Trial:
    with seeded(settings.seed, "train weights"):
        network = SpikingNetwork(genotype, settings.network(dataset))
    train_network(network, dataset, settings, checkpoint, lambda rows: None, progress)
    score = evaluate(network, dataset.test_images, dataset.test_labels)
    price = Price(network, settings)
    sops = sum(mean_sops(price, dataset.test_images).values())
    return Trial(genotype, score.loss, mean_cost(price, dataset.test_images), score.accuracy, sops)
