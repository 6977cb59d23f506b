"""Passes: pure functions SpikingGraph -> SpikingGraph, one per file."""

from collections.abc import Callable

from ..graph import SpikingGraph
from .fold import fold
from .relays import insert_relays
from .spread import spread

Pass = Callable[[SpikingGraph], SpikingGraph]

# In the order in which the Loihi target runs them; `quantize` follows with its calibration.
LOIHI_PASSES: tuple[Pass, ...] = (
    fold,  # first: fewer projections and no dead populations, so fewer relays
    spread,  # before relays: a map is carried as fine as it is read
    insert_relays,  # before quantize: the scale is shared by a level, and relays belong to levels
)


def lower(graph: SpikingGraph) -> SpikingGraph:
    """A float graph as the chip needs it: dead populations gone, every projection one level long, relays between.

    It computes the same numbers. Raises UnsupportedError that names the population that cannot be levelled.

    >>> network, images = spikeport.example_network()
    >>> spikeport.lower(spikeport.trace(network, images[:1], 4).graph).arithmetic
    'float'
    """
    for run in LOIHI_PASSES:
        graph = run(graph)
    return graph
