import os
import signal
import time
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


def unsendable() -> object:
    return lambda: 1


def sleeping() -> None:
    time.sleep(60)


def test_a_pool_that_does_not_wait_kills_what_is_under_way() -> None:
    pool = Processes(1)
    pid = pool.submit(own_number).result()
    under_way = pool.submit(sleeping)
    while not under_way.running():
        time.sleep(0.01)
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(BrokenExecutor, match=f"The process {pid} ended"):
        under_way.result()


def test_what_cannot_be_sent_is_no_death() -> None:
    with Processes(1) as pool:
        first = pool.submit(own_number).result()
        with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
            pool.submit(lambda: 1).result()
        with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
            pool.submit(unsendable).result()
        assert pool.submit(own_number).result() == first
