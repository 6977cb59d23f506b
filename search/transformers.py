"""Search a spiking transformer without training, train it by the one loop there is, test it once: into a run folder.

The run is exported and deployed as any other. It is not resumed: the search takes seconds, and a training that was
stopped begins anew.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from torch.nn.functional import cross_entropy

from ..errors import InputError
from ..files import replacing_folder, write_json, write_text
from .data.augmentation import augmentation_of
from .data.datasets import Dataset, load_dataset
from .evaluators.transformer_score import TransformerScore
from .frame.goal import parse_goal
from .frame.protocol import Strategy
from .frame.run import Budget
from .frame.run import run as run_loop
from .machine.device import Arithmetic, find_device, repeatable
from .random_streams import generator, seeded
from .runs import Run, check_new, create_run, make_manifest
from .settings.data import DataSettings
from .settings.run import SearchSettings
from .settings.strategies import GenerationsSettings
from .settings.training import TrainingSettings
from .space.network import count_parameters, save_transformer
from .space.transformer.genotype import Transformer, to_dict, to_json
from .space.transformer.network import SpikingTransformer, TransformerConfig
from .space.transformer.settings import TransformerSettings
from .spaces.transformers import TransformerSpace
from .strategies.asking.generations import MOST_DRAWS, Generations
from .strategies.asking.table import strategy_of
from .training.batches import epoch_batches
from .training.checkpoint import Row
from .training.loop import Score, evaluate, run_epochs, set_learning_rate, train_epoch, training_optimizer
from .training.passes import Passes
from .training.progress import Pace, Progress, silent
from .training.resident import resident, rows_of
from .training.schedules import rate_of_step

# of the training's settings, those that need cells
OF_CELLS = (
    *("teacher_epochs", "auxiliary_weight", "first_size", "average_decay", "gradient_checkpointing", "tensorboard"),
    "initialisation",
    "sharpness_every",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A run with a transformer in it. score: reference SOPs of an inference; scored: how many the search looked at, 0
    where the transformer was given."""

    run: Run
    genotype: Transformer
    score: float | None
    scored: int
    metrics: dict[str, Any]


def search_transformer(
    out: Path,
    space: TransformerSettings,
    training: TrainingSettings,
    data: DataSettings,
    *,
    seed: int = 0,
    given: Transformer | None = None,
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda sentence: None,
    command: str = "spikeport transformer",
    download: bool = False,
) -> Found:
    """Find one, or take the one that is given, train and test it.

    Raises InputError when `out` holds a run, for unusable data, for settings of cells, and where no transformer lies
    within the window of parameters.
    """
    check_new(out)
    plain = TrainingSettings()
    for name in OF_CELLS:
        if getattr(training, name) != getattr(plain, name):
            raise InputError(
                f"`{name}` needs a network of cells, and this is a transformer; leave {name}={getattr(training, name)} "
                "out."
            )
    dataset = load_dataset(data.dataset, data.data_folder, download=download, time_steps=space.time_steps)
    if not dataset.labelled:
        raise InputError(f"A network is trained on labelled images, which '{dataset.name}' does not have.")
    for note in dataset.notes:
        tell(note)
    config = config_of(space, dataset)
    score, scored = None, 0
    if given is None:
        tell("scoring transformers, without training")
        best, scored = find_transformer(space, config, seed)
        given, score = best.genotype, best.score
    settings = SearchSettings(seed=seed, training=training, data=data)
    rows: list[Row] = []
    network = train_transformer(given, config, dataset, settings, rows.extend, progress)
    metrics = _tested(network, dataset)
    with replacing_folder(out) as folder:
        manifest = make_manifest(command, seed, dataset.record(), settings.to_dict() | {"genotype": None})
        run = create_run(folder, manifest | {"transformer": asdict(space)})
        write_text(run.path / "search" / "transformer.json", to_json(given))
        write_text(run.history, "".join(json.dumps(row) + "\n" for row in rows))
        save_transformer(run, network)
        write_json(run.metrics, metrics | {"reference_sops": score, "transformer": to_dict(given)})
    return Found(run=Run(Path(out)), genotype=given, score=score, scored=scored, metrics=metrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """score: reference SOPs of an inference."""

    genotype: Transformer
    parameters: int
    score: float


def find_transformer(settings: TransformerSettings, config: TransformerConfig, seed: int) -> tuple[Scored, int]:
    """(the best, how many were scored), by the strategy of the settings and the one loop. Of equals the first.

    Raises InputError where a strategy does not take the objectives, and where no transformer was met that lies within
    the window of parameters.
    """
    space, goal = TransformerSpace(settings), parse_goal(settings.objectives)
    evaluator = TransformerScore(config=config, least=settings.least_parameters, most=settings.most_parameters)
    most = settings.evaluations or settings.population * settings.rounds
    strategy: Strategy[Transformer]
    if settings.strategy == "generations":
        own = GenerationsSettings(generations_population=settings.population, generations_rounds=settings.rounds)
        # of these draws, so that a seed finds what it found before this was a strategy
        strategy = Generations(space, goal, own, seed, rng=generator(seed, "random cells"))
        most = settings.evaluations or MOST_DRAWS * most
    else:
        strategy = strategy_of(settings.strategy, space, goal, seed=seed)
    found = run_loop(strategy, evaluator, space, goal, Budget(evaluations=most), seed=seed)
    known = {space.key(one.candidate): one.result for one in found.told}
    within = [one for one in found.best if known[space.key(one)].status == "ok"]
    if not within:
        raise InputError(
            f"No transformer of these choices was met that has {settings.least_parameters} to "
            f"{settings.most_parameters} parameters, of {len(known)} that were drawn; widen the window, or choose "
            "other depths and widths."
        )
    best = min(within, key=lambda one: goal.rank(known[space.key(one)].objectives))
    numbers = known[space.key(best)].objectives
    return Scored(genotype=best, parameters=int(numbers["parameters"]), score=numbers["score"]), len(known)


def config_of(space: TransformerSettings, dataset: Dataset) -> TransformerConfig:
    return TransformerConfig(
        time_steps=space.time_steps,
        classes=dataset.classes,
        input_shape=dataset.input_shape,
        stem_stride=space.stem_stride,
        reads="images" if dataset.frames is None else "spikes",
        dataset=dataset.name,
    )


def train_transformer(
    genotype: Transformer,
    config: TransformerConfig,
    dataset: Dataset,
    settings: SearchSettings,
    record: Callable[[list[Row]], None] = lambda rows: None,
    progress: Progress = silent,
) -> SpikingTransformer:
    """Trained from scratch on the train split but for its validation part; in eval mode. record: is told all rows once,
    at the end. Raises InputError where the training diverges."""
    training, seed = settings.training, settings.seed
    with seeded(seed, "train weights"):
        network = SpikingTransformer(genotype, config)
    order = generator(seed, "validation").permutation(len(dataset.train_images))
    held_out = max(1, round(training.validation_fraction * len(order)))
    watch, learn = np.sort(order[:held_out]), np.sort(order[held_out:])
    device = find_device(training.device)
    network.to(device)
    images, labels = resident(dataset, device)
    augmentation = augmentation_of(settings.data, dataset)
    arithmetic, optimizer = (
        Arithmetic(training.precision, device),
        training_optimizer([*network.parameters()], training),
    )
    passes = Passes(network, [*network.parameters()], _objective(network, training), arithmetic, as_graph=True)
    pace = Pace(progress, "train", training.train_epochs)

    def one_epoch(epoch: int) -> tuple[Score, Score]:
        rng = generator(seed, "train", epoch)
        batches = epoch_batches(images, labels, training.batch_size, rng, rows=learn, augmentation=augmentation)

        def set_rate(step: int) -> None:
            set_learning_rate(optimizer, rate_of_step(training, epoch, step, len(batches), training.train_epochs))

        def said(step: int, score: Score) -> None:
            seen = (score.loss, score.accuracy, score.spikes)
            pace.tell(epoch, step, len(batches), *seen, batches.waiting.share)

        score = train_epoch(
            network,
            optimizer,
            batches,
            gradient_clip=training.gradient_clip,
            before_batch=set_rate,
            after_batch=said,
            passes=passes,
        )
        return score, evaluate(network, rows_of(images, watch), rows_of(labels, watch))

    told: list[list[Row]] = []
    with tempfile.TemporaryDirectory(prefix="spikeport-") as folder, repeatable(device):
        checkpoint = Path(folder) / "checkpoint.safetensors"
        run_epochs(
            "train",
            network,
            {"optimizer": optimizer},
            training.train_epochs,
            checkpoint,
            told.append,
            one_epoch,
            arithmetic.scaler,
        )
    record(told[-1])
    return network.eval()


def _objective(network: nn.Module, training: TrainingSettings) -> Any:
    def objective(images: Any, labels: Any) -> Any:
        logits = network(images)
        return cross_entropy(logits, labels, label_smoothing=training.label_smoothing), logits

    return objective


def _tested(network: SpikingTransformer, dataset: Dataset) -> dict[str, Any]:
    with repeatable(next(network.parameters()).device):
        score = evaluate(network, dataset.test_images, dataset.test_labels)
    return {
        "test_accuracy": score.accuracy,
        "parameters": count_parameters(network),
        "time_steps": network.config.time_steps,
        "spikes_per_inference": score.spikes,
        "spikes_per_cell": score.spikes_per_cell,
    }
