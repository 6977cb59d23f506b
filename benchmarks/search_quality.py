"""Are the cells that a search finds better than random ones? Trained alike, tested on 8000 images.

    python benchmarks/search_quality.py --train TRAIN.npz --test TEST.npz [--work runs/quality] [--groups ...] [--json]

Two .npz files as `--dataset npz:` takes them, of CIFAR-10 images: 5000 of them are trained on, all others (of both
files) are tested on. All cells are trained alike: the same network around them, images, epochs and options, and no
price; only the seed differs. Groups of cells:

    random      drawn uniformly from the space
    found       of the kernel-space supernet with trials, one per seed
    kernel      of the kernel-space supernet alone, without trials and limit, one per seed
    plain       of the plain supernet alone, one per seed
    front       of the kernel-space supernet alone at prices of synaptic operations, which draw a Pareto front
    options     of the kernel-space supernet alone with one option changed, one per seed (not among the default groups;
                every option is a group of its own in what is printed)
    attention   the first cell of `kernel` trained without and with attention, one per seed of the training; cells that
                were searched with it (not by default; every kind is a group of its own in what is printed)
    chance      drawn from a supernet whose alphas have not learned, then the same trials (not by default)

A search does not see the test images. Every search and training is a job in a process of one thread, kept in the work
folder when it is done; started again, the benchmark goes on where it was, also inside a job. The default groups take
about an hour and a half on 2 cores.

Prints a table and the verdicts, and draws front.svg into the work folder. With --json one object on stdout: per group
a list of {accuracy, parameters, spikes, sops, skips, seed, name} (skips: of the 16 edges of both cells), and
`verdicts`. Ends with exit code 1 if found cells are not better than random ones, or those of the plain supernet are
better than those of the kernel-space one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from spikeport.files import read_json, read_text, replacing, write_text
from spikeport.search.data.datasets import load_dataset
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.space.genotype import CELL_KINDS, Genotype, from_json, random_genotype, to_json
from spikeport.search.space.primitives import SKIP
from spikeport.search.strategies.darts.search import search
from spikeport.search.training.checkpoint import Row
from spikeport.search.training.progress import ProgressEvent

# The settings below were chosen with other random cells, other seeds, and the images before 10000.
TRAIN_IMAGES = slice(8000, 13000)
RANDOM_CELLS = 20
RANDOM_STREAM = 2026
SEEDS = (9, 10, 11)
FIRST = SEEDS[0]  # of the groups that have one seed only
BEST_FIFTH = 0.2  # share of the random cells that may be better
CHEAPER = 0.6  # of the median synaptic operations

COMMON = choose(
    primitives="darts",
    channels=6,
    cells=4,
    time_steps=2,
    stem_stride=2,
    crop=4,
    flip=True,
    device="cpu",
    train_epochs=15,
    train_learning_rate=0.1,
    validation_fraction=0.02,
)
SEARCH: dict[str, Any] = {
    "search_epochs": 12,
    "learning_rate": 0.1,
    "alpha_learning_rate": 0.01,
    "alpha_warmup_epochs": 3,
    "trials": 12,
    "trial_rounds": 2,
    "target_parameters": 20_000,  # of 300 random cells half have more than 20,089
}
FRONT = (0.05, 0.1, 0.3)  # prices of the searches that draw the front; those of the group `kernel` have none
ALONE = {"trials": 0, "trial_rounds": 1, "target_parameters": 0}
OPTIONS: Mapping[str, dict[str, Any]] = {  # without trials, which would hide what an option does
    "no-warmup": {"alpha_warmup_epochs": 0},
    "beta-decay": {"beta_decay": 5.0},
    "auxiliary-skip": {"auxiliary_skip": True},
    "sigmoid": {"relaxation": "sigmoid"},
    "second-order": {"second_order": True},
    "stop-at-2-skips": {"stop_at_skips": 2},
    "float32": {"search_precision": "float32"},
    "long": {"search_epochs": 48},
    "long-no-warmup": {"search_epochs": 48, "alpha_warmup_epochs": 0},
}
CHANCE: dict[str, Any] = {"search_epochs": 1, "alpha_warmup_epochs": 1}  # all primitives are drawn alike
IN_NETWORK = "-in-network"
ATTENTION = tuple(kind + IN_NETWORK for kind in ("none", "eca", "cbam", "tcs"))
IN_SEARCH = {"cbam-in-search": {"attention": "cbam", "attention_in": "search"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell and its training. search: what is changed in SEARCH, None for a random cell; cell: another job's."""

    name: str
    group: str
    seed: int
    search: Mapping[str, Any] | None = None
    cell: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)


def jobs(groups: Sequence[str], cells: int) -> list[Job]:
    """In the order in which they are done."""
    per_seed = {"found": {}, "kernel": ALONE, "plain": ALONE | {"supernet": "plain"}, "chance": CHANCE} | {
        name: ALONE | changes for name, changes in (OPTIONS | IN_SEARCH).items()
    }
    every = {
        "random": [Job(name=f"random-{seed:02d}", group="random", seed=seed) for seed in range(cells)],
        **{
            group: [Job(name=f"{group}-{seed}", group=group, seed=seed, search=changes) for seed in SEEDS]
            for group, changes in per_seed.items()
        },
        "front": [Job(name=f"front-{p:g}", group="front", seed=FIRST, search=ALONE | {"sop_weight": p}) for p in FRONT],
        **{
            kind: [
                Job(
                    name=f"{kind}-{seed}",
                    group=kind,
                    seed=seed,
                    cell=f"kernel-{FIRST}",
                    training={"attention": kind.removesuffix(IN_NETWORK)},
                )
                for seed in SEEDS
            ]
            for kind in ATTENTION
        },
    }
    return [job for group in groups for job in every[group]]


USUAL = ("random", "found", "kernel", "plain", "front")
GROUPS = (*USUAL, "options", "attention", "chance")


def expanded(groups: Sequence[str]) -> list[str]:
    """With every option and every kind of attention in place of the word."""
    words = {"options": (*OPTIONS,), "attention": (*ATTENTION, *IN_SEARCH)}
    return [name for group in groups for name in words.get(group, (group,))]


def split(train: Path, test: Path, work: Path) -> None:
    """Writes train.npz and test.npz: TRAIN_IMAGES of `train`; all others."""
    if (work / "test.npz").exists():
        return
    with np.load(train) as first, np.load(test) as second:
        images = np.concatenate([first["images"], second["images"]])
        labels = np.concatenate([first["labels"], second["labels"]])
    trained = np.zeros(len(labels), bool)
    trained[TRAIN_IMAGES] = True
    for name, part in (("train", trained), ("test", ~trained)):
        with replacing(work / f"{name}.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, images=images[part], labels=labels[part])


def do(job: Job, work: Path) -> None:
    """Find the cell, train it, test it; what is there already is not done again."""
    torch.set_num_threads(1)
    trained = changed(COMMON, dataset=f"npz:{work / 'train.npz'},{work / 'test.npz'}", seed=job.seed)
    genotype, folder = work / f"{job.name}.json", work / job.name

    def tell(event: ProgressEvent) -> None:
        if event.step == event.steps:
            print(f"{job.name} {event.stage} {event.epoch}/{event.epochs} {event.accuracy:.3f}", flush=True)

    if not genotype.exists():
        write_text(genotype, to_json(find(job, trained, work, tell)))
    settings = changed(trained, **job.training)
    run_search(settings, folder, resume=Run(folder).manifest.exists(), genotype=genotype, progress=tell)


def find(job: Job, settings: SearchSettings, work: Path, tell: Callable[[ProgressEvent], None]) -> Genotype:
    if job.cell:
        return from_json(read_text(work / f"{job.cell}.json"))
    if job.search is None:
        return random_genotype(np.random.default_rng([job.seed, RANDOM_STREAM]), settings.network.primitives)

    run = Run(work / job.name)

    def record(rows: list[Row]) -> None:
        write_text(run.history, "".join(json.dumps(row) + "\n" for row in rows))

    settings = changed(settings, **SEARCH | job.search)
    return search(load_dataset(settings.data.dataset), settings, run.search_checkpoint, record, tell)


def start(job: Job, work: Path) -> None:
    """Do it in a process of its own, which writes what it tells to a log."""
    if Run(work / job.name).metrics.exists():
        return
    with (work / f"{job.name}.log").open("a") as log:
        command = [sys.executable, __file__, "--work", str(work), "--job", job.name]
        ended = subprocess.run(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if ended.returncode:
        raise SystemExit(f"'{job.name}' ended with exit code {ended.returncode}; see '{log.name}' and start again.")


def result(job: Job, work: Path) -> dict[str, Any]:
    metrics = read_json(Run(work / job.name).metrics)
    genotype = from_json(read_text(work / f"{job.name}.json"))
    return {
        "name": job.name,
        "seed": job.seed,
        "accuracy": metrics["test_accuracy"],
        "parameters": metrics["parameters"],
        "spikes": metrics["spikes_per_inference"],
        "sops": metrics["sops_per_inference"],
        "skips": sum(edge.primitive == SKIP for kind in CELL_KINDS for edge in genotype.cell(kind)),
    }


Cells = list[dict[str, Any]]


def verdicts(groups: Mapping[str, Cells]) -> dict[str, dict[str, Any]]:
    """What is claimed, the numbers behind it, and whether it holds; of the groups that are there."""
    mean = {name: _over(cells, statistics.mean) for name, cells in groups.items()}
    found: dict[str, dict[str, Any]] = {}
    if {"found", "random"} <= groups.keys():
        median = _over(groups["random"], statistics.median)
        better = [cell for cell in groups["random"] if cell["accuracy"] > mean["found"]["accuracy"]]
        share = len(better) / len(groups["random"])
        found["best fifth"] = {
            "claim": "found cells stand in the best fifth of the random ones at no more parameters than their median",
            "random_better": share,
            "parameters": mean["found"]["parameters"] / median["parameters"],
            "holds": share <= BEST_FIFTH and mean["found"]["parameters"] <= median["parameters"],
        }
        found["cheaper"] = {
            "claim": f"found cells reach the random median accuracy at {CHEAPER} of the median operations at most",
            "accuracy": mean["found"]["accuracy"] - median["accuracy"],
            "sops": mean["found"]["sops"] / median["sops"],
            "holds": mean["found"]["accuracy"] >= median["accuracy"]
            and mean["found"]["sops"] <= CHEAPER * median["sops"],
        }
    if {"kernel", "plain"} <= groups.keys():
        difference = mean["kernel"]["accuracy"] - mean["plain"]["accuracy"]
        parts = [[cell["accuracy"] for cell in groups[name]] for name in ("kernel", "plain")]
        error = sum(statistics.variance(part) / len(part) for part in parts) ** 0.5
        found["kernel-space"] = {
            "claim": "cells of the kernel-space supernet are no worse than those of the plain one, within the error",
            "accuracy": difference,
            "standard_error": error,
            "sops": mean["kernel"]["sops"] / mean["plain"]["sops"],
            "holds": difference >= -error,
        }
    return found


KEYS = ("accuracy", "parameters", "spikes", "sops", "skips")


def _over(cells: Cells, statistic: Callable[[list[float]], float]) -> dict[str, float]:
    return {key: statistic([cell[key] for cell in cells]) for key in KEYS}


def pareto(cells: Cells) -> Cells:
    """Those that no other beats in both accuracy and operations, from few operations to many."""
    kept: Cells = []
    for cell in sorted(cells, key=lambda cell: (cell["sops"], -cell["accuracy"])):
        if not kept or cell["accuracy"] > kept[-1]["accuracy"]:
            kept.append(cell)
    return kept


def draw(groups: Mapping[str, Cells], file: Path) -> None:
    """Accuracy against synaptic operations, one mark per cell, and the front of the searched ones as a line."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    for name, marker in (("random", "x"), ("plain", "s"), ("kernel", "v"), ("front", "o"), ("found", "D")):
        cells = groups.get(name, [])
        axis.scatter([c["sops"] for c in cells], [c["accuracy"] for c in cells], marker=marker, label=name)
    front = pareto([*groups.get("found", []), *groups.get("kernel", []), *groups.get("front", [])])
    axis.plot([c["sops"] for c in front], [c["accuracy"] for c in front], ":", color="grey", label="front of searched")
    axis.set_xlabel("synaptic operations per inference")
    axis.set_ylabel("test accuracy")
    axis.set_title("Cells trained alike: 5000 images of CIFAR-10, 8000 to test on")
    axis.grid(alpha=0.3)
    axis.legend()
    with replacing(file) as temporary:
        figure.savefig(temporary)


def tell(groups: Mapping[str, Cells], found: Mapping[str, dict[str, Any]]) -> None:
    ranked = sorted((cell["accuracy"] for cell in groups.get("random", [])), reverse=True)
    print(f"{'cell':>20} {'accuracy':>9} {'rank':>5} {'parameters':>11} {'spikes':>8} {'SOPs':>9} {'skips':>6}")
    for name, cells in groups.items():
        for cell in sorted(cells, key=lambda cell: -cell["accuracy"]):
            rank = 1 + sum(accuracy > cell["accuracy"] for accuracy in ranked)
            _row(cell["name"], cell, str(rank))
        if len(cells) > 1:
            for word, statistic in (("mean", statistics.mean), ("median", statistics.median)):
                _row(f"{name}: {word}", _over(cells, statistic))
            spread = statistics.stdev(cell["accuracy"] for cell in cells)
            print(f"{name + ': spread':>20} {spread:9.4f}   (standard deviation)")
    for name, verdict in found.items():
        numbers = ", ".join(f"{key} {value:.3f}" for key, value in verdict.items() if key not in ("claim", "holds"))
        print(f"{'holds' if verdict['holds'] else 'DOES NOT HOLD'}: {name}: {verdict['claim']} ({numbers})")


def _row(name: str, cell: Mapping[str, float], rank: str = "") -> None:
    print(
        f"{name:>20} {cell['accuracy']:9.4f} {rank:>5} {cell['parameters']:11.0f} {cell['spikes']:8.0f} "
        f"{cell['sops']:9.0f} {cell['skips']:6.1f}"
    )


def holds(found: Mapping[str, dict[str, Any]]) -> bool:
    """One of the two claims against random cells, and that against the plain supernet."""
    against = [found[name]["holds"] for name in ("best fifth", "cheaper") if name in found]
    plain = [found[name]["holds"] for name in ("kernel-space",) if name in found]
    return (any(against) or not against) and all(plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help=".npz with `images` uint8 [N, 32, 32, 3] and `labels`")
    parser.add_argument("--test", type=Path, help="another; its images are tested on")
    parser.add_argument("--work", type=Path, default=Path("runs/quality"), help="where every job is kept")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=USUAL)
    parser.add_argument("--random", type=int, default=RANDOM_CELLS, metavar="N", help="random cells")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    if options.job:
        do(next(job for job in jobs(expanded(GROUPS), options.random) if job.name == options.job), work)
        return
    if not (work / "test.npz").exists() and not (options.train and options.test):
        parser.error("--train and --test name the images the first time")
    if options.train and options.test:
        split(options.train, options.test, work)
    names = expanded(options.groups)
    todo = jobs(names, options.random)
    cells = {job.cell for job in todo}
    for job in jobs(expanded(GROUPS), options.random):
        if job.name in cells:  # others train its cell
            start(job, work)
    with ThreadPoolExecutor(options.workers) as pool:
        started = {pool.submit(start, job, work): job for job in todo}
        for number, done in enumerate(as_completed(started), start=1):
            done.result()
            print(f"{number} of {len(todo)}: {started[done].name}", file=sys.stderr, flush=True)
    groups = {name: [result(job, work) for job in todo if job.group == name] for name in names}
    found = verdicts(groups)
    draw(groups, work / "front.svg")
    if options.json:
        print(json.dumps(groups | {"verdicts": found, "holds": holds(found)}))
    else:
        tell(groups, found)
    sys.exit(0 if holds(found) else 1)


if __name__ == "__main__":
    main()
