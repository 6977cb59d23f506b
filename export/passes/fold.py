"""Dead populations go, parallel projections become one.

    a -> x, a -> y -> readout     =>  a -> y -> readout            (x reaches no output)
    a -K1-> b, a -K2-> b          =>  a -(K1 + K2)-> b             (smaller kernels centred in the larger: taps add)

Synapses with delays stay as they are. Kernels of unequal stride stay apart, and so do those whose union would have more
taps than both together.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np

from ..graph import Conv, Dense, Kernel, Projection, Shape, SpikingGraph
from ..taps import Taps, convolution_of, taps_of


def fold(graph: SpikingGraph) -> SpikingGraph:
    alive = _ancestors(graph, graph.readout.name)
    shapes = graph.shapes()
    projections: list[Projection] = []
    for population in graph.populations:
        if population.name not in alive:
            continue
        by_source: dict[str, list[Kernel]] = {}
        incoming = graph.incoming(population.name)
        projections += [projection for projection in incoming if projection.delay is not None]
        for projection in incoming:
            if projection.delay is not None:
                continue
            by_source.setdefault(projection.source, []).append(projection.kernel)
        for source, kernels in by_source.items():
            for kernel in _merged(kernels, shapes[source], population.shape):
                projections.append(Projection(source=source, target=population.name, kernel=kernel))
    return replace(
        graph,
        populations=tuple(p for p in graph.populations if p.name in alive),
        projections=tuple(projections),
    )


def _ancestors(graph: SpikingGraph, name: str) -> set[str]:
    """`name` and all from which it can be reached."""
    found, open_names = {name}, [name]
    while open_names:
        for projection in graph.incoming(open_names.pop()):
            if projection.source not in found:
                found.add(projection.source)
                open_names.append(projection.source)
    return found


def _merged(kernels: list[Kernel], source: Shape, target: Shape) -> list[Kernel]:
    dense = [k.weight for k in kernels if isinstance(k, Dense)]
    convs = _united([k for k in kernels if isinstance(k, Conv)], source, target)
    return [*([Dense(weight=sum(dense[1:], dense[0]))] if dense else []), *convs]


def _united(kernels: list[Conv], source: Shape, target: Shape) -> list[Conv]:
    """Merge pairs until no two of the kernels have a union."""
    for (i, a), (j, b) in combinations(enumerate(kernels), 2):
        union = _union(a, b, source, target)
        if union is not None:
            return _united([*kernels[:i], union, *kernels[i + 1 : j], *kernels[j + 1 :]], source, target)
    return kernels


def _union(a: Conv, b: Conv, source: Shape, target: Shape) -> Conv | None:
    """One kernel for both, or None where it would be larger than both."""
    if a.stride != b.stride or a.groups != 1 or b.groups != 1:
        return None
    taps: Taps = dict(taps_of(a))
    for offset, weight in taps_of(b).items():
        taps[offset] = taps[offset] + weight if offset in taps else weight
    union = convolution_of(taps, a.stride, source, target)
    return union if _area(union) <= _area(a) + _area(b) else None


def _area(kernel: Conv) -> int:
    return int(np.prod(kernel.weight.shape[2:]))
