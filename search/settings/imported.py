"""What a person says of a network that is imported. Imports no NumPy, so that --help need not wait for it."""

from dataclasses import dataclass
from typing import Literal

from ...errors import InputError
from ...setting import check_settings, setting

TakesOrFound = Literal["found", "images", "sequences", "steps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """How a network is imported. Raises InputError when a value is out of range.

    >>> spikeport.ImportSettings(example="3x32x32").shape
    (3, 32, 32)
    """

    example: str = setting(
        "", "Channels x rows x columns of one image, or of one frame of events, as 3x32x32.", common=True
    )
    time_steps: int = setting(
        0,
        "Steps T of the window; 0: as many as the network makes of an image that it repeats by itself.",
        at_least=0,
        common=True,
    )
    events: bool = setting(
        False, "Whether the network reads frames of spikes, [T, N, C, H, W], so that no encoder is needed.", common=True
    )
    data: str = setting(
        "",
        "Labelled images that it is judged on, named as for `search --dataset`, or inputs:FILE.npy without labels. "
        "Without any: random ones, on which forms are compared but no accuracy is known.",
        common=True,
    )
    data_folder: str = setting("data", "Where torchvision keeps its files, and decoded images lie.")
    takes: TakesOrFound = setting(
        "found",
        "What its forward pass takes: images [N, C, H, W], sequences [T, N, C, H, W], one step after the other "
        "(steps), or what is found by trying.",
        common=True,
    )
    mean: str = setting("", "Of each channel, 0.49,0.48,0.45: images are normalised as in its training.", common=True)
    std: str = setting("", "Of each channel, likewise.", common=True)

    def __post_init__(self) -> None:
        check_settings(self)
        _ = self.shape, self.means, self.stds

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns)."""
        sizes = self.example.split("x")
        if len(sizes) != 3 or not all(size.isdecimal() and int(size) for size in sizes):
            raise InputError(
                "The shape of one input must be given as channels x rows x columns, --example 3x32x32, but is "
                f"'{self.example}'."
            )
        channels, rows, columns = map(int, sizes)
        return channels, rows, columns

    @property
    def means(self) -> tuple[float, ...]:
        return _numbers("mean", self.mean)

    @property
    def stds(self) -> tuple[float, ...]:
        return _numbers("std", self.std)


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if text)
    except ValueError as error:
        raise InputError(f"--{name} must be numbers separated by commas, but is '{text}'.") from error
