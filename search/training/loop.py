"""The one loop that trains and tests, used for the supernet's weights and for the derived network."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from ...errors import InputError
from ..data.datasets import Dataset, Images, Labels
from ..machine import processes
from ..machine.channels_last import channels_last
from ..machine.device import Arithmetic, find_device, repeatable
from ..machine.gradient_checkpointing import recomputed
from ..machine.whole_batch_norm import whole_batch_norms
from ..objective.priced_loss import EVALUATION_BATCH, Objective, Price, cross_entropy_of, priced
from ..settings.run import SearchSettings
from ..space.network import SpikingNetwork
from .auxiliary import WithAuxiliary
from .batches import Batch, epoch_batches
from .checkpoint import Row, load_checkpoint, save_checkpoint
from .progress import Pace, Progress, Stage, silent
from .schedules import SCHEDULES
from .spike_counts import counting_spikes

STREAMS = (
    "halves",
    "search weights",
    "search alphas",
    "validation",
    "train",
    "train weights",
    "auxiliary",
    "random cells",
    "trials",
)


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


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def weight_optimizer(parameters: Sequence[nn.Parameter], settings: SearchSettings) -> SGD:
    """SGD with momentum; its learning rate is set anew in each epoch."""
    return SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay)


def train_epoch(
    network: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    *,
    gradient_clip: float,
    before_batch: Callable[[int], None] = lambda step: None,
    after_batch: Callable[[int, Score], None] = lambda step, score: None,
    objective: Objective | None = None,
    arithmetic: Arithmetic | None = None,
) -> Score:
    """One pass on the device of the network; only the optimizer's parameters get gradients.

    `after_batch` is told the score of the epoch so far, of this process; what is returned is that of all processes.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    device = parameters[0].device
    objective = objective or cross_entropy_of(network)
    arithmetic = arithmetic or Arithmetic("float32", device)
    network.train()
    tally = _Tally()
    for step, (images, labels) in enumerate(batches):
        before_batch(step)
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        reset_net(network)
        with counting_spikes(network) as count, arithmetic.autocast():
            loss, logits = objective(images, labels)
        if not math.isfinite(loss.item()):
            raise InputError(f"The loss must be finite, but is {loss.item()}; train again with a lower learning rate.")
        arithmetic.step(loss * processes.share_weight(len(labels)), optimizer, parameters, gradient_clip)
        tally.add(logits.detach(), labels, count.cells)
        after_batch(step, tally.score())
    return tally.over_all(device).score()


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, labels: Labels) -> Score:
    """The score of a network in eval mode, in float32; its weights and buffers stay as they are."""
    network.eval()
    device = next(network.parameters()).device
    tally = _Tally()
    part = processes.share(0, len(images))
    for i in range(part.start, part.stop, EVALUATION_BATCH):
        reset_net(network)
        rows = slice(i, min(i + EVALUATION_BATCH, part.stop))
        with counting_spikes(network) as count:
            logits = network(torch.from_numpy(images[rows]).to(device))
        tally.add(logits, torch.from_numpy(labels[rows]).to(device), count.cells)
    reset_net(network)
    return tally.over_all(device).score()


@dataclass(slots=True)
class _Tally:
    """Sums over the images seen so far."""

    seen: int = 0
    loss: float = 0.0
    correct: int = 0
    spikes: dict[str, int] = field(default_factory=dict)

    def add(self, logits: Tensor, labels: Tensor, spikes: Mapping[str, int]) -> None:
        self.seen += len(labels)
        self.loss += cross_entropy(logits.float(), labels).item() * len(labels)
        self.correct += int((logits.argmax(1) == labels).sum())
        self.spikes = {cell: self.spikes.get(cell, 0) + number for cell, number in spikes.items()}

    def over_all(self, device: torch.device) -> "_Tally":
        """The sums over all processes."""
        seen, loss, correct, *spikes = processes.totals(
            [self.seen, self.loss, self.correct, *self.spikes.values()], device
        )
        return _Tally(int(seen), loss, int(correct), dict(zip(self.spikes, map(int, spikes), strict=True)))

    def score(self) -> Score:
        spikes = {cell: number / self.seen for cell, number in self.spikes.items()}
        return Score(self.loss / self.seen, self.correct / self.seen, spikes)


def run_epochs(
    stage: Stage,
    network: nn.Module,
    optimizers: Mapping[str, Optimizer],
    epochs: int,
    checkpoint: Path,
    record: Callable[[list[Row]], None],
    one_epoch: Callable[[int], tuple[Score, Score]],
    scaler: torch.amp.GradScaler | None = None,
    is_over: Callable[[list[Row]], bool] = lambda rows: False,
) -> None:
    """Run the epochs that the checkpoint does not hold yet; after each, write the checkpoint, then record all rows.

    `one_epoch(epoch)`, from epoch 0, trains and returns the scores on the images trained on and on validation images.
    It ends early when `is_over` says so of the rows.
    Of several processes the first writes; all of them read the checkpoint before any of them trains.
    """
    rows = load_checkpoint(checkpoint, network, optimizers, scaler)
    processes.wait()
    record(rows)  # a run may have been killed between its checkpoint and its history
    for epoch in range(len(rows), epochs):
        if is_over(rows):
            return
        train, validation = one_epoch(epoch)
        rows = [*rows, {"stage": stage, "epoch": epoch + 1, "train": train.row(), "validation": validation.row()}]
        if processes.is_first():
            save_checkpoint(checkpoint, network, optimizers, rows, scaler)
        record(rows)


def train_network(
    network: SpikingNetwork,
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
    images, labels, augmentation = dataset.train_images, dataset.train_labels, settings.augmentation(dataset)
    device = find_device(settings.device)
    with seeded(settings.seed, "auxiliary"):
        trained = WithAuxiliary(network) if settings.auxiliary_weight else network
    trained.to(device)
    parameters = list(trained.parameters())
    optimizer = weight_optimizer(parameters, settings)
    arithmetic = Arithmetic(settings.precision, device)
    objective = _training_objective(processes.averaged(trained, parameters), settings)
    objective = priced(objective, Price(network, settings))

    def one_epoch(epoch: int) -> tuple[Score, Score]:
        schedule = SCHEDULES[settings.schedule]
        rate = schedule(settings.train_learning_rate, settings.minimum_learning_rate, epoch, settings.train_epochs)
        set_learning_rate(optimizer, rate)
        rng = generator(settings.seed, "train", epoch)
        batches = epoch_batches(images, labels, settings.batch_size, rng, rows=learn, augmentation=augmentation)

        def tell(step: int, score: Score) -> None:
            pace.tell(epoch, step, len(batches), score.loss, score.accuracy, score.spikes)

        score = train_epoch(
            network,
            optimizer,
            batches,
            gradient_clip=settings.gradient_clip,
            after_batch=tell,
            objective=objective,
            arithmetic=arithmetic,
        )
        return score, evaluate(network, images[watch], labels[watch])

    pace = Pace(progress, "train", settings.train_epochs)
    optimizers = {"optimizer": optimizer}
    with ExitStack() as stack:
        stack.enter_context(repeatable(device))
        stack.enter_context(whole_batch_norms(trained))
        stack.enter_context(channels_last(trained))
        if settings.gradient_checkpointing:
            stack.enter_context(recomputed(network.cells))
        run_epochs(
            "train", trained, optimizers, settings.train_epochs, checkpoint, record, one_epoch, arithmetic.scaler
        )


def _training_objective(trained: nn.Module, settings: SearchSettings) -> Objective:
    """Cross-entropy with smoothed labels, and that of the auxiliary head times its weight."""

    def objective(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        answers = trained(images)
        logits, *extra = answers if isinstance(answers, tuple) else (answers,)
        loss = cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        for helping in extra:
            also = cross_entropy(helping, labels, label_smoothing=settings.label_smoothing)
            loss = loss + settings.auxiliary_weight * also
        return loss, logits

    return objective
