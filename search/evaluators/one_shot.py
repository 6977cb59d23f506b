"""Asked of a supernet: the network of a genotype is cut out of weights that all share, its norms counted anew, and
measured on the images that no training sees. It is trained once; an evaluation takes about a second.

What it says is a guess of what a training would say: it is worth its rank correlation, which
`python -m spikeport.benchmarks.on_tables.one_shot` tells on a table of trained cells.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from ..data.datasets import Dataset, Images, Labels, load_dataset
from ..elastic.flatness import Flatness, flatness
from ..elastic.training import new_weights, recalibrated_on, split_of, subnet, trained_weights
from ..elastic.weights import ElasticWeights
from ..frame.protocol import Result
from ..objective.priced_loss import Price, mean_sops
from ..settings.objective import ObjectiveSettings
from ..settings.run import SearchSettings
from ..space.genotype import Genotype, Layer
from ..space.network import NetworkConfig, SpikingNetwork, count_parameters
from ..training.loop import Score, evaluate
from .introspectability import introspectability

# (genotype, network, names of objectives) -> what they are on a chip, at a rate that is assumed
Costs = Callable[[Genotype, NetworkConfig, tuple[str, ...]], Mapping[str, float]]
# (network, data whose test images are to be answered, bits of weights) -> bits -> logits [N, classes] in integers
InIntegers = Callable[[SpikingNetwork, Dataset, tuple[int, ...]], Mapping[int, Any]]

ALWAYS = ("accuracy", "sops", "parameters")  # what the archive has of everything
FROM_COSTS = ("neurons", "synapses", "cores", "levels", "relays", "energy_j", "latency_s")
RISES: Mapping[str, int] = {"int8_loss_rise": 8, "int4_loss_rise": 4}
IN_INTEGERS: Mapping[str, int] = {"int8_accuracy": 8, "int4_accuracy": 4, **RISES}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnChips:
    """What evaluation/of_subnets.py knows of chips, for a search that knows none."""

    costs: Costs
    in_integers: InIntegers


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One network, its shared weights, the images that it is measured on, as the test images of `watched`, and what it
    scores there."""

    network: SpikingNetwork
    weights: ElasticWeights
    watched: Dataset
    score: Score
    seed: int

    @property
    def images(self) -> Images:
        return self.watched.test_images

    @property
    def labels(self) -> Labels:
        return self.watched.test_labels


def _sops(one: Subnet) -> float:
    return sum(mean_sops(Price(one.network, ObjectiveSettings()), one.images).values())


def flatness_in(one: Subnet) -> Flatness:
    """Under noise that all networks of its weights share."""
    return flatness(one.weights, one.network, one.images, one.labels, one.seed)


# kind of objective -> what is measured for it
MEASURES: Mapping[str, Callable[[Subnet], float]] = {
    "accuracy": lambda one: one.score.accuracy,
    "sops": _sops,
    "spikes": lambda one: one.score.spikes,
    "parameters": lambda one: float(count_parameters(one.network)),
    "introspectability": lambda one: introspectability(one.network, one.images, one.watched.classes),
    "flatness": lambda one: flatness_in(one).flatness,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OneShotEvaluator:
    """checkpoint: of `train_elastic`. layers: the path of its networks at its widest. names: of the objectives.

    Accuracy, operations and parameters are measured of every candidate. It knows no budgets, and no seed but that of
    the settings.
    """

    checkpoint: Path
    settings: SearchSettings
    names: tuple[str, ...]
    layers: tuple[Layer, ...] | None = None
    on_chips: OnChips | None = None
    name: str = "supernet"
    epochs: int = 0

    @property
    def offers(self) -> frozenset[str]:
        return frozenset({*MEASURES, *((*FROM_COSTS, *IN_INTEGERS) if self.on_chips else ())})

    def subnet(self, candidate: Genotype) -> Subnet:
        """Raises InputError for a candidate that is none of the networks, or a checkpoint that is none of theirs."""
        weights, watched, images = _opened(self.checkpoint, self.settings, self.layers)
        network = subnet(weights, candidate, images)
        score = evaluate(network, watched.test_images, watched.test_labels)
        return Subnet(network=network, weights=weights, watched=watched, score=score, seed=self.settings.seed)

    def __call__(self, candidate: Genotype, budget: int, seed: int) -> Result:
        found = self.measured(candidate, self.subnet(candidate))
        return Result(
            objectives={name: found[name] for name in self.names},
            reported={name: value for name, value in found.items() if name not in self.names},
        )

    def measured(self, candidate: Genotype, one: Subnet) -> dict[str, float]:
        """What was asked for, and what the archive has of everything."""
        wanted = dict.fromkeys((*ALWAYS, *self.names))
        found = {name: MEASURES[name](one) for name in wanted if name in MEASURES}
        if self.on_chips is not None:
            of_costs = tuple(name for name in wanted if name.partition(":")[0] in FROM_COSTS)
            found |= self.on_chips.costs(candidate, one.network.config, of_costs) if of_costs else {}
            found |= in_integers(one, tuple(name for name in wanted if name in IN_INTEGERS), self.on_chips)
        return found


def in_integers(one: Subnet, names: tuple[str, ...], on_chips: OnChips) -> dict[str, float]:
    """Of a network in integers: its accuracy, or by how many nats its loss is above that of the float network."""
    bits = tuple(dict.fromkeys(IN_INTEGERS[name] for name in names))
    logits, labels = on_chips.in_integers(one.network, one.watched, bits) if bits else {}, torch.as_tensor(one.labels)
    found = {}
    for name in names:
        answers = torch.as_tensor(logits[IN_INTEGERS[name]])
        rise = float(cross_entropy(answers.float(), labels)) - one.score.loss
        found[name] = rise if name in RISES else float((answers.argmax(1) == labels).double().mean())
    return found


@lru_cache(maxsize=1)
def _opened(
    checkpoint: Path, settings: SearchSettings, layers: tuple[Layer, ...] | None
) -> tuple[ElasticWeights, Dataset, Images]:
    """Once in each process: the shared weights, the watched images as test images, those that norms count on."""
    network, data = settings.network, settings.data
    dataset = load_dataset(data.dataset, data.data_folder, time_steps=network.time_steps)
    weights = trained_weights(checkpoint, new_weights(dataset, settings, layers))
    learn, watch = split_of(dataset, settings)
    watched = replace(dataset, test_images=dataset.train_images[watch], test_labels=dataset.train_labels[watch])
    return weights, watched, dataset.train_images[recalibrated_on(learn, settings)]
