"""Compiled loops on the threads that torch has already.

Threads of another pool would have to fight for the cores: torch's own wait for more work without sleeping. So a loop is
handed to the OpenMP runtime that torch was built with; where that is not GNU's (macOS, Windows), it runs on one thread.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch

WORTH_IT = 1 << 17  # numbers; fewer are done before a second thread has begun

_Part = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def in_threads(loop: Callable[..., None], first: Any, *others: Any) -> None:
    """loop(first, *others, start, stop) with the parts of range(len(first)), at once, on as many threads as torch has.

    The loop must release the GIL, and its parts must not write to the same places.
    """
    size, threads, runtime = len(first), torch.get_num_threads(), _openmp()
    if runtime is None or threads == 1 or max(getattr(array, "size", 0) for array in (first, *others)) < WORTH_IT:
        loop(first, *others, 0, size)
        return

    failed: list[BaseException] = []

    def part(_: int | None) -> None:
        try:
            number, team = runtime.omp_get_thread_num(), runtime.omp_get_num_threads()
            loop(first, *others, size * number // team, size * (number + 1) // team)
        except BaseException as error:  # noqa: BLE001 (ctypes would print it and go on; it is raised below)
            failed.append(error)

    runtime.GOMP_parallel(_Part(part), None, threads, 0)
    if failed:
        raise failed[0]


@functools.cache
def _openmp() -> ctypes.CDLL | None:
    """The runtime that torch is linked to, if it has GNU's interface."""
    libraries = ctypes.CDLL(torch._C.__file__)
    return libraries if hasattr(libraries, "GOMP_parallel") else None
