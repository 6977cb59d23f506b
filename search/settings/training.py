"""How a network is trained: by which rates, on which device, in which numbers. A supernet's weights learn alike."""

import re
from dataclasses import dataclass
from typing import Literal

from ...errors import InputError
from ...setting import check_settings, require, setting, settings_of

DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")

Schedule = Literal["cosine", "linear", "constant"]
Precision = Literal["float32", "bfloat16", "float16"]
Initialisation = Literal["default", "isometry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Defaults as in DARTS (arXiv 1806.09055, section 3). Raises InputError when a value is out of range."""

    train_epochs: int = setting(
        100, "Epochs in which the found network is trained from scratch.", at_least=1, common=True
    )
    chip_aware: int = setting(
        0,
        "So many of its last epochs go through the integers of a chip: the export for loihi trains them, with the "
        "weight bits it is given.",
        at_least=0,
    )
    train_learning_rate: float = setting(0.025, "Of that training, falling as --schedule says.", above=0)
    batch_size: int = setting(64, "Images in a batch.", at_least=1, common=True)
    schedule: Schedule = setting("cosine", "How the learning rates fall.")
    minimum_learning_rate: float = setting(0.001, "At the end of the schedule.", at_least=0)
    warmup_share: float = setting(
        0.0,
        "First part of that training, 0..1, in which the rate rises from 0; it is set in each step then.",
        at_least=0,
        below=1,
    )
    initialisation: Initialisation = setting(
        "default",
        "Weights at the start: torch's, or such that gradients pass each layer in their size (isometry).",
    )
    sharpness_every: int = setting(
        0,
        "Of that training: after every so many epochs search how sharp each layer's surrogate gradient is (DGS of "
        "SpikeDHS); 0: the arctangent's alpha stays 2.",
        at_least=0,
    )
    sharpness_step: float = setting(0.2, "Its five branches are one and two such steps apart.", above=0)
    momentum: float = setting(0.9, "Of SGD.", at_least=0, below=1)
    nesterov: bool = setting(False, "Look one step of the momentum ahead, in that training.")
    weight_decay: float = setting(3e-4, "Of the weights.", at_least=0)
    decay_weights_only: bool = setting(False, "No weight decay on biases and norms, in that training.")
    gradient_clip: float = setting(5.0, "Largest norm of the gradient.", above=0)
    label_smoothing: float = setting(
        0.0, "Share of a label that is spread over all classes, in that training.", at_least=0, below=1
    )
    average_decay: float = setting(
        0.0,
        "Test and keep the average of that training's weights, where those a step ago count so much; 0: the last ones.",
        at_least=0,
        below=1,
    )
    first_size: float = setting(
        1.0, "Side of the images at the beginning of that training, over their whole side.", above=0
    )
    growth_share: float = setting(0.5, "Part of that training, 0..1, in which images grow from --first-size.", above=0)
    teacher_epochs: int = setting(
        0,
        "Train a network of the same cells with usual neurons first, for so long, to teach the spiking one.",
        at_least=0,
    )
    teacher_weight: float = setting(0.5, "Of what the teacher says, in the loss; the rest is of labels.", above=0)
    teacher_temperature: float = setting(2.0, "By which logits are divided, to hear more of other classes.", above=0)
    auxiliary_weight: float = setting(
        0.0, "Of the loss of a second readout at 2/3 of the depth, in that training only (DARTS: 0.4).", at_least=0
    )
    validation_fraction: float = setting(
        0.1, "Of the train split, kept out of the training to watch it.", above=0, below=1
    )
    device: str = setting("auto", "auto (a GPU if there is one), cpu, cuda or cuda:N.", common=True)
    precision: Precision = setting(
        "float32", "Of the forward pass in training; float16 scales the loss. Networks are tested in float32."
    )
    gradient_checkpointing: bool = setting(
        False, "Compute each cell a second time in the backward pass, to keep less in memory."
    )
    tensorboard: bool = setting(False, "Write the history as TensorBoard events, too, into the run's folder events/.")

    @property
    def float_epochs(self) -> int:
        """Those that are trained in floats, before the integers of a chip are known."""
        return self.train_epochs - self.chip_aware

    def __post_init__(self) -> None:
        check_settings(self)
        if not DEVICE.fullmatch(self.device):
            raise InputError(f"Unknown device '{self.device}'; choose from auto, cpu, cuda, cuda:N.")
        require(self, "first_size", self.first_size <= 1, "first_size <= 1")
        require(self, "growth_share", self.growth_share <= 1, "growth_share <= 1")
        require(self, "teacher_weight", self.teacher_weight <= 1, "teacher_weight <= 1")
        require(self, "chip_aware", self.chip_aware < self.train_epochs, "chip_aware < train_epochs")
        require(
            self,
            "sharpness_every",
            self.sharpness_every < self.float_epochs,
            "sharpness_every < train_epochs - chip_aware",
        )
        rest = settings_of(TrainingSettings)["sharpness_step"].default
        if not self.sharpness_every and self.sharpness_step != rest:
            raise InputError(
                f"sharpness_step={self.sharpness_step} is of a search of sharpness, and there is none; say "
                "--sharpness-every or leave it out."
            )
        if self.nesterov:
            require(self, "momentum", self.momentum > 0, "momentum > 0 with nesterov")
        if self.auxiliary_weight:
            require(self, "batch_size", self.batch_size >= 2, "batch_size >= 2 with an auxiliary_weight")
