"""Which layer goes to which target: each is tried on a small network, and what is written is run beside the network."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor, nn

from ...errors import UnsupportedError
from ...export.graph import SpikingGraph
from ...export.netx.writer import write_netx
from ...export.nir.reader import read_nir
from ...export.nir.writer import write_nir
from ...export.onnx.window import write_model
from ...export.passes import lower
from ...export.passes.quantize import quantize
from ...export.trace.walk import Traced, trace
from ..equivalence.verdict import Check, compare
from ..run.any_form import encode, run
from .probes import PROBES, TIME_STEPS, Probe, prepared

Fate = Literal["exact", "lowered", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """words: what becomes of it, or why it is refused and what to do. lowered: exact, by populations of its own."""

    fate: Fate
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """cells: target -> cell."""

    family: str
    layer: str
    cells: dict[str, Cell]

    @property
    def words(self) -> str:
        """What becomes of it; of a refusal, once where several targets give the same reason."""
        return "; ".join(dict.fromkeys(cell.words for cell in self.cells.values() if cell.words))


Written = tuple[Check, bool]  # what was written computes the same; whether it took populations of its own


class Differs(AssertionError):
    """A form computes something else than the network: a defect, never a row."""


def capabilities(probes: tuple[Probe, ...] = PROBES) -> list[Row]:
    """Every probe on every target. Raises Differs where a file that was written does not compute the same."""
    with tempfile.TemporaryDirectory(prefix="spikeport-") as folder:
        return [_row(probe, Path(folder)) for probe in probes]


def _row(probe: Probe, folder: Path) -> Row:
    network, images = prepared(probe.build)
    cells = {}
    for target, write in TARGETS.items():
        try:
            check, lowered = write(network, images, folder)
        except UnsupportedError as error:
            cells[target] = Cell(fate="refused", words=str(error))
            continue
        if check.verdict != "pass" or not check.spikes_compared:
            raise Differs(f"{probe.layer} as {target}: {check}")
        fate: Fate = "lowered" if lowered else "exact"
        cells[target] = Cell(fate=fate, words="" if target == "onnx" else probe.how)
    return Row(family=probe.family, layer=probe.layer, cells=cells)


def _onnx(network: nn.Module, images: Tensor, folder: Path) -> Written:
    path = write_model(folder / "model.onnx", network, images)
    return compare(run(network, images.numpy()), run(path, images.numpy())), False


def _loihi(network: nn.Module, images: Tensor, folder: Path) -> Written:
    traced, spikes = _traced(network, images)
    peak = float(np.abs(run(network, images.numpy()).readout).max())
    graph = quantize(lower(traced.graph), peak)
    path = write_netx(folder / "network.net", graph)
    return compare(run(graph, spikes), run(path, spikes)), _has_gates(graph)


def _nir(network: nn.Module, images: Tensor, folder: Path) -> Written:
    traced, spikes = _traced(network, images)
    again = read_nir(write_nir(folder / "network.nir", traced.graph)).graph
    return compare(run(traced.graph, spikes), run(again, spikes)), _has_gates(again)


def _has_gates(graph: SpikingGraph) -> bool:
    return any(p.role in ("or", "and", "relay") for p in graph.populations)


def _traced(network: nn.Module, images: Tensor) -> tuple[Traced, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """The graph, which computes what the network does, and the spikes that enter it."""
    traced = trace(network, images[:1], TIME_STEPS)
    assert traced.encoder is not None
    spikes = encode(traced.encoder, images)
    check = compare(run(network, images.numpy()), run(traced.graph, spikes))
    if check.verdict != "pass":
        raise Differs(f"the graph: {check}")
    return traced, spikes


TARGETS: dict[str, Callable[[nn.Module, Tensor, Path], Written]] = {"onnx": _onnx, "loihi": _loihi, "nir": _nir}
