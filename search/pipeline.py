"""Search, then train what was found, then test it: the whole stage, into one run folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json, read_text, write_json, write_text
from .data.datasets import Dataset, load_dataset
from .machine import processes
from .machine.device import find_device
from .objective.priced_loss import Price, mean_sops
from .runs import Run, create_run, make_manifest, new_run_path, newest_run, open_run
from .settings.run import SearchSettings, settings_from_dict
from .space.drawing import draw_genotype, draw_history
from .space.genotype import Genotype, from_dict, from_json, to_dict, to_json
from .space.network import NetworkSettings, SpikingNetwork, count_parameters, save_network
from .strategies.darts.search import search
from .strategies.random_cells import random_search
from .supernet.trellis import trellis_of
from .training.checkpoint import Row
from .training.history import read_history
from .training.loop import evaluate, seeded, train_network
from .training.progress import Progress, Stage, silent
from .training.tensorboard import event_writer

# Small enough for two CPU cores and a few minutes: digits are 8x8, and the plain primitives cost a third of `darts`.
DEMO = SearchSettings(
    dataset="digits",
    primitives="plain",
    supernet="plain",  # after so short a search the kernel-space supernet's cells train to 1 to 4 points less
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


def choose_folder(out: Path | None, resume: bool) -> Path:
    """The run folder that is meant: `out`; or the newest, to resume it; or a new one.

    Raises InputError when there is nothing to resume, and when several processes would each choose their own.
    """
    if out is not None:
        return out
    if processes.launched() > 1:
        raise InputError("Processes that train together need the same run folder; name it with --out.")
    return newest_run().path if resume else new_run_path()


def run_search(
    settings: SearchSettings,
    out: Path,
    resume: bool = False,
    progress: Progress = silent,
    genotype: Path | None = None,
    command: str = "spikeport search",
    download: bool = False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Run:
    """Search a cell, train the network built from it and test it once; or train a genotype that is given as a file.

    With the strategy `random` cells are drawn instead, all of them trained, and the best is the result. At the level
    `macro` the genotype that is given has its path searched, at `both` path and cells are searched together.

    With `resume` the run in `out` goes on from its last epoch and ends as it would have without the break; a finished
    one is returned at once. `download` lets torchvision fetch a data set, `tell` is told what is done to its images.
    Started by torchrun, all processes train together and the first writes. Raises InputError when `out` holds a run
    and `resume` is not set, when the settings differ from those the run was started with, and for unusable data.
    """
    with processes.joined(find_device(settings.device)):
        run = open_run(out) if resume else Run(Path(out))
        given = _given_genotype(run, genotype)
        dataset = _load(settings, download)
        _check_path(settings, settings.network(dataset), given)  # before a folder is made
        for note in dataset.notes:
            tell(note)
        manifest = make_manifest(
            command,
            settings.seed,
            dataset.record(),
            settings.to_dict() | {"genotype": None if given is None else to_dict(given)},
        )
        finished, known = run.metrics.exists(), read_genotype(run)
        processes.wait()  # all have seen the folder as it was
        if resume:
            _check_same(run, json.loads(json.dumps(manifest)))
        elif processes.is_first():
            create_run(run.path, manifest | {"processes": processes.world()})
        if finished:
            return run
        if settings.strategy == "random" and _searches(settings, given):

            def train(settings: SearchSettings, folder: Path, file: Path) -> Run:
                told: Any = {"progress": progress, "command": command}
                return run_search(settings, folder, Run(folder).manifest.exists(), genotype=file, **told)

            random_search(run, settings, settings.network(dataset), given, train, tell)
            return run
        found = known or _search(run, dataset, settings, given, progress)
        network = _train(run, dataset, settings, found, progress)
        metrics = _test(network, dataset, settings)
        if processes.is_first():
            save_network(run, network)
            write_json(run.metrics, metrics)
            for checkpoint in (run.search_checkpoint, run.train_checkpoint):
                checkpoint.unlink(missing_ok=True)
        processes.wait()
    return run


def _searches(settings: SearchSettings, given: Genotype | None) -> bool:
    """Whether anything is left to be found of the genotype that is given."""
    return given is None or settings.level == "macro"


def _check_path(settings: SearchSettings, network: NetworkSettings, given: Genotype | None) -> None:
    """Raises InputError when level and genotype contradict each other, and for a size that cannot be halved."""
    if settings.level == "macro" and given is None:
        raise InputError(
            "--level macro searches the path of a cell that is given; name its file with --genotype, "
            "or say --level both."
        )
    if settings.level == "both" and given is not None:
        raise InputError(
            "--level both searches cells, too, but --genotype gives them; say --level macro to search their path, "
            "or leave --level out to train them."
        )
    if settings.level == "macro" and given is not None and given.layers is not None:
        raise InputError(
            f"--level macro searches a path, but the genotype has one of {len(given.layers)} layers already; take the "
            "key `layers` out of it, or leave --level out to train it."
        )
    if settings.level != "micro" and _searches(settings, given):
        trellis_of(network)
    else:
        network.plan(None if given is None else given.layers)


def _load(settings: SearchSettings, download: bool) -> Dataset:
    """The images; of several processes the first downloads them, and the others wait for it."""
    if processes.world() > 1 and not processes.is_first():
        processes.wait()
        return load_dataset(settings.dataset, settings.data_folder)
    dataset = load_dataset(settings.dataset, settings.data_folder, download=download)
    processes.wait()
    return dataset


def read_genotype(run: Run) -> Genotype | None:
    """What the search of a run has found; None before its end."""
    return from_json(read_text(run.genotype)) if run.genotype.exists() else None


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
    images = read_json(run.manifest).get("dataset", {})
    if any(images.get(key) != manifest["dataset"][key] for key in ("name", "sha256")):
        raise InputError(
            f"A run must be resumed with the images it was started with, but '{manifest['dataset']['name']}' "
            f"has changed since; use another --out."
        )


def _search(
    run: Run, dataset: Dataset, settings: SearchSettings, given: Genotype | None, progress: Progress
) -> Genotype:
    searching = _searches(settings, given)
    found = given
    if found is None or searching:
        record = _recorder(run, settings, "search", [])
        found = search(dataset, settings, run.search_checkpoint, record, progress, given)
    if processes.is_first():
        if searching:
            write_text(run.history_svg, draw_history(read_history(run)))
        write_text(run.cells_svg, draw_genotype(found))
        write_text(run.genotype, to_json(found))  # the last file, because it says that the search is over
    return found


def _train(
    run: Run, dataset: Dataset, settings: SearchSettings, genotype: Genotype, progress: Progress
) -> SpikingNetwork:
    searched = [row for row in read_history(run) if row["stage"] == "search"]
    with seeded(settings.seed, "train weights"):
        network = SpikingNetwork(genotype, settings.network(dataset))
    record = _recorder(run, settings, "train", searched)
    train_network(network, dataset, settings, run.train_checkpoint, record, progress)
    if processes.is_first():
        write_text(run.history_svg, draw_history(read_history(run)))
    return network


def _recorder(run: Run, settings: SearchSettings, stage: Stage, before: list[Row]) -> Callable[[list[Row]], None]:
    """Writes the rows of a stage behind those before it, and as events where these are wanted."""
    if not processes.is_first():
        return lambda rows: None
    events = event_writer(run.events / stage) if settings.tensorboard else None

    def record(rows: list[Row]) -> None:
        write_text(run.history, "".join(json.dumps(row) + "\n" for row in before + rows))
        if events is not None:
            events(rows)

    return record


def _test(network: SpikingNetwork, dataset: Dataset, settings: SearchSettings) -> dict[str, Any]:
    score = evaluate(network, dataset.test_images, dataset.test_labels)
    sops = mean_sops(Price(network, settings), dataset.test_images)
    return {
        "test_accuracy": score.accuracy,
        "parameters": count_parameters(network),
        "time_steps": network.settings.time_steps,
        "spikes_per_inference": score.spikes,
        "spikes_per_cell": score.spikes_per_cell,
        "sops_per_inference": sum(sops.values()),
        "sops_per_cell": sops,
    }
