"""What a person can choose of `export`. Imports no NumPy, so that --help need not wait for it."""

from dataclasses import dataclass, replace

from ..errors import InputError
from ..setting import check_settings, setting
from .weight_scale import WEIGHT_BITS

DT = 1e-4  # what SpikingJelly 2.0 and snnTorch 1.0 take for a step
LEAST_RATE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """How the chip's integers are found, and what NIR needs to know. Raises InputError when a value is out of range.

    >>> spikeport.ExportSettings(weight_bits=4, finetune=10).calibrate
    False
    """

    weight_bits: int = setting(8, f"Of a weight on the chip: {', '.join(map(str, WEIGHT_BITS))}.", common=True)
    calibrate: bool = setting(
        False, "Choose the chip's scales and biases by what they do to spikes of training images.", common=True
    )
    calibration_samples: int = setting(128, "Training images of which those spikes are.", at_least=1, common=True)
    finetune: int = setting(
        0,
        "Epochs in which the weights are trained through the chip's integers, once calibrated.",
        at_least=0,
        common=True,
    )
    finetune_learning_rate: float = setting(
        0.0,
        "Of that training (Adam), falling to 0; 0: 0.001, doubled for 3 bits and again for 2, whose steps are longer.",
        at_least=0,
        common=True,
    )
    finetune_samples: int = setting(
        0, "Training images of one of its epochs, drawn anew for each; 0: all.", at_least=0, common=True
    )
    finetune_batch_size: int = setting(64, "Images in a batch of it.", at_least=1, common=True)
    teacher_share: float = setting(
        0.5, "Of the float network's answers in its loss; the rest is of labels.", at_least=0, common=True
    )

    dt: float = setting(
        DT, "Seconds of a time step, by which NIR's time constants count; for the target nir.", above=0, common=True
    )
    fold_attention: bool = setting(
        False,
        "Make gates that depend on the input (eca, cbam) constants, one for each channel; for the target loihi, and "
        "with `all` for nir, too.",
        common=True,
    )

    @property
    def of_the_chip(self) -> "ExportSettings":
        """Without what is of NIR alone."""
        return replace(self, dt=DT)

    def __post_init__(self) -> None:
        check_settings(self)
        check_bits(self.weight_bits)
        if self.teacher_share > 1:
            raise InputError(f"`teacher_share <= 1` must hold, but got teacher_share={self.teacher_share}.")


def learning_rate(settings: ExportSettings) -> float:
    """Of the fine-tuning, when it begins."""
    return settings.finetune_learning_rate or LEAST_RATE * 2 ** max(0, 4 - settings.weight_bits)


def check_bits(bits: int) -> int:
    if bits not in WEIGHT_BITS:
        choices = ", ".join(map(str, WEIGHT_BITS))
        raise InputError(f"A weight on the chip has one of {choices} bits, but got weight_bits={bits}.")
    return bits
