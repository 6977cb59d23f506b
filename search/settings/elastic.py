"""A supernet of shared weights, trained once, whose word takes the place of trainings. For strategies that ask."""

from dataclasses import dataclass

from ...errors import InputError
from ...setting import check_settings, require, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticSettings:
    """Of `--evaluator supernet`. Raises InputError when a value is out of range."""

    elastic_epochs: int = setting(50, "Epochs in which the shared weights learn.", at_least=1, common=True)
    elastic_learning_rate: float = setting(0.1, "Of the shared weights, falling as --schedule says.", above=0)
    elastic_paths: int = setting(2, "Random networks of a step, beside the largest and the smallest.", at_least=0)
    elastic_shrinking: float = setting(
        0.5, "First part of these epochs, 0..1, in which choices open from the largest on; 0: all at once.", at_least=0
    )
    elastic_teaching: float = setting(
        0.5, "Of what the largest network of a step says, in the loss of the others; the rest is of labels.", at_least=0
    )
    elastic_widths: str = setting(
        "1", "Shares of its channels that a cell may have, as in 0.5,0.75,1; they are searched, too.", common=True
    )
    elastic_recalibration: int = setting(
        512, "Training images on which the norms of a network count anew before it is asked.", at_least=2
    )
    elastic_finalists: int = setting(
        3, "Networks of the front that are trained alone in the end, from scratch.", at_least=1, common=True
    )

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("elastic_shrinking", "elastic_teaching"):
            require(self, name, getattr(self, name) <= 1, f"{name} <= 1")
        _ = self.widths

    @property
    def widths(self) -> tuple[float, ...]:
        """The widest first. Raises InputError for what is no list of shares with 1 among them."""
        try:
            found = {float(part) for part in self.elastic_widths.split(",")}
        except ValueError:
            found = set()
        if 1.0 not in found or not all(0 < width <= 1 for width in found):
            raise InputError(
                "`elastic_widths` must be shares in 0..1 with commas between, 1 among them, as in 0.5,0.75,1, but is "
                f"'{self.elastic_widths}'."
            )
        return tuple(sorted(found, reverse=True))
