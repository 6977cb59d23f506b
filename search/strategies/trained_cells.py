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
from ...files import write_json, write_text
from ..evaluators.as_runs import OnChip, RunEvaluator, Train
from ..frame.executors import opened
from ..frame.front_picture import draw_front
from ..frame.goal import Goal, parse_goal
from ..frame.protocol import Evaluator, Strategy, Told, nulls
from ..frame.run import Budget, Found, refused
from ..frame.run import run as run_loop
from ..machine import processes
from ..runs import Run
from ..settings.run import SearchSettings, changed
from ..space.genotype import Genotype, to_dict
from ..space.layout import default_layers
from ..spaces.genotypes import SPACES
from ..spaces.space import CodedSpace, Space
from ..spaces.widths import with_widths
from .random_cells import copy_results, row_of
from .table import strategy_of

Tell = Callable[[str], None]


def asks(settings: SearchSettings) -> bool:
    """Whether the strategy of the settings is one that asks and is told here."""
    return "asking" in settings.strategy.reads


def check_asking(settings: SearchSettings, evaluator: Evaluator[Genotype] | None = None) -> Goal:
    """What the search is for. Raises InputError for what no strategy that asks can search, before anything is made."""
    name, network = settings.strategy.name, settings.network
    goal = parse_goal(settings.asking.objectives, settings.asking.limits)
    opened(settings.asking.executor)
    beyond = {
        "--level": network.level != "micro",
        "--cells-per-layer": network.cells_per_layer,
        "--gates search": network.gates == "search",
        "--decays search": network.decays == "search",
    }
    for option, is_set in beyond.items():
        if is_set:
            raise InputError(
                f"The strategy {name} searches a normal and a reduction cell alone, but {option} is set; leave it out, "
                "or say --strategy darts."
            )
    if processes.world() > 1:
        raise InputError(
            f"The strategy {name} trains its candidates by itself, but torchrun started {processes.world()} processes; "
            "start one, with --executor."
        )
    if evaluator is not None:
        reason = refused(made(settings, goal, space_of(settings)), evaluator, goal)
        if reason:
            raise InputError(f"This search cannot run: {reason}.")
    return goal


def space_of(settings: SearchSettings) -> CodedSpace[Genotype]:
    """What is searched: cells, and the widths of layers where there are several."""
    space, widths = SPACES[settings.network.primitives](settings.network), settings.elastic.widths
    return space if len(widths) == 1 else with_widths(space, default_layers(settings.network.cells), widths)


def made(settings: SearchSettings, goal: Goal, space: Space[Genotype]) -> Strategy[Genotype]:
    """The strategy of the settings."""
    epochs = settings.training.train_epochs
    chosen = settings.strategy
    return strategy_of(chosen.name, space, goal, seed=settings.seed, epochs=epochs, settings=chosen)


def evaluator_of(run: Run, settings: SearchSettings, train: Train, on_chip: OnChip | None) -> RunEvaluator:
    """What trains the candidates of a run."""
    goal = parse_goal(settings.asking.objectives, settings.asking.limits)
    training = changed(settings, strategy="darts", level="micro")
    folder = run.candidate(1).path.parent
    return RunEvaluator(folder=folder, settings=training, names=goal.names, train=train, on_chip=on_chip)


def asking_search(run: Run, settings: SearchSettings, evaluator: RunEvaluator, tell: Tell) -> None:
    """Search, write the front and the table of candidates, copy the results of the chosen one into `run`.

    Raises InputError where no candidate could be measured.
    """
    goal = check_asking(settings, evaluator)
    space = space_of(settings)
    asking = settings.asking
    found = run_loop(
        made(settings, goal, space),
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
