"""Search, then train what was found, then test it: the whole stage, into one run folder."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json, read_text, write_json, write_text
from .checkpoint import Row
from .darts import search
from .datasets import Dataset, load_dataset
from .drawing import draw_genotype, draw_history
from .genotype import Genotype, from_dict, from_json, to_json
from .network import SpikingNetwork, save_network
from .progress import Progress, silent
from .runs import Run, create_run, make_manifest, open_run
from .settings import SearchSettings, settings_from_dict
from .training import evaluate, seeded, train_network

# Small enough for two CPU cores and a few minutes: digits are 8x8, and the plain primitives cost a third of `darts`.
DEMO = SearchSettings(
    dataset="digits",
    primitives="plain",
    channels=8,
    cells=3,
    time_steps=2,
    shift=1,
    search_epochs=6,
    learning_rate=0.1,
    alpha_learning_rate=0.01,  # in 6 short epochs the alphas take few steps, so they must be long
    train_epochs=32,
    train_learning_rate=0.1,
)


def run_search(
    settings: SearchSettings,
    out: Path,
    resume: bool = False,
    progress: Progress = silent,
    genotype: Path | None = None,
    command: str = "spikeport search",
) -> Run:
    """Search a cell, train the network built from it and test it once; or train a genotype that is given as a file.

    With `resume` the run in `out` goes on from its last epoch and ends as it would have without the break; a finished
    one is returned at once. Raises InputError when `out` holds a run and `resume` is not set, when the settings differ
    from those the run was started with, and for unusable data.
    """
    run = open_run(out) if resume else Run(Path(out))
    given = _given_genotype(run, genotype)
    dataset = load_dataset(settings.dataset)
    settings.network(dataset)  # an image size that cannot be halved is refused before a folder is made
    manifest = make_manifest(
        command,
        settings.seed,
        {"name": dataset.name, "sha256": dataset.sha256},
        settings.to_dict() | {"genotype": None if given is None else asdict(given)},
    )
    if resume:
        _check_same(run, json.loads(json.dumps(manifest)))
    else:
        create_run(run.path, manifest)
    if run.metrics.exists():
        return run
    found = _search(run, dataset, settings, given, progress)
    network = _train(run, dataset, settings, found, progress)
    save_network(run, network)
    write_json(run.metrics, _test(network, dataset))
    for checkpoint in (run.search_checkpoint, run.train_checkpoint):
        checkpoint.unlink(missing_ok=True)
    return run


def recorded_settings(run: Run) -> SearchSettings:
    """The settings a run was started with. Raises InputError when its manifest is damaged."""
    settings = _recorded(run)
    return settings_from_dict({key: value for key, value in settings.items() if key != "genotype"})


def _recorded(run: Run) -> dict[str, Any]:
    settings = read_json(run.manifest).get("settings")
    if not isinstance(settings, dict):
        raise InputError(f"'{run.manifest}' must hold `settings`; it is damaged: start again with another --out.")
    return settings


def _given_genotype(run: Run, genotype: Path | None) -> Genotype | None:
    """A genotype that was given instead of searched for: now, or when the run was started."""
    if genotype is not None:
        return from_json(read_text(genotype))
    recorded = _recorded(run).get("genotype") if run.manifest.exists() else None
    return None if recorded is None else from_dict(recorded)


def _check_same(run: Run, manifest: dict[str, Any]) -> None:
    recorded = _recorded(run)
    for key, value in manifest["settings"].items():
        if key not in recorded or recorded[key] != value:
            raise InputError(
                f"A run must be resumed with the settings it was started with, but '{run.path}' has "
                f"{key}={recorded.get(key)} and now it is {value}; leave it out or use another --out."
            )
    if read_json(run.manifest).get("dataset") != manifest["dataset"]:
        raise InputError(
            f"A run must be resumed with the images it was started with, but '{manifest['dataset']['name']}' "
            f"has changed since; use another --out."
        )


def _search(
    run: Run, dataset: Dataset, settings: SearchSettings, given: Genotype | None, progress: Progress
) -> Genotype:
    if run.genotype.exists():
        return from_json(read_text(run.genotype))
    found = given
    if found is None:
        found = search(dataset, settings, run.search_checkpoint, partial(_write_history, run), progress)
        write_text(run.history_svg, draw_history(read_history(run)))
    write_text(run.cells_svg, draw_genotype(found))
    write_text(run.genotype, to_json(found))  # the last file, because it says that the search is over
    return found


def _train(
    run: Run, dataset: Dataset, settings: SearchSettings, genotype: Genotype, progress: Progress
) -> SpikingNetwork:
    searched = [row for row in read_history(run) if row["stage"] == "search"]

    def record(rows: list[Row]) -> None:
        _write_history(run, searched + rows)

    with seeded(settings.seed, "train weights"):
        network = SpikingNetwork(genotype, settings.network(dataset))
    train_network(network, dataset, settings, run.train_checkpoint, record, progress)
    write_text(run.history_svg, draw_history(read_history(run)))
    return network


def _test(network: SpikingNetwork, dataset: Dataset) -> dict[str, Any]:
    score = evaluate(network, dataset.test_images, dataset.test_labels)
    return {
        "test_accuracy": score.accuracy,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "time_steps": network.settings.time_steps,
        "spikes_per_inference": score.spikes,
        "spikes_per_cell": score.spikes_per_cell,
    }


def _write_history(run: Run, rows: list[Row]) -> None:
    write_text(run.history, "".join(json.dumps(row) + "\n" for row in rows))


def read_history(run: Run) -> list[Row]:
    """The rows of history.jsonl, one per epoch; [] before the first. Raises InputError when a line is damaged."""
    if not run.history.exists():
        return []
    try:
        return [json.loads(line) for line in read_text(run.history).splitlines()]
    except json.JSONDecodeError as error:
        raise InputError(f"'{run.history}' is damaged ({error}); start again with another --out.") from error
