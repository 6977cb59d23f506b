"""How many spikes the chip's integers leave as they were: a float graph and its integers on the same spikes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..graph import Array, Population, SpikingGraph
from ..simulate import MANTISSA_SHIFT
from .arithmetic import chip_neurons, float_neurons
from .currents import arriving, check_feed_forward, roots

Spikes = NDArray[np.uint8]
Fired = dict[str, Tensor]  # population or input -> spikes [T, N, *shape], float32; no relay that holds it whole

SAMPLES_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """spikes: population, no relay -> the share of its neurons and steps in which both do the same; answers: the share
    of samples with the same largest answer. Of the whole: differing of compared."""

    spikes: Mapping[str, float]
    answers: float
    differing: int
    compared: int

    @property
    def share(self) -> float:
        return 1.0 - self.differing / self.compared if self.compared else 1.0


@torch.no_grad()
def run_graph(graph: SpikingGraph, spikes: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Fired, Tensor]:
    """Spikes of every population that is no relay, and the readout's membranes [T, N, classes], of either arithmetic.

    Float membranes are summed in another order than `export/simulate.py` sums them, so a spike on the brink may differ.
    """
    check_feed_forward(graph)
    root = roots(graph)
    fired: Fired = {graph.inputs[0].name: spikes.to(dtype)}
    membranes = spikes.new_zeros(0)
    for population in graph.populations:
        if root[population.name] != population.name:
            continue
        incoming = graph.incoming(population.name)
        weights = [tensor_of(p.kernel.weight, dtype) for p in incoming]
        currents = arriving(incoming, weights, fired, population, root)
        found, membranes = neurons_of(graph, population, currents)
        if population.role != "readout":
            fired[population.name] = found.to(dtype)
    return fired, membranes


def neurons_of(graph: SpikingGraph, population: Population, currents: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and membranes [T, N, *shape] of one population of a graph of either arithmetic."""
    bias = tensor_of(population.bias, currents.dtype)
    bias = bias.reshape(-1, *([1] * (len(population.shape) - 1))) if bias.ndim == 1 else bias
    if graph.arithmetic == "float":
        return float_neurons(population, currents, bias)
    return chip_neurons(population, 1.0, currents, bias)


def agreement(graph: SpikingGraph, chip: SpikingGraph, logit: float, spikes: Spikes) -> Agreement:
    """Of a float graph that went through `lower` and its integers, on spikes [T, N, *shape] of the input.

    logit: the chip's units of one unit of the float readout, for the answers (the scale of the last level).
    """
    same: dict[str, int] = {}
    size: dict[str, int] = {}
    answers = 0
    for start in range(0, spikes.shape[1], SAMPLES_AT_ONCE):
        some = torch.from_numpy(np.asarray(spikes[:, start : start + SAMPLES_AT_ONCE], np.float32))
        wanted, logits = run_graph(graph, some)
        found, integers = run_graph(chip, some)
        for population in graph.populations:
            if population.role in ("neuron", "or", "and"):
                name = population.name
                same[name] = same.get(name, 0) + int((wanted[name] == found[name]).sum())
                size[name] = size.get(name, 0) + wanted[name].numel()
        scaled = integers[-1].double() / (logit * (1 << MANTISSA_SHIFT))
        answers += int((scaled.argmax(1) == logits[-1].argmax(1)).sum())
    return Agreement(
        spikes={name: same[name] / size[name] for name in same},
        answers=answers / spikes.shape[1],
        differing=sum(size.values()) - sum(same.values()),
        compared=sum(size.values()),
    )


def tensor_of(values: Array, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float64)).to(dtype)
