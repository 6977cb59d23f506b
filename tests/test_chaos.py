"""Kills, full disks, closed folders and two commands at once, a few of each; benchmarks/chaos.py does hundreds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikeport.benchmarks.chaos import Ended, after_a_blow, differences, files_of, is_whole
from spikeport.files import write_text
from spikeport.search.run_lock import LOCK

pytestmark = pytest.mark.slow
BUDGET = os.environ.get("SPIKEPORT_BUDGET", "small")

# A process of its own, because it forks, and must have no threads then.
SCRIPT = """
import json, random, sys
from contextlib import contextmanager
from pathlib import Path

import torch

from spikeport import files
from spikeport.benchmarks.chaos import Chaos

torch.set_num_threads(1)
rows = []
chaos = Chaos(Path(sys.argv[1]), ["search"], random.Random(1), rows.append)
chaos.kill(1)
if sys.argv[2] == "large":
    chaos.limit()
    chaos.read_only()
    chaos.two()
kept = chaos.wrong, chaos.number

@contextmanager
def in_place(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with files._told(path):
        yield path

files.replacing = in_place
chaos.limit(1000)
print(json.dumps({"wrong": kept[0], "blows": kept[1], "in place": rows[-1], "rows": rows}))
"""


@pytest.mark.budget
def test_a_search_is_the_same_or_refused_and_files_written_in_place_are_noticed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), BUDGET], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == 0 and found["blows"] >= (4 if BUDGET == "large" else 1), found["rows"]
    assert "WRONG" in found["in place"] and "is not whole" in found["in place"], found["rows"]


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
