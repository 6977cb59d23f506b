"""The table of targets, and folders that are replaced as a whole or not at all. `tests/test_pipeline.py` runs them."""

from pathlib import Path

import pytest

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.targets import TARGETS, _replace_folder, export
from spikeport.search.runs import Run


def test_an_unknown_target_is_refused_from_the_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"Unknown target 'x'; choose from {', '.join(TARGETS)}, all"):
        export(Run(tmp_path), "x", print)


def test_a_run_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained network"):
        export(Run(tmp_path), "loihi", print)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "export" / "loihi"
    folder.mkdir(parents=True)
    (folder / "old").write_text("old")
    assert _replace_folder(folder, lambda fresh: (fresh / "new").touch()) == folder
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in folder.parent.iterdir()] == ["loihi"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "loihi"
    folder.mkdir()
    (folder / "old").touch()

    def fail(fresh: Path) -> None:
        (fresh / "new").touch()
        raise UnsupportedError("Layer 'x': no.")

    with pytest.raises(UnsupportedError):
        _replace_folder(folder, fail)
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]
