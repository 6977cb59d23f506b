"""The one loop: ask, look up, submit, write down, tell in the order of the asks; stop at a budget; go on after a kill.

A search that goes on is a new strategy that is asked and told everything again, from the history. What was under way
when it was killed is evaluated again; nothing else is.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic

from ...errors import InputError, SpikeportError
from ..spaces.space import G, Space
from .executors import Died, Here, Opened, Workers
from .goal import Goal
from .history import Entry, History
from .protocol import Evaluator, Proposal, Result, Strategy, Told

log = logging.getLogger(__name__)

ROUNDING = 1e-9  # of sums of shares
IDLE = 10  # times as many proposals as evaluations: a strategy that proposes only what is known has come to its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """evaluations: whole trainings in all; short ones cost their share. at_once: proposals before any is told."""

    evaluations: int
    at_once: int = 1

    def __post_init__(self) -> None:
        for name in ("evaluations", "at_once"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name} >= 1` must hold, but got {name}={getattr(self, name)}.")


@dataclass(slots=True, kw_only=True)
class Found(Generic[G]):
    """What a search came to. best: a front, or one candidate. told: everything, in the order of the asks."""

    best: list[G] = field(default_factory=list)
    told: list[Told[G]] = field(default_factory=list)
    spent: float = 0.0


Progress = Callable[[Told[Any], float, Strategy[Any]], None]  # the newest, what was spent, who asked


def refused(strategy: Strategy[G] | type[Strategy[G]], evaluator: Evaluator[G], goal: Goal) -> str | None:
    """Why a strategy, an evaluator and a goal do not go together; None where they do."""
    missing = [name for name in goal.names if name.partition(":")[0] not in evaluator.offers]
    if missing:
        return (
            f"the evaluator {evaluator.name} does not measure {', '.join(missing)}; choose from "
            f"{', '.join(sorted(evaluator.offers))}"
        )
    if len(goal.objectives) > 1 and not strategy.many:
        return (
            f"the strategy {strategy.name} takes one objective, but there are {len(goal.objectives)}; name one, make "
            "the others limits, or choose a strategy that finds fronts"
        )
    if strategy.budgets and evaluator.epochs < 2:
        return (
            f"the strategy {strategy.name} asks for short trainings, but the evaluator {evaluator.name} has none; "
            "choose another of either"
        )
    return None


def run(
    strategy: Strategy[G],
    evaluator: Evaluator[G],
    space: Space[G],
    goal: Goal,
    budget: Budget,
    *,
    seed: int = 0,
    history: Path | None = None,
    header: Mapping[str, Any] | None = None,
    write: Callable[[G], Any] | None = None,
    executor: Opened = Here,
    progress: Progress = lambda told, spent, strategy: None,
) -> Found[G]:
    """Search until the budget is spent, or until the strategy proposes nothing new any more.

    seed: of the evaluations. history: a file to go on from. header: what the search is, for that file. write: a
    candidate as JSON, its code by default. Raises InputError where the three do not go together, and where the history
    is of another search.
    """
    reason = refused(strategy, evaluator, goal)
    if reason:
        raise InputError(f"This search cannot run: {reason}.")
    begun = {"strategy": strategy.name, "evaluator": evaluator.name, "space": space.name, "goal": _words(goal)}
    kept = History(history, begun | {"seed": seed, "at_once": budget.at_once} | dict(header or {}))
    loop = _Loop(strategy, evaluator, space, budget, seed, kept, write or (lambda one: list(space.encode(one))))
    with Workers(executor) as workers:
        while loop.generation(workers, progress):
            pass
    loop.found.best = strategy.best()
    return loop.found


def _words(goal: Goal) -> dict[str, Any]:
    return {
        "objectives": [one.name for one in goal.objectives],
        "limits": {limit.name: limit.most for limit in goal.limits},
    }


class _Loop(Generic[G]):
    def __init__(
        self,
        strategy: Strategy[G],
        evaluator: Evaluator[G],
        space: Space[G],
        budget: Budget,
        seed: int,
        history: History,
        write: Callable[[G], Any],
    ) -> None:
        self.strategy, self.evaluator, self.space = strategy, evaluator, space
        self.budget, self.seed, self.history, self.write = budget, seed, history, write
        self.known: dict[tuple[str, int], Result] = {}
        self.found: Found[G] = Found()
        self.asked = 0

    def generation(self, workers: Workers, progress: Progress) -> bool:
        """Ask once, and tell; False: there is nothing left to spend."""
        if self.found.spent > self.budget.evaluations - ROUNDING:
            return False
        if self.asked >= IDLE * self.budget.evaluations:
            log.warning("%s made %d proposals, most of them known; the search ends", self.strategy.name, self.asked)
            return False
        chosen, costs = self._affordable(self.strategy.ask(self.budget.at_once))
        keys = [self._key(one) for one in chosen]
        self._evaluate(chosen, keys, costs, workers)
        told = [Told(one, self.known[key]) for one, key in zip(chosen, keys, strict=True)]
        self.asked += len(chosen)
        self.found.spent += sum(costs)
        self.found.told += told
        self.strategy.tell(told)
        for one in told:
            progress(one, self.found.spent, self.strategy)
        return bool(chosen)

    def _key(self, one: Proposal[G]) -> tuple[str, int]:
        return self.space.key(one.candidate), one.budget

    def _affordable(self, proposals: Sequence[Proposal[G]]) -> tuple[list[Proposal[G]], list[float]]:
        """The first of them, with what each costs; what is known, or comes twice, costs nothing."""
        left, seen = self.budget.evaluations - self.found.spent, set(self.known)
        chosen, costs = list[Proposal[G]](), list[float]()
        for one in proposals:
            cost = 0.0 if self._key(one) in seen else self._share(one.budget)
            if cost > left + ROUNDING:
                break
            seen.add(self._key(one))
            left -= cost
            chosen.append(one)
            costs.append(cost)
        return chosen, costs

    def _share(self, budget: int) -> float:
        return budget / self.evaluator.epochs if budget else 1.0

    def _evaluate(
        self, chosen: Sequence[Proposal[G]], keys: Sequence[tuple[str, int]], costs: Sequence[float], workers: Workers
    ) -> None:
        """Everything that is not known yet; what the history has is taken from there."""
        wanted: dict[tuple[str, int], int] = {}
        for place, key in enumerate(keys):
            entry = self.history.entries.get(self.asked + place)
            if entry is not None:
                if (entry.key, entry.budget) != key:
                    raise InputError(
                        f"The history's evaluation {entry.number} is of cell {entry.key}, but {self.strategy.name} now "
                        f"asks for {key[0]}: another version wrote it; use another file."
                    )
                self.known[key] = entry.result
            elif key not in self.known:
                wanted.setdefault(key, place)
        places = list(wanted.values())
        calls = [partial(measured, self.evaluator, chosen[p].candidate, chosen[p].budget, self.seed) for p in places]
        for number, result in workers.run(calls):
            place = places[number]
            self.known[keys[place]] = _dead(result) if isinstance(result, Died) else result
            self._note(place, chosen[place], keys[place], costs[place])
        for place, key in enumerate(keys):
            if self.asked + place not in self.history.entries:
                self._note(place, chosen[place], key, costs[place])

    def _note(self, place: int, one: Proposal[G], key: tuple[str, int], cost: float) -> None:
        number = self.asked + place
        written = self.write(one.candidate)
        self.history.add(
            Entry(number=number, key=key[0], budget=key[1], cost=cost, result=self.known[key], candidate=written)
        )


def measured(evaluator: Evaluator[G], candidate: G, budget: int, seed: int) -> Result:
    """What the evaluator says; an error that a user can meet is a result, too: the next candidate may do better."""
    try:
        return evaluator(candidate, budget, seed)
    except SpikeportError as error:
        return Result(objectives={}, status="failed", note=str(error))


def _dead(error: Died) -> Result:
    return Result(objectives={}, status="died", note=f"its process died twice ({error})")
