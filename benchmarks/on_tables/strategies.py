"""Which strategies beat random search, and by how much: searches by look-up in a table of trained cells.

    python -m spikeport.benchmarks.on_tables.strategies --table benchmarks/tables/closed.jsonl --runs 50 [--json]

Every strategy searches as often as it is told, with another seed each time, for the best accuracy on validation images;
the table hands out one training of a cell. What it chose is judged by the mean test accuracy over all seeds of the
cell, which no strategy sees:

    regret              best mean test accuracy of the table - that of the choice, in points (percent of accuracy)
    sigma               (mean regret of random search - mean regret) / sqrt(sum of both variances / runs)
    found               best validation accuracy of the table - that of the choice: how well it searches, luck included
    hypervolume         of the front of (accuracy, energy), by mean test accuracy and joules, both scaled to 0..1 over
                        the table, with the table's worst as reference; strategies that find fronts only. The interval
                        is that of the difference to random search: 95 %, bootstrap over runs

Regrets of a table with one seed for most cells contain its noise: the best mean of many cells is a lucky one. Cells
that the table lacks are evaluations that fail, alike for all. With --json one object on stdout: `strategies`, name ->
regret_mean, regret_sd, better_than_random_sigma and the others; `fronts`. Nothing is a failure: a strategy that does
not beat random search is told as such.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.search.evaluators.from_table import TableEvaluator
from spikeport.search.frame.goal import parse_goal
from spikeport.search.frame.processes import Processes
from spikeport.search.frame.run import Budget, run
from spikeport.search.spaces.canonical import key_of
from spikeport.search.spaces.genotypes import CLOSED
from spikeport.search.strategies.table import ASKING_STRATEGIES, strategy_of
from spikeport.search.tables.file import Table

FRONT = ("accuracy", "energy_j")
BOOTSTRAP = 2000
EVERY = 10  # evaluations, of the course that --json has
SIGMAS = 3.0

Values = NDArray[np.float64]


@cache
def opened(path: Path) -> Table:
    table = Table.open(path)
    if table.header.get("space") != CLOSED.name:
        raise InputError(f"'{path}' must hold the closed space, for strategies ask for any cell of theirs; build that.")
    return table


@cache
def truth(path: Path) -> dict[str, tuple[float, float, float]]:
    """Key -> means over the seeds of a cell: test accuracy, validation accuracy, joules; without what diverged."""
    table = opened(path)
    energy = f"energy_j:{table.header['price_lists'][0]}"
    found = {}
    for key, rows in table.by_key().items():
        values = [[row.value(name) for name in ("test_accuracy", "val_accuracy", energy)] for row in rows]
        test, validation, joules = np.mean(values, axis=0).tolist()
        if np.isfinite((test, validation, joules)).all():
            found[key] = (test, validation, joules)
    return found


def search(path: Path, name: str, objectives: str, evaluations: int, seed: int) -> dict[str, Any]:
    """One search: the keys of its front, and the best validation accuracy after each of so many evaluations."""
    goal = parse_goal(objectives)
    evaluator = TableEvaluator.of(opened(path), goal.names)
    strategy = strategy_of(name, CLOSED, goal, seed=seed, epochs=evaluator.epochs)
    course, best = np.full(evaluations, np.nan), np.nan

    def progress(told: Any, spent: float, asked: Any) -> None:
        nonlocal best
        if told.proposal.budget in (0, evaluator.epochs):
            best = np.fmax(best, told.measured.get("accuracy", np.nan))
        course[int(np.ceil(spent)) - 1] = best

    found = run(strategy, evaluator, CLOSED, goal, Budget(evaluations=evaluations), seed=seed, progress=progress)
    return {"best": [key_of(one) for one in found.best], "course": np.fmax.accumulate(course).tolist()}


def _several(arguments: tuple[Path, str, str, int, Sequence[int]]) -> list[dict[str, Any]]:
    path, name, objectives, evaluations, seeds = arguments
    return [search(path, name, objectives, evaluations, seed) for seed in seeds]


def all_searches(
    path: Path, names: Sequence[str], objectives: str, evaluations: int, runs: int, workers: int
) -> dict[str, list[dict[str, Any]]]:
    """Name -> its searches, by seed."""
    parts = [range(start, min(start + 10, runs)) for start in range(0, runs, 10)]
    jobs = [(path, name, objectives, evaluations, part) for name in names for part in parts]
    if workers > 1:
        with Processes(workers) as pool:
            results = list(pool.map(_several, jobs))
    else:
        results = [_several(job) for job in jobs]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for job, result in zip(jobs, results, strict=True):
        found[job[1]] += result
    return found


def sigma_of(ours: Values, random: Values) -> float:
    """By how many standard errors the mean of `random` is above that of `ours`."""
    error = np.sqrt(ours.var(ddof=1) / len(ours) + random.var(ddof=1) / len(random))
    return float((random.mean() - ours.mean()) / error) if error else 0.0


def compared(path: Path, searches: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Name -> regrets, in points."""
    known = truth(path)
    best_test, best_val = (max(values) for values in list(zip(*known.values(), strict=True))[:2])
    regret, found = {}, {}
    for name, runs in searches.items():
        chosen = [known.get(one["best"][0]) if one["best"] else None for one in runs]
        regret[name] = np.array([100 * (best_test - (one[0] if one else 0.0)) for one in chosen])
        found[name] = np.array([100 * (best_val - (one[1] if one else 0.0)) for one in chosen])
    rows = {}
    for name, runs in searches.items():
        course = 100 * (best_val - np.array([one["course"] for one in runs]))
        known_part = np.isfinite(course).any(0)
        mean = np.full(course.shape[1], np.nan)
        mean[known_part] = np.nanmean(course[:, known_part], axis=0)
        rows[name] = {
            "regret_mean": float(regret[name].mean()),
            "regret_sd": float(regret[name].std(ddof=1)),
            "better_than_random_sigma": sigma_of(regret[name], regret["random"]),
            "found_mean": float(found[name].mean()),
            "found_sd": float(found[name].std(ddof=1)),
            "found_sigma": sigma_of(found[name], found["random"]),
            "course": [None if np.isnan(value) else round(float(value), 3) for value in mean[EVERY - 1 :: EVERY]],
        }
    return rows


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """Area that is dominated by losses in 0..1, up to the reference (1, 1)."""
    area, height = 0.0, 1.0
    for x, y in sorted(points):
        if x < 1 and y < height:
            area += (1 - x) * (height - y)
            height = y
    return area


def fronts(path: Path, searches: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Name -> hypervolumes over runs, and how much they are above those of random search."""
    known = truth(path)
    losses = np.array([(-test, energy) for test, _, energy in known.values()])
    low, high = losses.min(0), losses.max(0)
    scaled = {key: (np.array((-test, energy)) - low) / (high - low) for key, (test, _, energy) in known.items()}
    volumes = {
        name: np.array([hypervolume([tuple(scaled[key]) for key in one["best"] if key in scaled]) for one in runs])
        for name, runs in searches.items()
    }
    rng, rows = np.random.default_rng(0), {}
    for name, values in volumes.items():
        random = volumes["random"]
        drawn = [
            rng.choice(values, len(values)).mean() - rng.choice(random, len(random)).mean() for _ in range(BOOTSTRAP)
        ]
        rows[name] = {
            "hypervolume_mean": float(values.mean()),
            "hypervolume_sd": float(values.std(ddof=1)),
            "more_than_random": float(values.mean() - random.mean()),
            "interval": [float(end) for end in np.quantile(drawn, (0.025, 0.975))],
        }
    whole = [(float(x), float(y)) for x, y in scaled.values()]
    return rows | {"table": {"hypervolume_mean": hypervolume(whole)}}


def measure(path: Path, runs: int, evaluations: int, workers: int, names: Sequence[str]) -> dict[str, Any]:
    """Everything that is printed."""
    start, table = time.monotonic(), opened(path)
    searched = tuple(dict.fromkeys(("random", *names)))
    many = tuple(name for name in searched if ASKING_STRATEGIES[name][0].many)
    single = compared(path, all_searches(path, searched, "accuracy", evaluations, runs, workers))
    several = fronts(path, all_searches(path, many, ",".join(FRONT), evaluations, runs, workers))
    return {
        "table": str(path),
        "cells": len(table.keys),
        "cells_missing": int(np.prod(CLOSED.radices)) - len(table.keys),
        "trainings": len(table),
        "runs": runs,
        "evaluations": evaluations,
        "every": EVERY,
        "strategies": single,
        "fronts": several,
        "seconds": time.monotonic() - start,
    }


def shown(found: Mapping[str, Any]) -> str:
    missing = f", {found['cells_missing']} of the space are missing" if found["cells_missing"] else ""
    lines = [
        f"{found['table']}: {found['cells']} cells{missing}; {found['runs']} runs of {found['evaluations']} "
        f"evaluations, {found['seconds']:.0f} s",
        f"{'strategy':12} {'regret':>7} {'sd':>6} {'sigma':>6}   {'found':>7} {'sd':>6} {'sigma':>6}",
    ]
    for name, row in sorted(found["strategies"].items(), key=lambda pair: pair[1]["regret_mean"]):
        better = row["better_than_random_sigma"]
        verdict = "" if name == "random" else "beats random" if better > SIGMAS else "not beyond 3 sigma"
        lines.append(
            f"{name:12} {row['regret_mean']:7.2f} {row['regret_sd']:6.2f} {better:6.1f}   {row['found_mean']:7.2f} "
            f"{row['found_sd']:6.2f} {row['found_sigma']:6.1f}   {verdict}"
        )
    lines.append(f"fronts of {', '.join(FRONT)}: hypervolume, more than random, 95 % interval")
    for name, row in found["fronts"].items():
        lines.append(
            f"{name:12} {row['hypervolume_mean']:7.4f}"
            + (
                f" {row['more_than_random']:+8.4f}  [{row['interval'][0]:+.4f}, {row['interval'][1]:+.4f}]"
                if "interval" in row
                else "  (everything that there is)"
            )
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=Path("benchmarks/tables/closed.jsonl"))
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--strategies", default=",".join(ASKING_STRATEGIES), help="separated by commas")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if given.runs < 2:
        parser.error("--runs must be at least 2: there is no deviation of one")
    try:
        found = measure(given.table, given.runs, given.evaluations, given.workers, given.strategies.split(","))
    except InputError as error:
        parser.exit(1, f"strategies: {error}\n")
    print(json.dumps(found) if given.json else shown(found))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
