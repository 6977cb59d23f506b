"""A network of somebody's own code becomes a run, which export, deploy, fit and energy take like a searched one."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from spikingjelly.activation_based import functional

from ..errors import InputError, UnsupportedError
from ..files import replacing_folder, write_json
from ..search.data.datasets import Dataset, load_dataset
from ..search.runs import Run, create_run, make_manifest
from ..search.settings.imported import ImportSettings
from ..search.settings.network import Reads
from ..search.space import imported
from ..search.space.imported import ImportedConfig, ImportedNetwork
from ..search.space.network import count_parameters, save_imported
from ..search.tensors import check_tensors, load_weights
from .onnx.window import with_spikes
from .targets import traced
from .trace.walk import spiking_layers

BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """refused: why no chip can carry it; None: it was traced."""

    run: Run
    config: ImportedConfig
    metrics: dict[str, Any]
    populations: int
    refused: str | None


def import_network(
    builder: str,
    out: Path | str,
    settings: ImportSettings,
    *,
    weights: Path | str | None = None,
    command: str = "",
    tell: Callable[[str], None] = lambda sentence: None,
) -> Imported:
    """Build a network with somebody's own code, load its weights, test it, and make it a run.

    builder: `package.module:build` or `folder/file.py:build`, a network or a function without arguments that makes
    one. weights: its state dict, safetensors or a checkpoint of torch.save, which is never unpickled; without, as the
    builder made them. Raises InputError where the folder holds something, the code makes no network, the weights are
    of another, or it does not take inputs of this shape.

    >>> settings = spikeport.ImportSettings(example="1x8x8")
    >>> found = spikeport.import_network("spikeport.search.space.example:ExampleNetwork", "runs/theirs", settings)
    >>> found.config.time_steps, found.config.classes, found.refused
    (4, 10, None)
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"An imported network needs a folder of its own, but '{out}' holds something; name another.")
    tell(f"building {builder}")
    network, digest = imported.build(builder)
    if weights is not None:
        _load(network, Path(weights))
    takes = None if settings.takes == "found" else settings.takes
    reads: Reads = "spikes" if settings.events else "images"
    form = imported.form_of(network, settings.shape, settings.time_steps or None, reads, takes)
    imported.check_normalisation(settings.means, settings.stds, settings.shape)
    config = ImportedConfig(
        builder=builder,
        file_sha256=digest,
        modules_sha256=imported.printed_sha256(network),
        time_steps=form.time_steps,
        classes=form.classes,
        input_shape=settings.shape,
        takes=form.takes,
        gives_steps=form.gives_steps,
        reads=reads,
        dataset=settings.data or f"random:{settings.example}{',spikes' * settings.events}",
        mean=settings.means,
        std=settings.stds,
    )
    dataset = _data(config, settings.data_folder)
    config = replace(config, dataset=dataset.name)
    whole = ImportedNetwork(network, config).eval()
    tell("tracing it")
    populations, refused = _carried(whole)
    tell(f"testing it on {len(dataset.test_images)} samples")
    metrics = _tested(whole, dataset)
    with replacing_folder(out) as folder:
        run = Run(folder)
        create_run(
            folder, make_manifest(command, 0, dataset.record(), {"import": {"builder": builder} | asdict(settings)})
        )
        save_imported(run, whole)
        write_json(run.metrics, metrics)
    return Imported(run=Run(out), config=config, metrics=metrics, populations=populations, refused=refused)


def _load(network: torch.nn.Module, path: Path) -> None:
    tensors = load_weights(path, network.state_dict())
    check_tensors(path, tensors, network.state_dict())
    network.load_state_dict(tensors)


def _data(config: ImportedConfig, folder: str) -> Dataset:
    """Raises InputError where the samples are none of this network."""
    dataset = load_dataset(config.dataset, folder, time_steps=config.time_steps)
    if (dataset.frames is None) == (config.reads == "spikes"):
        found, other = ("images", "leave --events out") if dataset.frames is None else ("events", "add --events")
        raise InputError(f"'{dataset.name}' holds {found}; {other}, or name other --data.")
    if dataset.input_shape != config.input_shape:
        raise InputError(
            f"'{dataset.name}' holds inputs of shape {list(dataset.input_shape)}, but --example says "
            f"{list(config.input_shape)}."
        )
    if dataset.normalisation is not None and config.mean:
        raise InputError(f"Images of '{dataset.name}' come normalised; leave --mean and --std out.")
    if dataset.classes > config.classes:
        raise InputError(
            f"'{dataset.name}' has {dataset.classes} classes, but the network tells {config.classes} apart; name the "
            "data that it was trained on."
        )
    return dataset


def _carried(network: ImportedNetwork) -> tuple[int, str | None]:
    """(how many populations it has, why it cannot be traced)."""
    try:
        return len(traced(network).graph.populations), None
    except UnsupportedError as error:
        return 0, str(error)


def _tested(network: ImportedNetwork, dataset: Dataset) -> dict[str, Any]:
    """What a run knows of its network, of the test split; without labels there is no accuracy."""
    right = 0
    images = torch.from_numpy(dataset.test_images)
    labels = torch.from_numpy(dataset.test_labels)
    module = with_spikes(network, images[:1].float())
    fired = dict.fromkeys(spiking_layers(module), 0)
    for start in range(0, len(images), BATCH):
        functional.reset_net(module)
        with torch.no_grad():
            logits, *spikes = module(images[start : start + BATCH].float())
        right += int((logits.argmax(1) == labels[start : start + BATCH]).sum())
        for name, each in zip(fired, spikes, strict=True):
            fired[name] += int(torch.count_nonzero(each))
    functional.reset_net(module)
    spikes_of = {name: number / len(images) for name, number in fired.items()}
    return {
        "test_accuracy": right / len(images) if dataset.labelled else None,
        "parameters": count_parameters(network.imported),
        "time_steps": network.config.time_steps,
        "spikes_per_inference": sum(spikes_of.values()),
        "spikes_per_population": spikes_of,
    }
