"""A search that trains once: weights that all networks share, then a strategy that asks them, then the best alone.

In the run's folder search/supernet.safetensors has the shared weights, by which training and search go on after a kill,
search/supernet.jsonl their epochs, search/evaluations.jsonl what was asked, search/archive.json every network that was,
and search/front.json those of the front that were trained alone. The best of these is the result.

They are trained from scratch, and do not begin with the shared weights: a candidate is then a run like any other, which
its genotype and its seed say whole, and compares with those of every other strategy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from ..errors import InputError
from ..files import write_json, write_text
from .data.datasets import Dataset
from .elastic.training import train_elastic
from .evaluators.as_runs import RunEvaluator
from .evaluators.one_shot import OnChips, OneShotEvaluator
from .frame.executors import opened
from .frame.front_picture import draw_front
from .frame.goal import Goal, parse_goal
from .frame.protocol import Result, Told, nulls
from .frame.run import Budget, Found, measured
from .frame.run import run as run_loop
from .runs import Run
from .settings.run import SearchSettings
from .space.genotype import Genotype, to_dict
from .space.layout import default_layers
from .space.network import network_config
from .spaces.canonical import key_of
from .strategies.trained_cells import Tell, check_asking, copy_results, made, row_of, space_of, tell_evaluation
from .training.checkpoint import Row
from .training.progress import Progress


def one_shot_of(run: Run, settings: SearchSettings, on_chips: OnChips | None) -> OneShotEvaluator | None:
    """What asks the supernet of a run; None where the settings train candidates."""
    if settings.asking.evaluator != "supernet":
        return None
    goal = parse_goal(settings.asking.objectives, settings.asking.limits)
    layers = default_layers(settings.network.cells)
    told: Any = {"names": goal.names, "layers": layers, "on_chips": on_chips}
    return OneShotEvaluator(checkpoint=run.supernet, settings=settings, **told)


def elastic_search(
    run: Run,
    dataset: Dataset,
    settings: SearchSettings,
    evaluator: OneShotEvaluator,
    alone: RunEvaluator,
    tell: Tell,
    progress: Progress,
) -> None:
    """Train the supernet, search, train the best of the front alone, copy the results of the chosen one into `run`.

    Raises InputError where the supernet's loss is not finite, and where nothing could be measured.
    """
    config = network_config(settings.network, dataset)
    goal, space, asking = check_asking(settings), space_of(settings, config), settings.asking
    train_elastic(dataset, settings, space, run.supernet, evaluator.layers, partial(_record, run), progress)
    found = run_loop(
        made(settings, goal, space, config),
        evaluator,
        space,
        goal,
        Budget(evaluations=asking.evaluations, at_once=asking.at_once),
        seed=settings.seed,
        history=run.evaluations,
        header={"settings": asdict(settings.strategy), "elastic": asdict(settings.elastic)},
        write=to_dict,
        executor=opened(asking.executor),
        progress=partial(tell_evaluation, tell, goal, asking.evaluations),
    )
    said = {key_of(one.candidate): one.result for one in found.told if one.result.status == "ok"}
    if not said:
        raise InputError(f"None of {len(found.told)} networks could be measured: {_reason(found.told)}")
    write_json(run.archive, {"networks": _archive(found, said, goal)})
    write_text(run.front_svg, draw_front([dict(one.objectives) for one in said.values()], goal))
    _finish(run, settings, goal, said, found, alone, tell)


def _record(run: Run, rows: list[Row]) -> None:
    write_text(run.supernet_history, "".join(json.dumps(row) + "\n" for row in rows))


def _reason(told: Sequence[Told[Genotype]]) -> str:
    return next((one.result.note for one in told if one.result.note), "no reason")


def _archive(found: Found[Genotype], said: Mapping[str, Result], goal: Goal) -> list[dict[str, Any]]:
    """Every network that was measured, once, the best first."""
    genotypes = {key_of(one.candidate): one.candidate for one in found.told}
    return [
        {"key": key, **nulls({**one.objectives, **one.reported}), "genotype": to_dict(genotypes[key])}
        for key, one in sorted(said.items(), key=lambda pair: goal.rank(pair[1].objectives))
    ]


def _finish(
    run: Run,
    settings: SearchSettings,
    goal: Goal,
    said: Mapping[str, Result],
    found: Found[Genotype],
    alone: RunEvaluator,
    tell: Tell,
) -> None:
    """Train the finalists, the best by the first objective first, and take that which is best then."""
    within = goal_of_runs(goal, alone)
    alone = replace(alone, names=within.names)
    best = sorted(found.best, key=lambda one: goal.rank(said[key_of(one)].objectives))
    results: dict[str, Result] = {}
    rows = list[dict[str, Any]]()
    for one in best[: settings.elastic.elastic_finalists]:
        tell(f"training {alone.run_of(one).path.name} alone")
        result = measured(alone, one, 0, settings.seed)
        if result.status == "ok":
            name = alone.run_of(one).path.name
            results[name] = result
            objectives, asked = nulls(result.objectives), nulls(said[key_of(one)].objectives)
            rows.append({"name": name, "objectives": objectives, "one_shot": asked, "genotype": to_dict(one)})
        else:
            tell(f"{alone.run_of(one).path.name} failed: {result.note}")
    if not results:
        raise InputError("None of the networks of the front could be trained alone; train with a lower learning rate.")
    rows.sort(key=lambda row: within.rank(results[row["name"]].objectives))
    directions = {one.name: "most" if one.maximised else "least" for one in goal.objectives}
    limits = {limit.name: limit.most for limit in goal.limits}
    write_json(run.front, {"objectives": directions, "limits": limits, "spent": found.spent, "front": rows})
    candidates = [row_of(Run(alone.folder / name)) for name in results]
    write_json(run.candidates, {"best": rows[0]["name"], "candidates": candidates})
    copy_results(Run(alone.folder / rows[0]["name"]), run)


def goal_of_runs(goal: Goal, alone: RunEvaluator) -> Goal:
    """What of a goal is measured of a run; accuracy where that is nothing."""
    known = [one.name for one in goal.objectives if one.name.partition(":")[0] in alone.offers] or ["accuracy"]
    limits = [f"{one.name}={one.most}" for one in goal.limits if one.name.partition(":")[0] in alone.offers]
    return parse_goal(",".join(known), ",".join(limits))
