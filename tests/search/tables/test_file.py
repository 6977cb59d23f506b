"""A table is appended to whole lines, looked up by cell and seed, and refuses rows that are not to be compared."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.tables.file import Table, append, appending
from spikeport.search.tables.summary import summary

from .test_row import row

HEADER = {"space": "toy", "settings": {"network": {"channels": 2}}}


def test_rows_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    append(path, HEADER, [row("a"), row("a", 1, curve={"val_accuracy": [0.1, 0.2]}), row("b")])
    append(path, HEADER, [row("c")])
    table = Table.open(path)
    assert (len(table), table.keys) == (4, ("a", "b", "c"))
    assert table["a", 1].seed == 1 and [found.seed for found in table.of("a")] == [0, 1]
    assert table.curve("a", 1) == (0.1, 0.2)
    assert ("a", 1) in table and ("b", 1) not in table
    assert table.header["space"] == "toy"
    with pytest.raises(KeyError):
        table["b", 1]


def test_a_line_that_a_killed_process_left_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    append(path, HEADER, [row("a"), row("b")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert Table.open(path).keys == ("a",)
    append(path, HEADER, [row("b")])
    assert path.read_bytes() == whole
    path.write_bytes(whole[:5])  # in the header itself
    append(path, HEADER, [row("a"), row("b")])
    assert path.read_bytes() == whole


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    append(path, HEADER, [row("a"), row("b")])
    lines = path.read_text("utf-8").split("\n")
    path.write_text("\n".join([lines[0], lines[1][:-9], lines[2], ""]), encoding="utf-8")
    with pytest.raises(InputError, match="line 2 must be a row of a table, but is damaged"):
        Table.open(path)
    path.write_text("\n".join([lines[0], lines[1], lines[1], ""]), encoding="utf-8")
    with pytest.raises(InputError, match="line 3: cell a with seed 0 stands in it twice"):
        Table.open(path)
    for text in ("", "{}\n", "[1]\n", "no\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="must begin with the header of a table"):
            Table.open(path)
    path.write_text('{"table": 2}\n', encoding="utf-8")
    with pytest.raises(InputError, match="is a table of format 2, but this version reads 1"):
        Table.open(path)


def test_other_settings_and_the_same_training_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    append(path, HEADER, [row("a")])
    with pytest.raises(InputError, match=r"begun with, but '.*' has settings=.*begin another file"):
        append(path, HEADER | {"settings": {"network": {"channels": 4}}}, [row("b")])
    with pytest.raises(InputError, match="has price_lists=None and now it is"):
        append(path, HEADER | {"price_lists": ["speck"]}, [row("b")])
    with pytest.raises(InputError, match="The table has cell a with seed 0 already"):
        append(path, HEADER, [row("a")])
    assert len(Table.open(path)) == 1


def test_one_process_appends(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with (
        appending(path, HEADER),
        pytest.raises(InputError, match="Another process appends to the table"),
        appending(path, HEADER),
    ):
        pass


def test_neither_torch_nor_a_space_is_loaded() -> None:
    text = "import sys, spikeport.search.tables.file, spikeport.search.tables.summary; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    loaded = done.stdout.replace("'", '"')
    assert {"torch", "spikeport.search.space", "spikeport.search.spaces"} & set(json.loads(loaded)) == set()


def test_deviations_of_cells_and_seeds(tmp_path: Path) -> None:
    """Two cells with two seeds: variances over seeds 0.0002 and 0, of the first seeds (0.9, 0.8) 0.005."""
    path = tmp_path / "t.jsonl"
    values = {("a", 0): 0.9, ("a", 1): 0.92, ("b", 0): 0.8, ("b", 1): 0.8}
    append(path, HEADER, [row(key, seed, test_accuracy=value) for (key, seed), value in values.items()])
    found = summary(Table.open(path))
    assert found["deviation_of_seeds"] == pytest.approx(0.01)
    assert found["deviation_of_cells"] == pytest.approx(0.005**0.5)
    reliability = (0.005 - 0.0001) / 0.005
    assert found["reliability_of_one_training"] == pytest.approx(reliability)
    assert np.sin(np.pi / 2 * found["tau_of_two_trainings"]) == pytest.approx(reliability)
    assert np.sin(np.pi / 2 * found["tau_of_a_perfect_score"]) ** 2 == pytest.approx(reliability)
    assert (found["lowest"], found["highest"], found["cells_with_several_seeds"]) == (0.8, 0.9, 2)


def test_the_best_and_the_front_are_told_by_means(tmp_path: Path) -> None:
    """b is lucky once; c is dear and no better; d is cheap."""
    path = tmp_path / "t.jsonl"
    values = {
        ("a", 0): (0.8, 2e-6),
        ("b", 0): (0.9, 3e-6),
        ("b", 1): (0.6, 3e-6),
        ("c", 0): (0.8, 4e-6),
        ("d", 0): (0.7, 1e-6),
    }
    rows = [
        row(*cell, val_accuracy=value, test_accuracy=value, energy_j={"ours": joules})
        for cell, (value, joules) in values.items()
    ]
    append(path, HEADER | {"price_lists": ["ours"]}, rows)
    found = summary(Table.open(path))
    assert [one["key"] for one in found["front"]] == ["d", "a"]
    assert [one["key"] for one in found["best"]][:2] == ["a", "c"]
    (b,) = [one for one in found["best"] if one["key"] == "b"]
    assert (b["trainings"], b["val_accuracy"], b["energy_j"]) == (2, pytest.approx(0.75), pytest.approx(3e-6))


def test_a_table_without_rows_has_a_summary(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    append(path, HEADER, [])
    assert summary(Table.open(path))["cells"] == 0
    append(path, HEADER, [row("a", status="diverged")])
    assert (summary(Table.open(path))["diverged"], summary(Table.open(path))["best"]) == (1, [])
