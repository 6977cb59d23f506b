"""Where evaluations run: in this process, in others of this machine, or on what somebody else's executor reaches.

A worker that dies costs its own evaluation and no other. Somebody else's executor may not say whose worker died, so all
that were under way are tried again, each alone: the one that dies again is given up.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

from ...errors import InputError
from ...setting import chosen
from .processes import Processes

R = TypeVar("R")
Opened = Callable[[], Executor]  # a new executor


class Died(Exception):
    """The process of an evaluation ended without an answer, twice."""


class Here(Executor):
    """In this process, one after the other, when the next is asked for."""


class Foreign(Executor):
    """Somebody else's executor. begin: a call -> its future. deaths: what it raises where a worker died."""

    def __init__(self, begin: Callable[..., Future[Any]], deaths: tuple[type[BaseException], ...]) -> None:
        self._begin, self._deaths = begin, deaths

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()

        def pass_on(theirs: Future[Any]) -> None:
            error = theirs.exception()
            if error is None:
                future.set_result(theirs.result())
            else:
                future.set_exception(BrokenExecutor(str(error)) if isinstance(error, self._deaths) else error)

        self._begin(partial(fn, *args, **kwargs)).add_done_callback(pass_on)
        return future


def called(call: Callable[[], R]) -> R:
    """What a remote worker is told to do."""
    return call()


def _processes(words: str) -> Executor:
    if not words.isdecimal() or int(words) < 1:
        raise InputError(f"A number of processes must be a whole number above 0, but is '{words}'.")
    return Processes(int(words))


def _ray(address: str) -> Executor:
    """address: of a cluster that runs, `auto` for the one of this machine, `local` for a new one.

    Ray reports its use to its makers unless told otherwise, and is told otherwise.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if not ray.is_initialized():
        ray.init(address=None if address in ("", "local") else address)
    remote: Any = ray.remote(called).options(max_retries=0)  # the loop tries again itself
    errors = ray.exceptions
    deaths = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError)
    return Foreign(lambda call: remote.remote(call).future(), deaths)


def _dask(address: str) -> Executor:
    """address: of the scheduler."""
    from distributed import Client, KilledWorker

    return Foreign(Client(address).get_executor(pure=False, retries=0).submit, (KilledWorker,))


def _submitit(folder: str) -> Executor:
    """folder: of the jobs' logs, on a file system that all nodes see; SLURM where it is there, else processes."""
    import submitit

    executor = submitit.AutoExecutor(folder=folder or "submitit")
    executor.update_parameters(cpus_per_task=1)

    def begin(call: Callable[[], Any]) -> Future[Any]:
        job, future = executor.submit(call), Future[Any]()
        threading.Thread(target=_waited, args=(job, future), daemon=True).start()  # a job has no callbacks
        return future

    return Foreign(begin, (submitit.core.utils.UncompletedJobError,))


def _waited(job: Any, future: Future[Any]) -> None:
    try:
        future.set_result(job.result())
    except Exception as error:  # noqa: BLE001 (a job raises anything; the future raises it again)
        future.set_exception(error)


# name -> (what opens it, of the words behind its colon; the package it needs, which is no dependency)
EXECUTORS: Mapping[str, tuple[Callable[[str], Executor], str]] = {
    "processes": (_processes, ""),
    "ray": (_ray, "ray"),
    "dask": (_dask, "distributed"),
    "submitit": (_submitit, "submitit"),
}


def opened(words: str) -> Opened:
    """Of `NAME:WORDS`, as processes:4 or ray:auto; "" for this process.

    Raises InputError for one that is unknown, or whose package is missing.
    """
    if not words:
        return Here
    name, _, rest = words.partition(":")
    open_one, package = EXECUTORS[chosen("executor", name, EXECUTORS)]
    if package and not (package in sys.modules or find_spec(package)):
        raise InputError(
            f"The executor {name} needs the package {package}, which is not installed; "
            f"run `pip install 'spikeport[{name}]'` or say processes:N."
        )
    return lambda: open_one(rest)


class Workers:
    """Runs calls on an executor that is opened when it is needed, and again when it broke."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._executor: Executor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._close(wait=True)

    def run(self, calls: Iterable[Callable[[], R]]) -> Iterator[tuple[int, R | Died]]:
        """(number of the call, what it returned or that its process died), in any order.

        An error that a call raises is raised here.
        """
        everything = list(calls)
        if isinstance(self._get(), Here):
            yield from ((number, call()) for number, call in enumerate(everything))
            return
        running = {self._get().submit(call): number for number, call in enumerate(everything)}
        suspects = []
        for future in as_completed(running):
            number = running[future]
            try:
                yield number, future.result()
            except BrokenExecutor:
                suspects.append(number)
        if suspects:
            self._close(wait=False)
        for number in sorted(suspects):
            try:
                yield number, self._get().submit(everything[number]).result()
            except BrokenExecutor as error:
                self._close(wait=False)
                yield number, Died(str(error))

    def _get(self) -> Executor:
        if self._executor is None:
            self._executor = self._opened()
        return self._executor

    def _close(self, *, wait: bool) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=wait, cancel_futures=True)
        self._executor = None
