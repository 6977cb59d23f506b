"""Scales chosen by what they do to spikes, without any training.

The largest weight of a level decides its scale, so one outlier makes all others coarse. Here each level tries scales at
which the largest weights are clipped, and takes the one with which most of its spikes stay as they are in the float
graph, while it reads the float graph's spikes (so that no level makes up for another). Rounding also moves the mean
current of a neuron, by the errors of its weights times the rates at which their sources fire. For each population that
shift is taken back from its bias where more spikes agree then (bias correction, Nagel et al., arXiv 1906.04721).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..graph import Array, Population, Projection, SpikingGraph
from ..passes.quantize import quantize, quantize_level
from ..passes.scales import Level, LevelScale, Scales, factor_of, largest_scales, largest_weight, level_scale, levels_of
from ..simulate import MANTISSA_SHIFT
from .agreement import Agreement, Fired, Spikes, agreement, neurons_of, run_graph, tensor_of
from .currents import arriving, roots

# by how much the largest weight is beyond what the bits hold; below 1 the bits hold more than there is
CLIPS = (1.0, 0.9, 1.1, 1.25, 1.45, 1.7, 2.0, 2.4, 3.0, 4.0, 5.5, 8.0)
GIVE_UP = 3  # clips in a row that are worse than the best so far

DWARFED = 2.0  # a population whose weights alone hold the scale of its level down by more than this is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """graph: the float graph with the biases that were corrected; chip: its integers at the scales.

    plain, chosen: how far the integers agree with the float graph by the largest weights, and as chosen, on the same
    spikes. Where more spikes differ as chosen, nothing is: the scales are those by the largest weights then.
    """

    graph: SpikingGraph
    chip: SpikingGraph
    scales: Scales
    plain: Agreement
    chosen: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """loss: spikes that differ, or of a readout the squared error of its answers. biases: of the corrected populations,
    in the float graph's units."""

    loss: float
    biases: dict[str, Array]


def calibrate(
    graph: SpikingGraph, peak: float, spikes: Spikes, bits: int = 8, tell: Callable[[str], None] = lambda stage: None
) -> Calibrated:
    """Choose the scales, and correct the biases, of a float graph that went through `lower`.

    spikes: [T, N, *shape] of its input. Raises UnsupportedError as `quantize` does, and for recurrent or delayed
    synapses.

    >>> network, images = spikeport.example_network()
    >>> traced = spikeport.trace(network, images[:1], 4)
    >>> spikes = spikeport.encode(traced.encoder, images)
    >>> found = spikeport.calibrate(spikeport.lower(traced.graph), peak=1.0, spikes=spikes, bits=2)
    >>> found.chosen.share >= found.plain.share
    True
    """
    scales = largest_scales(graph, peak, bits)
    plain_chip = quantize(graph, peak, scales=scales)
    fired, membranes = run_graph(graph, torch.from_numpy(np.asarray(spikes, np.float32)))
    fired[graph.readout.name] = membranes
    chosen: dict[int, LevelScale] = {}
    biases: dict[str, Array] = {}
    every = levels_of(graph)
    for level in every:
        tell(f"choosing the scale of level {level.number} of {len(every)} by its spikes")
        chosen[level.number], found = _choose(graph, level, peak, bits, fired)
        biases |= found.biases
    corrected = replace(
        graph, populations=tuple(replace(p, bias=biases.get(p.name, p.bias)) for p in graph.populations)
    )
    chip = quantize(corrected, peak, scales=chosen)
    readout = every[-1].number
    plain = agreement(graph, plain_chip, scales[readout].scale, spikes)
    better = agreement(graph, chip, chosen[readout].scale, spikes)
    if better.differing > plain.differing:
        return Calibrated(graph=graph, chip=plain_chip, scales=scales, plain=plain, chosen=plain)
    return Calibrated(graph=corrected, chip=chip, scales=chosen, plain=plain, chosen=better)


def dwarfed(graph: SpikingGraph) -> dict[str, float]:
    """Population -> how many times as large the scale of its level were without it, where that is more than twice."""
    found = {}
    for level in levels_of(graph):
        if len(level.learnt) < 2:
            continue
        alone = {m.name: largest_weight(_only(level, m)) for m in level.learnt}
        for name, weight in alone.items():
            rest = max(value for other, value in alone.items() if other != name)
            if rest and weight > DWARFED * rest:
                found[name] = weight / rest
    return found


def _only(level: Level, member: Population) -> Level:
    return replace(level, members=(member,), incoming=level.read_by(member))


def _choose(graph: SpikingGraph, level: Level, peak: float, bits: int, fired: Fired) -> tuple[LevelScale, _Tried]:
    best: tuple[LevelScale, _Tried] | None = None
    worse = 0
    tried: set[LevelScale] = set()
    for clip in CLIPS:
        scale = level_scale(level, peak, bits, clip)
        if scale in tried:
            continue
        tried.add(scale)
        found = _try(graph, level, scale, fired)
        if best is None or found.loss < best[1].loss:
            best, worse = (scale, found), 0
        else:
            worse += 1
        if worse >= GIVE_UP or not level.learnt:
            break
    assert best is not None
    return best


def _try(graph: SpikingGraph, level: Level, scale: LevelScale, fired: Fired) -> _Tried:
    """One scale of one level, which reads the spikes of the float graph."""
    root = roots(graph)
    chip = quantize_level(level, scale, graph.time_steps)
    as_chip = replace(graph, arithmetic="loihi")
    loss, biases = 0.0, {}
    for member in level.learnt:
        incoming = level.read_by(member)
        integers = [p for p in chip.incoming if p.target == member.name]
        exact = arriving(incoming, _tensors(incoming), fired, member, root)
        found = arriving(integers, _tensors(integers), fired, member, root)
        factor = factor_of(member, scale.scale)
        shift = (found / factor - exact).mean(dim=_over(member, exact)).numpy().astype(np.float64)
        moved = replace(member, bias=member.bias - shift.reshape(member.bias.shape))
        again = quantize_level(replace(level, members=(moved,), incoming=incoming), scale, graph.time_steps)
        wanted = fired[member.name]
        options = []
        for form in (chip, again):
            own = next(m for m in form.members if m.name == member.name)
            options.append(_loss(as_chip, own, found, factor, wanted))
        loss += min(options)
        if options[1] < options[0]:
            biases[member.name] = moved.bias
    return _Tried(loss=loss, biases=biases)


def _tensors(projections: Sequence[Projection]) -> list[Tensor]:
    return [tensor_of(p.kernel.weight, torch.float32) for p in projections]


def _over(member: Population, currents: Tensor) -> list[int]:
    """The axes over which the neurons of a bias lie, of [T, N, *shape]."""
    kept = range(2, 2 + member.bias.ndim)
    return [axis for axis in range(currents.ndim) if axis not in kept]


def _loss(graph: SpikingGraph, chip: Population, currents: Tensor, factor: float, wanted: Tensor) -> float:
    spikes, membranes = neurons_of(graph, chip, currents)
    if chip.role != "readout":
        return float((spikes != wanted).sum())
    answers = membranes[-1].double() / (factor * (1 << MANTISSA_SHIFT))
    return float((answers - wanted[-1].double()).square().sum())
