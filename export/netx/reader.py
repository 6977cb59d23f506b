"""NetX HDF5 -> SpikingGraph: any file of spiking layers that stock lava-dl 0.6.0 loads, whoever wrote it.

    conv, dense     a population "layer<i>" and a projection from the one before it; delays go with the projection
    dense_rec       one more projection from the population to itself
    flatten         nothing: a full matrix counts its inputs in C-order, as the file does
    input           without neurons nothing; with neurons it is the encoder, and the graph begins behind it

The weights are those with which Lava runs, which `export/netx/loaded_weights.py` explains.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..graph import Conv, Dense, PerNeuron, Population, Projection, Shape, SpikeInput, SpikingGraph, check
from ..simulate import DECAY_UNITY
from .file import Layer, NetxFile, Remark, read_layers
from .lint import MAX_DELAY, lint, loaded_bias, loaded_weights
from .registers import Register

NEVER = 2**24  # no membrane reaches it: what a threshold beyond it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """The input layer of neurons. Each is driven by its bias mantissa, trunc(weight * x + bias) of its pixel x."""

    population: Population
    weight: int
    bias: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetxNetwork:
    """graph reads the encoder's spikes, or those of the one who runs it. layers: population -> i of `layer/<i>`."""

    graph: SpikingGraph
    encoder: Encoder | None
    layers: dict[str, int]
    remarks: tuple[Remark, ...]


def read_netx(
    path: Path, *, time_steps: int = 1, layers: int | None = None, input_shape: Shape | None = None
) -> NetxNetwork:
    """The network of a NetX file, or of its first `layers` layers, for windows of `time_steps`.

    input_shape: (C, H, W) or (N,) of the spikes; needed where the file has no input layer and begins with a conv.

    Raises what `read_layers` raises, and InputError at the first error that `lint` finds.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak=1.0)
    >>> found = spikeport.read_netx(spikeport.write_netx("network.net", graph), time_steps=4)
    >>> [layer.name for layer in found.graph.populations]
    ['layer0', 'layer2']
    """
    return network_of(read_layers(path, layers=layers, input_shape=input_shape), time_steps)


def network_of(file: NetxFile, time_steps: int) -> NetxNetwork:
    """Raises InputError at the first error that `lint` finds."""
    remarks = lint(file)
    for remark in remarks:
        if remark.level == "error":
            raise InputError(f"{file.path}: layer/{remark.layer} ({file.layers[remark.layer].kind}): {remark.text}.")
    source = "layer0" if file.encoder else "input"
    populations: list[Population] = []
    projections: list[Projection] = []
    indices: dict[str, int] = {}
    for layer in file.layers:
        if layer.weight is None:
            continue
        population = _population(layer)
        indices[population.name] = layer.index
        populations.append(population)
        projections += _projections(layer, source, population.name)
        source = population.name
    inputs = (SpikeInput(name="layer0" if file.encoder else "input", shape=file.input_shape),)
    graph = SpikingGraph(
        inputs=inputs,
        populations=tuple(populations),
        projections=tuple(projections),
        time_steps=time_steps,
        arithmetic="loihi",
    )
    return NetxNetwork(graph=check(graph), encoder=_encoder(file.encoder), layers=indices, remarks=remarks)


def _encoder(layer: Layer | None) -> Encoder | None:
    if layer is None:
        return None
    weight, bias = layer.transform
    return Encoder(population=_population(layer), weight=weight, bias=bias)


def _population(layer: Layer) -> Population:
    neuron = layer.neuron
    if neuron is None:
        raise ValueError("only layers with neurons are populations")
    bias = loaded_bias(layer)
    return Population(
        name=f"layer{layer.index}",
        shape=layer.shape,
        decay=_kept(neuron.v_decay),
        current_decay=_kept(neuron.i_decay),
        threshold=_threshold(neuron.threshold),
        bias=np.zeros(layer.shape[0]) if bias is None else bias,
    )


def _kept(forgets: Register) -> PerNeuron:
    return 1 - forgets / DECAY_UNITY


def _threshold(mantissa: Register) -> PerNeuron:
    if isinstance(mantissa, int):
        return min(max(mantissa, -NEVER), NEVER)
    return np.clip(mantissa, -NEVER, NEVER).astype(np.float64)


def _projections(layer: Layer, source: str, name: str) -> list[Projection]:
    loaded = loaded_weights(layer)
    if loaded is None:
        raise ValueError("lint passes only layers whose weights are known")
    weights = [weight.astype(np.float64) for weight in loaded]
    if layer.kind == "conv":
        kernel = Conv(
            weight=weights[0],
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
        )
        return [Projection(source=source, target=name, kernel=kernel)]
    delay = None if layer.delay is None else np.minimum(layer.delay, MAX_DELAY).astype(np.int64)
    sources = (source, name)  # the second, from itself, in a recurrent layer
    return [
        Projection(source=node, target=name, kernel=Dense(weight=weight), delay=delay)
        for node, weight in zip(sources, weights, strict=False)
    ]
