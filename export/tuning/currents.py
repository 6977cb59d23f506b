"""What projections add to the currents of neurons, in torch: all steps of a window at once."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

from ...errors import UnsupportedError
from ..graph import Conv, Kernel, Population, Projection, SpikingGraph

Steps = Mapping[str, Tensor]  # input or population -> spikes [T, N, *shape], 0 or 1


def check_feed_forward(graph: SpikingGraph) -> None:
    """Raises UnsupportedError that names a synapse that looks back in time."""
    for projection in graph.projections:
        if projection.source == projection.target or projection.delay is not None:
            kind = "recurrent" if projection.source == projection.target else "delayed"
            raise UnsupportedError(
                f"Projection '{projection.source}' -> '{projection.target}': integers cannot be calibrated or "
                f"fine-tuned through a {kind} synapse; quantize this network without."
            )


def roots(graph: SpikingGraph) -> dict[str, str]:
    """Population or input -> whose spikes it has: those of a relay that carries all of its source are its source's."""
    found, shapes = {node.name: node.name for node in graph.inputs}, graph.shapes()
    for population in graph.populations:
        incoming = graph.incoming(population.name) if population.role == "relay" else ()
        relayed = [p.source for p in incoming if shapes[p.source] == population.shape]
        found[population.name] = found[relayed[0]] if relayed else population.name
    return found


def applied(kernel: Kernel, weight: Tensor, spikes: Tensor, population: Population) -> Tensor:
    """[T, N, *source] -> [T, N, *shape of the population]; `weight` in place of the kernel's own."""
    steps, samples = spikes.shape[:2]
    together = spikes.flatten(0, 1)
    if isinstance(kernel, Conv):
        found = conv2d(
            together, weight, None, kernel.stride, kernel.padding, dilation=kernel.dilation, groups=kernel.groups
        )
    else:
        found = linear(together.flatten(1), weight)
    return found.reshape(steps, samples, *population.shape)


def arriving(
    projections: Sequence[Projection],
    weights: Iterable[Tensor],
    spikes: Steps,
    population: Population,
    roots: Mapping[str, str],
) -> Tensor:
    """The sum over projections onto a population, [T, N, *shape]; zeros without any."""
    total = None
    for projection, weight in zip(projections, weights, strict=True):
        one = applied(projection.kernel, weight, spikes[roots[projection.source]], population)
        total = one if total is None else total + one
    if total is None:
        some = next(iter(spikes.values()))
        return torch.zeros(*some.shape[:2], *population.shape, dtype=some.dtype, device=some.device)
    return total
