"""A SpikingGraph as a torch module that computes the chip's integers and learns through them.

Its parameters are the weights and biases of the float graph in float64, of populations that were learnt; what it
computes are their integers, at scales that stay as they were chosen:

    w = clip(step * round(weight * factor / step), bottom, top)        b = clip(round(bias * factor), +-4095)

with factor = S / threshold. A weight that is 0 in the float graph stays 0, so that no synapse is added. Relays and
pools are exact on any integers, so they are what they mean: a relay's spikes are its source's, a pool fires where any
source does, a product where two spikes arrive. The two have the gradients of min(n, 1) and of min(max(n - 1, 0), 1), n
the number of spikes that arrive.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import UnsupportedError
from ..graph import Array, Population, Projection, SpikingGraph
from ..passes.quantize import quantize
from ..passes.relays import levels
from ..passes.scales import Scales, computes, factor_of, levels_of
from ..simulate import MANTISSA_SHIFT
from ..weight_scale import BIAS_MAX, LevelScale
from .arithmetic import chip_neurons, through
from .currents import arriving, check_feed_forward, roots

EXACT = 2**24  # whole numbers below it are exact in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipRecord:
    """spikes: input or population -> uint8 [T, N, *shape], relays included, the readout not. readout: int64
    [T, N, classes], its membrane after each step."""

    spikes: dict[str, NDArray[np.uint8]]
    readout: NDArray[np.int64]


class ChipNetwork(nn.Module):
    """Spikes [T, N, *shape] of the only input -> answers [N, classes], in the units of the float graph.

    float_graph: one that went through `lower`. Raises UnsupportedError for recurrent and delayed synapses, and for
    what the chip's neuron cannot be.
    """

    def __init__(self, float_graph: SpikingGraph, scales: Scales) -> None:
        super().__init__()
        check_feed_forward(float_graph)
        chosen = levels_of(float_graph)  # in the order that `quantize` gives
        self.graph = replace(
            float_graph,
            populations=tuple(member for level in chosen for member in level.members),
            projections=tuple(projection for level in chosen for projection in level.incoming),
        )
        self.scales = scales
        self.start = quantize(float_graph, 0.0, scales=scales)
        self.level = levels(float_graph)
        self.roots = roots(float_graph)
        self.chip = {p.name: p for p in self.start.populations}
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        self._numbers = {id(p): str(i) for i, p in enumerate(self.graph.projections)}
        for population in self.graph.populations:
            self._prepare(population)

    def _prepare(self, population: Population) -> None:
        incoming = self.graph.incoming(population.name)
        if self.roots[population.name] != population.name:
            return
        for projection in incoming:
            weight = torch.from_numpy(np.array(projection.kernel.weight, np.float64))
            name = self._numbers[id(projection)]
            if computes(population):
                self.weights[name] = nn.Parameter(weight)
                self.register_buffer(f"there_{name}", weight != 0, persistent=False)
            else:
                counted = weight if population.role == "and" else (weight != 0)
                self.register_buffer(f"fixed_{name}", counted.float(), persistent=False)
        if computes(population):
            # as the first integers have it, which may lie beside the nearest
            exact = self.chip[population.name].bias / self._factor(population)
            self.biases[_key(population)] = nn.Parameter(torch.from_numpy(np.array(exact, np.float64)))
            reach = sum(np.abs(p.kernel.weight != 0).reshape(len(p.kernel.weight), -1).sum(1).max() for p in incoming)
            if int(reach) * -self._scale(population).bottom >= EXACT:
                raise UnsupportedError(
                    f"Population '{population.name}': a neuron that reads {int(reach)} others may get a sum that torch "
                    "rounds; fine-tuning needs fewer than 65536."
                )

    def _scale(self, population: Population) -> LevelScale:
        return self.scales[self.level[population.name]]

    def _factor(self, population: Population) -> float:
        return factor_of(population, self._scale(population).scale)

    def weight_of(self, projection: Projection, population: Population) -> Tensor:
        """The integers of a projection, float32 with the gradient of its weights."""
        name, chosen = self._numbers[id(projection)], self._scale(population)
        if not computes(population):
            fixed: Tensor = getattr(self, f"fixed_{name}")
            return fixed
        exact = self.weights[name] * self._factor(population)
        with torch.no_grad():
            whole = torch.clamp(chosen.step * torch.round(exact / chosen.step), chosen.bottom, chosen.top)
        return through(exact * getattr(self, f"there_{name}"), whole * getattr(self, f"there_{name}")).float()

    def bias_of(self, population: Population) -> Tensor:
        """The integers of the biases, shaped like what broadcasts over the population."""
        exact = self.biases[_key(population)] * self._factor(population)
        with torch.no_grad():
            whole = torch.clamp(torch.round(exact), -BIAS_MAX, BIAS_MAX)
        return _broadcast(through(exact, whole), population)

    def forward(self, spikes: Tensor) -> Tensor:
        _, membranes = self.run(spikes)
        unit = self._factor(self.graph.readout) * (1 << MANTISSA_SHIFT)
        return membranes[-1].float() / unit

    def run(self, spikes: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Spikes of every population that is no relay, and the readout's membranes [T, N, classes]."""
        fired = {self.graph.inputs[0].name: spikes.float()}
        membranes = spikes.new_zeros(0)
        for population in self.graph.populations:
            if self.roots[population.name] != population.name:
                continue
            incoming = self.graph.incoming(population.name)
            weights = [self.weight_of(p, population) for p in incoming]
            currents = arriving(incoming, weights, fired, population, self.roots)
            if not computes(population):
                fired[population.name] = self._gate(population, currents)
                continue
            with torch.no_grad():
                whole = 2.0 * torch.round(currents / 2.0)  # a GPU may convolve in steps that are no whole numbers
            found = chip_neurons(
                self.chip[population.name],
                1.0 if population.role == "readout" else float(population.threshold),
                through(currents, whole),
                self.bias_of(population),
            )
            if population.role == "readout":
                membranes = found[1]
            else:
                fired[population.name] = found[0]
        return fired, membranes

    def _gate(self, population: Population, arrived: Tensor) -> Tensor:
        if population.role != "and":
            return torch.clamp(arrived, max=1.0)
        constant = _broadcast(torch.from_numpy(np.asarray(population.bias, np.float32)), population)
        return torch.clamp(arrived + constant.to(arrived.device) - 1.0, 0.0, 1.0)

    @torch.no_grad()
    def record(self, spikes: Mapping[str, NDArray[np.uint8]]) -> ChipRecord:
        """What `simulate` of `chip_graph()` gives, from the same spikes."""
        given = torch.from_numpy(np.asarray(spikes[self.graph.inputs[0].name], np.float32)).to(self.device)
        fired, membranes = self.run(given)
        named = {name: fired[root] for name, root in self.roots.items() if root in fired}
        return ChipRecord(
            spikes={name: value.cpu().numpy().astype(np.uint8) for name, value in named.items()},
            readout=membranes.cpu().numpy().astype(np.int64),
        )

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.no_grad()
    def chip_graph(self) -> SpikingGraph:
        """The quantized graph of the weights as they are now."""
        return self._filled(self.start, lambda p, target: self.weight_of(p, target), lambda p: self.bias_of(p))

    @torch.no_grad()
    def tuned_graph(self) -> SpikingGraph:
        """The float graph of the weights as they are now; `quantize` at the same scales gives the same weights."""

        def weight(projection: Projection, target: Population) -> Tensor:
            name = self._numbers[id(projection)]
            found: Tensor = self.weights[name] * getattr(self, f"there_{name}")
            return found

        return self._filled(self.graph, weight, lambda p: self.biases[_key(p)])

    def _filled(self, form: SpikingGraph, weight: Any, bias: Any) -> SpikingGraph:
        by_name = {p.name: p for p in self.graph.populations}
        projections = tuple(
            replace(into, kernel=replace(into.kernel, weight=_array(weight(own, by_name[own.target]))))
            if computes(by_name[own.target])
            else into
            for into, own in zip(form.projections, self.graph.projections, strict=True)
        )
        populations = tuple(
            replace(into, bias=_array(bias(own)).reshape(into.bias.shape)) if computes(own) else into
            for into, own in zip(form.populations, self.graph.populations, strict=True)
        )
        return replace(form, populations=populations, projections=projections)


def _key(population: Population) -> str:
    return population.name.replace(".", "/")  # torch has no dots in names


def _broadcast(bias: Tensor, population: Population) -> Tensor:
    return bias.reshape(-1, *([1] * (len(population.shape) - 1))) if bias.ndim == 1 else bias


def _array(values: Tensor) -> Array:
    return np.asarray(values.cpu().numpy(), np.float64)
