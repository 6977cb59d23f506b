"""Search, then train what was found, then test it: the whole stage, into one run folder."""

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json, write_json, write_text
from .data.datasets import Dataset, load_dataset
from .elastic_search import elastic_search, one_shot_of
from .evaluators.as_runs import OnChip
from .evaluators.from_scratch import train_network
from .evaluators.one_shot import OnChips
from .machine import processes
from .machine.channels_last import channels_last
from .machine.device import find_device, repeatable
from .objective.priced_loss import Price, mean_sops
from .random_streams import seeded
from .run_lock import claimed
from .runs import Run, check_new, create_run, make_manifest, open_run, read_metrics
from .settings.file import recorded
from .settings.network import NetworkSettings
from .settings.run import SearchSettings, by_option, changed, settings_from_dict
from .settings.strategies import RandomSettings
from .space.drawing import draw_genotype, draw_history
from .space.genotype import Genotype, from_dict, from_file, to_dict, to_json
from .space.network import NetworkConfig, SpikingNetwork, count_parameters, network_config, save_network
from .strategies.darts.search import search
from .strategies.trained_cells import asking_search, asks, check_measured, evaluator_of
from .supernet.trellis import trellis_of
from .training.checkpoint import Row
from .training.history import read_history
from .training.loop import evaluate
from .training.progress import Progress, Stage, silent
from .training.tensorboard import event_writer


def run_search(
    settings: SearchSettings,
    out: Path,
    resume: bool = False,
    progress: Progress = silent,
    genotype: Path | None = None,
    command: str = "spikeport search",
    download: bool = False,
    tell: Callable[[str], None] = lambda sentence: None,
    on_chip: OnChip | None = None,
    on_chips: OnChips | None = None,
) -> Run:
    """Search a cell, train the network built from it and test it once; or train a genotype that is given as a file.

    With a strategy that asks (random, evolution, nsga2 and others) its proposals are trained instead, or they are asked
    of a supernet, and the best is the result. on_chip and on_chips: measure objectives of chips, of runs and of the
    supernet's networks, as those of `evaluation.of_runs.ON_CHIPS` do. At the level
    `macro` the genotype that is given has its path searched, at `both` path and cells are searched together. With
    `cells_per_layer` the search begins with the cells of the genotype that is given.

    With `resume` the run in `out` goes on from its last epoch and ends as it would have without the break; a finished
    one is returned at once. `download` lets torchvision fetch a data set, `tell` is told what is done to its images.
    Started by torchrun, all processes train together and the first writes. Raises InputError when `out` holds a run
    and `resume` is not set, when another command works on it, when the settings differ from those the run was started
    with, and for unusable data.

    >>> settings = spikeport.choose(primitives="plain", channels=2, cells=3, search_epochs=1, train_epochs=1)
    >>> spikeport.run_search(settings, "runs/mine").metrics.exists()
    True
    """
    out = Path(out)
    with processes.joined(find_device(settings.training.device)), ExitStack() as held:
        if out.is_dir():
            held.enter_context(claimed(out))
        run = open_run(out) if resume else check_new(out)
        given = _given_genotype(run, genotype)
        dataset = _load(settings, download)
        _check_given(settings, given)  # before a folder is made
        config = network_config(settings.network, dataset)
        _check_path(settings.network, config, given)
        asking = asks(settings) and _searches(settings.network, given)
        training = partial(_train_candidate, command, silent if settings.asking.executor else progress)
        if asking:
            trained = evaluator_of(run, settings, training, on_chip)
            one_shot = one_shot_of(run, settings, on_chips)
            check_measured(settings, config, one_shot or trained)
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
            held.enter_context(claimed(out))
            create_run(run.path, manifest | {"processes": processes.world()})
        if finished:
            _remove_checkpoints(run)  # of a run that was killed before it did
            return run
        if asking:

            def find(number: int) -> Genotype:
                return _found_by_gradients(run, dataset, settings, given, progress, number)

            if one_shot is None:
                asking_search(run, settings, config, trained, tell, given, find)
            else:
                elastic_search(run, dataset, settings, one_shot, trained, tell, progress)
            return run
        found = known or _search(run, dataset, settings, given, progress)
        network = _train(run, dataset, settings, found, progress)
        metrics = _test(network, dataset, settings)
        if processes.is_first():
            save_network(run, network)
            write_json(run.metrics, metrics)
        _remove_checkpoints(run)
        processes.wait()
    return run


def _train_candidate(command: str, progress: Progress, settings: SearchSettings, folder: Path, file: Path) -> Run:
    """A run of a search's candidate: begun, gone on with, or finished long ago."""
    begun = Run(folder).manifest.exists()
    return run_search(settings, folder, begun, genotype=file, progress=progress, command=command)


def _remove_checkpoints(run: Run) -> None:
    if processes.is_first():
        for checkpoint in (run.search_checkpoint, run.train_checkpoint):
            checkpoint.unlink(missing_ok=True)


def above_targets(run: Run, settings: SearchSettings) -> list[str]:
    """What the network of a finished run takes more of than its targets allow, a sentence each."""
    metrics = read_metrics(run)
    limits = (
        ("synaptic operations per inference", metrics["sops_per_inference"], "target_sops"),
        ("parameters", metrics["parameters"], "target_parameters"),
    )
    return [
        f"missed: the network has {taken:,.0f} {what}, but --{name.replace('_', '-')} is {limit:,}; "
        "no trial that was better kept within it: try more --trials, fewer --channels or a larger target"
        for what, taken, name in limits
        if (limit := getattr(settings.trials, name)) and taken > limit
    ]


def _searches(settings: NetworkSettings, given: Genotype | None) -> bool:
    """Whether anything is left to be found of the genotype that is given."""
    return given is None or settings.level == "macro" or (settings.cells_per_layer and given.cells is None)


def _check_given(settings: SearchSettings, given: Genotype | None) -> None:
    """Raises InputError for a genotype that the search cannot begin with."""
    if given is None:
        return
    if settings.network.level == "macro" and given.cells is not None:
        raise InputError(
            "--level macro searches the path of a normal and a reduction cell, but the genotype has a cell for each of "
            f"its {len(given.cells)} layers; take the key `cells` out of it, or leave --level out to train it."
        )
    if settings.network.cells_per_layer and given.cells is None and (given.gates or given.decays):
        raise InputError(
            "A search of a cell for every layer begins with the edges of the genotype that is given, but it has gates "
            "or decays, too; take these keys out of it (--gates search and --decays search search them again)."
        )
    if isinstance(settings.strategy, RandomSettings) and settings.network.cells_per_layer and given.cells is None:
        raise InputError(
            "Random cells for every layer begin with nothing, but --genotype gives cells; leave it out, or say "
            "--strategy darts."
        )


def _check_path(settings: NetworkSettings, config: NetworkConfig, given: Genotype | None) -> None:
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
        trellis_of(config)
    else:
        config.plan(None if given is None else given.layers)
    if given is not None:
        config.check_genotype(given)


def _load(settings: SearchSettings, download: bool) -> Dataset:
    """The images; of several processes the first downloads them, and the others wait for it."""
    name, folder, steps = settings.data.dataset, settings.data.data_folder, settings.network.time_steps
    if processes.world() > 1 and not processes.is_first():
        processes.wait()
        return load_dataset(name, folder, time_steps=steps)
    dataset = load_dataset(name, folder, download=download, time_steps=steps)
    processes.wait()
    if not dataset.labelled:
        raise InputError(f"A network is trained on images whose classes are known, which '{name}' does not say.")
    return dataset


def read_genotype(run: Run) -> Genotype | None:
    """What the search of a run has found; None before its end."""
    return from_file(run.genotype) if run.genotype.exists() else None


def _given_genotype(run: Run, genotype: Path | None) -> Genotype | None:
    """A genotype that was given instead of searched for: now, or when the run was started."""
    if genotype is not None:
        return from_file(genotype)
    found = recorded(run).get("genotype") if run.manifest.exists() else None
    return None if found is None else from_dict(found)


def _check_same(run: Run, manifest: dict[str, Any]) -> None:
    before, now = _by_option(recorded(run)), _by_option(manifest["settings"])
    for key, value in now.items():
        if key not in before or before[key] != value:
            raise InputError(
                f"A run must be resumed with the settings it was started with, but '{run.path}' has "
                f"{key}={before.get(key)} and now it is {value}; leave it out or use another --out."
            )
    images = read_json(run.manifest).get("dataset")
    if not isinstance(images, dict) or any(images.get(key) != manifest["dataset"][key] for key in ("name", "sha256")):
        raise InputError(
            f"A run must be resumed with the images it was started with, but '{manifest['dataset']['name']}' "
            f"has changed since; use another --out."
        )


def _by_option(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a manifest by the names of the options, whether it has tables or is from before them."""
    chosen = settings_from_dict({key: value for key, value in settings.items() if key != "genotype"})
    return by_option(chosen) | {"genotype": settings.get("genotype")}


def find_cell(
    settings: SearchSettings,
    dataset: Dataset | None = None,
    *,
    checkpoint: Path | None = None,
    record: Callable[[list[Row]], None] = lambda rows: None,
    progress: Progress = silent,
    given: Genotype | None = None,
) -> Genotype:
    """What a search by the strategy of the settings finds on a data set, by default that of the settings.

    checkpoint: a file to go on from, and to write after every epoch. record: is told the rows of the history after
    every epoch. given: the cell whose path is searched at the level `macro`, or the cells
    with which a search of a cell for every layer begins. Raises InputError for unusable data.

    >>> settings = spikeport.choose(dataset="digits", primitives="plain", channels=2, cells=3, search_epochs=1)
    >>> spikeport.find_cell(settings).primitives
    'plain'
    """
    dataset = _load(settings, download=False) if dataset is None else dataset
    with tempfile.TemporaryDirectory(prefix="spikeport-") as folder:
        if asks(settings):
            best = run_search(settings, Path(folder) / "run", progress=progress)
            return from_file(best.genotype)
        return search(dataset, settings, checkpoint or Path(folder) / "checkpoint", record, progress, given)


def train(
    genotype: Genotype,
    settings: SearchSettings,
    dataset: Dataset | None = None,
    *,
    checkpoint: Path | None = None,
    record: Callable[[list[Row]], None] = lambda rows: None,
    progress: Progress = silent,
) -> SpikingNetwork:
    """The network built from a genotype, trained from scratch on a data set, by default that of the settings.

    checkpoint and record: as of `find_cell`. The network is in eval mode. Raises InputError for unusable data, and
    where the training diverges.

    >>> settings = spikeport.choose(dataset="digits", primitives="plain", channels=2, cells=3, train_epochs=1)
    >>> import numpy
    >>> genotype = spikeport.random_genotype(numpy.random.default_rng(0), "plain")
    >>> spikeport.train(genotype, settings).training
    False
    """
    dataset = _load(settings, download=False) if dataset is None else dataset
    with seeded(settings.seed, "train weights"):
        network = SpikingNetwork(genotype, network_config(settings.network, dataset))
    with tempfile.TemporaryDirectory(prefix="spikeport-") as folder:
        train_network(network, dataset, settings, checkpoint or Path(folder) / "checkpoint", record, progress)
    return network.eval()


def _search(
    run: Run, dataset: Dataset, settings: SearchSettings, given: Genotype | None, progress: Progress
) -> Genotype:
    searching = _searches(settings.network, given)
    found = given
    if found is None or searching:
        told: Any = {"record": _recorder(run, settings, "search", []), "progress": progress, "given": given}
        found = find_cell(settings, dataset, checkpoint=run.search_checkpoint, **told)
    if processes.is_first():
        if searching:
            write_text(run.history_svg, draw_history(read_history(run)))
        write_text(run.cells_svg, draw_genotype(found))
        write_text(run.genotype, to_json(found))  # the last file, because it says that the search is over
    return found


def _found_by_gradients(
    run: Run, dataset: Dataset, settings: SearchSettings, given: Genotype | None, progress: Progress, number: int
) -> Genotype:
    """The n-th of several searches, whose seeds follow each other; what was found before is read."""
    one = Run(run.searched(number).path)
    if not one.genotype.exists():
        one.genotype.parent.mkdir(parents=True, exist_ok=True)
        chosen = changed(settings, seed=settings.seed + number, searches=1)
        record = _recorder(one, chosen, "search", [])
        found = search(dataset, chosen, one.search_checkpoint, record, progress, given)
        write_text(one.history_svg, draw_history(read_history(one)))
        write_text(one.cells_svg, draw_genotype(found))
        write_text(one.genotype, to_json(found))
        one.search_checkpoint.unlink(missing_ok=True)
    return from_file(one.genotype)


def _train(
    run: Run, dataset: Dataset, settings: SearchSettings, genotype: Genotype, progress: Progress
) -> SpikingNetwork:
    searched = [row for row in read_history(run) if row["stage"] == "search"]
    record = _recorder(run, settings, "train", searched)
    network = train(genotype, settings, dataset, checkpoint=run.train_checkpoint, record=record, progress=progress)
    if processes.is_first():
        write_text(run.history_svg, draw_history(read_history(run)))
    return network


def _recorder(run: Run, settings: SearchSettings, stage: Stage, before: list[Row]) -> Callable[[list[Row]], None]:
    """Writes the rows of a stage behind those before it, and as events where these are wanted."""
    if not processes.is_first():
        return lambda rows: None
    events = event_writer(run.events / stage) if settings.training.tensorboard else None

    def record(rows: list[Row]) -> None:
        write_text(run.history, "".join(json.dumps(row) + "\n" for row in before + rows))
        if events is not None:
            events(rows)

    return record


def _test(network: SpikingNetwork, dataset: Dataset, settings: SearchSettings) -> dict[str, Any]:
    device = next(network.parameters()).device
    with repeatable(device), channels_last(network) if device.type == "cuda" else nullcontext():
        score = evaluate(network, dataset.test_images, dataset.test_labels)
        sops = mean_sops(Price(network, settings.objective), dataset.test_images)
    return {
        "test_accuracy": score.accuracy,
        "parameters": count_parameters(network),
        "time_steps": network.config.time_steps,
        "spikes_per_inference": score.spikes,
        "spikes_per_cell": score.spikes_per_cell,
        "sops_per_inference": sum(sops.values()),
        "sops_per_cell": sops,
    }
