from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.files import read_json, replacing, write_json, write_text


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
    for text, message in (("{", "is damaged"), ("[1]", "must hold a JSON object, but holds list")):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"There is no file '.*b\.json'"):
        read_json(tmp_path / "b.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be a text file"):
        read_json(tmp_path / "a.json")
