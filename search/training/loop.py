"""The one loop that trains and tests, used for the supernet's weights and for the derived network."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from ...errors import InputError
from ..data.datasets import Images, Labels
from ..machine import processes
from ..machine.device import Arithmetic
from ..settings.training import TrainingSettings
from .batches import Batches
from .checkpoint import Row, load_checkpoint, save_checkpoint
from .passes import Objective, Passes
from .progress import Stage
from .spike_counts import counting_spikes

EVALUATION_BATCH = 256
ON_A_GPU = 4  # times as many, so that it has enough to do
TELL_S = 0.5


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


def cross_entropy_of(network: nn.Module) -> Objective:
    """The plain objective: cross-entropy of the network's logits, nats."""

    def objective(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = network(images)
        return cross_entropy(logits, labels), logits

    return objective


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def weight_optimizer(parameters: Sequence[nn.Parameter], settings: TrainingSettings) -> SGD:
    """SGD with momentum, of a supernet's weights; its learning rate is set anew in each epoch."""
    return SGD(
        parameters, lr=settings.train_learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def training_optimizer(parameters: Sequence[nn.Parameter], settings: TrainingSettings) -> SGD:
    """The same of a training from scratch, with its options. Biases and norms have one axis, weights more."""
    groups: list[dict[str, Any]] = [{"params": list(parameters)}]
    if settings.decay_weights_only:
        groups = [
            {"params": [parameter for parameter in parameters if parameter.ndim > 1]},
            {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
        ]
    return SGD(
        groups,
        lr=settings.train_learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
    )


def train_epoch(
    network: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    *,
    gradient_clip: float,
    before_batch: Callable[[int], None] = lambda step: None,
    after_step: Callable[[int], None] = lambda step: None,
    after_batch: Callable[[int, Score], None] = lambda step, score: None,
    prepare: Callable[[Tensor], Tensor] = lambda images: images,
    objective: Objective | None = None,
    passes: Passes | None = None,
) -> Score:
    """All batches, on the device of the network; only the optimizer's parameters get gradients.

    The passes are those of the objective in float32, if none are given; `prepare` changes images before them.

    `after_step` is called when a batch has changed the weights, and must not wait for the device.
    `after_batch` is told the score of the epoch so far, of this process; what is returned is that of all processes. A
    GPU is asked for numbers at the first and the last batch and every TELL_S seconds only, for the asking waits for it.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    device = parameters[0].device
    if passes is None:
        passes = Passes(network, parameters, objective or cross_entropy_of(network), Arithmetic("float32", device))
    network.train()
    tally, total, told = _Tally(), torch.zeros((), device=device), -math.inf
    for step, (images, labels) in enumerate(batches):
        before_batch(step)
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        passed = passes(prepare(images), labels)
        total = total + passed.loss  # from the first loss on that is not finite, it is not
        is_due = device.type != "cuda" or step + 1 == len(batches) or time.monotonic() > told + TELL_S
        if is_due and not math.isfinite(float(total)):
            raise InputError(f"The loss must be finite, but is {float(total)}; train again with a lower learning rate.")
        passes.arithmetic.update(optimizer, parameters, gradient_clip)
        after_step(step)
        tally.add(passed.logits, labels, passed.spikes)
        if is_due:
            after_batch(step, tally.score())
            told = time.monotonic()
    return tally.over_all(device).score()


@torch.no_grad()
def evaluate(network: nn.Module, images: Images | Tensor, labels: Labels | Tensor) -> Score:
    """The score of a network in eval mode, in float32; its weights and buffers stay as they are."""
    network.eval()
    device = next(network.parameters()).device
    tally = _Tally()
    part = processes.share(0, len(images))
    size = EVALUATION_BATCH * (ON_A_GPU if device.type == "cuda" else 1)
    for i in range(part.start, part.stop, size):
        reset_net(network)
        rows = slice(i, min(i + size, part.stop))
        with counting_spikes(network) as count:
            logits = network(torch.as_tensor(images[rows]).to(device).float())
        tally.add(logits, torch.as_tensor(labels[rows]).to(device), count.counted)
    reset_net(network)
    return tally.over_all(device).score()


@dataclass(slots=True)
class _Tally:
    """Sums over the images seen so far, on the device until somebody asks."""

    seen: int = 0
    loss: Tensor | float = 0.0  # float64
    correct: Tensor | int = 0
    spikes: dict[str, Tensor | int] = field(default_factory=dict)

    def add(self, logits: Tensor, labels: Tensor, spikes: Mapping[str, Tensor | int]) -> None:
        self.seen += len(labels)
        self.loss = self.loss + cross_entropy(logits.float(), labels).double() * len(labels)
        self.correct = self.correct + (logits.argmax(1) == labels).sum()
        self.spikes = {cell: self.spikes.get(cell, 0) + number for cell, number in spikes.items()}

    def over_all(self, device: torch.device) -> "_Tally":
        """The sums over all processes."""
        seen, loss, correct, *spikes = processes.totals(
            [self.seen, *map(float, (self.loss, self.correct, *self.spikes.values()))], device
        )
        return _Tally(int(seen), loss, int(correct), dict(zip(self.spikes, map(int, spikes), strict=True)))

    def score(self) -> Score:
        spikes = {cell: int(number) / self.seen for cell, number in self.spikes.items()}
        return Score(float(self.loss) / self.seen, int(self.correct) / self.seen, spikes)


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
    before: int = 0,
) -> None:
    """Run the epochs that the checkpoint does not hold yet; after each, write the checkpoint, then record all rows.

    `one_epoch(epoch)`, from epoch 0, trains and returns the scores on the images trained on and on validation images.
    `before` are the rows of stages before this one, of which the same checkpoint tells.
    It ends early when `is_over` says so of the rows.
    Of several processes the first writes; all of them read the checkpoint before any of them trains.
    """
    processes.wait()  # the first may still write what the stage before this one has come to
    rows = load_checkpoint(checkpoint, network, optimizers, scaler)
    processes.wait()
    record(rows)  # a run may have been killed between its checkpoint and its history
    for epoch in range(len(rows) - before, epochs):
        if is_over(rows):
            return
        train, validation = one_epoch(epoch)
        rows = [*rows, {"stage": stage, "epoch": epoch + 1, "train": train.row(), "validation": validation.row()}]
        if processes.is_first():
            save_checkpoint(checkpoint, network, optimizers, rows, scaler)
        record(rows)
