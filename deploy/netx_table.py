"""A NetX file as a table: what each layer is, how large, in which numbers, and which populations lie in it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import InputError, UnsupportedError
from ..export.graph import Conv, Projection, neurons
from ..export.netx.chain import chain_of
from ..export.netx.file import Layer, NetxFile, Remark, read_layers
from ..export.netx.lint import lint
from ..export.netx.registers import Register
from ..export.netx.writer import layer_indices, read_graph
from ..export.simulate import DECAY_UNITY
from .mapping.wiring import value_bits
from .synapses import synapses

EXACT = 2**53  # below it a float64 holds every integer


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One layer. populations: role -> how many of the /spikeport graph lie in it."""

    layer: int  # i of `layer/<i>`
    type: str
    shape: tuple[int, ...]
    neurons: int
    synapses: int  # of non-zero weight
    weights: tuple[float, float] | None  # smallest and largest
    bits: int | None  # that the weights take, sign included, common powers of two left out
    threshold: int | tuple[int, int] | None  # where neurons differ, smallest and largest, as below
    current_forgets: float | tuple[float, float] | None  # iDecay / 4096
    membrane_forgets: float | tuple[float, float] | None  # vDecay / 4096
    longest_delay: int
    populations: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    file: NetxFile
    rows: tuple[LayerRow, ...]
    remarks: tuple[Remark, ...]

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        return "fail" if any(remark.level == "error" for remark in self.remarks) else "pass"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": str(self.file.path),
            "input_shape": self.file.input_shape if self.file.input_declared else None,
            "layers": [asdict(row) for row in self.rows],
            "neurons": sum(row.neurons for row in self.rows),
            "synapses": sum(row.synapses for row in self.rows),
            "remarks": [asdict(remark) for remark in self.remarks],
            "verdict": self.verdict,
        }


def inspect_netx(path: Path, *, layers: int | None = None) -> Inspection:
    """Raises what `read_layers` raises, and InputError for a damaged group /spikeport."""
    file = read_layers(path, layers=layers)
    places = _populations(path) if file.carries_graph else {}
    rows = tuple(_row(layer, places.get(layer.index, {})) for layer in file.layers)
    return Inspection(file=file, rows=rows, remarks=lint(file))


def _row(layer: Layer, populations: Mapping[str, int]) -> LayerRow:
    weights = [weight for weight in (layer.weight, layer.weight_rec) if weight is not None]
    values = np.concatenate([weight.ravel() for weight in weights]) if weights else None
    neuron = layer.neuron
    return LayerRow(
        layer=layer.index,
        type=layer.kind,
        shape=layer.shape,
        neurons=neurons(layer.shape) if neuron else 0,
        synapses=_synapses(layer),
        weights=None if values is None else (float(values.min()), float(values.max())),
        bits=value_bits(np.trunc(values)) if values is not None and np.abs(values).max() < EXACT else None,
        threshold=_span(neuron.threshold, 1) if neuron else None,
        current_forgets=_span(neuron.i_decay, DECAY_UNITY) if neuron else None,
        membrane_forgets=_span(neuron.v_decay, DECAY_UNITY) if neuron else None,
        longest_delay=0 if layer.delay is None else int(layer.delay.max()),
        populations=populations,
    )


def _span(register: Register, unit: int) -> Any:
    """A number, or (smallest, largest) of an array."""
    if isinstance(register, int):
        return register if unit == 1 else register / unit
    ends = int(register.min()), int(register.max())
    return ends if unit == 1 else (ends[0] / unit, ends[1] / unit)


def _synapses(layer: Layer) -> int:
    if layer.weight is None:
        return 0
    if layer.kind != "conv":
        recurrent = 0 if layer.weight_rec is None else np.count_nonzero(layer.weight_rec)
        return int(np.count_nonzero(layer.weight) + recurrent)
    kernel = Conv(
        weight=layer.weight,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )
    return synapses(Projection(source="", target="", kernel=kernel), layer.source, layer.shape)


def _populations(path: Path) -> dict[int, dict[str, int]]:
    """layer -> role -> number, of a file that carries the graph it came from."""
    graph = read_graph(path)
    try:
        chain = chain_of(graph)
    except (UnsupportedError, ValueError) as error:
        raise InputError(f"{path} is damaged in its group /spikeport ({error}); export it again.") from error
    indices = list(layer_indices(chain).values())
    found: dict[int, dict[str, int]] = {}
    roles = {p.name: p.role for p in graph.populations}
    for name, place in chain.places.items():
        if place.layer >= 0:
            here = found.setdefault(indices[place.layer], {})
            here[roles[name]] = here.get(roles[name], 0) + 1
    return found
