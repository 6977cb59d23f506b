"""The one loop that trains and tests, used for the supernet's weights and for the derived network."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from ..errors import InputError
from .checkpoint import Row, load_checkpoint, save_checkpoint
from .datasets import Dataset, Images, Labels
from .progress import Pace, Progress, Stage, silent
from .settings import SearchSettings
from .spikes import counting_spikes

Batch = tuple[Tensor, Tensor]  # images float32 [N, C, H, W], labels int64 [N]
Indices = NDArray[np.int64]

EVALUATION_BATCH = 256
STREAMS = ("halves", "search weights", "search alphas", "validation", "train", "train weights")


@dataclass(frozen=True, slots=True)
class Score:
    """Means over images: cross-entropy in nats, accuracy 0..1, spikes per cell over all time steps."""

    loss: float
    accuracy: float
    spikes_per_cell: dict[str, float]

    @property
    def spikes(self) -> float:
        return sum(self.spikes_per_cell.values())

    def row(self) -> Row:
        return {"loss": self.loss, "accuracy": self.accuracy, "spikes_per_cell": self.spikes_per_cell}


def generator(seed: int, stream: str, epoch: int = 0) -> np.random.Generator:
    """Random numbers that depend on nothing but the arguments, so that a resumed run draws what it would have drawn."""
    return np.random.default_rng([seed, STREAMS.index(stream), epoch])


@contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """Torch's random numbers depend on (seed, stream) inside the block, and go on undisturbed after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, stream).integers(2**63)))
        yield


def epoch_batches(
    images: Images, labels: Labels, batch_size: int, rng: np.random.Generator, *, shift: int = 0
) -> list[Batch]:
    """All samples once, in random order, each moved by up to `shift` pixels along both axes."""
    order = rng.permutation(len(images))
    moved = shifted(images[order], rng, shift)
    return [
        (torch.from_numpy(moved[i : i + batch_size]), torch.from_numpy(labels[order[i : i + batch_size]]))
        for i in range(0, len(order), batch_size)
    ]


def shifted(images: Images, rng: np.random.Generator, shift: int) -> Images:
    """[N, C, H, W] -> the same shape, each image moved by whole pixels drawn from -shift..shift per axis."""
    if shift == 0:
        return images
    rows, columns = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (shift, shift), (shift, shift)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(2, 3))
    down, right = rng.integers(0, 2 * shift + 1, (2, len(images)))
    return np.ascontiguousarray(windows[np.arange(len(images)), :, down, right])


def cosine(start: float, end: float, epoch: int, epochs: int) -> float:
    """The learning rate of an epoch 0..epochs - 1: from start, along half a cosine, towards end."""
    return end + (start - end) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def weight_optimizer(parameters: Sequence[nn.Parameter], settings: SearchSettings) -> SGD:
    """SGD with momentum; its learning rate is set anew in each epoch."""
    return SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay)


def train_epoch(
    network: nn.Module,
    optimizer: Optimizer,
    batches: Sequence[Batch],
    *,
    gradient_clip: float,
    before_batch: Callable[[int], None] = lambda step: None,
    after_batch: Callable[[int, Score], None] = lambda step, score: None,
) -> Score:
    """One pass; only the optimizer's parameters get gradients. `after_batch` is told the score of the epoch so far."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    network.train()
    seen, loss_sum, correct = 0, 0.0, 0
    spikes: dict[str, float] = {}
    score = Score(0.0, 0.0, {})
    for step, (images, labels) in enumerate(batches):
        before_batch(step)
        reset_net(network)
        optimizer.zero_grad()
        with counting_spikes(network) as count:
            logits = network(images)
        loss = cross_entropy(logits, labels)
        if not math.isfinite(loss.item()):
            raise InputError(f"The loss must be finite, but is {loss.item()}; train again with a lower learning rate.")
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, gradient_clip)
        optimizer.step()
        seen += len(labels)
        loss_sum += loss.item() * len(labels)
        correct += int((logits.argmax(1) == labels).sum())
        spikes = {cell: spikes.get(cell, 0) + number for cell, number in count.cells.items()}
        score = Score(loss_sum / seen, correct / seen, {cell: number / seen for cell, number in spikes.items()})
        after_batch(step, score)
    return score


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, labels: Labels) -> Score:
    """The score of a network in eval mode; its weights and buffers stay as they are."""
    network.eval()
    loss_sum, correct = 0.0, 0
    with counting_spikes(network) as count:
        for i in range(0, len(images), EVALUATION_BATCH):
            reset_net(network)
            targets = torch.from_numpy(labels[i : i + EVALUATION_BATCH])
            logits = network(torch.from_numpy(images[i : i + EVALUATION_BATCH]))
            loss_sum += cross_entropy(logits, targets, reduction="sum").item()
            correct += int((logits.argmax(1) == targets).sum())
    reset_net(network)
    return Score(loss_sum / len(images), correct / len(images), count.per_image(len(images)))


def run_epochs(
    stage: Stage,
    network: nn.Module,
    optimizers: Mapping[str, Optimizer],
    epochs: int,
    checkpoint: Path,
    record: Callable[[list[Row]], None],
    one_epoch: Callable[[int], tuple[Score, Score]],
) -> None:
    """Run the epochs that the checkpoint does not hold yet; after each, write the checkpoint, then record all rows.

    `one_epoch(epoch)`, from epoch 0, trains and returns the scores on the images trained on and on validation images.
    """
    rows = load_checkpoint(checkpoint, network, optimizers)
    record(rows)  # a run may have been killed between its checkpoint and its history
    for epoch in range(len(rows), epochs):
        train, validation = one_epoch(epoch)
        rows = [*rows, {"stage": stage, "epoch": epoch + 1, "train": train.row(), "validation": validation.row()}]
        save_checkpoint(checkpoint, network, optimizers, rows)
        record(rows)


def train_network(
    network: nn.Module,
    dataset: Dataset,
    settings: SearchSettings,
    checkpoint: Path,
    record: Callable[[list[Row]], None],
    progress: Progress = silent,
) -> None:
    """Train on the train split but for its validation part, in place; the weights of the last epoch are the result."""
    order = generator(settings.seed, "validation").permutation(len(dataset.train_images))
    held_out = max(1, round(settings.validation_fraction * len(order)))
    watch, learn = np.sort(order[:held_out]), np.sort(order[held_out:])
    images, labels = dataset.train_images, dataset.train_labels
    optimizer = weight_optimizer(list(network.parameters()), settings)

    def one_epoch(epoch: int) -> tuple[Score, Score]:
        rate = cosine(settings.train_learning_rate, settings.minimum_learning_rate, epoch, settings.train_epochs)
        set_learning_rate(optimizer, rate)
        rng = generator(settings.seed, "train", epoch)
        batches = epoch_batches(images[learn], labels[learn], settings.batch_size, rng, shift=settings.shift)

        def tell(step: int, score: Score) -> None:
            pace.tell(epoch, step, len(batches), score.loss, score.accuracy, score.spikes)

        score = train_epoch(network, optimizer, batches, gradient_clip=settings.gradient_clip, after_batch=tell)
        return score, evaluate(network, images[watch], labels[watch])

    pace = Pace(progress, "train", settings.train_epochs)
    optimizers = {"optimizer": optimizer}
    run_epochs("train", network, optimizers, settings.train_epochs, checkpoint, record, one_epoch)
