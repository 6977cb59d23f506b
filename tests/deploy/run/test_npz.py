"""An `.npz` that is written in pieces is read as any other."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikeport.deploy.run.npz import NpzWriter


def test_numpy_and_zipfile_read_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    spikes = (random.random((5, 7, 3)) < 0.2).astype(np.uint8)
    membrane = random.integers(-(2**23), 2**23, (5, 7, 2)).astype(np.int32)
    arrays = {"spikes_1": (spikes.shape, np.uint8), "membrane": (membrane.shape, np.int32)}
    with NpzWriter(tmp_path / "run.npz", arrays) as file:
        for s in range(5):
            file.add("spikes_1", spikes[s])
            file.add("membrane", membrane[s, :3])
            file.add("membrane", membrane[s, 3:])
    assert [each.name for each in tmp_path.iterdir()] == ["run.npz"]
    with np.load(tmp_path / "run.npz", allow_pickle=False) as found:
        assert found.files == ["spikes_1", "membrane"]
        for name, values in {"spikes_1": spikes, "membrane": membrane}.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values)
    with zipfile.ZipFile(tmp_path / "run.npz") as archive:
        assert archive.testzip() is None


@pytest.mark.budget
def test_a_large_array(tmp_path: Path) -> None:
    """With the large budget of more than 4 GiB, whose size is that of zip64; zeros are small when deflated."""
    block, blocks = np.zeros(2**28, np.uint8), 17 if os.environ.get("SPIKEPORT_BUDGET") == "large" else 1
    with NpzWriter(tmp_path / "run.npz", {"a": ((blocks, 2**28), np.uint8), "b": ((2,), np.int32)}) as file:
        for _ in range(blocks):
            file.add("a", block)
        file.add("b", np.array([3, 4]))
    with zipfile.ZipFile(tmp_path / "run.npz") as archive:
        assert archive.getinfo("a.npy").file_size == blocks * 2**28 + 128
    with np.load(tmp_path / "run.npz") as found:
        assert found["b"].tolist() == [3, 4]


def test_an_array_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="lacks 2 bytes"),
        NpzWriter(tmp_path / "a.npz", {"a": ((3,), np.uint8)}) as file,
    ):
        file.add("a", np.ones(1, np.uint8))
    assert [each.suffix for each in tmp_path.iterdir()] in ([], [".npz"]), "`replacing` removes the file itself"


def test_an_error_removes_what_was_begun(tmp_path: Path) -> None:
    with pytest.raises(KeyError), NpzWriter(tmp_path / "a.npz", {"a": ((3,), np.uint8)}) as file:
        file.add("a", np.ones(3, np.uint8))
        raise KeyError
    assert list(tmp_path.iterdir()) == []
