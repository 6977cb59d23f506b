"""Does a network fit on a chip? Which layer breaks first, and how narrow would it have to be?

A layer is a level of the graph. A network does not fit when a population cannot be cut onto the cores, or when it takes
more chips than are given; then the first layer that breaks is the first one with a core on a chip that is not there.
Chips of which only totals are known are compared by those.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from ....errors import InputError
from ....export.graph import SpikingGraph
from ..capacity import Chip
from ..core_mapping import CoreMapping
from .narrow import narrowed
from .on_cores import on_cores
from .outcome import Break, LayerFit, Outcome
from .totals import by_totals

STEPS = 64  # of the width, where the channels it was built with are not known

# rule of a chip -> how a network is put on so many of it
RULES: dict[str, Callable[[SpikingGraph, Chip, int, frozenset[str]], Outcome]] = {
    "loihi1": on_cores,
    "loihi2": on_cores,
    "capacity": by_totals,
}

NOTES = {
    "loihi1": "Mapped by the published limits of a core; the vendor's own tools may take more cores.",
    "loihi2": "Cut as Intel's mapping of PilotNet-LIF is; axons are counted, but their limits are not published.",
    "capacity": "Only totals are compared: a network within them may still have no place on the cores.",
}
NOT_QUANTIZED = "Weights are not quantized yet: each takes all bits there are, and none is rounded to zero."


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrower:
    """The widest network that fits: `ratio` of the channels of every hidden population."""

    ratio: float
    channels: int | None  # of the settings, where they are known
    cores: int | None  # None: only totals are known
    chips: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a network fits on `chips_given` chips.

    cores, chips: how many it takes; None where that is not known or no number would do. narrower: None where the
    network fits, or where no width does.
    """

    chip: Chip
    chips_given: int
    fits: bool
    cores: int | None
    chips: int | None
    first_break: Break | None
    narrower: Narrower | None
    mapping: CoreMapping | None
    layers: tuple[LayerFit, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "chip": self.chip.name,
            "chips_given": self.chips_given,
            "fits": self.fits,
            "cores": self.cores,
            "chips": self.chips,
            "first_break": None if self.first_break is None else asdict(self.first_break),
            "narrower": None if self.narrower is None else asdict(self.narrower),
            "layers": [asdict(layer) for layer in self.layers],
            "limits": [{"name": name, **asdict(limit)} for name, limit in self.chip.limits.items()],
            "notes": list(self.notes),
        }


def fit(
    graph: SpikingGraph,
    chip: Chip,
    *,
    chips: int = 1,
    channels: int | None = None,
    on_chip_inputs: frozenset[str] = frozenset(),
) -> Fit:
    """Whether the graph fits on so many chips, and if not, the widest network that does.

    channels: of the settings that the graph was built with; the width is then changed by one channel at a time, else by
    1/64. Raises InputError for less than one chip, UnsupportedError for weights that a synapse cannot hold.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.lower(spikeport.trace(network, images[:1], 4).graph)
    >>> spikeport.fit(graph, spikeport.find_chip("loihi1")).fits
    True
    """
    if chips < 1:
        raise InputError(f"`chips >= 1` must hold, but chips={chips}; give the number of chips there are.")

    def put(candidate: SpikingGraph) -> Outcome:
        return RULES[chip.rule](candidate, chip, chips, on_chip_inputs)

    found = put(graph)
    return Fit(
        chip=chip,
        chips_given=chips,
        fits=found.first_break is None,
        cores=found.cores,
        chips=found.chips,
        first_break=found.first_break,
        narrower=_narrower(graph, put, channels) if found.first_break else None,
        mapping=found.mapping,
        layers=found.layers,
        notes=(NOTES[chip.rule], *([NOT_QUANTIZED] if graph.arithmetic == "float" else [])),
    )


def _narrower(graph: SpikingGraph, put: Callable[[SpikingGraph], Outcome], channels: int | None) -> Narrower | None:
    """The widest one that fits, by halving the interval between a width that does and one that does not."""
    steps = channels or STEPS
    fits, too_wide, best = 0, steps, None
    while too_wide - fits > 1:
        middle = (fits + too_wide) // 2
        tried = put(narrowed(graph, Fraction(middle, steps)))
        if tried.first_break is None:
            fits, best = middle, tried
        else:
            too_wide = middle
    if best is None:
        return None
    return Narrower(ratio=fits / steps, channels=fits if channels else None, cores=best.cores, chips=best.chips)
