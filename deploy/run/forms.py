"""The exported forms as functions: input -> Record. The torch network itself is in `torch_network.py`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from ...errors import InputError
from ...export.graph import SpikingGraph, neurons, per_neuron
from ...export.netx.chain import chain_of, unpacked
from ...export.netx.writer import layer_indices
from ...export.onnx.twin import with_spikes
from ...export.simulate import MANTISSA_SHIFT, in_membrane_units, lag_of, simulate
from ...reading.models import read_model
from ..cost.counts import Activity
from .advance import simulated
from .lava import Progress, run_lava, run_lava_on
from .netx import run_netx
from .record import Record, Spikes, as_images, joined

BATCH = 64  # samples that are in memory at the same time
# measured on two cores: 14.5 million products a step of PilotNet in 0.16 to 0.19 s, 18.2 billion of another in 213 s
LAVA_MULTIPLIES_PER_S = 9e7
LAVA_MISJUDGED = 3.0  # times that a machine may be faster
RUNTIME_ERRORS = (
    UnicodeDecodeError,  # of the words of its own errors, which have no base of their own
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.InvalidProtobuf,
    onnxruntime_errors.NotImplemented,
    onnxruntime_errors.RuntimeException,
)

Images = NDArray[np.float32 | np.uint8]  # float32 [N, C, H, W], or frames of spikes [N, T, C, H, W]


class OnnxRunner:
    """model.onnx in ONNX Runtime: images or frames -> logits and the spikes of every spiking layer."""

    def __init__(self, path: Path) -> None:
        self.session = _Session(path, read_model(path), "images", ["logits"])

    def __call__(self, images: Images) -> Record:
        results = self.session.run(images.astype(np.float32, copy=False))
        fired = {n.removesuffix("/spikes"): r for n, r in results.items() if n.endswith("/spikes")}
        spikes = {name: as_images(value.astype(np.uint8)) for name, value in fired.items()}
        return Record(spikes=spikes, readout=results["logits"], margins={})


class EncoderRunner:
    """encoder.onnx: images -> spikes [T, N, C, H, W]."""

    def __init__(self, path: Path) -> None:
        self.session = _Session(path, read_model(path), "images", ["spikes"])

    def __call__(self, images: Images) -> Spikes:
        batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        return np.concatenate([self.batch(batch) for batch in batches], axis=1)

    def batch(self, images: Images) -> Spikes:
        """Of images that are all in memory at the same time."""
        return np.asarray(self.session.run(images)["spikes"].astype(np.uint8))


class GraphRunner:
    """The SpikingGraph, float or quantized, as `export/simulate.py` defines it: spikes -> Record."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.graph = graph

    def __call__(self, spikes: Spikes) -> Record:
        trace = simulate(self.graph, {self.graph.inputs[0].name: spikes})
        unit = 1 << MANTISSA_SHIFT if self.graph.arithmetic == "loihi" else 1
        thresholds = {
            p.name: per_neuron(p.threshold, p.shape) * unit for p in self.graph.populations if p.role != "readout"
        }
        margins = {name: trace.membranes[name] - value for name, value in thresholds.items()}
        return Record(spikes=trace.spikes, readout=trace.readout[-1], readout_steps=trace.readout, margins=margins)


class TwinRunner:
    """twin.onnx, the quantized graph's integers: spikes -> Record of every population, relays included."""

    def __init__(self, path: Path, graph: SpikingGraph) -> None:
        self.graph = graph
        populations = [f"{p.name}/is_active" for p in graph.populations]
        self.session = _Session(path, with_spikes(read_model(path), graph), graph.inputs[0].name, populations)

    def __call__(self, spikes: Spikes) -> Record:
        return self.run(spikes)[0]

    def run(self, spikes: Spikes) -> tuple[Record, dict[str, Activity]]:
        """The record, and what every input and population did."""
        (entry,) = self.graph.inputs
        results = self.session.run(spikes)
        fired = {entry.name: spikes}
        margins: dict[str, NDArray[np.generic]] = {}
        for p in self.graph.populations:
            if p.role != "readout":
                fired[p.name] = results[f"{p.name}/spikes"].astype(np.uint8)
                margins[p.name] = results[f"{p.name}/v_before"] - in_membrane_units(per_neuron(p.threshold, p.shape))
        steps = results[f"{self.graph.readout.name}/membrane"]
        did = {entry.name: Activity(spikes=spikes)} | {
            p.name: Activity(spikes=fired.get(p.name), active=results[f"{p.name}/is_active"])
            for p in self.graph.populations
        }
        return Record(spikes=fired, readout=steps[-1], readout_steps=steps, margins=margins), did

    def batches(self, spikes: Spikes) -> Iterator[tuple[Record, dict[str, Activity]]]:
        """Run any number of samples, `BATCH` at a time."""
        for start in range(0, spikes.shape[1], BATCH):
            yield self.run(spikes[:, start : start + BATCH])


class GraphOnnxRunner:
    """A float graph in ONNX Runtime (`write_graph`): spikes -> Record of every population."""

    def __init__(self, path: Path, graph: SpikingGraph) -> None:
        self.graph = graph
        self.session = _Session(path, read_model(path), graph.inputs[0].name, [graph.readout.name])

    def __call__(self, spikes: Spikes) -> Record:
        results = self.session.run(spikes)
        fired = {n.removesuffix("/spikes"): r.astype(np.uint8) for n, r in results.items() if n.endswith("/spikes")}
        entry = {self.graph.inputs[0].name: spikes}
        return Record(spikes=entry | fired, readout=results[self.graph.readout.name], margins={})


class CompiledRunner:
    """What twin.onnx computes, compiled (`kernels/`): several times as fast where a network is large and few neurons
    fire. Its records have no margins."""

    def __init__(self, graph: SpikingGraph) -> None:
        from .kernels.runner import KernelRunner  # Numba takes a second to import

        self.graph, self.runner = graph, KernelRunner(graph)

    def run(self, spikes: Spikes) -> tuple[Record, dict[str, Activity]]:
        """The record, and what every input and population did."""
        (entry,) = self.graph.inputs
        result = self.runner.run(spikes, totals=False, note=True)
        fired = {entry.name: spikes}
        fired |= {p.name: result.spikes(p.name) for p in self.graph.populations if p.role != "readout"}
        did = {entry.name: Activity(spikes=spikes)} | {
            p.name: Activity(spikes=fired.get(p.name), active=result.active_in(p.name)) for p in self.graph.populations
        }
        steps = result.readout
        return Record(spikes=fired, readout=steps[-1], readout_steps=steps, margins={}), did


class LavaRunner:
    """network.net in unmodified Lava: spikes -> Record of every population, taken out of the layers' channels.

    Samples run back to back; those of a network with recurrent or delayed synapses in runs of their own.
    """

    def __init__(self, path: Path, graph: SpikingGraph, time_limit_s: float, tell: Progress) -> None:
        self.path, self.graph, self.time_limit_s, self.tell = path, graph, time_limit_s, tell

    def __call__(self, spikes: Spikes) -> Record:
        if lag_of(self.graph):  # Lava keeps a spike under way in a synapse when it resets for the next sample
            apart = [(self.path, self.graph, spikes[:, i : i + 1]) for i in range(spikes.shape[1])]
            return joined(lava_records(apart, self.time_limit_s, self.tell))
        result = run_lava(self.path, _by_sample(spikes), time_limit_s=self.time_limit_s, progress=self.tell)
        return _layers_record(self.path, self.graph, spikes, result.spikes, result.membrane)


class NetxRunner:
    """network.net as lava-dl loads it, read and run without Lava: spikes -> Record like LavaRunner's."""

    def __init__(self, path: Path, graph: SpikingGraph) -> None:
        self.path, self.graph = path, graph

    def __call__(self, spikes: Spikes) -> Record:
        run = run_netx(self.path, _by_sample(spikes), runner=simulated)  # few samples: compiling would take longer
        return _layers_record(self.path, self.graph, spikes, run.spikes, run.membrane)


def lava_takes_longer(graph: SpikingGraph, samples: int, limit_s: float) -> str | None:
    """Why not to begin a run in Lava that would not come to its end within a time limit; None where it may."""
    chain = chain_of(graph).graph
    shapes = chain.shapes()
    multiplications = sum(
        neurons(shapes[p.target]) * (p.kernel.weight.size // len(p.kernel.weight)) for p in chain.projections
    )
    steps = samples * graph.time_steps + len(chain.populations)
    seconds = steps * multiplications / LAVA_MULTIPLIES_PER_S
    if seconds <= LAVA_MISJUDGED * limit_s:
        return None
    return (
        f"{samples} samples are {steps} steps in {len(chain.populations)} layers, each of {multiplications / 1e9:.1f} "
        f"billion products, and would take Lava about {seconds / 3600:.1f} h, beyond the limit of {limit_s:g} s; give "
        f"`--lava-limit-s {round(2 * seconds, -3):.0f}`, or fewer samples (`--lava-samples`)"
    )


LavaJob = tuple[Path, SpikingGraph, Spikes]  # the file, the graph it was written from, spikes [T, N, *shape]


def lava_records(jobs: Sequence[LavaJob], time_limit_s: float, tell: Progress) -> list[Record]:
    """What LavaRunner gives for each of several files, with one start of Lava for all."""
    files = [(path, _by_sample(spikes)) for path, _, spikes in jobs]
    results = run_lava_on(files, time_limit_s=time_limit_s, progress=tell)
    return [_layers_record(*job, found.spikes, found.membrane) for job, found in zip(jobs, results, strict=True)]


def _by_sample(spikes: Spikes) -> Spikes:
    """[T, N, *shape] -> [N, T, *shape]."""
    return np.ascontiguousarray(np.swapaxes(spikes, 0, 1))


def _layers_record(
    path: Path, graph: SpikingGraph, spikes: Spikes, by_layer: dict[int, Spikes], membrane: NDArray[np.int64]
) -> Record:
    """by_layer: `layer/<i>` -> [N, T, *shape], membrane [N, T, classes] -> the populations' record."""
    chain = chain_of(graph)
    indices = layer_indices(chain)
    wanted = {indices[p.name]: p.shape for p in chain.graph.populations}
    found = {i: layer.shape[2:] for i, layer in by_layer.items()}
    if found != wanted:
        raise InputError(f"'{path}' must have the layers {wanted}, but has {found}; export it again.")
    layers = [np.swapaxes(by_layer[i], 0, 1) for i in wanted]
    fired = {graph.inputs[0].name: spikes}
    for p in graph.populations:
        if p.role != "readout":
            place = chain.places[p.name]
            fired[p.name] = unpacked(layers[place.layer], place)
    steps = np.swapaxes(membrane, 0, 1)
    return Record(spikes=fired, readout=steps[-1], readout_steps=steps, margins={})


class _Session:
    """A checked model in ONNX Runtime. Raises InputError, in one line with the file's name, for whatever is wrong."""

    def __init__(self, path: Path, model: onnx.ModelProto, reads: str, gives: list[str]) -> None:
        self.path, self.reads = path, reads
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal only: errors are raised, and warnings are about constants it folds
        options.enable_mem_reuse = False  # planning it takes 10 times as long as all else for a twin's 3000 nodes
        try:
            serialized = model.SerializeToString()
            self.session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
        except RUNTIME_ERRORS as error:
            raise InputError(f"'{path}' cannot be run by ONNX Runtime ({_line(error)}); export it again.") from error
        inputs = [node.name for node in self.session.get_inputs()]
        self.outputs = [node.name for node in self.session.get_outputs()]
        missing = [name for name in gives if name not in self.outputs]
        if inputs != [reads] or missing:
            raise InputError(
                f"'{path}' must read '{reads}' and give {', '.join(gives)}, but reads {', '.join(inputs)} and lacks "
                f"{', '.join(missing) or 'nothing'}; export it again."
            )

    def run(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        try:
            results = self.session.run(None, {self.reads: values})
        except RUNTIME_ERRORS as error:
            raise InputError(f"'{self.path}' refused its input ({_line(error)}); export the run again.") from error
        return dict(zip(self.outputs, results, strict=True))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
