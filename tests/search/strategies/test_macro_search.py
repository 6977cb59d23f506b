"""A search for paths from images to a trained network: what is written, resumed, stopped, drawn at random, refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import Genotype, Layer, from_json, random_genotype, to_dict, to_json
from spikeport.search.space.network import load_network
from spikeport.search.supernet.trellis import WIDTHS
from spikeport.search.training.history import read_history
from spikeport.search.training.progress import ProgressEvent

pytestmark = pytest.mark.training

CELL = random_genotype(np.random.default_rng(8), "darts")


@pytest.fixture(scope="module")
def both(tiny: SearchSettings) -> SearchSettings:
    return changed(
        tiny, level="both", cells=4, search_epochs=3, train_epochs=1, sop_weight=0.1, alpha_learning_rate=0.05
    )


@pytest.fixture(scope="module")
def finished(both: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(both, tmp_path_factory.mktemp("both") / "whole")


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    path = tmp_path / "cell.json"
    path.write_text(to_json(CELL))
    return path


def found(run: Run) -> Genotype:
    return from_json(run.genotype.read_text())


def results(run: Run) -> dict[str, bytes]:
    paths = [path for path in run.path.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(run.path).as_posix(): path.read_bytes() for path in paths}


def check_path(genotype: Genotype, cells: int) -> None:
    """On images of 4x4 there is room for one reduction."""
    assert genotype.layers is not None and len(genotype.layers) == cells
    assert sum(layer.kind == "reduce" for layer in genotype.layers) <= 1
    assert {layer.width for layer in genotype.layers} <= set(WIDTHS)


def test_cells_and_path_are_found_together(finished: Run) -> None:
    genotype = found(finished)
    check_path(genotype, 4)
    rows = [row for row in read_history(finished) if row["stage"] == "search"]
    last = {key: value for key, value in to_dict(genotype).items() if key != "primitives"}
    assert rows[-1]["validation"]["genotype"] == last
    assert len({str(row["validation"]["genotype"]["layers"]) for row in rows}) > 1  # the weights of paths have moved
    assert list(rows[0]["validation"]["sops_per_cell"]) == [*(f"cells.{i}" for i in range(4)), "readout"]
    assert list(rows[0]["train"]["spikes_per_cell"]) == ["stem", *(f"cells.{i}" for i in range(4))]
    assert load_network(finished).genotype == genotype


def test_broken_off_and_resumed_ends_as_if_nothing_had_happened(
    finished: Run, both: SearchSettings, tmp_path: Path
) -> None:
    def stop(event: ProgressEvent) -> None:
        if (event.stage, event.epoch, event.step) == ("search", 2, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(both, tmp_path / "broken", progress=stop)
    again: list[ProgressEvent] = []
    run = run_search(both, tmp_path / "broken", resume=True, progress=again.append)
    assert again[0].epoch == 2
    assert results(run) == results(finished)


def test_a_search_at_rest_ends_early(both: SearchSettings, tmp_path: Path) -> None:
    """Weights that learn too slowly to change the cells or the path."""
    slow = changed(both, alpha_learning_rate=1e-7, search_epochs=6, stop_when_stable=1)
    rows = read_history(run_search(slow, tmp_path / "slow"))
    assert len([row for row in rows if row["stage"] == "search"]) == 2


def test_the_path_of_a_given_cell(both: SearchSettings, cell: Path, tmp_path: Path) -> None:
    settings = changed(both, level="macro", search_epochs=1)
    run = run_search(settings, tmp_path / "run", genotype=cell)
    assert replace(found(run), layers=None) == CELL
    check_path(found(run), 4)
    assert [row["stage"] for row in read_history(run)] == ["search", "train"]
    assert run_search(settings, tmp_path / "run", resume=True).path == run.path


def test_a_path_that_is_given_is_trained(both: SearchSettings, tmp_path: Path) -> None:
    layers = tuple(Layer(kind, 0.5) for kind in ("reduce", "normal", "normal", "normal"))
    (tmp_path / "path.json").write_text(to_json(replace(CELL, layers=layers)))
    run = run_search(changed(both, level="micro"), tmp_path / "run", genotype=tmp_path / "path.json")
    assert [row["stage"] for row in read_history(run)] == ["train"]
    assert load_network(run).genotype.layers == found(run).layers == layers


@pytest.mark.parametrize(
    ("changes", "layers", "message"),
    [
        ({"level": "macro", "genotype": None}, None, "name its file with --genotype, or say --level both"),
        (
            {"level": "macro"},
            (Layer("normal", 1.0),),
            "the genotype has one of 1 layers already; take the key `layers`",
        ),
        ({"level": "both"}, None, "searches cells, too, but --genotype gives them; say --level macro"),
        ({"level": "micro"}, (Layer("normal", 1.0),), "it has 1 layers and there are 4 cells; say --cells 1"),
        ({"level": "both", "genotype": None, "stem_stride": 4}, None, "The rows must be even .* pad them to 8"),
        ({"level": "both", "genotype": None, "stem_stride": 2}, None, "are 2 x 2; take larger images"),
    ],
)
def test_refused_before_a_folder_is_made(
    both: SearchSettings, tmp_path: Path, changes: dict[str, Any], layers: tuple[Layer, ...] | None, message: str
) -> None:
    (tmp_path / "cell.json").write_text(to_json(replace(CELL, layers=layers)))
    given = {"genotype": tmp_path / "cell.json"} | changes
    genotype = given.pop("genotype")
    with pytest.raises(InputError, match=message):
        run_search(changed(both, **given), tmp_path / "run", genotype=genotype)
    assert not (tmp_path / "run").exists()


def test_random_paths(both: SearchSettings, cell: Path, tmp_path: Path) -> None:
    settings = changed(both, strategy="random", evaluations=3)
    rows = read_json(run_search(settings, tmp_path / "both").candidates)["candidates"]
    assert (
        len({str(row["genotype"]["layers"]) for row in rows})
        == len({str(row["genotype"]["normal"]) for row in rows})
        == 3
    )
    given = run_search(changed(settings, level="macro"), tmp_path / "macro", genotype=cell)
    drawn = [from_json(path.read_text()) for path in sorted((given.path / "candidates").glob("*.json"))]
    assert {replace(genotype, layers=None) for genotype in drawn} == {CELL}
    assert len({genotype.layers for genotype in drawn}) == len(drawn) == 3
    for genotype in drawn:
        check_path(genotype, 4)
    assert found(given) in drawn
