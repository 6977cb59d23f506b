import os
import signal
from concurrent.futures import BrokenExecutor

import pytest

from spikeport.search.frame.processes import Processes

pytestmark = pytest.mark.slow  # processes of their own


def doubled(number: int) -> int:
    return 2 * number


def refusing(number: int) -> int:
    raise ValueError(f"not {number}")


def dying() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def own_number() -> int:
    return os.getpid()


def test_a_death_is_of_one_call_and_a_new_process_takes_its_place() -> None:
    with Processes(1) as pool:
        first = pool.submit(own_number).result()
        lost, after = pool.submit(dying), pool.submit(own_number)
        with pytest.raises(BrokenExecutor, match=rf"The process {first} ended without an answer"):
            lost.result()
        assert after.result() not in (first, os.getpid())
        with pytest.raises(ValueError, match="not 7"):
            pool.submit(refusing, 7).result()
        assert list(pool.map(doubled, range(4))) == [0, 2, 4, 6]
        assert pool.submit(own_number).result() == after.result()


def test_processes_end_with_their_pool() -> None:
    with Processes(2) as pool:
        pids = {pool.submit(own_number).result() for _ in range(2)}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_cannot_be_sent_is_no_death() -> None:
    with Processes(1) as pool:
        first = pool.submit(own_number).result()
        with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
            pool.submit(lambda: 1).result()
        assert pool.submit(own_number).result() == first
