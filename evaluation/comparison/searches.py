"""Searches by look-up, as many of each strategy as are wanted, and how they did against random search.

Every strategy searches as often as it is told, with another seed each time, for the best accuracy on validation images;
the table hands out one training of a cell. What it chose is judged by the mean test accuracy over all seeds of the
cell, which no strategy sees:

    regret       best mean test accuracy of the table - that of the choice, in points (percent of accuracy)
    sigma        (mean regret of random search - mean regret) / sqrt(sum of both variances / runs)
    found        best validation accuracy of the table - that of the choice: how well it searches, luck included
    hypervolume  of the front of (accuracy, energy), by mean test accuracy and joules, both scaled to 0..1 over the
                 table, with the table's worst as reference; strategies that find fronts only. The interval is that of
                 the difference to random search: 95 %, bootstrap over runs. `found_...`: the same by mean validation
                 accuracy, which is what was searched for

Regrets of a table with one seed for most cells contain its noise: the best mean of many cells is a lucky one. Cells
that the table lacks are evaluations that fail, alike for all.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...search.frame.goal import parse_goal
from ...search.frame.processes import Processes
from ...search.frame.run import Budget, run
from ...search.strategies.asking.table import ASKING_STRATEGIES, OF_NETWORKS, strategy_of
from ...setting import chosen
from .grounds import FRONT, Ground, opened

RANDOM = "random"
BOOTSTRAP = 2000
EVERY = 10  # evaluations, of the course
PART = 10  # searches of one job

Values = NDArray[np.float64]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """best: keys of its front. course: the best validation accuracy after each evaluation, NaN before the first."""

    best: list[str]
    course: list[float]


def search(ground: Ground, name: str, objectives: str, evaluations: int, seed: int) -> Search:
    """The keys of its front, and the best validation accuracy after each of so many evaluations."""
    goal = parse_goal(objectives)
    evaluator = ground.evaluator(goal.names)
    strategy = strategy_of(name, ground.space, goal, seed=seed, epochs=evaluator.epochs, network=ground.network)
    course, best = np.full(evaluations, np.nan), np.nan

    def progress(told: Any, spent: float, asked: Any) -> None:
        nonlocal best
        if told.proposal.budget in (0, evaluator.epochs):
            best = np.fmax(best, told.measured.get("accuracy", np.nan))
        course[int(np.ceil(spent)) - 1] = best

    budget = Budget(evaluations=evaluations)
    found = run(strategy, evaluator, ground.space, goal, budget, seed=seed, progress=progress)
    return Search(best=[ground.space.key(one) for one in found.best], course=np.fmax.accumulate(course).tolist())


def _several(arguments: tuple[str, str, str, int, Sequence[int]]) -> list[Search]:
    ground, name, objectives, evaluations, seeds = arguments
    return [search(opened(ground), name, objectives, evaluations, seed) for seed in seeds]


def all_searches(
    ground: str, names: Sequence[str], objectives: str, evaluations: int, seeds: range, workers: int, tell: Tell
) -> dict[str, list[Search]]:
    """Name -> its searches, by seed."""
    parts = [seeds[start : start + PART] for start in range(0, len(seeds), PART)]
    jobs = [(ground, name, objectives, evaluations, part) for name in names for part in parts]
    found: dict[str, list[Search]] = {name: [] for name in names}
    with Processes(workers) if workers > 1 else nullcontext() as pool:
        results = map(_several, jobs) if pool is None else pool.map(_several, jobs)
        for number, (job, result) in enumerate(zip(jobs, results, strict=True), 1):
            found[job[1]] += result
            tell(f"searches for {objectives}: {job[1]}, {number} of {len(jobs)} parts")
    return found


def sigma_of(ours: Values, random: Values) -> float:
    """By how many standard errors the mean of `random` is above that of `ours`."""
    error = np.sqrt(ours.var(ddof=1) / len(ours) + random.var(ddof=1) / len(random))
    return float((random.mean() - ours.mean()) / error) if error else 0.0


def compared(ground: Ground, searches: Mapping[str, list[Search]]) -> dict[str, dict[str, Any]]:
    """Name -> regrets, in points."""
    known = ground.worths
    best_test, best_val = max(one.test for one in known.values()), max(one.validation for one in known.values())
    regret, found = {}, {}
    for name, runs in searches.items():
        chosen = [known.get(one.best[0]) if one.best else None for one in runs]
        regret[name] = np.array([100 * (best_test - (one.test if one else 0.0)) for one in chosen])
        found[name] = np.array([100 * (best_val - (one.validation if one else 0.0)) for one in chosen])
    rows = {}
    for name, runs in searches.items():
        course = 100 * (best_val - np.array([one.course for one in runs]))
        whole = np.isfinite(course).any(0)
        mean, deviation = np.full((2, course.shape[1]), np.nan)
        mean[whole], deviation[whole] = np.nanmean(course[:, whole], axis=0), np.nanstd(course[:, whole], axis=0)
        rows[name] = {
            "regret_mean": float(regret[name].mean()),
            "regret_sd": float(regret[name].std(ddof=1)),
            "better_than_random_sigma": sigma_of(regret[name], regret["random"]),
            "found_mean": float(found[name].mean()),
            "found_sd": float(found[name].std(ddof=1)),
            "found_sigma": sigma_of(found[name], found["random"]),
            "course": _points(mean),
            "course_sd": _points(deviation),
        }
    return rows


def _points(values: Values) -> list[float | None]:
    """Every so many evaluations; None before the first whole training."""
    return [None if np.isnan(value) else round(float(value), 3) for value in values[EVERY - 1 :: EVERY]]


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """Area that is dominated by losses in 0..1, up to the reference (1, 1)."""
    area, height = 0.0, 1.0
    for x, y in sorted(points):
        if x < 1 and y < height:
            area += (1 - x) * (height - y)
            height = y
    return area


def fronts(ground: Ground, searches: Mapping[str, list[Search]]) -> dict[str, dict[str, Any]]:
    """Name -> hypervolumes over runs, and how much they are above those of random search; the table's own last."""
    by_test = _volumes({key: (-one.test, one.joules) for key, one in ground.worths.items()}, searches)
    by_validation = _volumes({key: (-one.validation, one.joules) for key, one in ground.worths.items()}, searches)
    return {
        name: row | {f"found_{key}": value for key, value in by_validation[name].items()}
        for name, row in by_test.items()
    }


def _volumes(losses: Mapping[str, tuple[float, float]], searches: Mapping[str, list[Search]]) -> dict[str, Any]:
    """losses: key -> those that a front is judged by."""
    every = np.array(list(losses.values()))
    low, high = every.min(0), every.max(0)
    scaled = {key: (np.array(loss) - low) / np.where(high > low, high - low, 1) for key, loss in losses.items()}
    volumes = {
        name: np.array([hypervolume([tuple(scaled[key]) for key in one.best if key in scaled]) for one in runs])
        for name, runs in searches.items()
    }
    rng, rows = np.random.default_rng(0), dict[str, Any]()
    for name, values in volumes.items():
        random = volumes[RANDOM]
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


def names_for(ground: Ground, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The strategies that can search it, random search first. Raises InputError for one that cannot."""
    blind = OF_NETWORKS if ground.network is None else frozenset[str]()
    for name in wanted:
        if chosen("strategy", name, ASKING_STRATEGIES) in blind:
            raise InputError(f"The strategy {name} looks at the networks of cells, which {ground.name} does not have.")
    return tuple(dict.fromkeys((RANDOM, *(wanted or (name for name in ASKING_STRATEGIES if name not in blind)))))


def comparison(
    ground: str,
    *,
    runs: int = 50,
    evaluations: int = 100,
    workers: int = 1,
    strategies: Sequence[str] = (),
    first_seed: int = 0,
    tell: Tell = lambda sentence: None,
) -> dict[str, Any]:
    """Everything that is known of strategies on a ground, JSON-ready: `strategies` and `fronts`, by name.

    ground: a table's file, or `spikenas-bench:FOLDER`. strategies: all that can, by default. first_seed: that of the
    first run. A strategy that does not beat random search is told as such. Raises InputError for a ground that cannot
    be searched, fewer than two runs, and an unknown strategy.
    """
    if runs < 2 or evaluations < 1 or workers < 1:
        raise InputError(
            f"`runs >= 2`, `evaluations >= 1` and `workers >= 1` must hold, but got runs={runs}, "
            f"evaluations={evaluations}, workers={workers}; there is no deviation of one run."
        )
    start, there, seeds = time.monotonic(), opened(ground), range(first_seed, first_seed + runs)
    names = names_for(there, strategies)
    many = tuple(name for name in names if ASKING_STRATEGIES[name][0].many)
    single = compared(there, all_searches(ground, names, FRONT[0], evaluations, seeds, workers, tell))
    several = (
        fronts(there, all_searches(ground, many, ",".join(FRONT), evaluations, seeds, workers, tell))
        if there.priced
        else {}
    )
    return {
        "table": there.name,
        "cells": len(there.worths),
        "cells_missing": there.missing,
        "trainings": there.trainings,
        "runs": runs,
        "evaluations": evaluations,
        "every": EVERY,
        "strategies": single,
        "fronts": several,
        "seconds": time.monotonic() - start,
    }
