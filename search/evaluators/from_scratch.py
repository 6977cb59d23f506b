"""The network built from a genotype, trained from scratch: what the search was for."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from torch import Tensor, as_tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from ...errors import InputError
from ..data.augmentation import augmentation_of
from ..data.datasets import Dataset
from ..machine import processes
from ..machine.channels_last import channels_last
from ..machine.device import Arithmetic, find_device, repeatable
from ..machine.gradient_checkpointing import recomputed
from ..machine.whole_batch_norm import whole_batch_norms
from ..objective.priced_loss import Price, priced
from ..random_streams import generator, seeded
from ..settings.run import SearchSettings
from ..settings.training import TrainingSettings
from ..space.network import SpikingNetwork
from ..training.auxiliary import WithAuxiliary
from ..training.averaging import SETTLING, WeightAverage
from ..training.batches import Batches, epoch_batches
from ..training.checkpoint import Row
from ..training.loop import Score, evaluate, run_epochs, set_learning_rate, train_epoch, training_optimizer
from ..training.passes import Objective, Passes
from ..training.progress import Pace, Progress, Stage, silent
from ..training.resident import resident, rows_of
from ..training.schedules import rate_of_step
from ..training.sizes import resized, size_at
from ..training.teacher import taught, teacher_of
from .isometry import isometric
from .sharpness import Sharpness

FOR_ISOMETRY = 64  # images


@dataclass(frozen=True, slots=True)
class SharpScore(Score):
    """And the sharpness of the surrogate of each layer, where it is searched."""

    sharpness: dict[str, float]

    def row(self) -> Row:
        return Score.row(self) | {"sharpness": self.sharpness}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """One training: that of the network, or that of its teacher."""

    stage: Stage
    epochs: int
    network: SpikingNetwork
    optimizer: SGD
    passes: Passes
    average: WeightAverage | None = None  # of the network's weights, which is tested instead
    sharpness: Sharpness | None = None  # of the surrogate gradients, where it is searched
    before: int = 0  # epochs of the courses before this one


def train_network(
    network: SpikingNetwork,
    dataset: Dataset,
    settings: SearchSettings,
    checkpoint: Path,
    record: Callable[[list[Row]], None],
    progress: Progress = silent,
) -> None:
    """Train on the train split but for its validation part, in place.

    The result are the weights of the last epoch, or with an `average_decay` their average, which then is also what the
    validation part is tested with. With `teacher_epochs` a teacher is trained before; `record` is not told its rows.
    """
    if settings.training.sharpness_every and processes.world() > 1:
        raise InputError("--sharpness-every takes one process; start without torchrun or leave it out.")
    order = generator(settings.seed, "validation").permutation(len(dataset.train_images))
    held_out = max(1, round(settings.training.validation_fraction * len(order)))
    watch, learn = np.sort(order[:held_out]), np.sort(order[held_out:])
    training, augmentation = settings.training, augmentation_of(settings.data, dataset)
    device = find_device(training.device)
    images, labels = resident(dataset, device)
    with seeded(settings.seed, "auxiliary"):
        trained = WithAuxiliary(network) if training.auxiliary_weight else network
    trained.to(device)
    if training.initialisation == "isometry":
        isometric(network, as_tensor(rows_of(images, learn[:FOR_ISOMETRY])).to(device).float(), settings.seed)
    arithmetic = Arithmetic(training.precision, device)
    objective = _training_objective(_whole_gradients(trained), training)
    changing = settings.objective.has_a_price or training.sharpness_every
    as_graph = not (changing or training.gradient_checkpointing)

    def passes_of(network: nn.Module, trained: nn.Module, objective: Objective) -> Passes:
        return Passes(network, list(trained.parameters()), objective, arithmetic, as_graph=as_graph)

    kept: dict[str, nn.Module] = {"network": trained}
    courses: list[_Course] = []
    if training.teacher_epochs:
        with seeded(settings.seed, "teacher weights"):
            teacher = teacher_of(network).to(device).eval()
        kept["teacher"] = teacher
        courses.append(
            _Course(
                stage="teacher",
                epochs=training.teacher_epochs,
                network=teacher,
                optimizer=training_optimizer(list(teacher.parameters()), training),
                passes=passes_of(teacher, teacher, _training_objective(_whole_gradients(teacher), training)),
            )
        )
        objective = taught(objective, teacher, training.teacher_weight, training.teacher_temperature)
    average = WeightAverage(network, training.average_decay) if training.average_decay else None
    if average is not None:
        kept["average"] = average
    sharpness = Sharpness(network).to(device) if training.sharpness_every else None
    if sharpness is not None:
        kept["sharpness"] = sharpness
    courses.append(
        _Course(
            stage="train",
            epochs=training.float_epochs,
            network=network,
            optimizer=training_optimizer(list(trained.parameters()), training),
            passes=passes_of(network, trained, priced(objective, Price(network, settings.objective))),
            average=average,
            sharpness=sharpness,
            before=training.teacher_epochs,
        )
    )

    def one_epoch(course: _Course, pace: Pace, epoch: int) -> tuple[Score, Score]:
        pupil, average = course.network, course.average
        size = size_at(training, pupil.config, pupil.plan[-1].halvings, epoch, course.epochs)

        def batches_of(stream: str) -> Batches:
            rng = generator(settings.seed, stream, epoch)
            return epoch_batches(images, labels, training.batch_size, rng, rows=learn, augmentation=augmentation)

        batches = batches_of(course.stage)
        if course.sharpness is not None:
            if epoch and epoch % training.sharpness_every == 0:
                rate = rate_of_step(training, epoch, 0, len(batches), course.epochs)
                course.sharpness.move(pupil, batches_of("sharpness"), rate, training.sharpness_step)
            course.sharpness.act_on(pupil)

        def set_rate(step: int) -> None:
            rate = rate_of_step(training, epoch, step, len(batches), course.epochs)
            set_learning_rate(course.optimizer, rate)

        def follow(step: int) -> None:
            if average is not None:
                average.update(epoch * len(batches) + step + 1)

        def tell(step: int, score: Score) -> None:
            seen = (score.loss, score.accuracy, score.spikes)
            pace.tell(epoch, step, len(batches), *seen, batches.waiting.share)

        score = train_epoch(
            pupil,
            course.optimizer,
            batches,
            gradient_clip=training.gradient_clip,
            before_batch=set_rate,
            after_step=follow,
            after_batch=tell,
            prepare=lambda images: resized(images, size),
            passes=course.passes,
        )
        tested = pupil
        if average is not None:
            average.settle(rows_of(images, order[held_out:][:SETTLING]))  # in no order: files may lie by class
            tested = cast(SpikingNetwork, average.network)
        if course.sharpness is not None:
            score = SharpScore(score.loss, score.accuracy, score.spikes_per_cell, course.sharpness.row())
        return score, evaluate(tested, rows_of(images, watch), rows_of(labels, watch))

    def tell_rows(rows: list[Row]) -> None:
        record([row for row in rows if row["stage"] == "train"])

    whole = nn.ModuleDict(kept) if len(kept) > 1 else trained
    names: dict[Stage, str] = {"teacher": "teacher", "train": "optimizer"}  # in the checkpoint
    optimizers = {names[course.stage]: course.optimizer for course in courses}
    with ExitStack() as stack:
        stack.enter_context(repeatable(device))
        stack.enter_context(whole_batch_norms(whole))
        stack.enter_context(channels_last(whole))
        if training.gradient_checkpointing:
            stack.enter_context(recomputed(network.cells))
        for course in courses:
            epoch_of = partial(one_epoch, course, Pace(progress, course.stage, course.epochs))
            scaler, before = arithmetic.scaler, course.before
            run_epochs(
                course.stage, whole, optimizers, course.epochs, checkpoint, tell_rows, epoch_of, scaler, before=before
            )
    if average is not None:
        network.load_state_dict(average.network.state_dict())


def _whole_gradients(module: nn.Module) -> nn.Module:
    """The module, called by which all its parameters get gradients of the whole batch."""
    return processes.averaged(module, list(module.parameters()))


def _training_objective(trained: nn.Module, settings: TrainingSettings) -> Objective:
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
