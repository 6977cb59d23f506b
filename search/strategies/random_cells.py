"""The search that any other has to beat: random cells or paths of the space, each trained as a found one would be.

Every candidate is a run of its own in candidates/<number>, with the settings and the seed of the whole; the one with
the best accuracy on the validation images is the result. The test split has no say in it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...files import read_json, replacing, write_json, write_text
from ..machine import processes
from ..random_streams import generator
from ..runs import Run
from ..settings.network import NetworkSettings
from ..settings.run import SearchSettings, changed
from ..space.genotype import Genotype, random_genotype, to_json
from ..space.legality import legality_of
from ..space.network import NetworkConfig
from ..supernet.trellis import random_path, trellis_of
from ..training.history import read_history

# (settings, folder, file of the genotype) -> the run, finished
Train = Callable[[SearchSettings, Path, Path], Run]


def draw(
    rng: np.random.Generator, settings: NetworkSettings, config: NetworkConfig, given: Genotype | None
) -> Genotype:
    """What the level of the settings would search, at random: cells that the target takes, a path, or both."""
    allowed = legality_of(settings.for_target).primitives
    kinds = [cell.kind for cell in config.plan()] if settings.cells_per_layer else None
    also = {"gates": settings.gates == "search", "decays": settings.decays == "search"}
    cells = given or random_genotype(rng, settings.primitives, allowed, **also, layers=kinds)
    return cells if settings.level == "micro" else replace(cells, layers=random_path(rng, trellis_of(config)))


def random_search(
    run: Run,
    settings: SearchSettings,
    config: NetworkConfig,
    given: Genotype | None,
    train: Train,
    tell: Callable[[str], None],
) -> None:
    """Train `candidates` random genotypes, write the table of all, copy the results of the best into `run`.

    `train` leaves a finished candidate as it is, and lets one that was killed go on. Of equals that with the fewest
    synaptic operations wins, then the first.
    """
    rng = generator(settings.seed, "random cells")
    rows = []
    for number in range(1, settings.random.candidates + 1):
        folder = run.candidate(number).path
        file = folder.with_name(f"{folder.name}.json")
        genotype = draw(rng, settings.network, config, given)
        if processes.is_first():
            write_text(file, to_json(genotype))
        processes.wait()
        tell(f"random cell {number} of {settings.random.candidates}")
        rows.append(row_of(train(changed(settings, strategy="darts", level="micro"), folder, file)))
    best = min(rows, key=lambda row: (-row["validation_accuracy"], row["sops_per_inference"]))
    if processes.is_first():
        write_json(run.candidates, {"best": best["name"], "candidates": rows})
        copy_results(Run(run.path / "candidates" / best["name"]), run)
    processes.wait()


def row_of(run: Run) -> dict[str, Any]:
    """What candidates.json says of a candidate."""
    metrics = read_json(run.metrics)
    found = {"name": run.path.name, "validation_accuracy": read_history(run)[-1]["validation"]["accuracy"]}
    kept = ("test_accuracy", "parameters", "spikes_per_inference", "sops_per_inference")
    return found | {key: metrics[key] for key in kept} | {"genotype": read_json(run.genotype)}


def copy_results(best: Run, run: Run) -> None:
    """What a candidate found becomes what the run found. The metrics last, because they say that the run is over."""
    for name in ("history", "history_svg", "cells_svg", "genotype", "weights", "config", "metrics"):
        with replacing(getattr(run, name)) as temporary:
            temporary.write_bytes(getattr(best, name).read_bytes())
