"""Train the shared weights: in every step the largest network, the smallest and random ones (paths.py).

    loss = mean over the networks of a step of
           cross-entropy                                              of the largest
           (1 - w) * cross-entropy + w * T^2 KL(largest || network)   of the others, T as in training/teacher.py

The largest is no teacher that was trained before, as in Once-for-all, but that of the same step (in-place distillation,
arXiv 1903.05134). The loss is a mean, so that a learning rate means what it means for one network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..data.augmentation import augmentation_of
from ..data.datasets import Dataset, Images
from ..machine.device import Arithmetic, find_device, repeatable
from ..random_streams import generator, seeded
from ..settings.run import SearchSettings
from ..space.genotype import Genotype, Layer
from ..space.layout import default_layers
from ..space.legality import legality_of
from ..space.network import SpikingNetwork, network_config
from ..spaces.space import Space
from ..training.averaging import settle_norms
from ..training.batches import Indices, epoch_batches
from ..training.checkpoint import Row, load_checkpoint
from ..training.loop import Score, evaluate, run_epochs, set_learning_rate, train_epoch, weight_optimizer
from ..training.passes import Passes
from ..training.progress import Pace, Progress, silent
from ..training.resident import resident, rows_of
from ..training.schedules import SCHEDULES
from ..training.teacher import divergence
from .paths import Choices, by_size, sandwich
from .weights import ElasticWeights

WATCHED = "validation"  # the stream of the images that no training sees, as in evaluators/from_scratch.py


def split_of(dataset: Dataset, settings: SearchSettings) -> tuple[Indices, Indices]:
    """(learnt on, watched): of the train split, as a training from scratch has them."""
    order = generator(settings.seed, WATCHED).permutation(len(dataset.train_images))
    held_out = max(1, round(settings.training.validation_fraction * len(order)))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def choices_of(settings: SearchSettings) -> Choices:
    allowed = legality_of(settings.network.for_target).primitives
    primitives = by_size(settings.network.primitives, allowed)
    return Choices(primitives=primitives, widths=settings.elastic.widths)


def new_weights(dataset: Dataset, settings: SearchSettings, layers: tuple[Layer, ...] | None = None) -> ElasticWeights:
    """Not trained yet. layers: the path at its widest, the usual one by default."""
    config = network_config(settings.network, dataset)
    path = layers or default_layers(config.cells)
    with seeded(settings.seed, "elastic weights"):
        return ElasticWeights(settings.network.primitives, config, path, narrow=len(settings.elastic.widths) > 1)


def trained_weights(checkpoint: Path, weights: ElasticWeights) -> ElasticWeights:
    """With what the checkpoint of `train_elastic` holds. Raises InputError where it is damaged or of other networks."""
    load_checkpoint(checkpoint, weights, {})
    return weights.to(find_device("cpu"))


class _Step(nn.Module):
    """The networks of a step. The others are no modules of it, so that only the largest's spikes are counted."""

    def __init__(self, weights: ElasticWeights) -> None:
        super().__init__()
        self.weights = weights
        self.largest: nn.Module | None = None
        self.others: list[SpikingNetwork] = []

    def of(self, genotypes: list[Genotype]) -> None:
        """The largest first."""
        device = next(self.weights.parameters()).device
        self.largest, *self.others = (SpikingNetwork(one, self.weights.config).to(device) for one in genotypes)


@dataclass(frozen=True, slots=True, eq=False)
class _Objective:
    step: _Step
    teaching: float
    temperature: float
    smoothing: float

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        weights, others = self.step.weights, self.step.others
        logits = weights.answers(cast(SpikingNetwork, self.step.largest), images)
        loss, wanted = self._plain(logits, labels), logits.detach()
        for network in others:
            found = weights.answers(network, images)
            loss = loss + (1 - self.teaching) * self._plain(found, labels)
            if self.teaching:
                loss = loss + self.teaching * divergence(found, wanted, self.temperature)
        return loss / (1 + len(others)), logits

    def _plain(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, labels, label_smoothing=self.smoothing)


def train_elastic(
    dataset: Dataset,
    settings: SearchSettings,
    space: Space[Genotype],
    checkpoint: Path,
    layers: tuple[Layer, ...] | None = None,
    record: Callable[[list[Row]], None] = lambda rows: None,
    progress: Progress = silent,
) -> ElasticWeights:
    """Go on from the checkpoint if there is one, and leave one of the end.

    layers: the path of the space's networks at its widest. record: is told all rows after every epoch: of the largest
    network of each step (train), and of one of the largest on watched images (validation). Raises InputError where the
    loss is not finite.
    """
    elastic, training, choices = settings.elastic, settings.training, choices_of(settings)
    device = find_device(training.device)
    weights = new_weights(dataset, settings, layers).to(device)
    learn, watch = split_of(dataset, settings)
    augmentation, (images, labels) = augmentation_of(settings.data, dataset), resident(dataset, device)
    parameters, step = list(weights.parameters()), _Step(weights)
    optimizer, arithmetic = weight_optimizer(parameters, training), Arithmetic(training.precision, device)
    objective = _Objective(step, elastic.elastic_teaching, training.teacher_temperature, training.label_smoothing)
    passes = Passes(step, parameters, objective, arithmetic)
    pace = Pace(progress, "supernet", elastic.elastic_epochs)

    def one_epoch(epoch: int) -> tuple[Score, Score]:
        rate = SCHEDULES[training.schedule](
            elastic.elastic_learning_rate, training.minimum_learning_rate, epoch, elastic.elastic_epochs
        )
        set_learning_rate(optimizer, rate)
        shrinking = elastic.elastic_shrinking * elastic.elastic_epochs
        opened = choices.opened(epoch / shrinking if shrinking else 1.0)
        paths = generator(settings.seed, "elastic paths", epoch)
        rng = generator(settings.seed, "elastic batches", epoch)
        batches = epoch_batches(images, labels, training.batch_size, rng, rows=learn, augmentation=augmentation)

        def draw(number: int) -> None:
            step.of(sandwich(space, opened, elastic.elastic_paths, paths))

        def tell(number: int, score: Score) -> None:
            seen = (score.loss, score.accuracy, score.spikes)
            pace.tell(epoch, number, len(batches), *seen, batches.waiting.share)

        clip = training.gradient_clip
        score = train_epoch(
            step, optimizer, batches, gradient_clip=clip, before_batch=draw, after_batch=tell, passes=passes
        )
        largest = sandwich(space, choices.opened(0.0), 0, generator(settings.seed, "elastic paths"))[0]
        settled = rows_of(images, recalibrated_on(learn, settings))
        return score, evaluate(subnet(weights, largest, settled), rows_of(images, watch), rows_of(labels, watch))

    with repeatable(device):
        run_epochs(
            "supernet",
            weights,
            {"weights": optimizer},
            elastic.elastic_epochs,
            checkpoint,
            record,
            one_epoch,
            arithmetic.scaler,
        )
    return weights


def recalibrated_on(learn: Indices, settings: SearchSettings) -> Indices:
    """The first of a fixed order: files may lie by class."""
    order = generator(settings.seed, "elastic batches").permutation(len(learn))
    return np.sort(learn[order[: settings.elastic.elastic_recalibration]])


def subnet(weights: ElasticWeights, genotype: Genotype, images: Images | Tensor) -> SpikingNetwork:
    """The network of a genotype, its norms counted on these images, in eval mode."""
    network = weights.network(genotype)
    settle_norms(network, images)
    return network.eval()
