"""What all tests share: real Lava, one thread, and marks for those that need something."""

import ctypes
import os
from collections.abc import Iterator

import pytest

from spikeport.deploy.run import lava

try:
    ctypes.CDLL("libcuda.so.1")  # a GPU's driver
except OSError:
    os.environ["TRITON_INTERPRET"] = "1"  # tests/search/gpu; Triton wants to know it before it is imported

LONGEST = (
    *("test_pipeline.py", "test_processes.py", "test_loihi.py", "test_against_lava.py", "test_lava.py", "test_fuzz.py"),
    *("test_chaos.py", "test_conformance.py", "test_window.py", "test_search.py", "test_notebook.py", "test_api.py"),
    *("test_macro_search.py", "test_forms.py", "test_priced_loss.py", "test_browser.py"),
)
NEEDS = {"real_lava": "lava", "chromium": "browser", "trained": "training"}  # fixture -> mark of its tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks by fixtures; and the longest files first, so that no core waits for another at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
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


@pytest.fixture(autouse=True)
def gpu(request: pytest.FixtureRequest) -> None:
    """Skips a test that is marked `cuda` where torch sees no GPU: nothing needs one to build or pass."""
    if request.node.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several threads than on one, and round otherwise.

    In every module anew: where Numba has run on several threads, torch has as many from then on, for they share OpenMP.
    """
    import torch  # not where xdist only hands out the tests

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
