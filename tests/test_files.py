import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spikeport import files
from spikeport.errors import InputError, UnsupportedError
from spikeport.files import OURS, read_json, replacing, replacing_folder, writable, write_json, write_text

WRITES = """
import sys, time
from pathlib import Path
from spikeport.files import replacing, replacing_folder
with replacing(Path(sys.argv[1])) as file, replacing_folder(Path(sys.argv[2])) as folder:
    file.write_text("half")
    (folder / "half").touch()
    print("writing", flush=True)
    time.sleep(60)
"""


@contextmanager
def writing(file: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is in the middle of a file and a folder."""
    command = [sys.executable, "-c", WRITES, str(file), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]
    write_text(path, "new")
    assert path.read_text() == "new"


def test_json_files(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": None})
    assert list(read_json(tmp_path / "a.json")) == ["b", "a"]
    for text, message in (
        ("{", "is damaged"),
        ("[" * 100_000, "is damaged"),
        (f"[{'1' * 5000}]", "is damaged"),
        ("[1]", "must hold a JSON object, but holds list"),
    ):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"There is no file '.*b\.json'"):
        read_json(tmp_path / "b.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be a text file"):
        read_json(tmp_path / "a.json")


def test_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, said in (
        (tmp_path, "is a folder, but a file is to be written; name one in it"),
        (tmp_path / "file" / "deep" / "a.json", "because '.*file' is a file; name another place"),
        (Path("/dev/null"), "is no regular file, so it is not written over"),
    ):
        for write in (writable, lambda path: write_text(path, "x")):
            with pytest.raises(InputError, match=said):
                write(path)
    assert writable(tmp_path / "deep" / "a.json") == tmp_path / "deep" / "a.json"
    assert not (tmp_path / "deep").exists()


def test_a_disk_that_fails_is_told(tmp_path: Path) -> None:
    said = r"a\.txt' cannot be written \(No space left on device\)"
    with pytest.raises(InputError, match=said), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "export" / "loihi"
    folder.mkdir(parents=True)
    (folder / "old").write_text("old")
    with replacing_folder(folder) as fresh:
        (fresh / "new").touch()
        assert [path.name for path in folder.iterdir()] == ["old"]
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in folder.parent.iterdir()] == ["loihi"]
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode)


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "loihi"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(UnsupportedError), replacing_folder(folder) as fresh:
        (fresh / "new").touch()
        raise UnsupportedError("Layer 'x': no.")
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    strangers = {".a.txt", ".a.1234.json", ".a.spikeport-12345.json", "a.spikeport-0123abcd.json", ".#lock"}
    for name in strangers:
        (tmp_path / name).write_text("not ours")
    (tmp_path / ".b.spikeport-0123abcd.json").symlink_to(tmp_path / ".a.txt")
    strangers |= {".b.spikeport-0123abcd.json"}
    with writing(tmp_path / "a.json", tmp_path / "loihi") as process:
        ours = {path.name for path in tmp_path.iterdir()} - strangers
        assert len(ours) == 2 and all(OURS.fullmatch(name) for name in ours)
        write_text(tmp_path / "other.txt", "x")  # it lives, so what it writes stays
        assert {path.name for path in tmp_path.iterdir()} == strangers | ours | {"other.txt"}
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert ours < {path.name for path in tmp_path.iterdir()}
        write_text(tmp_path / "other.txt", "y")
    assert {path.name for path in tmp_path.iterdir()} == strangers | {"other.txt"}
    assert (tmp_path / ".a.txt").read_text() == "not ours"


def test_two_that_write_one_file_do_not_clash(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        second.write_text("second")
        first.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_who_loses_its_file_before_it_is_locked_takes_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may take it for abandoned between its making and its lock."""
    lock, lost = files.locked, []

    def late(descriptor: int, *, wait: bool = False) -> bool:
        if not lost:
            lost.extend(tmp_path.iterdir())
            lost[0].unlink()
        return lock(descriptor, wait=wait)

    monkeypatch.setattr(files, "locked", late)
    write_text(tmp_path / "a.txt", "x")
    assert len(lost) == 1 and [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link, far = tmp_path / "newest.txt", tmp_path / "far" / "a.txt"
    link.symlink_to(far)
    for text in ("one", "two"):  # it may lead to a file that is still to be
        write_text(link, text)
        assert link.is_symlink() and far.read_text() == text
    (tmp_path / "loihi").symlink_to(tmp_path / "far")
    with replacing_folder(tmp_path / "loihi") as fresh:
        (fresh / "new").touch()
    assert (tmp_path / "loihi").is_symlink() and (tmp_path / "far" / "new").exists() and not far.exists()


def test_links_and_pipes_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lost").symlink_to(tmp_path / "none" / "a.txt")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "device").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket must be short
        server.bind("socket")
        os.chdir(here)
    for name, said in (
        ("lost", "is a link that leads nowhere"),
        ("circle", "is a link that leads nowhere"),
        ("lost/a.txt", "is a link that leads nowhere"),
        ("device", "is no regular file"),
        ("pipe", "is no regular file"),
        ("socket", "is no regular file"),
        (f"{'x' * 300}.txt", "File name too long"),
    ):
        for write in (writable, lambda path: write_text(path, "x")):
            with pytest.raises(InputError, match=said):
                write(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "device", "lost", "pipe", "socket"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_private_file_stays_private(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch(0o600)
    write_text(tmp_path / "a.txt", "x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o600


def test_bytes_are_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.pread(file, 9, 0).decode()), sync(file)))
    path = tmp_path / "a.txt"
    name = Path.replace
    monkeypatch.setattr(Path, "replace", lambda temporary, place: (synced.append("named"), name(temporary, place)))
    write_text(path, "whole")
    assert synced == ["whole", "named"]


def test_a_text_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}
    monkeypatch.setattr(files, "MAX_TEXT", 7)
    with pytest.raises(InputError, match="has more than 7 letters"):
        read_json(tmp_path / "a.json")
