"""A leveled graph as a chain: each level one population with one projection from the level before it.

NetX loads chains only. The populations of a level lie side by side on the channel axis, their kernels are the blocks of
one matrix. A level's grid is its coarsest resolution; a finer population is carried in space-to-depth form,
[C, f*H, f*W] -> [C*f*f, H, W] with channel (c, row phase, column phase). A kernel carries over exactly: target pixel
y = ft*Y + py reads x = s*y + offset = fs*X + px, so

    X = (s*ft/fs) * Y + floor((s*py + offset) / fs)         px = (s*py + offset) mod fs

for which s*ft/fs, the layer's stride, must be the same whole number for all projections of a layer.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UnsupportedError
from ..graph import (
    REGISTERS,
    Conv,
    Dense,
    Kernel,
    PerNeuron,
    Population,
    Projection,
    Shape,
    SpikingGraph,
    check,
    neurons,
)
from ..passes.relays import levels
from ..taps import Taps, convolution_of, taps_of

PAD = "pad the images so that every reduction halves an even size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a population lies in the chain: channels [start, start + C * fy * fx) of a layer (neurons, if flat)."""

    layer: int  # index in the chain's populations; -1: the chain's input
    start: int
    factor: tuple[int, int]  # space-to-depth factor (rows, columns)
    shape: Shape  # of the population itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """graph: input -> layer0 -> layer1 ... -> readout; places: population or input of the original graph -> Place."""

    graph: SpikingGraph
    places: dict[str, Place]


def chain_of(graph: SpikingGraph) -> Chain:
    """The chain of a graph that went through `insert_relays`.

    Raises UnsupportedError for several inputs, levels both flat and images, or sizes that do not divide.
    """
    if len(graph.inputs) != 1:
        raise UnsupportedError(f"A chain has one input, but the graph has {len(graph.inputs)}.")
    level = levels(graph)
    if any(level[p.target] != level[p.source] + (p.source != p.target) for p in graph.projections):
        raise ValueError("chain_of takes a graph whose projections span one level each")
    places: dict[str, Place] = {}
    layers: list[Population] = []
    projections: list[Projection] = []
    before: Population | None = None
    source_shape = graph.inputs[0].shape
    places[graph.inputs[0].name] = Place(layer=-1, start=0, factor=(1, 1), shape=source_shape)
    for number in range(1, max(level.values()) + 1):
        members = [p for p in graph.populations if level[p.name] == number]
        shape = _place(members, number - 1, places)
        layer = _layer(members, shape, number - 1, places)
        incoming = [projection for member in members for projection in graph.incoming(member.name)]
        forward = [p for p in incoming if p.source != p.target]
        source = before.name if before else graph.inputs[0].name
        layers.append(layer)
        projections.append(
            Projection(
                source=source,
                target=layer.name,
                kernel=_kernel(members, forward, source_shape, shape, places),
                delay=_delay(forward, source_shape, shape, places) if len(shape) == 1 else None,
            )
        )
        recurrent = [p for p in incoming if p.source == p.target]
        if recurrent:
            projections.append(
                Projection(source=layer.name, target=layer.name, kernel=_recurrent(recurrent, shape, places))
            )
        before, source_shape = layer, shape
    chained = replace(graph, populations=tuple(layers), projections=tuple(projections))
    return Chain(graph=check(chained), places=places)


def packed(values: NDArray[Any], place: Place) -> NDArray[Any]:
    """[..., C, H, W] of a population -> its channels in the layer, [..., C * fy * fx, H / fy, W / fx]."""
    if len(place.shape) == 1:
        return values
    (fy, fx), (channels, height, width) = place.factor, place.shape
    lead = values.shape[:-3]
    split = values.reshape(*lead, channels, height // fy, fy, width // fx, fx)
    return np.moveaxis(split, (-3, -1), (-4, -3)).reshape(*lead, channels * fy * fx, height // fy, width // fx)


def unpacked(values: NDArray[Any], place: Place) -> NDArray[Any]:
    """A layer's values [..., channels, H, W] -> those of one of its populations, [..., C, fy*H, fx*W]."""
    size = place.shape[0] * place.factor[0] * place.factor[1]
    if len(place.shape) == 1:
        return values[..., place.start : place.start + size]
    (fy, fx), (channels, height, width) = place.factor, place.shape
    part = values[..., place.start : place.start + size, :, :]
    lead = part.shape[:-3]
    split = part.reshape(*lead, channels, fy, fx, height // fy, width // fx)
    return np.moveaxis(split, (-4, -3), (-3, -1)).reshape(*lead, *place.shape)


def _place(members: list[Population], layer: int, places: dict[str, Place]) -> Shape:
    """Give every member of a level its place; return the layer's shape."""
    if len({len(m.shape) for m in members}) > 1:
        names = ", ".join(f"'{m.name}'" for m in members)
        raise UnsupportedError(
            f"Populations {names} lie on one level, some flat and some images; NetX cannot mix them."
        )
    if len(members[0].shape) == 1:
        start = 0
        for member in members:
            places[member.name] = Place(layer=layer, start=start, factor=(1, 1), shape=member.shape)
            start += member.shape[0]
        return (start,)
    grid = (min(m.shape[1] for m in members), min(m.shape[2] for m in members))
    start = 0
    for member in members:
        if member.shape[1] % grid[0] or member.shape[2] % grid[1]:
            raise UnsupportedError(
                f"Population '{member.name}' has {member.shape[1]}x{member.shape[2]} neurons per channel, which must "
                f"divide into the {grid[0]}x{grid[1]} of its level; {PAD}."
            )
        factor = (member.shape[1] // grid[0], member.shape[2] // grid[1])
        places[member.name] = Place(layer=layer, start=start, factor=factor, shape=member.shape)
        start += member.shape[0] * factor[0] * factor[1]
    return (start, *grid)


def _layer(members: list[Population], shape: Shape, number: int, places: dict[str, Place]) -> Population:
    first = members[0]
    for member in members:
        if any(_differ(getattr(member, word), getattr(first, word)) for word in REGISTERS):
            raise UnsupportedError(f"Populations '{first.name}' and '{member.name}' must share one layer's registers.")
        if member.bias.ndim == 3 or any(np.ndim(getattr(member, word)) == 3 for word in REGISTERS):
            raise UnsupportedError(
                f"Population '{member.name}' has a number for each neuron of an image, but a layer of a chain has one "
                "for each channel; give one for each channel."
            )
    if first.role == "readout":
        return first
    phases = [places[m.name].factor[0] * places[m.name].factor[1] for m in members]

    def joined(word: str) -> Any:
        values = [getattr(m, word) for m in members]
        if not any(isinstance(value, np.ndarray) for value in values):
            return values[0]
        each = [np.broadcast_to(v, m.shape[:1]) for v, m in zip(values, members, strict=True)]
        return np.concatenate([np.repeat(v, n) for v, n in zip(each, phases, strict=True)])

    registers = {word: joined(word) for word in ("bias", *REGISTERS)}
    return replace(first, name=f"layer{number}", shape=shape, role="neuron", **registers)


def _differ(one: PerNeuron, other: PerNeuron) -> bool:
    """True for two numbers that are not one; arrays lie side by side as they are."""
    return np.ndim(one) == np.ndim(other) == 0 and one != other


def _kernel(
    members: list[Population], incoming: list[Projection], source: Shape, target: Shape, places: dict[str, Place]
) -> Kernel:
    if len(target) == 1:
        return _dense(incoming, source, target, places)
    stride: tuple[int, int] | None = None
    taps: Taps = {}
    for projection in incoming:
        if isinstance(projection.kernel, Dense):
            raise UnsupportedError(
                f"Population '{projection.target}': a full matrix into an image has no NetX layer; "
                "it comes of an Upsample or of a pool whose windows differ: put a flatten behind it, or export to onnx."
            )
        here, there = places[projection.source], places[projection.target]
        wanted = _layer_stride(projection.kernel, projection.target, here, there)
        if stride is not None and wanted != stride:
            raise UnsupportedError(
                f"Population '{projection.target}': its level would need the strides {stride} and {wanted} in one "
                f"layer; {PAD}."
            )
        stride = wanted
        _place_taps(taps, projection.kernel, here, there, (target[0], source[0]))
    return convolution_of(taps, stride or (1, 1), source, target)


def _layer_stride(kernel: Conv, name: str, source: Place, target: Place) -> tuple[int, int]:
    numerators = [s * ft for s, ft in zip(kernel.stride, target.factor, strict=True)]
    if any(n % fs for n, fs in zip(numerators, source.factor, strict=True)):
        raise UnsupportedError(
            f"Population '{name}': stride {kernel.stride} does not fit the resolutions {source.shape[1:]} -> "
            f"{target.shape[1:]}; {PAD}."
        )
    return (numerators[0] // source.factor[0], numerators[1] // source.factor[1])


def _place_taps(taps: Taps, kernel: Conv, source: Place, target: Place, channels: tuple[int, int]) -> None:
    """Add a projection's taps, carried to the layer's grid, at the rows and columns of its populations."""
    (fy, fx), (gy, gx) = source.factor, target.factor
    for (row, column), weight in taps_of(kernel).items():
        for py, px in product(range(gy), range(gx)):
            y, x = kernel.stride[0] * py + row, kernel.stride[1] * px + column
            tap = taps.setdefault((y // fy, x // fx), np.zeros(channels))
            phase = (y % fy) * fx + x % fx
            rows = target.start + np.arange(target.shape[0]) * gy * gx + py * gx + px
            columns = source.start + np.arange(source.shape[0]) * fy * fx + phase
            tap[np.ix_(rows, columns)] += weight


def _dense(incoming: list[Projection], source: Shape, target: Shape, places: dict[str, Place]) -> Dense:
    """All matrices of a level as one, its columns in the C-order of the layer before."""
    weight = np.zeros((target[0], neurons(source)))
    for projection in incoming:
        if isinstance(projection.kernel, Conv):
            raise UnsupportedError(f"Population '{projection.target}': a convolution into a flat population.")
        weight[_block(projection, source, places)] += projection.kernel.weight
    return Dense(weight=weight)


def _delay(
    incoming: list[Projection], source: Shape, target: Shape, places: dict[str, Place]
) -> NDArray[np.int64] | None:
    """The delays of a level as one matrix, or None without any."""
    delay = np.zeros((neurons(target), neurons(source)), np.int64)
    for projection in incoming:
        if projection.delay is not None:
            delay[_block(projection, source, places)] = projection.delay
    return delay if delay.any() else None


def _recurrent(incoming: list[Projection], shape: Shape, places: dict[str, Place]) -> Dense:
    """The matrices of recurrent populations as blocks on the diagonal."""
    for projection in incoming:
        if isinstance(projection.kernel, Conv) or projection.delay is not None:
            raise UnsupportedError(
                f"Population '{projection.target}': recurrent synapses in NetX are full matrices without delays."
            )
    return _dense(incoming, shape, shape, places)


def _block(projection: Projection, source: Shape, places: dict[str, Place]) -> tuple[NDArray[np.int64], ...]:
    """(rows, columns) of a projection in its level's matrix, whose columns count the layer before in C-order."""
    columns = unpacked(np.arange(neurons(source)).reshape(source), places[projection.source]).ravel()
    start, size = places[projection.target].start, neurons(places[projection.target].shape)
    return np.ix_(np.arange(start, start + size), columns)
