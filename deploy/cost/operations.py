"""What a network does in one inference as an ANN and as an SNN on a general device: no relays, pools for ORs.

A synapse of non-zero weight is one multiply-accumulate (MAC) of the ANN, and one synaptic operation of the SNN for each
spike that meets it. Relays exist on a chip only; an OR population is a max-pooling, which multiplies nothing, and an
AND population a product of two values, one multiplication beside hundreds of its layer's, which is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...export.graph import SpikingGraph, neurons
from ..synapses import fan_out

Integers = NDArray[np.int64]

NOT_IN_AN_ANN = ("relay", "or", "and")  # roles whose incoming synapses are no MACs


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """One inference, without relays. executed, operations: means over the samples."""

    synapses: int  # of non-zero weight: the MACs of the ANN
    executed: float  # those MACs whose source is not zero
    operations: float  # synaptic operations
    updates: int  # T * neurons with a membrane
    weights: int  # values that are not zero, shared ones once
    activations: int  # values of all layers and inputs
    written: int  # those that a layer writes
    membranes: int
    max_pool_inputs: int
    encoder_macs: int  # of one look, or one step
    time_steps: int


def operations_of(
    graph: SpikingGraph,
    spikes_of: Mapping[str, Integers],
    fired_of: Mapping[str, Integers],
    samples: int,
    encoder_macs: int,
) -> Operations:
    """Count what `ann_baseline` compares; its arguments, and InputError where they do not fit the graph."""
    _check_spikes(graph, spikes_of, fired_of, samples)
    shapes = graph.shapes()
    roles = {population.name: population.role for population in graph.populations}
    pooled, synapses, executed, operations, weights = 0, 0, 0, 0, 0
    for projection in graph.projections:
        fan = fan_out(projection, shapes[projection.source], shapes[projection.target])
        if roles[projection.target] in NOT_IN_AN_ANN:
            pooled += int(fan.sum()) if roles[projection.target] == "or" else 0
            continue
        synapses += int(fan.sum())
        executed += int((fan * fired_of[projection.source]).sum())
        operations += int((fan * spikes_of[projection.source]).sum())
        weights += int(np.count_nonzero(projection.kernel.weight))
    if not synapses:
        raise InputError(
            f"The network must have a synapse of non-zero weight, but none of its {len(graph.projections)} projections "
            "has; train it again."
        )
    layers = [population for population in graph.populations if population.role != "relay"]
    membranes = sum(neurons(population.shape) for population in layers if population.role not in NOT_IN_AN_ANN)
    written = sum(neurons(population.shape) for population in layers)
    return Operations(
        synapses=synapses,
        executed=executed / samples,
        operations=operations / samples,
        updates=graph.time_steps * membranes,
        weights=weights,
        activations=written + sum(neurons(node.shape) for node in graph.inputs),
        written=written,
        membranes=membranes,
        max_pool_inputs=pooled,
        encoder_macs=encoder_macs,
        time_steps=graph.time_steps,
    )


def _check_spikes(
    graph: SpikingGraph, spikes_of: Mapping[str, Integers], fired_of: Mapping[str, Integers], samples: int
) -> None:
    """Raises InputError unless spikes_of and fired_of are counts of `samples` samples of this graph."""
    if samples < 1:
        raise InputError(f"`samples >= 1` must hold, but samples={samples}; run the network on at least one sample.")
    sources = {projection.source for projection in graph.projections}
    for name, shape in graph.shapes().items():
        if name not in sources:
            continue
        for word, counts in (("spikes_of", spikes_of), ("fired_of", fired_of)):
            found = counts.get(name)
            if found is None or found.shape != shape or not np.issubdtype(found.dtype, np.integer):
                what = "is missing" if found is None else f"is {found.dtype} of shape {found.shape}"
                raise InputError(
                    f"{word}['{name}'] must be integers of shape {shape}, but {what}; count the run again."
                )
        spikes, fired = spikes_of[name], fired_of[name]
        fits = (fired >= 0) & (fired <= samples) & (fired <= spikes) & (spikes <= graph.time_steps * fired)
        if not fits.all():
            place = tuple(np.argwhere(~fits)[0].tolist())
            raise InputError(
                f"Population '{name}': `0 <= fired_of <= samples` and `fired_of <= spikes_of <= T * fired_of` must "
                f"hold, but neuron {place} has fired_of={fired[place]} and spikes_of={spikes[place]} with "
                f"samples={samples} and T={graph.time_steps}; count the run again."
            )
