"""A network on the cores of so many chips, by the chip's rule of mapping."""

from collections.abc import Mapping

from ....export.graph import SpikingGraph, neurons
from ....export.passes.relays import levels
from ..capacity import Chip
from ..core_demand import TooLargeError
from ..core_mapping import CoreMapping, map_graph
from .outcome import Break, LayerFit, Outcome, by_level


def on_cores(graph: SpikingGraph, chip: Chip, chips: int, on_chip_inputs: frozenset[str]) -> Outcome:
    """Raises UnsupportedError for weights that a synapse cannot hold."""
    level = levels(graph)
    try:
        mapping = map_graph(graph, chip, on_chip_inputs=on_chip_inputs)
    except TooLargeError as error:
        broken = Break(
            layer=level[error.population],
            population=error.population,
            limit=error.limit,
            needed=error.needed,
            allowed=int(error.allowed),
            why=f"{error.why} takes more than a core has",
        )
        layers = _layers(graph, on_chip_inputs, None)
        return Outcome(cores=None, chips=None, first_break=broken, layers=layers)
    allowed = chips * mapping.cores_per_chip
    beyond = [piece for piece in mapping.pieces if piece.core >= allowed]
    return Outcome(
        cores=mapping.cores,
        chips=mapping.chips,
        first_break=Break(
            layer=level[beyond[0].population],
            population=beyond[0].population,
            limit="cores",
            needed=mapping.cores,
            allowed=allowed,
            why="what comes before it takes all cores",
        )
        if beyond
        else None,
        layers=_layers(graph, on_chip_inputs, mapping),
        mapping=mapping,
    )


def _layers(graph: SpikingGraph, on_chip_inputs: frozenset[str], mapping: CoreMapping | None) -> tuple[LayerFit, ...]:
    used = _use_of_cores(mapping) if mapping else {}
    shapes = graph.shapes()
    layers = []
    for number, names in by_level(graph, on_chip_inputs).items():
        cores = {piece.core for piece in mapping.pieces if piece.population in names} if mapping else set()
        fullest = max(((used[core][word], word) for core in cores for word in used[core]), default=(None, None))
        layers.append(
            LayerFit(
                layer=number,
                populations=names,
                neurons=sum(neurons(shapes[name]) for name in names),
                cores=len(cores) if mapping else None,
                limit=fullest[1],
                use=fullest[0],
            )
        )
    return tuple(layers)


def _use_of_cores(mapping: CoreMapping) -> Mapping[int, dict[str, float]]:
    """core -> share of each limit that its pieces use together."""
    used: dict[int, dict[str, float]] = {}
    for piece in mapping.pieces:
        core = used.setdefault(piece.core, {})
        for word, share in mapping.use(piece).items():
            core[word] = core.get(word, 0.0) + share
    return used
