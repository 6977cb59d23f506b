from typing import Any

import numpy as np
import pytest
import torch

from spikeport.search.loops import threads
from spikeport.search.loops.neurons import compiled
from spikeport.search.loops.threads import WORTH_IT, in_threads


@compiled
def fill(where: Any, what: Any, start: int, stop: int) -> None:
    for i in range(start, stop):
        where[i] += what[i]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 7, WORTH_IT + 5])
def test_every_place_is_done_once(number: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: number)
    where, what = np.zeros(size, np.float32), np.arange(size, dtype=np.float32)
    in_threads(fill, where, what)
    assert np.array_equal(where, what)


def test_large_work_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[tuple[int, int]] = []

    def note(array: Any, start: int, stop: int) -> None:
        parts.append((start, stop))

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    in_threads(note, np.zeros(WORTH_IT))
    in_threads(note, np.zeros(WORTH_IT - 1))
    half = WORTH_IT // 2
    together = [(0, half), (half, WORTH_IT)] if threads._openmp() else [(0, WORTH_IT)]
    assert sorted(parts[: len(together)]) == together
    assert parts[len(together) :] == [(0, WORTH_IT - 1)]


def test_without_the_runtime_there_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    parts: list[tuple[int, int]] = []
    in_threads(lambda array, start, stop: parts.append((start, stop)), np.zeros(WORTH_IT))
    assert parts == [(0, WORTH_IT)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("size", [1, WORTH_IT])
def test_an_error_in_a_part_is_raised(error: type[BaseException], size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(array: Any, start: int, stop: int) -> None:
        raise error("in a part")

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(error, match="in a part"):
        in_threads(fails, np.zeros(size))
