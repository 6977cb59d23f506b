"""One command at a time works on a run folder, and the lock ends with its holder, however that ends."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.search import run_lock
from spikeport.search.run_lock import LOCK, claimed
from spikeport.tests.cli.invoking import invoke

HOLDS = """
import sys, time
from pathlib import Path
sys.argv = ["/bin/spikeport", "search", "--out", sys.argv[1]]
from spikeport.search.run_lock import claimed
with claimed(Path(sys.argv[-1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works on a run."""
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_is_told_who_is_first(tmp_path: Path) -> None:
    with another(tmp_path) as first:
        said = rf"is in use by `spikeport search --out {tmp_path}` \(process {first.pid} on .*, since 2.*\); wait for"
        with pytest.raises(InputError, match=said), claimed(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()
        with claimed(tmp_path / "other"):
            pass


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    with another(tmp_path) as first:
        first.kill()
        first.wait()
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == first.pid
        with claimed(tmp_path):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_who_has_it_takes_it_again(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with claimed(tmp_path / "run"):
        with claimed(tmp_path / "link"):
            pass
        assert (tmp_path / "run" / LOCK).exists()
    assert not (tmp_path / "run" / LOCK).exists()


def test_another_thread_is_another(tmp_path: Path) -> None:
    found: list[str] = []

    def take() -> None:
        try:
            with claimed(tmp_path):
                found.append("taken")
        except InputError as error:
            found.append(str(error))

    for _ in range(2):
        thread = threading.Thread(target=take)
        if found:
            thread.start()
            thread.join()
        else:
            with claimed(tmp_path):
                thread.start()
                thread.join()
    assert f"process {os.getpid()}" in found[0] and found[1] == "taken"


def test_of_torchruns_processes_the_first_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2"), ("RANK", "1")):
        monkeypatch.setenv(name, value)
    with another(tmp_path), claimed(tmp_path):
        pass
    monkeypatch.setenv("RANK", "0")
    with another(tmp_path), pytest.raises(InputError, match="is in use"), claimed(tmp_path):
        pass


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(descriptor: int) -> bool:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_lock, "locked", none)
    with claimed(tmp_path):
        assert "cannot be locked (Operation not supported); let no other command write there" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_says_nothing(tmp_path: Path) -> None:
    with another(tmp_path):
        (tmp_path / LOCK).write_text("{")
        with pytest.raises(InputError, match="is in use by another command; wait"), claimed(tmp_path):
            pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("search", "--resume", "--out"), ("export",), ("deploy",), ("report",), ("demo", "--out")]
)
def test_commands_that_write_are_refused_at_once(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = json.dumps({"command": "spikeport search", "settings": {"channels": 2}})
    (tmp_path / "manifest.json").write_text(settings)
    with another(tmp_path) as first:
        assert invoke(monkeypatch, *words, tmp_path) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"process {first.pid}" in said
        assert invoke(monkeypatch, "fit", tmp_path) == 1  # it reads only, so it comes as far as the network
        assert "is in use" not in capsys.readouterr().err
