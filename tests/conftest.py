"""What all tests share: real Lava, one thread, and marks for those that need something."""

import os
from collections.abc import Iterator

import pytest
import torch

from spikeport.deploy.run import lava

NEEDS = {"real_lava": "lava", "chromium": "browser", "trained": "training"}  # fixture -> mark of its tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, mark in NEEDS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)


@pytest.fixture(scope="session")
def real_lava() -> None:
    """Skips with its reason where real Lava cannot be had; with CI=true that is a failure."""
    reason = lava.lava_missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several threads than on one, and round otherwise.

    In every module anew: where Numba has run on several threads, torch has as many from then on, for they share OpenMP.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
