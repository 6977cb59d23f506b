"""What a person can choose of `deploy`, `energy` and `fit`. Imports no NumPy, so that --help need not wait for it."""

from dataclasses import dataclass
from typing import Literal

from ..errors import InputError
from ..setting import check_settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    """Which price lists a command uses, and what counts as a synapse."""

    profiles: str = setting(
        "",
        "Price lists, names or paths of .toml files, separated by commas; the first prices the populations. "
        "Without any, all that come with spikeport.",
        common=True,
    )
    count_zero_weights: bool = setting(False, "Whether a synapse of weight zero counts.", common=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySettings(PriceSettings):
    """Raises InputError when a value is out of range."""

    samples: int = setting(64, "Test images on which the float forms are compared.", above=0, common=True)
    lava: bool = True  # False: leave real Lava out, and say so in the report
    without_lava: str = "left out with --no-lava"  # the reason that the report gives
    lava_samples: int = setting(32, "Test images streamed through real Lava, back to back.", above=0, common=True)
    lava_limit_s: float = setting(1800.0, "Seconds that Lava may run.", above=0, common=True)
    accuracy_drop: float = setting(
        0.02,
        "How much test accuracy the chip's integers may cost before the verdict is fail.",
        common=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 <= self.accuracy_drop <= 1:
            raise InputError(f"`0 <= accuracy_drop <= 1` must hold, but accuracy_drop={self.accuracy_drop}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSettings(PriceSettings):
    """How members are chosen, and what they are asked that none of them knows."""

    choose: Literal["greedy", "all"] = setting(
        "greedy", "Add the member that helps most until none does (greedy), or take all alike.", common=True
    )
    choose_by: Literal["nll", "accuracy"] = setting(
        "nll", "What is made least by that: the negative log-likelihood, or the share of wrong answers.", common=True
    )
    chosen_on: Literal["validation", "half"] = setting(
        "validation",
        "By validation images that no member has learnt from, or by half of the test split, which then judges nothing.",
        common=True,
    )
    most_members: int = setting(5, "Different members that are chosen at most.", at_least=1, common=True)
    candidates: bool = setting(
        False, "Members are the candidates inside each RUN, as --strategy random leaves.", common=True
    )
    moved: float = setting(
        0.25, "Part of their size by which shifted images are moved.", at_least=0, below=1, common=True
    )
    noise: float = setting(
        0.5,
        "Of shifted images, in standard deviations of the pixels; spikes flip with a tenth of it.",
        at_least=0,
        common=True,
    )
    chip: str = setting("loihi1", "On which members are put side by side, a name or a .toml file.", common=True)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNetwork:
    """What a genotype does not say of its network; one with a path says how many cells there are."""

    channels: int = setting(
        16, "Channels of a node in the first cell; doubled at each reduction.", at_least=1, common=True
    )
    cells: int = setting(
        8, "Cells in a row, reductions at 1/3 and 2/3 unless a path says otherwise.", at_least=1, common=True
    )
    time_steps: int = setting(2, "Time steps T of the window.", at_least=1, common=True)
    classes: int = setting(10, "Classes that the network tells apart.", at_least=2, common=True)
    input_shape: str = setting("3x32x32", "Channels x rows x columns of an image.", common=True)
    stem_stride: int = setting(
        1, "Stride of the first layer; 2 halves the image, which costs a quarter.", at_least=1, common=True
    )

    def __post_init__(self) -> None:
        check_settings(self)
        sizes = self.input_shape.split("x")
        if len(sizes) != 3 or not all(size.isdecimal() for size in sizes):
            raise InputError(
                f"`input shape` must be channels x rows x columns as in 3x32x32, but is '{self.input_shape}'."
            )

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, rows, columns)."""
        channels, rows, columns = map(int, self.input_shape.split("x"))
        return channels, rows, columns
