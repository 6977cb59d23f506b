"""The table of targets. `tests/test_pipeline.py` runs them."""

from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.export.targets import TARGETS, export
from spikeport.search.runs import Run


def test_an_unknown_target_is_refused_from_the_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"Unknown target 'x'; choose from {', '.join(TARGETS)}, all"):
        export(Run(tmp_path), "x", print)


def test_a_run_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained network"):
        export(Run(tmp_path), "loihi", print)
