"""A search on two workers of Ray, of which one is killed, comes to the same as one in this process."""

import json
import os
import subprocess
import sys

import pytest

from spikeport.tests.search.frame.test_run import BAD, search
from spikeport.tests.search.frame.toy import Toy, worth

# a process of its own, because Ray leaves threads, handlers and warnings behind
SEARCH = """
import json, ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
from spikeport.search.frame.executors import opened
from spikeport.tests.search.frame.test_run import Dying, search
found = search(Dying(), 6, "random", at_once=6, executor=opened("ray:local"))
told = [[one.candidate, one.result.status, one.measured.get("accuracy")] for one in found.told]
print("FOUND", json.dumps([told, found.best, ray.nodes()[0]["Resources"]["CPU"]]))
ray.shutdown()
"""


@pytest.mark.slow  # Ray starts processes of its own
def test_two_workers_of_which_one_is_killed() -> None:
    env = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run([sys.executable, "-c", SEARCH], capture_output=True, text=True, env=env, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    told, best, workers = json.loads(line.removeprefix("FOUND "))
    here = search(Toy(), 6, "random", at_once=6).told
    assert workers == 2
    assert [tuple(one) for one, status, _ in told if status == "died"] == [BAD]
    same = [(tuple(one), accuracy) for one, status, accuracy in told if status == "ok"]
    assert same == [(one.candidate, one.measured["accuracy"]) for one in here if one.candidate != BAD]
    assert [tuple(one) for one in best] == [max((one for one, _ in same), key=worth)]
