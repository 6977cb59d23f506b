"""The export targets: one table, target -> what writes its folder in the run."""

import time
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, UnsupportedError
from ..files import replacing_folder, write_json
from ..search.data.datasets import load_dataset
from ..search.run_lock import claimed
from ..search.runs import Run
from ..search.space.network import RunNetwork, load_network
from ..search.space.predict import predict
from .folded import folded
from .graph import SpikingGraph, neurons
from .netx.chain import chain_of
from .netx.writer import check_netx, layer_indices, write_netx
from .nir.writer import write_nir
from .onnx.twin import write_twin
from .onnx.window import write_encoder, write_model, write_step
from .passes import lower
from .passes.relays import levels
from .settings import ExportSettings
from .spent import spent
from .trace.host import multiply_accumulates
from .trace.walk import Traced, trace
from .tuning.integers import Source, integers_of
from .tuning.samples import finished, samples_of

Tell = Callable[[str], None]  # progress, one sentence per stage

PLAIN = ExportSettings()
EXAMPLE_IMAGES = 2  # more than one, or the exporter takes the batch for a constant
CALIBRATION_IMAGES = 512  # of the train split


def export(run: Run, target: str, tell: Tell, settings: ExportSettings = PLAIN) -> list[Path]:
    """Export to one target, or to "all" there are; return the folders written.

    A folder is replaced as a whole, or stays as it was. Raises InputError for an unknown target, a run without a model
    or one that another command works on, for settings of another target, UnsupportedError where the target cannot carry
    the network.
    """
    if target not in (*TARGETS, "all"):
        raise InputError(f"Unknown target '{target}'; choose from {', '.join(TARGETS)}, all.")
    if target not in ("loihi", "all") and settings.of_the_chip != PLAIN:
        raise InputError(
            "Weight bits, calibration and fine-tuning are of the chip's integers, and gates fold for it, but "
            f"the target is {target}; say --target loihi, or leave them out."
        )
    start = time.monotonic()
    chosen = TARGETS if target == "all" else {target: TARGETS[target]}
    with claimed(run.path):
        network = load_network(run)
        constant, gates = folded(network, tell) if settings.fold_attention else (network, {})
        for name, write in chosen.items():
            whole = network if name == "onnx" else constant
            more: Any = {"gates": gates} if name == "loihi" else {}
            with replacing_folder(run.export_folder(name)) as folder:
                write(run, whole, folder, settings, tell=lambda stage, name=name: tell(f"{name}: {stage}"), **more)
    tell(spent(start))
    return [run.export_folder(name) for name in chosen]


def traced(network: RunNetwork) -> Traced:
    """The network as a SpikingGraph and, where it reads images, an encoder."""
    reads_spikes = network.config.reads == "spikes"
    return trace(network, _example(network)[:1], network.config.time_steps, reads_spikes=reads_spikes)


def encoder_macs(network: RunNetwork) -> int:
    """Multiply-accumulates on the host for one image and step; events need no encoder."""
    encoder = traced(network).encoder
    return 0 if encoder is None else multiply_accumulates(encoder, _example(network)[:1])


def _onnx(run: Run, network: RunNetwork, folder: Path, settings: ExportSettings, tell: Tell) -> None:
    tell("writing model.onnx, the whole time window")
    metadata = _metadata(run, network)
    write_model(folder / "model.onnx", network, _example(network), metadata)
    try:
        write_step(folder / "step.onnx", network, _example(network), metadata)
        tell("wrote step.onnx, one time step")
    except UnsupportedError as error:
        tell(f"without step.onnx. {error}")


def _loihi(
    run: Run, network: RunNetwork, folder: Path, settings: ExportSettings, tell: Tell, gates: dict[str, Any]
) -> None:
    """gates: what the manifest says of attention that was folded into this network."""
    tell("tracing the network")
    found = traced(network)
    tell("finding the largest logit on the train split")
    peak = readout_peak(network)
    tell("choosing levels and relays, quantizing")
    integers = integers_of(source(run, network, found, peak), finished(run, settings), tell)
    graph = integers.graph
    chain = chain_of(graph)
    check_netx(chain)  # everything that can be refused is refused before the first byte
    _encoder(run, network, found, folder, tell)
    tell("writing twin.onnx")
    write_twin(folder / "twin.onnx", graph, _metadata(run, network))
    tell("writing network.net")
    write_netx(folder / "network.net", graph, chain)
    manifest = {
        "time_steps": graph.time_steps,
        "input": asdict(graph.inputs[0]),
        "readout_peak": peak,
        "integers": integers.record,
        "populations": _populations(graph),
        "layers": layer_indices(chain),
        "places": {name: asdict(place) for name, place in chain.places.items()},
        "sha256": _hashes(folder),
        **gates,
    }
    write_json(folder / "manifest.json", manifest)


def _nir(run: Run, network: RunNetwork, folder: Path, settings: ExportSettings, tell: Tell) -> None:
    tell("tracing the network")
    found = traced(network)
    tell("writing network.nir")
    write_nir(folder / "network.nir", found.graph, dt=settings.dt)
    _encoder(run, network, found, folder, tell)
    manifest = {
        "time_steps": found.graph.time_steps,
        "dt": settings.dt,
        "input": asdict(found.graph.inputs[0]),
        "populations": _populations(found.graph),
        "sha256": _hashes(folder),
    }
    write_json(folder / "manifest.json", manifest)


# target -> (run, network, folder, settings, tell) -> its files in the folder
TARGETS: dict[str, Callable[..., None]] = {"onnx": _onnx, "loihi": _loihi, "nir": _nir}


def _encoder(run: Run, network: RunNetwork, found: Traced, folder: Path, tell: Tell) -> None:
    """What stays on the host; events enter as they are."""
    if found.encoder is not None:
        tell("writing encoder.onnx")
        write_encoder(folder / "encoder.onnx", found.encoder, _example(network), _metadata(run, network))


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def _populations(graph: SpikingGraph) -> dict[str, object]:
    """How large the graph is, and how much of it are relays."""
    relays = [p for p in graph.populations if p.role == "relay"]
    return {
        "levels": max(levels(graph).values()),
        "populations": len(graph.populations),
        "neurons": sum(neurons(p.shape) for p in graph.populations),
        "relay_populations": len(relays),
        "relay_neurons": sum(neurons(p.shape) for p in relays),
    }


def source(run: Run, network: RunNetwork, found: Traced, peak: float) -> Source:
    """What the chip's integers are made of."""
    dataset = load_dataset(network.config.dataset, time_steps=network.config.time_steps)
    samples = samples_of(run, dataset)
    return Source(network=network, graph=lower(found.graph), encoder=found.encoder, peak=peak, samples=samples)


def readout_peak(network: RunNetwork) -> float:
    """The largest |logit| over the first images of the train split."""
    dataset = load_dataset(network.config.dataset, time_steps=network.config.time_steps)
    return float(predict(network, dataset.train_images[:CALIBRATION_IMAGES]).abs().max())


def _example(network: RunNetwork) -> torch.Tensor:
    """Images, or frames of spikes."""
    values = torch.rand(EXAMPLE_IMAGES, *network.config.sample_shape, generator=torch.Generator().manual_seed(0))
    return values if network.config.reads == "images" else values.round()


def _metadata(run: Run, network: RunNetwork) -> dict[str, str]:
    return {"run": run.path.name, "time_steps": str(network.config.time_steps), "threshold": "1.0"}
