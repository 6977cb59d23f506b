from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.files import read_json, replacing, writable, write_json, write_text


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
