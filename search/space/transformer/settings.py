"""What may be chosen in the space of transformers, and how it is searched."""

from dataclasses import dataclass
from typing import Literal

from ....errors import InputError
from ....setting import check_settings, setting

ATTENTIONS = ("tokens", "channels")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerSettings:
    """Raises InputError when a value is out of range. Lists are written with commas."""

    strategy: Literal[
        "generations", "random", "evolution", "local", "nsga2", "bayes", "motifs", "shade", "populations"
    ] = setting(
        "generations",
        "Which proposes transformers, by the score alone; see `spikeport search --help-all`.",
        common=True,
    )
    objectives: str = setting(
        "score",
        "What is looked for, with commas: score (the most reference SOPs), or the least sops, parameters; the first "
        "says which of a front is trained.",
        common=True,
    )
    evaluations: int = setting(
        0, "Transformers that are scored; 0: population times rounds, of generations as many as they need.", at_least=0
    )
    depths: str = setting("1,2,3", "Blocks.", common=True)
    widths: str = setting("8,12,16", "Channels of a token.", common=True)
    heads: str = setting("1,2,4", "Heads of a block's attention over tokens; those that divide the width.", common=True)
    ratios: str = setting("1,2,3,4", "Hidden channels of a block's MLP, in widths.", common=True)
    attentions: str = setting("tokens,channels", "What a block's gates look over.", common=True)
    least_parameters: int = setting(0, "Parameters that a network has at least.", at_least=0, common=True)
    most_parameters: int = setting(20000, "Parameters that a network has at most.", at_least=1, common=True)
    population: int = setting(
        50, "Transformers of a generation; half come from mutation, half from crossing.", at_least=4
    )
    rounds: int = setting(20, "Generations.", at_least=1)
    stem_stride: int = setting(1, "Stride of the first layer; 2 halves the image.", at_least=1, common=True)
    time_steps: int = setting(2, "Time steps T of the window.", at_least=1, common=True)

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("depths", "widths", "heads", "ratios"):
            self.numbers(name)
        unknown = sorted(set(self.kinds) - set(ATTENTIONS))
        if unknown:
            raise InputError(f"Unknown attention '{unknown[0]}'; choose from {', '.join(ATTENTIONS)}.")
        if self.least_parameters > self.most_parameters:
            raise InputError(
                "`least_parameters <= most_parameters` must hold, but got "
                f"{self.least_parameters} and {self.most_parameters}."
            )

    def numbers(self, name: str) -> tuple[int, ...]:
        """The choices of depths, widths, heads or ratios. Raises InputError for what is no list of numbers."""
        parts = [part.strip() for part in getattr(self, name).split(",")]
        if not all(part.isdecimal() and 0 < int(part) < 10**6 for part in parts):
            raise InputError(f"`{name}` must be numbers above 0 with commas between, but is '{getattr(self, name)}'.")
        return tuple(sorted({int(part) for part in parts}))

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.strip() for part in self.attentions.split(",")))
