"""A search by any strategy that asks, on real trainings: what it finds becomes the run.

Every candidate is a run of its own in candidates/<key of the cell>. Beside them search/evaluations.jsonl, by which a
search that was killed goes on, search/front.json, the cells that nobody dominates, and search/front.svg, the same for
people. The result is the first of the front by the first objective. Accuracies are those of validation images; the test
split has no say.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from ...errors import InputError
from ...files import read_json, replacing, write_json, write_text
from ..evaluators.as_runs import OnChip, RunEvaluator, Train
from ..frame.executors import opened
from ..frame.front_picture import draw_front
from ..frame.goal import Goal, parse_goal
from ..frame.protocol import Evaluator, Strategy, Told, nulls
from ..frame.run import Budget, Found, refused
from ..frame.run import run as run_loop
from ..machine import processes
from ..runs import Run
from ..settings.darts import DartsSettings
from ..settings.run import SearchSettings, changed
from ..settings.strategies import AskingSettings
from ..space.genotype import Genotype, to_dict
from ..space.layout import default_layers
from ..space.network import NetworkConfig
from ..spaces.genotypes import SPACES
from ..spaces.space import Space
from ..spaces.widths import with_widths
from ..training.history import read_history
from .asking.random_sampling import RandomSampling
from .asking.table import strategy_of
from .darts.restarts import GradientSearches
from .drawn_cells import DrawnCells

Tell = Callable[[str], None]
Find = Callable[[int], Genotype]  # the n-th search by gradients, from 0 -> what it found


def asks(settings: SearchSettings) -> bool:
    """Whether the strategy of the settings is one that asks and is told here: all but one search by gradients."""
    return not isinstance(settings.strategy, DartsSettings) or settings.strategy.searches > 1


def asking_of(settings: SearchSettings) -> AskingSettings:
    """What the loop is given: of several searches by gradients each proposes one cell."""
    if isinstance(settings.strategy, DartsSettings):
        return AskingSettings(evaluations=settings.strategy.searches)
    return settings.asking


def check_asking(settings: SearchSettings) -> Goal:
    """What the search is for. Raises InputError for what the strategy cannot search, before anything is made."""
    name = settings.strategy.name
    asking = asking_of(settings)
    goal = parse_goal(asking.objectives, asking.limits)
    opened(asking.executor)
    beyond = _beyond(settings)
    if beyond and asking.evaluator == "supernet":
        raise InputError(
            f"Weights are shared by networks of a normal and a reduction cell alone, but {beyond} is set; leave it out "
            "or --evaluator supernet."
        )
    if beyond and name not in (RandomSampling.name, GradientSearches.name):
        raise InputError(
            f"The strategy {name} searches a normal and a reduction cell alone, but {beyond} is set; leave it out, "
            "or say --strategy darts or random."
        )
    if processes.world() > 1:
        raise InputError(
            f"The strategy {name} trains its candidates by itself, but torchrun started {processes.world()} processes; "
            "start one, with --executor."
        )
    return goal


def check_measured(settings: SearchSettings, config: NetworkConfig, evaluator: Evaluator[Genotype]) -> None:
    """Raises InputError where the evaluator does not measure what the search is for."""
    goal = check_asking(settings)
    reason = refused(made(settings, goal, space_of(settings, config), config), evaluator, goal)
    if reason:
        raise InputError(f"This search cannot run: {reason}.")


def _nothing(number: int) -> Genotype:
    raise AssertionError("no search by gradients was named")


def _beyond(settings: SearchSettings) -> str:
    """The first option by which a genotype is more than a normal and a reduction cell; empty for none."""
    network = settings.network
    options = {
        "--level": network.level != "micro",
        "--cells-per-layer": network.cells_per_layer,
        "--gates search": network.gates == "search",
        "--decays search": network.decays == "search",
    }
    return next((option for option, is_set in options.items() if is_set), "")


def space_of(settings: SearchSettings, config: NetworkConfig, given: Genotype | None = None) -> Space[Genotype]:
    """What is searched: cells, and the widths of layers where there are several.

    given: the cells whose path it is, at the level macro.
    """
    if _beyond(settings):
        return DrawnCells(settings=settings.network, config=config, given=given)
    space, widths = SPACES[settings.network.primitives](settings.network), settings.elastic.widths
    return space if len(widths) == 1 else with_widths(space, default_layers(settings.network.cells), widths)


def made(
    settings: SearchSettings, goal: Goal, space: Space[Genotype], config: NetworkConfig, find: Find = _nothing
) -> Strategy[Genotype]:
    """The strategy of the settings."""
    epochs = settings.training.train_epochs
    chosen = settings.strategy
    if isinstance(chosen, DartsSettings):
        return GradientSearches(space, goal, epochs, find)
    return strategy_of(chosen.name, space, goal, seed=settings.seed, epochs=epochs, settings=chosen, network=config)


def evaluator_of(run: Run, settings: SearchSettings, train: Train, on_chip: OnChip | None) -> RunEvaluator:
    """What trains the candidates of a run."""
    asking = asking_of(settings)
    goal = parse_goal(asking.objectives, asking.limits)
    training = changed(settings, strategy="darts", level="micro", searches=1)
    folder = run.candidate("").path
    return RunEvaluator(folder=folder, settings=training, names=goal.names, train=train, on_chip=on_chip)


def asking_search(
    run: Run,
    settings: SearchSettings,
    config: NetworkConfig,
    evaluator: RunEvaluator,
    tell: Tell,
    given: Genotype | None = None,
    find: Find = _nothing,
) -> None:
    """Search, write the front and the table of candidates, copy the results of the chosen one into `run`.

    given: the cells whose path is searched, at the level macro. find: what searches by gradients propose. Raises
    InputError where no candidate could be measured.
    """
    goal = check_asking(settings)
    space = space_of(settings, config, given)
    asking = asking_of(settings)
    found = run_loop(
        made(settings, goal, space, config, find),
        evaluator,
        space,
        goal,
        Budget(evaluations=asking.evaluations, at_once=asking.at_once),
        seed=settings.seed,
        history=run.evaluations,
        header={"settings": asdict(settings.strategy)},
        write=to_dict,
        executor=opened(asking.executor),
        progress=partial(tell_evaluation, tell, goal, asking.evaluations),
    )
    whole = _whole(found, evaluator)
    if not whole:
        notes = [one.result.note for one in found.told if one.result.note]
        raise InputError(f"None of {len(found.told)} candidates could be measured: {(notes or ['no reason'])[0]}")
    best = min(found.best, key=lambda one: goal.rank(whole[evaluator.run_of(one).path.name]))
    rows = [row_of(Run(evaluator.folder / name)) for name in whole]
    chosen = evaluator.run_of(best)
    write_text(run.front_svg, draw_front(list(whole.values()), goal))
    write_json(run.front, _front(found, goal, evaluator, whole))
    write_json(run.candidates, {"best": chosen.path.name, "candidates": rows})
    copy_results(chosen, run)


def _whole(found: Found[Genotype], evaluator: RunEvaluator) -> dict[str, Any]:
    """Name of a run -> its objectives, of whole trainings; what was best after a short one is trained whole first."""
    measured = {
        evaluator.run_of(one.candidate).path.name: dict(one.measured)
        for one in found.told
        if one.proposal.budget in (0, evaluator.epochs) and one.result.status == "ok"
    }
    for one in found.best:
        name = evaluator.run_of(one).path.name
        if name not in measured and any(told.result.status == "ok" for told in found.told):
            measured[name] = dict(evaluator(one, 0, 0).objectives)
    return measured


def _front(found: Found[Genotype], goal: Goal, evaluator: RunEvaluator, whole: dict[str, Any]) -> dict[str, Any]:
    """What front.json holds, by the first objective."""
    best = sorted(found.best, key=lambda one: goal.rank(whole[evaluator.run_of(one).path.name]))
    return {
        "objectives": {one.name: "most" if one.maximised else "least" for one in goal.objectives},
        "limits": {limit.name: limit.most for limit in goal.limits},
        "spent": found.spent,
        "front": [
            {"name": name, "objectives": nulls(whole[name]), "genotype": to_dict(one)}
            for one in best
            for name in (evaluator.run_of(one).path.name,)
        ],
    }


def tell_evaluation(
    tell: Tell, goal: Goal, evaluations: int, told: Told[Genotype], spent: float, strategy: Strategy[Genotype]
) -> None:
    """One line: what was evaluated, and how many cells the front has."""
    words = ", ".join(f"{name} {value:.4g}" for name, value in told.measured.items()) or told.result.note
    front = len(strategy.best())
    several = f"; {front} cells on the front" if len(goal.objectives) > 1 else ""
    tell(f"{spent:.3g} of {evaluations} evaluations: {words}{several}")


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
