"""Scales chosen by what they do to spikes, without any training.

The largest weight of a level decides its scale, so one outlier makes all others coarse. Here each level tries scales at
which the largest weights are clipped, and takes the one with which most of its spikes stay as they are in the float
graph. Rounding also moves the mean current of a neuron, by the errors of its weights times the rates at which their
sources fire. For each population that shift is taken back from its bias where more spikes agree then (bias correction,
Nagel et al., arXiv 1906.04721). All this is done twice: once each level reads the float graph's spikes, so that none
makes up for another, once those of the levels before it in integers, so that it does. Of the two and of the scales by
the largest weights that is taken with which the fewest spikes of the whole network differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..graph import Array, Population, Projection, SpikingGraph
from ..passes.quantize import quantize, quantize_level
from ..passes.scales import Level, Scales, factor_of, largest_scales, largest_weight, level_scale, levels_of
from ..simulate import MANTISSA_SHIFT
from ..weight_scale import LevelScale
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
    given = torch.from_numpy(np.asarray(spikes, np.float32))
    fired, membranes = run_graph(graph, given)
    fired[graph.readout.name] = membranes
    plain = agreement(graph, plain_chip, scales[max(scales)].scale, spikes)
    best = Calibrated(graph=graph, chip=plain_chip, scales=scales, plain=plain, chosen=plain)
    for entered in (None, given):
        corrected, chosen = _levelwise(graph, peak, bits, fired, entered, tell)
        chip = quantize(corrected, peak, scales=chosen)
        found = agreement(graph, chip, chosen[max(scales)].scale, spikes)
        if found.differing < best.chosen.differing:
            best = Calibrated(graph=corrected, chip=chip, scales=chosen, plain=plain, chosen=found)
    return best


def _levelwise(
    graph: SpikingGraph, peak: float, bits: int, fired: Fired, entered: Tensor | None, tell: Callable[[str], None]
) -> tuple[SpikingGraph, Scales]:
    """The graph with corrected biases, and the scales, chosen level by level.

    entered: the input's spikes, where each level shall read what the levels before it fire in integers.
    """
    chosen: dict[int, LevelScale] = {}
    biases: dict[str, Array] = {}
    every = levels_of(graph)
    read = fired if entered is None else {graph.inputs[0].name: entered}
    for level in every:
        tell(f"choosing the scale of level {level.number} of {len(every)} by its spikes")
        chosen[level.number], found = _choose(graph, level, peak, bits, fired, read)
        biases |= found.biases
        if entered is not None:
            members = tuple(replace(m, bias=biases.get(m.name, m.bias)) for m in level.members)
            _fire(graph, replace(level, members=members), chosen[level.number], read)
    populations = tuple(replace(p, bias=biases.get(p.name, p.bias)) for p in graph.populations)
    return replace(graph, populations=populations), chosen


def _fire(graph: SpikingGraph, level: Level, scale: LevelScale, read: Fired) -> None:
    """Add what a level fires in integers to what the levels behind it read."""
    chip, root = quantize_level(level, scale, graph.time_steps), roots(graph)
    for member in chip.members:
        if root[member.name] == member.name and member.role != "readout":
            incoming = [p for p in chip.incoming if p.target == member.name]
            currents = arriving(incoming, _tensors(incoming), read, member, root)
            read[member.name] = neurons_of(replace(graph, arithmetic="loihi"), member, currents)[0]


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


def _choose(
    graph: SpikingGraph, level: Level, peak: float, bits: int, fired: Fired, read: Fired
) -> tuple[LevelScale, _Tried]:
    best: tuple[LevelScale, _Tried] | None = None
    worse = 0
    tried: set[LevelScale] = set()
    for clip in CLIPS:
        scale = level_scale(level, peak, bits, clip)
        if scale in tried:
            continue
        tried.add(scale)
        found = _try(graph, level, scale, fired, read)
        if best is None or found.loss < best[1].loss:
            best, worse = (scale, found), 0
        else:
            worse += 1
        if worse >= GIVE_UP or not level.learnt:
            break
    assert best is not None
    return best


def _try(graph: SpikingGraph, level: Level, scale: LevelScale, fired: Fired, read: Fired) -> _Tried:
    """One scale of one level: how far it is from what it `fired` as float when in integers it gets what was `read`."""
    root = roots(graph)
    chip = quantize_level(level, scale, graph.time_steps)
    as_chip = replace(graph, arithmetic="loihi")
    loss, biases = 0.0, {}
    for member in level.learnt:
        incoming = level.read_by(member)
        integers = [p for p in chip.incoming if p.target == member.name]
        exact = arriving(incoming, _tensors(incoming), fired, member, root)
        found = arriving(integers, _tensors(integers), read, member, root)
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
