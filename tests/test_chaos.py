"""Kills, full disks, closed folders and two commands at once, a few of each; benchmarks/chaos.py does hundreds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from spikeport.benchmarks.chaos import Ended, after_a_blow, differences, files_of, is_whole
from spikeport.files import write_text
from spikeport.search.run_lock import LOCK

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "chaos.py"

HALVES = """
import runpy, sys
from contextlib import contextmanager
from spikeport import files

@contextmanager
def in_place(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with files._told(path):
        yield path

files.replacing = in_place
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def chaos(*words: str) -> list[str]:
    return [str(SCRIPT), *words, "--stages", "search", "--json"]


def test_a_search_is_the_same_or_refused() -> None:
    done = subprocess.run([sys.executable, *chaos("3", "--others", "2")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 3 and found["wrong"] == []
    assert {"limit", "read-only", "two"} <= {total["how"] for total in found["totals"]}
    assert {"SIGKILL", "SIGTERM"} & {total["how"] for total in found["totals"]}


def test_files_that_are_written_in_place_are_noticed() -> None:
    words = chaos("0", "--others", "3")
    done = subprocess.run([sys.executable, "-c", HALVES, *words], capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is not whole" in done.stdout


@pytest.mark.parametrize(
    ("name", "half"),
    [
        ("model/metrics.json", b'{"a": '),
        ("search/history.jsonl", b'{"a": 1}\n{"a"'),
        ("search/cells.svg", b"<svg>"),
        ("model/model.safetensors", b"\x08\0\0\0\0\0\0\0{"),
        ("export/loihi/network.net", b"\x89HDF\r\n\x1a\n"),
        ("export/loihi/twin.onnx", b"\x08"),
        ("deploy/report.html", b"<html><p>"),
        ("deploy/report.md", b""),
    ],
)
def test_half_a_file_is_noticed(tmp_path: Path, name: str, half: bytes) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(half)
    assert not is_whole(tmp_path / name)
    assert after_a_blow(tmp_path, Ended(-9, "", 0)) == [f"{name} is not whole"]


def test_what_differs_and_what_is_left_is_noticed(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "1")
    before = files_of(tmp_path)
    assert differences(files_of(tmp_path), before) == []
    write_text(tmp_path / "a.json", "2")
    write_text(tmp_path / LOCK, "left")
    assert differences(files_of(tmp_path), before) == [f"{LOCK} is left", "a.json differs"]
    (tmp_path / "a.json").unlink()
    assert differences(files_of(tmp_path), before) == [f"{LOCK} is left", "a.json is missing"]


def test_a_traceback_and_silence_are_noticed(tmp_path: Path) -> None:
    for said in ("Traceback (most recent call last):\nOSError: no", "search epoch 1/2"):
        assert len(after_a_blow(tmp_path, Ended(1, said, 0))) >= 1
    assert after_a_blow(tmp_path, Ended(1, "spikeport: no; name another place.", 0)) == []
