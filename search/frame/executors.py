"""Where evaluations run: in this process, in others of this machine, or on what somebody else's executor reaches.

A worker that dies costs its own evaluation and no other. A pool of processes cannot say whose process died, so all that
were under way are tried again, each alone: the one that dies again is given up.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

from ...errors import InputError

R = TypeVar("R")
Opened = Callable[[], Executor]  # a new executor


class Died(Exception):
    """The process of an evaluation ended without an answer, twice."""


class Here(Executor):
    """In this process, one after the other, when the next is asked for."""


def opened(workers: int) -> Opened:
    """0: in this process; else so many processes, of one thread each."""
    if workers < 0:
        raise InputError(f"`workers >= 0` must hold, but got workers={workers}.")
    if workers == 0:
        return Here
    return lambda: ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread)


def _one_thread() -> None:
    import os

    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded


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
