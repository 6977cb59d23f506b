"""Processes of this machine, each with a pipe of its own, so that one that is killed takes nothing with it.

The pool of the standard library shares its queues and their locks among all workers. Where one is killed it gives up
all that was under way, and under load its own end was seen to wait for ever (Python 3.11.7). Here a thread stands for
each worker, sends it a call and waits for the answer; the end of the pipe is the end of that process alone.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

R = TypeVar("R")


class Processes(Executor):
    """So many processes with one thread each, begun when they are needed, and anew where one has died."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._mine = threading.local()
        self._all: list[_Worker] = []

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """The future raises what the call raises, and BrokenExecutor where its process ended without an answer."""
        return self._threads.submit(self._run, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for worker in self._all:
            worker.end(wait=wait)

    def _run(self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if getattr(self._mine, "worker", None) is None:
            self._mine.worker = _Worker()
            self._all.append(self._mine.worker)
        worker: _Worker = self._mine.worker
        try:
            worker.pipe.send((fn, args, kwargs))
            answered, found = worker.pipe.recv()
        except (EOFError, OSError) as error:
            self._mine.worker = None
            worker.end(wait=True)
            raise BrokenExecutor(f"The process {worker.process.pid} ended without an answer.") from error
        if not answered:
            raise found
        result: R = found
        return result


class _Worker:
    def __init__(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends with the process

    def end(self, *, wait: bool) -> None:
        """The process sees the end of its pipe, once it has done what it is at; without waiting it is killed."""
        if wait:
            self.pipe.close()
        else:
            self.process.kill()  # a thread that waits at the pipe sees its end there, and closes it
        self.process.join()


def _serve(pipe: Connection) -> None:
    """In the process: answers calls until nobody is there to ask."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
    while True:
        try:
            fn, args, kwargs = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, fn(*args, **kwargs)))  # pickled as a whole before the first byte goes
        except Exception as error:  # noqa: BLE001 (a call raises anything; `_run` raises it where the answer is asked for)
            pipe.send((False, error))
