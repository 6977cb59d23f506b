"""A table is built of real trainings, goes on where it was, and a row that is trained again is the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import cli
from spikeport.errors import InputError
from spikeport.evaluation import tables
from spikeport.evaluation.spaces import TABLE_SPACES, TableSpace
from spikeport.evaluation.tables import add, build, cells_of, check, measured, more_seeds, neighbours_of
from spikeport.evaluation.training import rates_of
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import from_file, random_genotype, to_dict, to_json
from spikeport.search.spaces.canonical import key_of
from spikeport.search.spaces.closed import closed_cells
from spikeport.search.spaces.genotypes import CLOSED
from spikeport.search.tables.file import Table, append
from spikeport.search.tables.row import from_bits, row_of
from spikeport.tests.search.tables.test_row import row

pytestmark = pytest.mark.training
CELLS = [random_genotype(np.random.default_rng(number), "plain") for number in range(3)]


@pytest.fixture
def toy(blobs_npz: str, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    """A space of three cells whose trainings take a blink."""
    words: dict[str, Any] = {"dataset": blobs_npz, "channels": 3, "train_epochs": 2, "batch_size": 6, "seed": 0}
    settings = changed(TABLE_SPACES["closed"].settings, **words)
    space = TableSpace(settings=settings, coded=CLOSED, cells=lambda: iter(CELLS), size=len(CELLS))
    monkeypatch.setitem(TABLE_SPACES, "toy", space)  # type: ignore[arg-type]
    monkeypatch.setitem(TABLE_SPACES, "endless", replace(space, size=None))  # type: ignore[arg-type]
    return settings


def test_build_go_on_and_check(toy: SearchSettings, tmp_path: Path) -> None:
    path, lines = tmp_path / "t.jsonl", list[str]()
    assert build(path, "toy", rows=1, tell=lines.append).added == 1
    found = build(path, "toy")
    assert (found.added, found.there) == (2, 1)
    assert lines[0].startswith(f"1 of 1: cell {key_of(CELLS[0])}, seed 0: ")
    table = Table.open(path)
    assert table.keys == tuple(map(key_of, CELLS))
    first = table[key_of(CELLS[0]), 0]
    assert table.header["splits"] == {"train": 36, "validation": 12, "test": 12}
    assert len(first.rates) == len(first.init_rates) == len(table.header["populations"])
    assert from_bits(first.test_correct, 12).mean() == pytest.approx(first.test_accuracy, abs=1e-4)
    assert set(first.cores or ()) == {"loihi1", "loihi2"} and "loihi1-davies2018" in (first.energy_j or {})
    assert first.epochs == 2 and first.curve["val_accuracy"][-1] == first.val_accuracy
    assert len(json.dumps(first.to_json())) < 2048

    row, differences = check(path)
    assert (row.key in table.keys, differences) == (True, [])

    def otherwise(*arguments: Any) -> Any:
        return replace(measured(*arguments), sops=1.0)

    row, differences = check(path, key=key_of(CELLS[1]), measure=otherwise)
    assert (row.key, [one.name for one in differences]) == (key_of(CELLS[1]), ["sops"])


def test_a_training_that_diverges_is_a_row(toy: SearchSettings) -> None:
    found = measured(CELLS[0], 0, changed(toy, train_learning_rate=1e38, gradient_clip=1e30))
    assert (found.status, found.test_accuracy, found.cores) == ("diverged", None, None)
    assert "The loss must be finite" in found.reason
    assert row_of(found.to_json()) == replace(found, curve=row_of(found.to_json()).curve)


def test_rates_leave_the_network_as_it_was(toy: SearchSettings) -> None:
    from spikeport.evaluation.tables import _dataset
    from spikeport.search.space.network import SpikingNetwork, network_config

    dataset = _dataset(toy)
    network = SpikingNetwork(CELLS[0], network_config(toy.network, dataset))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = rates_of(network, dataset.train_images, training=True)
    assert all((value == before[name]).all() for name, value in network.state_dict().items())
    assert all(0 <= rate <= 1 for rate in found.rates.values()) and found.spikes > 0


@pytest.mark.slow  # a process of its own loads torch anew
def test_another_process_finds_the_same_row(toy: SearchSettings) -> None:
    (one,), (other,) = (list(tables.rows_of([(CELLS[0], 0)], toy, workers)) for workers in (1, 2))
    assert replace(one, seconds=0) == replace(other, seconds=0)


def test_what_cannot_be_built(toy: SearchSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The space endless has no end; say how many cells with --rows"):
        build(tmp_path / "t", "endless")
    with pytest.raises(InputError, match="Unknown space 'all'; choose from closed, open, "):
        build(tmp_path / "t", "all")
    with pytest.raises(InputError, match="`workers >= 1` must hold, but got workers=0"):
        add(tmp_path / "t", "toy", [], workers=0)
    with pytest.raises(InputError, match="has no rows yet"):
        check(tmp_path / "t")
    append(tmp_path / "other", {"space": "toy", "settings": {"network": {"channels": 9}}}, [row()])
    with pytest.raises(InputError, match="was built with settings="):
        check(tmp_path / "other")


def test_settings_that_are_younger_than_a_table_had_their_defaults(toy: SearchSettings, tmp_path: Path) -> None:
    header = json.loads(json.dumps(tables.header_of("toy")))
    del header["settings"]["network"]["stem_stride"]
    append(tmp_path / "old", header, [row()])
    assert add(tmp_path / "old", "toy", []).there == 1
    header["settings"]["network"]["channels"] = 5
    append(tmp_path / "other", header, [row()])
    with pytest.raises(InputError, match="begin another file"):
        add(tmp_path / "other", "toy", [])


def test_no_such_row_to_check(toy: SearchSettings, tmp_path: Path) -> None:
    append(tmp_path / "t", tables.header_of("toy"), [row()])
    with pytest.raises(InputError, match="has no cell abc with seed 0; leave --key out"):
        check(tmp_path / "t", key="abc")


def test_more_seeds_for_the_best_and_some_of_all(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [row(str(number), number=number, val_accuracy=number / 10) for number in range(10)]
    append(path, {"space": "toy"}, rows)
    jobs = more_seeds(Table.open(path), seeds=3, spread=3, best=0.2)
    numbers = [next(one.key for one in rows if key_of(cell) == key_of(_cell(one))) for cell, _ in jobs]
    assert numbers == ["9", "9", "8", "8", "5", "5", "0", "0"]  # the best two, then first, middle and last
    assert [seed for _, seed in jobs] == [1, 2] * 4


def test_neighbours_of_the_best_that_are_not_there(tmp_path: Path) -> None:
    path, cells = tmp_path / "t.jsonl", list(closed_cells())[:20]
    rows = [
        row(key_of(cell), number=number, genotype=to_dict(cell), val_accuracy=number / 20)
        for number, cell in enumerate(cells)
    ]
    append(path, {"space": "closed"}, rows)
    found = [cell for cell, seed in neighbours_of(Table.open(path), 6) if seed == 0]
    assert len(found) == len(set(map(key_of, found)) - set(map(key_of, cells))) == 6
    for number, cell in enumerate(found[:2]):  # the best two are asked in turns
        assert key_of(cell) in {key_of(near) for near in CLOSED.neighbours(cells[19 - number])}
    assert all(any(cell in CLOSED.neighbours(parent) for parent in cells[18:]) for cell in found)
    assert [cell for cell, _ in neighbours_of(Table.open(path), 6)] == found
    everything = [row(key_of(cell), genotype=to_dict(cell), val_accuracy=0.5) for cell in closed_cells()[20:]]
    append(path, {"space": "closed"}, everything)
    assert neighbours_of(Table.open(path), 6) == []


def test_neighbours_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cell = tmp_path / "t.jsonl", closed_cells()[0]
    append(path, {"space": "closed"}, [row(key_of(cell), genotype=to_dict(cell), val_accuracy=0.5)])
    asked = list[Any]()

    def noted(file: Path, space: str, jobs: Any, **more: Any) -> tables.Built:
        asked.extend(jobs)
        return tables.Built(path=file, added=0, there=1, seconds=0.0)

    monkeypatch.setattr(tables, "add", noted)
    words = ["table", "extend", str(path), "--neighbours", "2"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert asked == neighbours_of(Table.open(path), 2) and len(asked) == 2
    refused = CliRunner().invoke(cli, [*words, "--cells", str(path)]).exception
    assert isinstance(refused, InputError) and "are two extensions; call it twice" in str(refused)


def _cell(one: Any) -> Any:
    from spikeport.search.space.genotype import from_dict

    return from_dict(one.genotype)


def test_cells_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    short = json.dumps(row(number=2).to_json())
    whole = json.dumps({"genotype": to_dict(CELLS[1]), "objectives": {}})
    path.write_text(f"{json.dumps(json.loads(to_json(CELLS[0])))}\n{whole}\n{short}\n", encoding="utf-8")
    assert cells_of(path) == CELLS
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1 must hold a genotype"):
        cells_of(path)


def test_the_two_spaces() -> None:
    from itertools import islice

    closed, opened = TABLE_SPACES["closed"], TABLE_SPACES["open"]
    assert closed.size == 768 == len({key_of(cell) for cell in closed.cells()})
    cells = list(islice(opened.cells(), 20))
    assert cells == list(islice(opened.cells(), 20)) and len(set(cells)) == 20
    assert {cell.primitives for cell in cells} == {"darts"}


def test_a_cell_of_a_table_is_a_genotype_for_a_search(tmp_path: Path) -> None:
    cell = closed_cells()[5]
    rows = [row(key_of(cell), genotype=to_dict(cell))]
    append(tmp_path / "t.jsonl", {"space": "closed"}, rows)
    words = ["table", "show", str(tmp_path / "t.jsonl")]
    shown = CliRunner().invoke(cli, [*words, "--key", key_of(cell), "--cell", str(tmp_path / "cell.json"), "--json"])
    assert shown.exit_code == 0, shown.output
    assert from_file(tmp_path / "cell.json") == cell
    alone = CliRunner().invoke(cli, [*words, "--cell", str(tmp_path / "other.json")])
    assert "name it with --key" in str(alone.exception) and not (tmp_path / "other.json").exists()
