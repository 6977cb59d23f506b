"""The strategy darts: architecture weights that learn by gradients (DARTS, arXiv 1806.09055)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...errors import InputError
from ...setting import check_settings, require, setting

OF_THE_CELL = ("beta_decay", "zero_one_weight", "auxiliary_skip", "stop_at_skips")  # where it is given they do nothing

# what a search whose weights and architecture weights learn one after the other makes idle -> why
AGAINST_PIPELINES: Mapping[str, str] = {
    "alpha_warmup_epochs": "in which the architecture weights rest anyway",
    "second_order": "because the weights rest when the architecture weights learn",
    "auxiliary_skip": "because the weights learn in cells as they are found, which have no skip beside an edge",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DartsSettings:
    """Defaults as in DARTS, section 3; what works against collapse rests. Raises InputError when out of range."""

    name: ClassVar[str] = "darts"
    reads: ClassVar[tuple[str, ...]] = ("supernet", "trials")

    search_epochs: int = setting(50, "Epochs of the search.", at_least=1, common=True)
    searches: int = setting(
        1, "Supernets of other seeds; the cell of each is trained, and the best on validation images kept.", at_least=1
    )
    alpha_learning_rate: float = setting(
        3e-4, "Of the architecture weights (Adam), those of paths and widths, too.", above=0
    )
    alpha_weight_decay: float = setting(1e-3, "Of the architecture weights.", at_least=0)
    alpha_warmup_epochs: int = setting(0, "First epochs in which the architecture weights rest.", at_least=0)
    pipelined_epochs: int = setting(
        0,
        "First epochs in which the weights alone learn, in cells drawn anew for every batch, all alike; from then on "
        "the architecture weights alone (pipelined DARTS); 0: both in turns.",
        at_least=0,
    )
    shared_epochs: int = setting(
        0,
        "First epochs in which layers of a kind share their cell, before each has its own (--cells-per-layer).",
        at_least=0,
    )
    second_order: bool = setting(
        False, "Look one step of the weights ahead; 3 to 4 times the time, and doubtful with surrogate gradients."
    )
    beta_decay: float = setting(
        0.0, "Keep architecture weights alike: the weight of this regularizer at the end (beta-DARTS: 50).", at_least=0
    )
    zero_one_weight: float = setting(
        0.0, "Drive sigmoids to 0 or 1: the weight of this regularizer (FairDARTS: 10).", at_least=0
    )
    auxiliary_skip: bool = setting(False, "A skip beside every mixture that fades out (DARTS-).")
    stop_at_skips: int = setting(
        0, "End the search when a cell has so many skip_connect (DARTS+: 2); 0 is never.", at_least=0
    )
    stop_when_stable: int = setting(
        0, "End the search when the cells have not changed for so many epochs; 0 is never.", at_least=0
    )

    @property
    def resting_epochs(self) -> int:
        """First epochs in which the architecture weights do not learn."""
        return max(self.alpha_warmup_epochs, self.pipelined_epochs)

    def __post_init__(self) -> None:
        check_settings(self)
        require(
            self, "pipelined_epochs", self.pipelined_epochs < self.search_epochs, "pipelined_epochs < search_epochs"
        )
        for name in AGAINST_PIPELINES if self.pipelined_epochs else ():
            if getattr(self, name):
                raise InputError(
                    f"{name}={getattr(self, name)} has nothing to act on with "
                    f"pipelined_epochs={self.pipelined_epochs}, {AGAINST_PIPELINES[name]}; leave one of them out."
                )
        if self.pipelined_epochs and self.shared_epochs:
            require(
                self, "shared_epochs", self.shared_epochs > self.pipelined_epochs, "shared_epochs > pipelined_epochs"
            )
        require(self, "shared_epochs", self.shared_epochs < self.search_epochs, "shared_epochs < search_epochs")
