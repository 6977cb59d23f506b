"""The exported forms as functions: input -> Record. The torch network itself is in `torch_runner.py`."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ..errors import InputError
from ..export.chain import chain_of, unpacked
from ..export.graph import SpikingGraph
from ..export.netx import layer_indices
from ..export.onnx_twin import with_spikes
from ..export.simulate import MANTISSA_SHIFT, simulate
from .counts import Activity
from .lava import Progress, run_lava
from .record import Record, Spikes

BATCH = 64  # samples that are in memory at the same time

Images = NDArray[np.float32]


class OnnxRunner:
    """model.onnx in ONNX Runtime: images -> logits and the spikes of every spiking layer."""

    def __init__(self, path: Path) -> None:
        self.session = _session(path)
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, images: Images) -> Record:
        results = _run(self.session, {"images": images})
        spikes = {n.removesuffix("/spikes"): results[n].astype(np.uint8) for n in self.names if n.endswith("/spikes")}
        return Record(spikes=spikes, readout=results["logits"], margins={})


class EncoderRunner:
    """encoder.onnx: images -> spikes [T, N, C, H, W]."""

    def __init__(self, path: Path) -> None:
        self.session = _session(path)

    def __call__(self, images: Images) -> Spikes:
        batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        spikes = [_run(self.session, {"images": batch})["spikes"].astype(np.uint8) for batch in batches]
        return np.concatenate(spikes, axis=1)


class GraphRunner:
    """The SpikingGraph as `export/simulate.py` defines it: spikes -> Record."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.graph = graph

    def __call__(self, spikes: Spikes) -> Record:
        trace = simulate(self.graph, {self.graph.inputs[0].name: spikes})
        thresholds = {p.name: p.threshold for p in self.graph.populations if p.role != "readout"}
        margins = {name: trace.membranes[name] - value for name, value in thresholds.items()}
        return Record(spikes=trace.spikes, readout=trace.readout[-1], readout_steps=trace.readout, margins=margins)


class TwinRunner:
    """twin.onnx, the quantized graph's integers: spikes -> Record of every population, relays included."""

    def __init__(self, path: Path, graph: SpikingGraph) -> None:
        self.graph = graph
        self.session = _session(path, with_spikes(_load(path), graph))

    def __call__(self, spikes: Spikes) -> Record:
        return self.run(spikes)[0]

    def run(self, spikes: Spikes) -> tuple[Record, dict[str, int]]:
        """The record, and population -> neuron-steps in which its current or membrane was not zero."""
        (entry,) = self.graph.inputs
        results = _run(self.session, {entry.name: spikes})
        fired = {entry.name: spikes}
        margins: dict[str, NDArray[np.generic]] = {}
        for p in self.graph.populations:
            if p.role != "readout":
                fired[p.name] = results[f"{p.name}/spikes"].astype(np.uint8)
                margins[p.name] = results[f"{p.name}/v_before"] - (int(p.threshold) << MANTISSA_SHIFT)
        steps = results[f"{self.graph.readout.name}/membrane"]
        active = {p.name: int(results[f"active/{p.name}"].sum()) for p in self.graph.populations}
        return Record(spikes=fired, readout=steps[-1], readout_steps=steps, margins=margins), active

    def measure(self, spikes: Spikes) -> tuple[NDArray[np.int64], dict[str, Activity]]:
        """Run any number of samples in batches: predictions [N] and what every population did, summed over them."""
        totals = {name: np.zeros(shape, np.int64) for name, shape in self.graph.shapes().items()}
        active = dict.fromkeys(totals, 0)
        predictions = []
        for start in range(0, spikes.shape[1], BATCH):
            record, moved = self.run(spikes[:, start : start + BATCH])
            predictions.append(record.predictions)
            for name, fired in record.spikes.items():
                totals[name] += fired.sum((0, 1), dtype=np.int64)
            for name, number in moved.items():
                active[name] += number
        activity = {name: Activity(spikes=totals[name], active_updates=active[name]) for name in totals}
        return np.concatenate(predictions), activity


class LavaRunner:
    """network.net in unmodified Lava: spikes -> Record of every population, taken out of the layers' channels."""

    def __init__(self, path: Path, graph: SpikingGraph, time_limit_s: float, tell: Progress) -> None:
        self.path, self.graph, self.time_limit_s, self.tell = path, graph, time_limit_s, tell

    def __call__(self, spikes: Spikes) -> Record:
        result = run_lava(
            self.path,
            np.ascontiguousarray(np.swapaxes(spikes, 0, 1)),
            time_limit_s=self.time_limit_s,
            progress=self.tell,
        )
        chain = chain_of(self.graph)
        indices = layer_indices(chain)
        layers = [np.swapaxes(result.spikes[indices[p.name]], 0, 1) for p in chain.graph.populations]
        fired = {self.graph.inputs[0].name: spikes}
        for p in self.graph.populations:
            if p.role != "readout":
                place = chain.places[p.name]
                fired[p.name] = unpacked(layers[place.layer], place)
        steps = np.swapaxes(result.membrane, 0, 1)
        return Record(spikes=fired, readout=steps[-1], readout_steps=steps, margins={})


def _load(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise InputError(f"There is no file '{path}'; write it with `spikeport export`.")
    try:
        return onnx.load(str(path))
    except Exception as error:
        raise InputError(f"'{path}' is no readable ONNX file ({error}); export it again.") from error


def _session(path: Path, model: onnx.ModelProto | None = None) -> Any:
    model = model or _load(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only; its warnings are about constants it folds
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise InputError(f"'{path}' cannot be run by ONNX Runtime ({_line(error)}); export it again.") from error


def _run(session: Any, feed: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
    try:
        results = session.run(None, feed)
    except RUNTIME_ERRORS as error:
        raise InputError(f"ONNX Runtime refused the input ({_line(error)}); export the run again.") from error
    return dict(zip([output.name for output in session.get_outputs()], results, strict=True))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


RUNTIME_ERRORS = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
)
