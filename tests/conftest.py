"""What all tests share: real Lava, and one thread."""

import os
from collections.abc import Iterator

import pytest
import torch

from spikeport.deploy.run import lava


@pytest.fixture(scope="session")
def real_lava() -> None:
    """Skips with its reason where real Lava cannot be had; with CI=true that is a failure."""
    reason = lava.lava_missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
