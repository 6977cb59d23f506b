"""What a search draws before each pass of its supernet, if anything (arXiv 2007.08818).

    pipelined   in the first epochs a cell, all alike, in which the weights learn; the architecture weights rest
    gumbel      in all others noise of the architecture weights, at a temperature that falls from epoch to epoch

A cell that is drawn has what any genotype has: two incoming edges at each node and none but them. Random numbers are a
function of (seed, epoch), so that a resumed search draws what it would have drawn.
"""

from collections.abc import Callable

from ...random_streams import generator
from ...settings.run import SearchSettings
from ...supernet.relaxation import temperature_at
from ...supernet.supernet import Supernet


def draws_of(supernet: Supernet, settings: SearchSettings, epoch: int) -> Callable[[], None]:
    """What is to be called before each pass of an epoch from 0; the supernet is made ready for the epoch."""
    darts, mixing = settings.darts, settings.supernet
    rng, first = generator(settings.seed, "search draws", epoch), darts.pipelined_epochs
    supernet.drawn = None
    supernet.temperature = temperature_at(
        mixing.gumbel_temperature, mixing.gumbel_temperature_end, max(0, epoch - first), darts.search_epochs - first
    )
    if epoch < first:
        return lambda: supernet.draw_cells(rng)
    if mixing.relaxation == "gumbel":
        return lambda: supernet.draw_noise(rng)
    return lambda: None
