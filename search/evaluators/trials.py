"""Which of several cells is the best? Each is trained for a few epochs; that with the lowest loss is what is found.

A supernet's word for one cell is a guess: the mixture is trained, and never the cell. So beside the cell that its
architecture weights have come to, others are drawn from them (derive with Gumbel noise: a primitive is drawn with its
weight in the softmax), each is trained from scratch on the half of the train split that the weights learned on, and
scored on the half of the alphas by cross-entropy and price (priced_loss.py). DARTS chooses so among four searches
(arXiv 1806.09055, section 3.1).

With several rounds the best third of a round is trained again, three times as long: successive halving with eta = 3
(Jamieson and Talwalkar, AISTATS 2016), which spends the most on the cells that are hard to tell apart.

With limits (`target_sops`, `target_parameters`) only cells are tried that are likely to keep within them, and of those
that do the best is found; where none does, each percent above a limit counts as 0.01 nats. What a cell is likely to
take is what it would take if its neurons spiked in REFERENCE_RATE of the time steps, times USUAL.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...files import read_json, write_json
from ..data.datasets import Dataset
from ..machine import processes
from ..objective.priced_loss import REFERENCE_RATE, Price, mean_sops_and_cost
from ..objective.spike_maps import even_spikes
from ..objective.synaptic_operations import sops_per_cell
from ..random_streams import seeded
from ..settings.run import SearchSettings, changed
from ..settings.training import TrainingSettings
from ..settings.trials import TrialSettings
from ..space.genotype import Genotype, from_dict, to_dict
from ..space.network import NetworkConfig, SpikingNetwork, count_parameters, network_config
from ..space.primitives import PRIMITIVES
from ..supernet.supernet import Supernet, one_hot
from ..training.loop import evaluate
from ..training.progress import Progress
from .from_scratch import train_network

DRAWS = 20  # at most so many for each genotype that is wanted: a search that is sure of itself repeats itself
# a teacher for each would cost more, and integers and sharpness are those of the network that is found
NOT_IN_TRIALS: Mapping[str, Any] = {
    "teacher_epochs": 0,
    "chip_aware": 0,
    "sharpness_every": 0,
    "sharpness_step": TrainingSettings().sharpness_step,
}
USUAL = 0.75  # a rough guess of how much less trained networks take; what a trial measures decides
FEWER = 3  # times, from one round to the next, in which a cell is trained for so many times as many epochs


@dataclass(frozen=True, slots=True)
class Limits:
    """Synaptic operations per inference, and parameters, that a network may have; 0: any number."""

    sops: int = 0
    parameters: int = 0

    def excess(self, sops: float, parameters: int) -> float:
        """By which shares of the limits both are above them; 0 within."""
        pairs = ((sops, self.sops), (parameters, self.parameters))
        return sum(max(0.0, taken / limit - 1) for taken, limit in pairs if limit)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a cell on validation images: cross-entropy and price in nats, accuracy 0..1, SOPs per image."""

    genotype: Genotype
    epochs: int
    loss: float
    price: float
    accuracy: float
    sops: float
    parameters: int

    def rank(self, limits: Limits) -> tuple[bool, float]:
        """The lower the better: those within the limits first, if there is one; else a percent above is 0.01 nats."""
        above = limits.excess(self.sops, self.parameters)
        return above > 0, self.loss + self.price + above

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"genotype": to_dict(self.genotype)}


def contenders(
    supernet: Supernet, count: int, rng: np.random.Generator, excess: Callable[[Genotype], float] = lambda cell: 0.0
) -> list[Genotype]:
    """The supernet's genotype and others drawn from its architecture weights, up to `count`.

    `excess` is by how much a genotype is likely to be above limits, 0 within: those with the least come first.
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


def likely_sops(genotype: Genotype, config: NetworkConfig) -> float:
    """Synaptic operations per inference of a network that nobody has trained yet."""
    spikes = even_spikes(config, config.plan(genotype.layers), REFERENCE_RATE)
    mixture, names = partial(one_hot, genotype), list(PRIMITIVES[genotype.primitives])
    return USUAL * float(sum(sops_per_cell(spikes, mixture, names, config.classes).values()))


def limited_contenders(
    supernet: Supernet, settings: TrialSettings, network: NetworkConfig, rng: np.random.Generator
) -> list[Genotype]:
    """As many as the settings try, likely to keep within their limits in this network."""
    limits = limits_of(settings)

    def excess(genotype: Genotype) -> float:
        if limits == Limits():
            return 0.0
        return limits.excess(likely_sops(genotype, network), count_parameters(SpikingNetwork(genotype, network)))

    return contenders(supernet, settings.trials, rng, excess)


def limits_of(settings: TrialSettings) -> Limits:
    return Limits(settings.target_sops, settings.target_parameters)


def rounds_of(cells: int, settings: TrialSettings) -> list[tuple[int, int]]:
    """(cells, epochs of each) of every round."""
    powers = [FEWER**number for number in range(settings.trial_rounds)]
    return [(math.ceil(cells / power), settings.trial_epochs * power) for power in powers]


def best_of(
    genotypes: Sequence[Genotype], dataset: Dataset, settings: SearchSettings, file: Path, progress: Progress
) -> Genotype:
    """Train them on the train split of `dataset`, round by round, score them on the test split, return the best.

    `dataset` holds the halves of the search, no test images. What is finished is kept in `file`, and a trial that was
    killed goes on. Of equals the first wins. Raises InputError when another version wrote `file`.
    """
    kept = _kept(file)
    processes.wait()  # all have read it before one of them writes
    rounds = rounds_of(len(genotypes), settings.trials)
    whole, before, trials = sum(cells * epochs for cells, epochs in rounds), 0, list[Trial]()
    best = list(genotypes)
    for cells, epochs in rounds:
        for genotype in best[:cells]:
            if len(trials) == len(kept):
                checkpoint = _checkpoint(file, len(kept))
                short = changed(settings, train_epochs=epochs, **NOT_IN_TRIALS)
                kept.append(_trial(genotype, dataset, short, checkpoint, _part_of(progress, before, whole)))
                if processes.is_first():
                    write_json(file, {"trials": [trial.to_dict() for trial in kept]})
                processes.wait()
            trials.append(kept[len(trials)])
            before += epochs
        ranked = sorted(trials[-cells:], key=lambda trial: trial.rank(limits_of(settings.trials)))
        best = [trial.genotype for trial in ranked]
    if processes.is_first():  # not before: a run may be killed between the row of a trial and this
        for number in range(len(kept)):
            _checkpoint(file, number).unlink(missing_ok=True)
    return best[0]


def _part_of(progress: Progress, before: int, whole: int) -> Progress:
    """Tells of a trial as of a part of all trials, by epochs."""
    return lambda event: progress(replace(event, stage="trials", epoch=before + event.epoch, epochs=whole))


def _checkpoint(file: Path, number: int) -> Path:
    return file.with_name(f"trial-{number + 1}.safetensors")


def _kept(file: Path) -> list[Trial]:
    if not file.exists():
        return []
    try:
        return [Trial(**row | {"genotype": from_dict(row["genotype"])}) for row in read_json(file)["trials"]]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"'{file}' must hold trials as this version writes them, but does not ({error}); "
            "search anew with another --out."
        ) from error


def _trial(
    genotype: Genotype, dataset: Dataset, settings: SearchSettings, checkpoint: Path, progress: Progress
) -> Trial:
    with seeded(settings.seed, "train weights"):
        network = SpikingNetwork(genotype, network_config(settings.network, dataset))
    train_network(network, dataset, settings, checkpoint, lambda rows: None, progress)
    score = evaluate(network, dataset.test_images, dataset.test_labels)
    price = Price(network, settings.objective)
    sops, cost = mean_sops_and_cost(price, dataset.test_images)
    return Trial(
        genotype, settings.training.train_epochs, score.loss, cost, score.accuracy, sops, count_parameters(network)
    )
