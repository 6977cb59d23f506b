"""The loop looks up, stops at its budget, goes on after a kill, and loses no more than a dead worker's evaluation."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spikeport.errors import InputError
from spikeport.search.frame.executors import Here, opened
from spikeport.search.frame.goal import parse_goal
from spikeport.search.frame.protocol import Result
from spikeport.search.frame.run import Budget, run
from spikeport.search.settings.strategies import HalvingSettings
from spikeport.search.spaces.space import Code
from spikeport.search.strategies.asking.table import strategy_of
from spikeport.tests.search.frame.toy import SPACE, Toy, worth

GOAL = parse_goal("accuracy")


class Counting:
    """The toy, and how often it was asked."""

    name, epochs, offers = "toy", 4, frozenset({"accuracy", "sops"})

    def __init__(self, kill_at: int = -1) -> None:
        self.asked: list[tuple[Code, int]] = []
        self.kill_at = kill_at

    def __call__(self, candidate: Code, budget: int, seed: int) -> Result:
        if len(self.asked) == self.kill_at:
            raise KeyboardInterrupt
        self.asked.append((candidate, budget))
        if candidate[0] == 5:
            raise InputError("this cell cannot be built")
        return Toy()(candidate, budget, seed)


def search(evaluator: Any, evaluations: int = 12, name: str = "evolution", **more: Any) -> Any:
    at_once = more.pop("at_once", 1)
    strategy = strategy_of(name, SPACE, GOAL, seed=1, epochs=4)
    return run(strategy, evaluator, SPACE, GOAL, Budget(evaluations=evaluations, at_once=at_once), **more)


def test_nothing_is_evaluated_twice_and_the_budget_is_kept() -> None:
    evaluator = Counting()
    found = search(evaluator, 60, "shade")
    assert len(set(evaluator.asked)) == len(evaluator.asked) == 60 == found.spent
    assert len(found.told) > 60  # shade proposes some twice
    failed = [one for one in found.told if one.candidate[0] == 5]
    assert failed and {one.result.note for one in failed} == {"this cell cannot be built"}


def test_short_trainings_cost_their_share() -> None:
    evaluator = Counting()
    strategy = strategy_of("halving", SPACE, GOAL, seed=1, epochs=4, settings=HalvingSettings(halving_factor=2))
    found = run(strategy, evaluator, SPACE, GOAL, Budget(evaluations=10))
    assert sum(budget / 4 for _, budget in evaluator.asked) == pytest.approx(found.spent) and 9 < found.spent <= 10
    assert {budget for _, budget in evaluator.asked} == {1, 2, 4}


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("name", ["evolution", "nsga2", "race"])
def test_a_search_that_was_stopped_goes_on_and_ends_alike(name: str, at_once: int, tmp_path: Path) -> None:
    whole = search(Counting(), name=name, at_once=at_once, history=tmp_path / "whole.jsonl")
    path = tmp_path / "h.jsonl"
    with pytest.raises(KeyboardInterrupt):
        search(Counting(kill_at=7), name=name, at_once=at_once, history=path)
    with path.open("ab") as file:
        file.write(b'{"number":99,"key"')  # half a line
    rest = Counting()
    found = search(rest, name=name, at_once=at_once, history=path)
    assert found.told == whole.told and found.best == whole.best
    assert len(rest.asked) == len(whole.told) - 7 or name != "evolution"
    assert sorted(path.read_text().splitlines()) == sorted((tmp_path / "whole.jsonl").read_text().splitlines())


KILLED = """
import os, signal, sys
from pathlib import Path
from spikeport.tests.search.frame.test_run import Counting, search

class Killed(Counting):
    def __call__(self, *arguments):
        if len(self.asked) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(*arguments)

search(Killed(), history=Path(sys.argv[1]))
"""


@pytest.mark.slow  # a process of its own
def test_kill_nine(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert done.returncode == -signal.SIGKILL and len(path.read_text().splitlines()) == 6
    rest = Counting()
    assert search(rest, history=path).told == search(Counting()).told
    assert len(rest.asked) == 7


def test_a_history_of_another_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    search(Counting(), 4, history=path)
    with pytest.raises(InputError, match=r"has strategy='evolution' and now it is 'random'"):
        search(Counting(), 4, "random", history=path)
    with pytest.raises(InputError, match=r"has seed=0 and now it is 3"):
        search(Counting(), 4, history=path, seed=3)
    lines = path.read_text().splitlines()
    other = json.loads(lines[2]) | {"key": "(0, 0, 9)"}
    path.write_text("\n".join([*lines[:2], json.dumps(other), *lines[3:], ""]))
    with pytest.raises(InputError, match=r"evaluation 1 is of cell \(0, 0, 9\), but evolution now asks for"):
        search(Counting(), 4, history=path)
    path.write_text("\n".join([lines[0], "{}", ""]))
    with pytest.raises(InputError, match="line 2 must be an evaluation, but lacks something"):
        search(Counting(), 4, history=path)
    path.write_text("\n".join([lines[0], "no", ""]))
    with pytest.raises(InputError, match="line 2 must be JSON, but is damaged"):
        search(Counting(), 4, history=path)


class Breaking(Executor):
    """A pool whose workers die at one candidate, and take with them what is under way."""

    opened = 0

    def __init__(self) -> None:
        Breaking.opened += 1
        self.broken = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.broken = self.broken or fn.args[1] == BAD
        if self.broken:
            future.set_exception(BrokenProcessPool("a process ended abruptly"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


BAD = strategy_of("random", SPACE, GOAL, seed=1).ask(3)[1].candidate


def test_a_worker_that_dies_costs_its_evaluation_only() -> None:
    Breaking.opened = 0
    found = search(Counting(), 12, "random", at_once=6, executor=Breaking)
    assert [one.candidate for one in found.told if one.result.status == "died"] == [BAD]
    alone = search(Counting(), 12, "random", at_once=6)
    same = [one for one in found.told if one.candidate != BAD]
    assert same == [one for one in alone.told if one.candidate != BAD]
    assert Breaking.opened == 3  # broken by the batch, then by the one that died again


class Dying(Toy):
    """Its process ends at one candidate."""

    def __call__(self, candidate: Code, budget: int, seed: int) -> Result:
        if candidate == BAD:
            os.kill(os.getpid(), signal.SIGKILL)
        return Toy.__call__(self, candidate, budget, seed)


@pytest.mark.slow  # processes of their own
def test_a_real_process_that_dies() -> None:
    found = search(Dying(), 4, "random", at_once=4, executor=opened("processes:2"))
    assert [one.candidate for one in found.told if one.result.status == "died"] == [BAD]
    assert found.best == [max((one.candidate for one in found.told if one.candidate != BAD), key=worth)]


def test_executors() -> None:
    assert opened("") is Here
    with pytest.raises(InputError, match="Unknown executor 'mpi'; choose from processes, ray, dask, submitit"):
        opened("mpi:4")
    with pytest.raises(InputError, match="must be a whole number above 0, but is '0'"):
        opened("processes:0")()
    with pytest.raises(InputError, match="needs the package submitit, which is not installed; run `pip install"):
        opened("submitit:logs")


class Crashed(Exception):
    """As ray says that a worker died."""


def test_ray_is_asked_as_it_wants_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with the names of ray 2: each task alone, and a worker that dies takes only its own with it."""
    begun: list[Any] = []

    class Reference:
        def __init__(self, call: Any) -> None:
            self.call = call

        def future(self) -> Future[Any]:
            found: Future[Any] = Future()
            begun.append(self.call)
            if self.call.args[0].args[1] == BAD:
                found.set_exception(Crashed("the worker died"))
            else:
                found.set_result(self.call())
            return found

    class Remote:
        def __init__(self, function: Any) -> None:
            self.function = function

        def options(self, **words: Any) -> "Remote":
            assert words == {"max_retries": 0}
            return self

        def remote(self, call: Any) -> Reference:
            return Reference(partial(self.function, call))

    errors = SimpleNamespace(WorkerCrashedError=Crashed, NodeDiedError=Crashed, OutOfMemoryError=Crashed)
    addresses: list[Any] = []
    ray = SimpleNamespace(
        is_initialized=lambda: bool(addresses),
        init=lambda address: addresses.append(address),
        remote=Remote,
        exceptions=errors,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    found = search(Counting(), 6, "random", at_once=6, executor=opened("ray:auto"))
    assert [one.candidate for one in found.told if one.result.status == "died"] == [BAD]
    assert addresses == ["auto"] and len(begun) == 7  # the one that died was tried twice
    here = search(Counting(), 6, "random", at_once=6).told
    assert [one for one in found.told if one.candidate != BAD] == [one for one in here if one.candidate != BAD]


def test_budgets() -> None:
    with pytest.raises(InputError, match="`evaluations >= 1` must hold, but got evaluations=0"):
        Budget(evaluations=0)
