"""What a genotype says beside edges and path, from the search to the run folder, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.space.genotype import Genotype, from_dict, from_file, random_genotype, to_json
from spikeport.search.space.network import SpikingNetwork, load_network
from spikeport.search.space.spike_gates import SpikeGates

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
    run = run_of(tiny, tmp_path / "run", strategy="random", candidates=2, **GATES)
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gates": "some"}, "Unknown gates 'some'; choose from every, search"),
        ({"gates": "search"}, "--gates search chooses .* attention is none, in both; say --attention spike with"),
        ({"gates": "search", "attention": "eca"}, "the attention is eca, in both; say"),
        (GATES | {"attention_in": "search"}, "the attention is spike, in search; say .* --attention-in both"),
        (GATES | {"level": "macro"}, "At --level macro the cell is given, .* gates=search has nothing to act on"),
    ],
)
def test_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(**options)
