"""The images that integers are fitted to: those the network was trained on, and those that watched its training."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from ...files import read_json
from ...search.data.augmentation import Augmentation, augmentation_of
from ...search.data.datasets import Dataset, Images, Labels
from ...search.random_streams import generator
from ...search.runs import Run
from ...search.settings.data import DataSettings
from ...search.settings.file import recorded_settings
from ...search.settings.training import TrainingSettings
from ..settings import ExportSettings

AT_ONCE = 64  # images in the encoder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """learn, watch: rows of the train split, which share none; the network was trained on the first alone, unless it
    was imported. seed: of the order and of what images are changed by."""

    images: Images
    labels: Labels
    learn: NDArray[np.int64]
    watch: NDArray[np.int64]
    augmentation: Augmentation
    labelled: bool
    seed: int

    def epoch(self, epoch: int, batch_size: int, most: int = 0) -> Iterator[tuple[Images, Labels]]:
        """The images to learn from in a new order, or the first `most` of it, changed as the run's training does."""
        rng = generator(self.seed, "finetune", epoch)
        order = rng.permutation(self.learn)[: most or None]
        draws = self.augmentation.draw(rng, len(order), *self.images.shape[-2:])
        for start in range(0, len(order), batch_size):
            rows, part = order[start : start + batch_size], slice(start, start + batch_size)
            some = {name: values[:, part] for name, values in draws.items()}
            yield self.augmentation.apply(self.images[rows], some), self.labels[rows]

    def batches(self, batch_size: int, most: int = 0) -> int:
        """Of an epoch."""
        return -(-min(len(self.learn), most or len(self.learn)) // batch_size)


def finished(run: Run, settings: ExportSettings) -> ExportSettings:
    """Settings with the last epochs of the run's own training, which it left to the integers; a number that is chosen
    here wins."""
    recorded = None if _imported(run) else recorded_settings(run)
    if recorded is None or settings.finetune:
        return settings
    return replace(settings, finetune=recorded.training.chip_aware)


def _imported(run: Run) -> bool:
    return "import" in read_json(run.manifest).get("settings", {})


def samples_of(run: Run, dataset: Dataset) -> Samples:
    """As the run's training split and changed them; of an imported network as a training by default would."""
    settings = None if _imported(run) else recorded_settings(run)
    training = TrainingSettings() if settings is None else settings.training
    data = DataSettings() if settings is None else settings.data
    seed = 0 if settings is None else settings.seed
    order = generator(seed, "validation").permutation(len(dataset.train_images))
    held_out = max(1, round(training.validation_fraction * len(order)))
    return Samples(
        images=dataset.train_images,
        labels=dataset.train_labels,
        learn=np.sort(order[held_out:]),
        watch=np.sort(order[:held_out]),
        augmentation=augmentation_of(data, dataset),
        labelled=dataset.labelled,
        seed=seed,
    )


def entering(encoder: nn.Module | None, images: Images) -> Tensor:
    """Images [N, C, H, W], or frames [N, T, C, H, W] without an encoder -> spikes float32 [T, N, *shape]."""
    if encoder is None:
        return torch.from_numpy(np.ascontiguousarray(images.swapaxes(0, 1))).float()
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    found = []
    with torch.no_grad():
        for start in range(0, len(images), AT_ONCE):
            functional.reset_net(encoder)
            found.append(encoder(torch.from_numpy(images[start : start + AT_ONCE]).float().to(device)))
    functional.reset_net(encoder)
    return torch.cat(found, dim=1)
