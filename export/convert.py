"""From one format to another, told by their endings: .net (NetX), .nir, .onnx, and the folder of a run as a source.

A format has a reader, file -> graph, and a writer, graph -> file; the graph is what they mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..path_kind import kind_of
from ..search.runs import Run, open_run
from ..search.space.network import load_network
from .graph import Shape, SpikingGraph
from .netx.file import read_layers
from .netx.reader import network_of
from .netx.writer import read_graph, write_netx
from .nir.metadata import Fires
from .nir.populations import Answer, Reset
from .nir.reader import read_nir
from .nir.writer import DT, write_nir
from .onnx.carried import graph_in
from .onnx.float_graph import write_graph
from .onnx.twin import write_twin
from .passes import lower
from .passes.dequantize import dequantize
from .passes.quantize import quantize
from .simulate import simulate
from .targets import readout_peak, traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a file does not say by itself. dt: seconds of a step; input_shape: of the spikes; fires, reset, answer: of a
    NIR file, as of `read_nir`; peak: the largest logit that the chip shall hold, or spikes uint8 [S, T, *shape] on
    which it is found, samples first."""

    time_steps: int | None = None
    dt: float | None = None
    input_shape: Shape | None = None
    fires: Fires | None = None
    reset: Reset = "zero"
    answer: Answer = "sum"
    peak: float | None = None
    spikes: NDArray[np.generic] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """notes: what was decided or lost on the way, a sentence each."""

    source: Path
    path: Path
    graph: SpikingGraph
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A graph as it was read. found_peak: the largest logit on data that the source has."""

    graph: SpikingGraph
    notes: tuple[str, ...] = ()
    found_peak: Callable[[], float] | None = None


def convert(source: Path | str, out: Path | str, wishes: Wishes = Wishes()) -> Converted:
    """Write what is in one file, or the trained network of a run, as another.

    The encoder of a run is not part of its graph, which begins with spikes. Integers of a chip stay integers; a float
    graph becomes integers where the other file is NetX. Raises InputError for a format that is not known and for what a
    file does not say, UnsupportedError for what the other format cannot hold.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.trace(network, images[:1], 4).graph
    >>> found = spikeport.convert(spikeport.write_nir("network.nir", graph), "network.onnx")
    >>> found.path.exists(), [population.name for population in found.graph.populations]
    (True, ['hidden', 'readout'])
    """
    source, out = Path(source), Path(out)
    if out.suffix not in WRITERS:
        raise InputError(f"'{out}' must end in {', '.join(WRITERS)}, which says its format.")
    found = _reader(source)(source, wishes)
    graph, notes = WRITERS[out.suffix](out, found, wishes)
    return Converted(source=source, path=out, graph=graph, notes=(*found.notes, *notes))


def _reader(source: Path) -> Callable[[Path, Wishes], _Source]:
    if kind_of(source) == "run":
        return _of_run
    if source.suffix not in READERS:
        raise InputError(
            f"'{source}' must be the folder of a run or end in {', '.join(READERS)}, which says its format."
        )
    return READERS[source.suffix]


def _of_run(path: Path, wishes: Wishes) -> _Source:
    run: Run = open_run(path)
    network = load_network(run)
    notes = ("the graph begins with spikes; what makes them of images is encoder.onnx of `spikeport export`",)
    return _Source(
        graph=traced(network).graph,
        notes=notes if network.config.reads == "images" else (),
        found_peak=lambda: readout_peak(network),
    )


def _of_netx(path: Path, wishes: Wishes) -> _Source:
    file = read_layers(path, input_shape=wishes.input_shape)
    if file.carries_graph:
        return _Source(graph=read_graph(path))
    steps = wishes.time_steps or file.window
    if not steps:
        raise InputError(f"'{path}' does not say how many steps a window has; give --time-steps.")
    network = network_of(file, steps)
    notes = [f"layer/{remark.layer}: {remark.text}" for remark in network.remarks]
    if network.encoder:
        notes.append("its input layer has neurons; the other file begins with their spikes")
    return _Source(graph=network.graph, notes=tuple(notes))


def _of_nir(path: Path, wishes: Wishes) -> _Source:
    found = read_nir(
        path,
        time_steps=wishes.time_steps,
        dt=wishes.dt,
        input_shape=wishes.input_shape,
        fires=wishes.fires,
        reset=wishes.reset,
        answer=wishes.answer,
    )
    return _Source(graph=found.graph, notes=found.notes)


def _of_onnx(path: Path, wishes: Wishes) -> _Source:
    graph = graph_in(path)
    if graph is None:
        raise InputError(
            f"'{path}' carries no spiking graph, as twin.onnx and what `spikeport convert` writes do; convert the run, "
            "NIR or NetX file that it was written from."
        )
    return _Source(graph=graph)


def _to_netx(path: Path, source: _Source, wishes: Wishes) -> tuple[SpikingGraph, tuple[str, ...]]:
    graph, notes = source.graph, tuple[str, ...]()
    if graph.arithmetic == "float":
        graph = lower(graph)
        peak = _peak(graph, source, wishes)
        graph = quantize(graph, peak)
        notes = (f"quantized for readouts up to {peak:.6g}",)
    write_netx(path, graph)
    return graph, notes


def _peak(graph: SpikingGraph, source: _Source, wishes: Wishes) -> float:
    if wishes.peak is not None:
        return wishes.peak
    if wishes.spikes is not None:
        name, shape = graph.inputs[0].name, graph.inputs[0].shape
        spikes = np.swapaxes(np.asarray(wishes.spikes), 0, 1)
        if spikes.shape[:1] + spikes.shape[2:] != (graph.time_steps, *shape) or not np.isin(spikes, (0, 1)).all():
            raise InputError(
                f"The spikes must be 0 or 1 of shape [S, {graph.time_steps}, {', '.join(map(str, shape))}], but the "
                f"file has {list(wishes.spikes.shape)}."
            )
        return float(np.abs(simulate(graph, {name: spikes.astype(np.uint8)}).readout[-1]).max())
    if source.found_peak is not None:
        return source.found_peak()
    raise InputError(
        "A NetX file holds integers, and its readout needs to know the largest answer: give typical "
        "--input SPIKES.npy, or --peak."
    )


def _to_nir(path: Path, source: _Source, wishes: Wishes) -> tuple[SpikingGraph, tuple[str, ...]]:
    graph = dequantize(source.graph)  # NIR knows no integers
    write_nir(path, graph, dt=wishes.dt or DT)
    exact = (
        "the chip's integers are exact as real numbers here: none rounds in a window, and none leaves 24 bits, unless "
        "the readout does"
    )
    return graph, (exact,) if graph is not source.graph else ()


def _to_onnx(path: Path, source: _Source, wishes: Wishes) -> tuple[SpikingGraph, tuple[str, ...]]:
    write = write_twin if source.graph.arithmetic == "loihi" else write_graph
    write(path, source.graph)
    return source.graph, ()


READERS: dict[str, Callable[[Path, Wishes], _Source]] = {".net": _of_netx, ".nir": _of_nir, ".onnx": _of_onnx}
WRITERS: dict[str, Callable[[Path, _Source, Wishes], tuple[SpikingGraph, tuple[str, ...]]]] = {
    ".net": _to_netx,
    ".nir": _to_nir,
    ".onnx": _to_onnx,
}
