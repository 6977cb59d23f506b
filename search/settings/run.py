"""The settings of a search and of the training that follows it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from ...errors import InputError
from ..data.augmentation import Augmentation
from ..data.datasets import DATA_FOLDER, Dataset
from ..level import Level, level_name
from ..machine.device import Precision, SearchPrecision, precision_name, search_precision
from ..space.attention import Attention, AttentionIn, attention_in, attention_name
from ..space.legality import check_legal
from ..space.network import NetworkSettings
from ..space.primitives import PrimitiveSet, primitive_set
from ..strategy import Strategy, strategy_name
from ..supernet.relaxation import Relaxation, relaxation_name
from ..supernet.supernet import SupernetForm, supernet_form
from ..training.schedules import Schedule, schedule_name

COUNTS = {
    "cells": 3,
    "channels": 1,
    "time_steps": 1,
    "stem_stride": 1,
    "batch_size": 1,
    "search_epochs": 1,
    "train_epochs": 1,
    "candidates": 1,
    "trial_epochs": 1,
    "trial_rounds": 1,
}
COUNTS_FROM_ZERO = (
    "seed",
    "alpha_warmup_epochs",
    "shift",
    "crop",
    "cutout",
    "target_spikes",
    "stop_at_skips",
    "stop_when_stable",
    "trials",
    "target_sops",
    "target_parameters",
)
POSITIVE = ("validation_fraction", "learning_rate", "train_learning_rate", "alpha_learning_rate", "gradient_clip")
NOT_NEGATIVE = (
    "minimum_learning_rate",
    "momentum",
    "weight_decay",
    "alpha_weight_decay",
    "label_smoothing",
    "auxiliary_weight",
    "spike_weight",
    "sop_weight",
    "beta_decay",
    "zero_one_weight",
)
OF_THE_CELL = ("beta_decay", "zero_one_weight", "auxiliary_skip", "stop_at_skips")  # where it is given they do nothing
BELOW_ONE = ("momentum", "validation_fraction", "label_smoothing")
NAMES = {
    "primitives": primitive_set,
    "attention": attention_name,
    "attention_in": attention_in,
    "supernet": supernet_form,
    "strategy": strategy_name,
    "level": level_name,
    "relaxation": relaxation_name,
    "schedule": schedule_name,
    "precision": precision_name,
    "search_precision": search_precision,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Defaults as in DARTS (arXiv 1806.09055, section 3). Raises InputError when a value is out of range."""

    dataset: str = "digits"
    data_folder: str = DATA_FOLDER  # where torchvision keeps its files
    primitives: PrimitiveSet = "darts"
    level: Level = "micro"
    strategy: Strategy = "darts"
    candidates: int = 8  # random cells, where the strategy is to draw them
    supernet: SupernetForm = "kernel"
    attention: Attention = "none"
    attention_in: AttentionIn = "both"  # the supernet, the network that is trained, or both
    channels: int = 16  # of a node in the first cell
    cells: int = 8  # at least 3: below that there is no normal cell to search
    time_steps: int = 2
    stem_stride: int = 1  # 2: the first layer halves the image
    seed: int = 0
    batch_size: int = 64
    shift: int = 0  # pixels by which training images are moved at random
    crop: int = 0  # the same, but black comes in also where images are normalised
    flip: bool = False  # mirror every other training image
    cutout: int = 0  # side of the square that is cut out of training images
    schedule: Schedule = "cosine"  # how the learning rates fall
    device: str = "auto"
    precision: Precision = "float32"
    gradient_checkpointing: bool = False  # compute cells twice, to keep less
    tensorboard: bool = False  # write events, too

    search_epochs: int = 50
    search_precision: SearchPrecision = "auto"  # of spikes and spectra; auto: bfloat16 if the processor multiplies it
    learning_rate: float = 0.025  # of the weights, falling to the minimum along a cosine
    minimum_learning_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    alpha_learning_rate: float = 3e-4
    alpha_weight_decay: float = 1e-3
    alpha_warmup_epochs: int = 0  # first epochs in which the alphas rest

    relaxation: Relaxation = "softmax"
    second_order: bool = False  # look one step of the weights ahead (second_order.py)
    beta_decay: float = 0.0  # weight of that regularizer in the last epoch, nats
    zero_one_weight: float = 0.0  # of that regularizer, nats
    auxiliary_skip: bool = False  # a skip beside every mixture that fades out
    stop_at_skips: int = 0  # end when a cell has so many skip_connect; 0: never
    stop_when_stable: int = 0  # end when the genotype has not changed for so many epochs; 0: never
    trials: int = 0  # cells that are trained for a while at the end, to take the best (trials.py); 0: none
    trial_epochs: int = 5  # of each in the first round
    trial_rounds: int = 1  # from one to the next the best third is trained three times as long
    target_sops: int = 0  # per inference; only cells that keep below it are found. 0: any
    target_parameters: int = 0  # of the network; only cells that keep within it are found. 0: any
    for_target: str = ""  # only what this target takes (legality.py)

    spike_weight: float = 0.0  # of the spikes in the loss, nats (priced_loss.py)
    sop_weight: float = 0.0  # of the synaptic operations, nats
    target_spikes: int = 0  # per inference; below it spikes cost nothing. 0: they always do

    train_epochs: int = 100
    train_learning_rate: float = 0.025
    label_smoothing: float = 0.0
    auxiliary_weight: float = 0.0  # of the loss of a second readout at 2/3 of the depth; 0: there is none
    validation_fraction: float = 0.1  # of the train split, kept out of the training to watch it

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), type(field.default))
        for name, check in NAMES.items():
            check(getattr(self, name))
        for name, least in COUNTS.items():
            self._require(name, getattr(self, name) >= least, f"{name} >= {least}")
        for name in (*COUNTS_FROM_ZERO, *NOT_NEGATIVE):
            self._require(name, getattr(self, name) >= 0, f"{name} >= 0")
        for name in POSITIVE:
            self._require(name, getattr(self, name) > 0, f"{name} > 0")
        for name in BELOW_ONE:
            self._require(name, getattr(self, name) < 1, f"{name} < 1")
        check_legal(self.for_target, self._attention("network"))
        self._check_level()
        if self.zero_one_weight and self.relaxation != "sigmoid":
            raise InputError(
                "zero_one_weight drives sigmoids to 0 or 1, but the relaxation is softmax; "
                "say --relaxation sigmoid or leave it out."
            )
        if self.search_precision == "bfloat16" and self.second_order:
            raise InputError(
                "--second-order takes small differences, which would drown in bfloat16; use float32 or auto."
            )
        if self.search_precision == "bfloat16" and self.supernet == "plain":
            raise InputError(
                "--search-precision bfloat16 is for the kernel-space supernet; use auto with the plain one."
            )
        for name in ("target_sops", "target_parameters"):
            if getattr(self, name):
                self._require("trials", self.trials > 0, f"trials > 0 with {name}")
        if self.target_spikes:
            self._require("spike_weight", self.spike_weight > 0, "spike_weight > 0 with target_spikes")
        if self.gradient_checkpointing and (self.spike_weight or self.sop_weight):
            raise InputError(
                "A price of spikes needs the spikes of every cell, but --gradient-checkpointing does not keep them; "
                "leave it out or set spike_weight and sop_weight to 0."
            )

        if self.auxiliary_weight:
            self._require("batch_size", self.batch_size >= 2, "batch_size >= 2 with an auxiliary_weight")

    def _check_level(self) -> None:
        if self.level != "micro" and self.strategy == "darts" and self.supernet == "plain":
            raise InputError(
                f"--level {self.level} needs the kernel-space supernet, because the plain one normalises away how wide "
                "a cell is; say --supernet kernel."
            )
        for name in OF_THE_CELL if self.level == "macro" else ():
            if getattr(self, name):
                raise InputError(
                    f"At --level macro the cell is given, so {name}={getattr(self, name)} has nothing to act on; "
                    "leave it out or say --level both."
                )

    def _require(self, name: str, holds: bool, invariant: str) -> None:
        if not holds:
            raise InputError(f"`{invariant}` must hold, but got {name}={getattr(self, name)}.")

    def _attention(self, place: AttentionIn) -> Attention:
        return self.attention if self.attention_in in (place, "both") else "none"

    def search_network(self, dataset: Dataset) -> NetworkSettings:
        """As `network`, of the supernet."""
        return replace(self.network(dataset), attention=self._attention("search"))

    def network(self, dataset: Dataset) -> NetworkSettings:
        """The settings of a network for the images of a dataset."""
        return NetworkSettings(
            channels=self.channels,
            cells=self.cells,
            time_steps=self.time_steps,
            classes=dataset.classes,
            input_shape=dataset.input_shape,
            stem_stride=self.stem_stride,
            attention=self._attention("network"),
            dataset=dataset.name,
        )

    def augmentation(self, dataset: Dataset) -> Augmentation:
        """What the training images of a dataset are changed by."""
        return Augmentation(shift=self.shift, crop=self.crop, flip=self.flip, cutout=self.cutout, black=dataset.black)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def settings_from_dict(data: Mapping[str, Any]) -> SearchSettings:
    """Settings from plain values. Raises InputError on an unknown key or a value out of range."""
    known = [field.name for field in fields(SearchSettings)]
    for key in data:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise InputError(f"Unknown setting '{key}'; did you mean '{near}'? Known: {', '.join(known)}.")
    return SearchSettings(**data)


def _check_type(name: str, value: object, wanted: type) -> None:
    accepted = (int, float) if wanted is float else (wanted,)
    if isinstance(value, bool) is not (wanted is bool) or not isinstance(value, accepted):
        raise InputError(f"`{name}` must be {wanted.__name__}, but is {value!r}.")
