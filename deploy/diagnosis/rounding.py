"""Weights rounded otherwise.

The chip's weights are even, 2 * round(w * factor / 2) with a factor of each population (`export/passes/quantize.py`).
Where the float network that they came from is known, they can be rounded again; else only what is odd can be.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...errors import UnsupportedError
from ...export.graph import Array, Kernel, Projection, SpikingGraph
from ...export.passes import lower
from ...export.passes.quantize import quantize
from ...export.simulate import Spikes, simulate
from .changes import Change, of_kernels, of_weights
from .rules import Meaning, meaning_of

Round = Callable[[Array], Array]

INT8 = 127  # the largest weight of eight bits with a sign

ROUNDINGS: dict[str, Round] = {
    "to the nearest even number": lambda w: 2.0 * np.round(w / 2.0),
    "to even numbers, toward zero": lambda w: 2.0 * np.trunc(w / 2.0),
    "to even numbers, downward": lambda w: 2.0 * np.floor(w / 2.0),
    "to the nearest number, odd ones too": np.round,
    "to whole numbers, toward zero": np.trunc,
    "not at all": lambda w: w,
}


def rounded_again(round_: Round, unrounded: SpikingGraph | None) -> Change:
    """The chip's weights, rounded in another way from those of `unrounded`; without it, from themselves."""

    def changed(projection: Projection, graph: SpikingGraph) -> Kernel | None:
        if graph.arithmetic != "loihi":
            return None
        exact = projection.kernel.weight if unrounded is None else _exact(projection, graph, unrounded)
        return None if exact is None else replace(projection.kernel, weight=round_(exact))

    return of_kernels(changed)


def _exact(projection: Projection, graph: SpikingGraph, unrounded: SpikingGraph) -> Array | None:
    """The weights before rounding, in the chip's unit; None where they cannot be told."""
    before = [p for p in unrounded.incoming(projection.target) if p.source == projection.source]
    target = next(p for p in graph.populations if p.name == projection.target)
    if len(before) != 1 or before[0].kernel.weight.shape != projection.kernel.weight.shape:
        return None
    weight, held = before[0].kernel.weight, projection.kernel.weight
    if target.role == "readout":  # its scale is not in its register
        factor = float((weight * held).sum() / max((weight * weight).sum(), 1e-300))
    else:
        threshold = next(p for p in unrounded.populations if p.name == projection.target).threshold
        factor = (float(np.max(target.threshold)) + 1) / float(np.max(threshold))
    exact = np.asarray(weight * factor)
    return exact if np.abs(exact - held).max() <= 2.0 else None  # else it came from elsewhere


def as_eight_bits(round_: Round) -> Change:
    """Weights of a float network in eight bits, the largest of a kernel being 127."""

    def held(weight: Array) -> Array:
        largest = float(np.abs(weight).max())
        return weight if largest == 0.0 else np.asarray(round_(weight * INT8 / largest) * largest / INT8)

    def changed(meaning: Meaning) -> Meaning | None:
        return of_weights(held)(meaning) if meaning.graph.arithmetic == "float" else None

    return changed


def in_half_precision(meaning: Meaning) -> Meaning | None:
    """Weights of a float network in float16."""
    if meaning.graph.arithmetic != "float":
        return None
    with np.errstate(over="ignore"):
        half = of_weights(lambda w: np.clip(w, -65504, 65504).astype(np.float16).astype(np.float64))
        return half(meaning)


def as_the_chip(spikes: Spikes) -> Change:
    """A float network in the chip's integers, as `quantize` makes them. spikes: of its input."""

    def changed(meaning: Meaning) -> Meaning | None:
        graph = meaning.graph
        if graph.arithmetic != "float":
            return None
        try:
            peak = float(np.abs(simulate(graph, {graph.inputs[0].name: spikes}).readout).max())
            whole = quantize(lower(graph), peak)
        except UnsupportedError:
            return None
        return meaning_of(whole, meaning.encoders, meaning.currents)

    return changed
