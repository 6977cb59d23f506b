"""Bilevel search (DARTS, arXiv 1806.09055, section 2.3), of first order unless told, in the spiking cell of MA-DARTS.

Weights learn on one half of the train split, alphas on the other; the test split is not looked at. In a macro search
the weights of paths and widths learn as the alphas do, and a layer's spikes are those of all its cells in the trellis.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import Adam

from ....errors import InputError
from ...data.augmentation import augmentation_of
from ...data.datasets import Dataset
from ...evaluators.trials import best_of, limited_contenders
from ...machine import processes
from ...machine.channels_last import channels_last
from ...machine.device import DTYPES, Arithmetic, fast_dtype, find_device, repeatable
from ...machine.freed_memory import keep_freed_memory
from ...machine.whole_batch_norm import whole_batch_norms
from ...objective.priced_loss import Price, mean_sops, priced
from ...random_streams import generator, seeded
from ...settings.run import SearchSettings
from ...settings.supernet import SupernetForm
from ...space.genotype import Genotype, to_dict
from ...space.legality import legality_of
from ...space.network import NetworkConfig, network_config
from ...supernet.kernel_space import KernelSupernet, calculate_in, hold_in_bits
from ...supernet.macro import MacroSupernet
from ...supernet.plain import PlainSupernet
from ...supernet.relaxation import fading
from ...supernet.supernet import Supernet
from ...training.batches import Batch, Batches, Indices, epoch_batches
from ...training.checkpoint import Row
from ...training.loop import (
    EVALUATION_BATCH,
    Score,
    cross_entropy_of,
    evaluate,
    run_epochs,
    set_learning_rate,
    train_epoch,
    weight_optimizer,
)
from ...training.passes import Objective, Passes
from ...training.progress import Pace, Progress, silent
from ...training.resident import resident, rows_of
from ...training.schedules import SCHEDULES
from .draws import draws_of
from .early_stop import search_is_over
from .regularizers import regularized, weights_of
from .second_order import second_order_step

ALPHA_BETAS = (0.5, 0.999)  # of Adam, as in DARTS

# form -> function of the primitives, the network and, where it is no usual one, its plan
SUPERNETS: Mapping[SupernetForm, Callable[..., Supernet]] = {
    "kernel": KernelSupernet,
    "plain": PlainSupernet,
}


def supernet_of(settings: SearchSettings, config: NetworkConfig, given: Genotype | None = None) -> Supernet:
    """What the level of the settings searches; the genotype that is `given` has the cell of a macro search, or those
    that a search of a cell for every layer begins with."""
    network = settings.network
    primitives = network.primitives if given is None else given.primitives
    also: dict[str, Any] = {"gates": network.gates == "search", "decays": network.decays == "search"}
    if network.level != "micro":
        supernet: Supernet = MacroSupernet(primitives, config, given)
        supernet.search_also(**also)
        return supernet
    plan = None if given is None else config.plan(given.layers)
    supernet = SUPERNETS[settings.supernet.supernet](primitives, config, plan)
    supernet.search_also(**also, cells_per_layer=network.cells_per_layer, start=given)
    return supernet


def halves(samples: int, seed: int) -> tuple[Indices, Indices]:
    """Indices of the train split for the weights and for the alphas: disjoint, together all, in ascending order."""
    order = generator(seed, "halves").permutation(samples)
    middle = samples // 2
    return np.sort(order[:middle]), np.sort(order[middle:])


@dataclass(frozen=True, slots=True)
class SearchScore(Score):
    """And the synaptic operations per cell that are to be expected of the mixture, per image; the cells so far."""

    sops_per_cell: dict[str, float]
    genotype: Genotype

    def row(self) -> Row:
        genotype = {key: value for key, value in to_dict(self.genotype).items() if key != "primitives"}
        return Score.row(self) | {"sops_per_cell": self.sops_per_cell, "genotype": genotype}


def alpha_step(
    supernet: Supernet,
    optimizer: Adam,
    batch: Batch,
    objective: Objective | None = None,
    passes: Passes | None = None,
) -> None:
    """One step of the alphas against the loss of a batch, the weights held fixed.

    The passes are those of the objective, by default cross-entropy, if none are given.
    """
    images, labels = (tensor.to(supernet.architecture()[0].device) for tensor in batch)
    supernet.train()
    passes = passes or passes_of_alphas(supernet, objective or cross_entropy_of(supernet))
    passes(images, labels)
    optimizer.step()


def passes_of_alphas(supernet: Supernet, objective: Objective, *, as_graph: bool = False) -> Passes:
    """Passes that give gradients to the architecture alone."""
    alphas = supernet.architecture()
    arithmetic = Arithmetic("float32", alphas[0].device)
    return Passes(supernet, alphas, objective, arithmetic, as_graph=as_graph, counts=False)


def search(
    dataset: Dataset,
    settings: SearchSettings,
    checkpoint: Path,
    record: Callable[[list[Row]], None] = lambda rows: None,
    progress: Progress = silent,
    given: Genotype | None = None,
) -> Genotype:
    """Search with the train split, go on from the checkpoint if there is one, return the genotype of the last epoch.

    At the level `macro` the path is searched of the cell that is `given`; a search of a cell for every layer begins
    with the cells that are.

    `record` is told the rows of the history after every epoch: scores on the half that was learned on (train), which is
    the weights' but in the last part of a pipelined search, and, with the supernet in eval mode, on the alphas' half
    (validation), there with the expected synaptic operations per cell.
    """
    with seeded(settings.seed, "search weights"):
        supernet = supernet_of(settings, network_config(settings.network, dataset, "search"), given)
    darts, training = settings.darts, settings.training
    device = find_device(training.device)
    supernet.to(device)
    keep_freed_memory()
    calculate_in(supernet, dtype_of(settings, device))
    supernet.relaxation = settings.supernet.relaxation
    supernet.allowed = legality_of(settings.network.for_target).primitives
    if darts.second_order and processes.world() > 1:
        raise InputError("--second-order takes one process; start without torchrun or leave it out.")
    if settings.network.cells_per_layer and processes.world() > 1:  # which wait for the gradients of weights that rest
        raise InputError("--cells-per-layer takes one process; start without torchrun or leave it out.")
    weight_half, alpha_half = halves(len(dataset.train_images), settings.seed)
    augmentation, (images, labels) = augmentation_of(settings.data, dataset), resident(dataset, device)
    weights = weight_optimizer(supernet.weights(), training)
    alphas = Adam(
        supernet.architecture(),
        lr=darts.alpha_learning_rate,
        betas=ALPHA_BETAS,
        weight_decay=darts.alpha_weight_decay,
    )
    price = Price(supernet, settings.objective)
    weight_loss = priced(cross_entropy_of(processes.averaged(supernet, supernet.weights())), price)
    alpha_loss = priced(cross_entropy_of(processes.averaged(supernet, supernet.architecture())), price)
    # from epoch to epoch
    changing = darts.beta_decay or darts.zero_one_weight or darts.auxiliary_skip or darts.shared_epochs
    changing = changing or darts.pipelined_epochs or settings.supernet.relaxation == "gumbel"
    changing = changing or settings.supernet.search_bits  # whose scale is found on the host
    steady = not (changing or settings.objective.has_a_price)
    weight_passes = Passes(supernet, supernet.weights(), weight_loss, Arithmetic("float32", device), as_graph=steady)
    alpha_passes = passes_of_alphas(supernet, alpha_loss, as_graph=True)
    alpha_phase = partial(Passes, supernet, supernet.architecture(), arithmetic=Arithmetic("float32", device))
    watched = dataset.train_images[alpha_half[:EVALUATION_BATCH]]

    def one_epoch(epoch: int) -> tuple[Score, Score]:
        schedule = SCHEDULES[training.schedule]
        start, end = settings.supernet.learning_rate, training.minimum_learning_rate
        rate = schedule(start, end, epoch, darts.pipelined_epochs or darts.search_epochs)
        set_learning_rate(weights, rate)

        def batches(half: Indices, stream: str) -> Batches:
            rng, size = generator(settings.seed, stream, epoch), settings.supernet.search_batch_size
            return epoch_batches(images, labels, size or training.batch_size, rng, rows=half, augmentation=augmentation)

        weight_batches = batches(weight_half, "search weights")
        alpha_batches = batches(alpha_half, "search alphas")
        coming = iter(alpha_batches)
        draw = draws_of(supernet, settings, epoch)
        mixing = settings.supernet
        hold_in_bits(supernet, mixing.search_bits if epoch >= mixing.search_bits_after else 0)

        price.draw_from(generator(settings.seed, "search relays", epoch))
        supernet.skip_beside = fading(epoch, darts.search_epochs) if darts.auxiliary_skip else 0.0
        supernet.nested = epoch < darts.shared_epochs
        loss = regularized(alpha_loss, supernet.choices, weights_of(darts, epoch))

        def step_alphas(step: int) -> None:
            draw()
            if epoch < darts.resting_epochs:
                return
            batch = next(coming)
            if darts.second_order:
                ahead: Any = {"weights": weights, "weight_batch": weight_batches[step], "weight_objective": weight_loss}
                second_order_step(supernet, alphas, batch, loss, **ahead)
            else:
                alpha_step(supernet, alphas, batch, objective=loss, passes=alpha_passes if steady else None)
            draw()

        weights_rest = 0 < darts.pipelined_epochs <= epoch
        learning = alpha_batches if weights_rest else weight_batches

        def tell(step: int, score: Score) -> None:
            seen = (score.loss, score.accuracy, score.spikes)
            pace.tell(epoch, step, len(learning), *seen, learning.waiting.share)

        score = train_epoch(
            supernet,
            alphas if weights_rest else weights,
            learning,
            gradient_clip=math.inf if weights_rest else training.gradient_clip,
            before_batch=(lambda step: draw()) if weights_rest else step_alphas,
            after_batch=tell,
            passes=alpha_phase(objective=loss) if weights_rest else weight_passes,
        )
        found = evaluate(supernet, rows_of(images, alpha_half), rows_of(labels, alpha_half))
        sops = mean_sops(price, watched)
        return score, SearchScore(found.loss, found.accuracy, found.spikes_per_cell, sops, supernet.genotype())

    pace = Pace(progress, "search", darts.search_epochs)
    over = partial(search_is_over, darts)
    optimizers = {"weights": weights, "alphas": alphas}
    with repeatable(device), whole_batch_norms(supernet), channels_last(supernet):
        run_epochs("search", supernet, optimizers, darts.search_epochs, checkpoint, record, one_epoch, is_over=over)
    if not settings.trials.trials:
        return supernet.genotype()
    found = limited_contenders(
        supernet, settings.trials, network_config(settings.network, dataset), generator(settings.seed, "trials")
    )
    parts = halves_of(dataset, weight_half, alpha_half)
    return best_of(found, parts, settings, checkpoint.with_name("trials.json"), progress)


def dtype_of(settings: SearchSettings, device: torch.device) -> torch.dtype:
    """Of the spikes and spectra of a kernel-space supernet."""
    precision = settings.supernet.search_precision
    if precision == "auto":
        # second_order.py takes small differences, and bfloat16 has fewer digits than a weight of a chip
        exact = settings.darts.second_order or settings.supernet.search_bits
        return torch.float32 if exact else fast_dtype(device)
    return DTYPES[precision]


def halves_of(dataset: Dataset, weight_half: Indices, alpha_half: Indices) -> Dataset:
    """The train split alone: to train on what the weights learn on, to be tested on what the alphas learn on."""
    images, labels = dataset.train_images, dataset.train_labels
    return replace(
        dataset,
        train_images=images[weight_half],
        train_labels=labels[weight_half],
        test_images=images[alpha_half],
        test_labels=labels[alpha_half],
    )
