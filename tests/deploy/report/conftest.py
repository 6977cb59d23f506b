"""What the tests of the report share: a headless Chromium."""

import os
from collections.abc import Iterator

import pytest

from spikeport.tests.deploy.report.chromium import Chromium, chromium_missing


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Skips with its reason where no Chromium is installed; with CI=true that is a failure."""
    reason = chromium_missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser
