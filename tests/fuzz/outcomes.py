"""What came of reading a file: it was read, it runs and both runners agree, it was refused in one line, or a defect."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spikeport.deploy.cost.profiles import load_profile
from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.netx_table import inspect_netx
from spikeport.deploy.run.forms import EncoderRunner
from spikeport.deploy.run.kernels.runner import compiled
from spikeport.deploy.run.netx import run_netx, simulated
from spikeport.errors import InputError, SpikeportError
from spikeport.export.graph import SpikingGraph, neurons
from spikeport.export.netx.writer import read_graph
from spikeport.export.nir.reader import read_nir
from spikeport.export.onnx.carried import graph_in
from spikeport.export.simulate import simulate
from spikeport.reading.arrays import read_array, read_arrays
from spikeport.search.data.events import binned, read_events
from spikeport.search.runs import Run
from spikeport.search.settings.file import read_settings, recorded_settings
from spikeport.search.space.genotype import from_file
from spikeport.search.tensors import load_tensors, load_weights

MAX_LETTERS = 400  # of a message
MAX_SECONDS = 10
MAX_NEURONS = 20_000  # of a network that is run here
SECRET = "secretword"  # stands in files that nobody may read
DEFECTS = ("foreign exception", "message", "secret", "runners differ", "slow")


class Differing(Exception):
    """Two runners do not agree."""


def netx(path: Path) -> str:
    """`spikeport inspect`, and `spikeport run` by both runners."""
    inspection = inspect_netx(path)
    json.dumps(inspection.as_json(), allow_nan=False)
    if not all(remark.text.isprintable() and len(remark.text) <= MAX_LETTERS for remark in inspection.remarks):
        raise InputError("\n".join(remark.text for remark in inspection.remarks))
    file = inspection.file
    if inspection.verdict == "fail":
        return "read"
    layers = [layer for layer in file.layers if layer.weight is not None]
    work = sum(neurons(layer.shape) for layer in layers) + neurons(file.input_shape)
    if work > MAX_NEURONS or sum(layer.weight.size for layer in layers if layer.weight is not None) > 10 * MAX_NEURONS:
        return "read"
    spikes = (np.random.default_rng(0).random((2, 3, *file.input_shape)) < 0.4).astype(np.uint8)
    runs = [run_netx(path, spikes, skip_input=True, runner=runner) for runner in (simulated, compiled)]
    same = all((runs[0].spikes[i] == fired).all() for i, fired in runs[1].spikes.items())
    if not same or not (runs[0].membrane == runs[1].membrane).all():
        raise Differing
    return "runs"


def graph(path: Path) -> str:
    return _simulated(read_graph(path))


def nir(path: Path) -> str:
    return _simulated(read_nir(path, time_steps=4, dt=1e-4).graph)


def carried(path: Path) -> str:
    found = graph_in(path)
    return "read" if found is None else _simulated(found)


def _simulated(found: SpikingGraph) -> str:
    if sum(map(neurons, found.shapes().values())) > MAX_NEURONS or found.time_steps > 50:
        return "read"
    simulate(found, {node.name: np.ones((found.time_steps, 1, *node.shape), np.uint8) for node in found.inputs})
    return "runs"


def array(path: Path) -> str:
    values = read_array(path)
    _ = values.reshape(-1)[:1000].sum()
    return "read"


def arrays(path: Path) -> str:
    read_arrays(path, ("images", "labels"))
    return "read"


def events(path: Path) -> str:
    found = read_events(path)
    if len(found.labels) * neurons(found.size) > MAX_NEURONS:
        return "read"
    binned(found, 3, found.size)
    return "runs"


def model(path: Path) -> str:
    EncoderRunner(path)(np.ones((3, 2), np.float32))
    return "runs"


def manifest(path: Path) -> str:
    recorded_settings(Run(path.parent))
    return "read"


def _reads(reader: Callable[[Path], Any]) -> Callable[[Path], str]:
    def read(path: Path) -> str:
        reader(path)
        return "read"

    return read


READERS: dict[str, Callable[[Path], str]] = {
    "netx": netx,
    "graph": graph,
    "nir": nir,
    "carried": carried,
    "weights": _reads(lambda path: load_weights(path, {})),
    "array": array,
    "arrays": arrays,
    "events": events,
    "model": model,
    "tensors": _reads(load_tensors),
    "genotype": _reads(from_file),
    "manifest": manifest,
    "settings": _reads(read_settings),
    "chip": _reads(lambda path: find_chip(str(path))),
    "prices": _reads(load_profile),
}


def outcome(kind: str, path: Path) -> tuple[str, str]:
    """(what came of it, the message)."""
    start = time.monotonic()
    try:
        found, said = READERS[kind](path), ""
    except SpikeportError as error:
        found, said = "refused", str(error)
        wrong = "\n" in said or not said.isprintable() or len(said) > MAX_LETTERS or not said
        found = "message" if wrong else "secret" if SECRET in said else found
    except Differing:
        found, said = "runners differ", ""
    except Exception:  # noqa: BLE001 (that there is none is what is looked for)
        found, said = "foreign exception", traceback.format_exc()
    if time.monotonic() - start > MAX_SECONDS:
        found, said = "slow", f"{time.monotonic() - start:.0f} s {said}"
    return found, said


def is_defect(found: str) -> bool:
    return found in DEFECTS
