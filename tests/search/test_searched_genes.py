"""What a genotype says beside edges and path, from the search to the run folder, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.data.datasets import Dataset
from spikeport.search.machine import processes
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.space.genotype import Genotype, from_dict, from_file, random_genotype, to_json
from spikeport.search.space.network import SpikingNetwork, load_network
from spikeport.search.space.spike_gates import SpikeGates
from spikeport.search.strategies.darts.search import search
from spikeport.search.training.history import read_history

pytestmark = pytest.mark.training

GATES = {"attention": "spike", "gates": "search"}


def run_of(tiny: SearchSettings, path: Path, genotype: Path | None = None, **options: Any) -> Run:
    settings = changed(tiny, **{"train_epochs": 1} | options)
    run = run_search(settings, path, genotype=genotype)
    assert run_search(settings, path, resume=True) == run  # settings and genotype are what they were
    return run


def found_in(run: Run) -> Genotype:
    network, found = load_network(run), from_file(run.genotype)
    assert isinstance(network, SpikingNetwork) and network.genotype == found
    return found


@pytest.mark.parametrize("supernet", ["kernel", "plain"])
def test_gates_are_searched(tiny: SearchSettings, tmp_path: Path, supernet: str) -> None:
    run = run_of(tiny, tmp_path / "run", search_epochs=1, supernet=supernet, sop_weight=1.0, **GATES)
    found = found_in(run)
    assert found.gates is not None
    network = load_network(run)
    gates = sum(isinstance(module, SpikeGates) for module in network.modules())
    assert gates == sum(sum(found.gates[kind == "reduce"]) for kind in ("normal", "reduce", "reduce"))


def test_a_random_search_draws_them(tiny: SearchSettings, tmp_path: Path) -> None:
    run = run_of(tiny, tmp_path / "run", strategy="random", evaluations=2, **GATES)
    rows = [from_dict(row["genotype"]) for row in read_json(run.candidates)["candidates"]]
    assert found_in(run) in rows and all(row.gates is not None for row in rows)


def test_a_given_genotype_says_which_nodes_have_gates(tiny: SearchSettings, tmp_path: Path) -> None:
    genotype = random_genotype(np.random.default_rng(0), "plain", gates=True)
    (tmp_path / "g.json").write_text(to_json(genotype))
    run = run_of(tiny, tmp_path / "run", tmp_path / "g.json", attention="spike")
    assert found_in(run) == genotype
    with pytest.raises(
        InputError, match=r"spike gates behind some .* attention is eca; say --attention spike, or take"
    ):
        run_search(changed(tiny, attention="eca"), tmp_path / "other", genotype=tmp_path / "g.json")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("supernet", ["kernel", "plain"])
def test_decays_are_searched(tiny: SearchSettings, tmp_path: Path, supernet: str) -> None:
    run = run_of(tiny, tmp_path / "run", search_epochs=1, supernet=supernet, decays="search", alpha_learning_rate=0.5)
    found = found_in(run)
    assert found.decays is not None and len({decay for row in found.decays for decay in row}) > 1
    taus = [1 - 1 / load_network(run).get_submodule(f"cells.0.n{j}.lif").tau for j in (1, 2, 3, 4)]
    assert taus == list(found.decays[0])
    rows = run_of(tiny, tmp_path / "random", strategy="random", evaluations=1, decays="search")
    assert found_in(rows).decays is not None


@pytest.mark.parametrize("more", [{}, {"shared_epochs": 1, "trials": 2, "trial_epochs": 1}, GATES], ids=str)
def test_every_layer_gets_a_cell_of_its_own(tiny: SearchSettings, tmp_path: Path, more: dict[str, Any]) -> None:
    run = run_of(tiny, tmp_path / "run", cells_per_layer=True, alpha_learning_rate=0.5, **more)
    found = found_in(run)
    assert found.cells is not None and len(set(found.cells)) == 3 == found.depth
    assert (found.gates is None) == (more != GATES)
    assert len(read_history(run)[1]["validation"]["genotype"]["cells"]) == 3


def test_cells_of_layers_begin_with_those_that_are_given(tiny: SearchSettings, tmp_path: Path) -> None:
    genotype = random_genotype(np.random.default_rng(0), "plain")
    (tmp_path / "g.json").write_text(to_json(genotype))
    rested = {"cells_per_layer": True, "alpha_warmup_epochs": 9}
    found = found_in(run_of(tiny, tmp_path / "run", tmp_path / "g.json", **rested))
    assert found.cells == (genotype.normal, genotype.reduce, genotype.reduce)
    (tmp_path / "own.json").write_text(to_json(found))
    again = run_of(tiny, tmp_path / "again", tmp_path / "own.json", cells_per_layer=True)
    assert found_in(again) == found and {row["stage"] for row in read_history(again)} == {"train"}
    with pytest.raises(InputError, match="a cell for each of its 3 layers, but the network has 4 cells; say --cells"):
        run_search(changed(tiny, cells=4), tmp_path / "other", genotype=tmp_path / "own.json")
    with pytest.raises(InputError, match="the genotype has a cell for each of its 3 layers; take the key `cells` out"):
        run_search(changed(tiny, level="macro"), tmp_path / "other", genotype=tmp_path / "own.json")
    (tmp_path / "gated.json").write_text(to_json(replace(genotype, gates=((True,) * 4,) * 2)))
    with pytest.raises(InputError, match=r"begins with the edges .* but it has gates or decays, too; take these keys"):
        settings = changed(tiny, cells_per_layer=True, attention="spike")
        run_search(settings, tmp_path / "other", genotype=tmp_path / "gated.json")
    with pytest.raises(InputError, match="Random cells for every layer begin with nothing, but --genotype gives cells"):
        settings = changed(tiny, strategy="random", cells_per_layer=True)
        run_search(settings, tmp_path / "other", genotype=tmp_path / "g.json")
    assert not (tmp_path / "other").exists()


def test_random_cells_for_every_layer(tiny: SearchSettings, tmp_path: Path) -> None:
    run = run_of(tiny, tmp_path / "run", strategy="random", evaluations=1, cells_per_layer=True)
    found = found_in(run)
    assert found.cells is not None and len(set(found.cells)) == 3


def test_cells_of_layers_are_searched_by_one_process(
    tiny: SearchSettings, blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "world", lambda: 2)
    with pytest.raises(InputError, match="--cells-per-layer takes one process; start without torchrun or leave it"):
        search(blobs, changed(tiny, cells_per_layer=True), tmp_path / "c")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gates": "some"}, "Unknown gates 'some'; choose from every, search"),
        ({"gates": "search"}, "--gates search chooses .* attention is none, in both; say --attention spike with"),
        ({"gates": "search", "attention": "eca"}, "the attention is eca, in both; say"),
        (GATES | {"attention_in": "search"}, "the attention is spike, in search; say .* --attention-in both"),
        (GATES | {"level": "macro"}, "the cell is given, and with it its gates, so gates=search has nothing to act on"),
        ({"decays": "search", "level": "macro"}, "with it its decays, so decays=search has nothing to act on"),
        ({"decays": "any"}, "Unknown decays 'any'; choose from half, search"),
        (
            {"cells_per_layer": True, "level": "both"},
            "--cells-per-layer gives .* --level both searches the path",
        ),
        ({"shared_epochs": 1}, "shared_epochs=1 is how long layers share a cell .*; say --cells-per-layer or leave"),
        (
            {"cells_per_layer": True, "shared_epochs": 3, "search_epochs": 3},
            "`shared_epochs < search_epochs` must hold, but got shared_epochs=3",
        ),
    ],
)
def test_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(**options)
