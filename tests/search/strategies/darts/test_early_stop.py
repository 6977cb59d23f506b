from dataclasses import asdict, replace
from pathlib import Path

import pytest

from spikeport.search.data.datasets import Dataset
from spikeport.search.settings.darts import DartsSettings
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import Edge
from spikeport.search.strategies.darts.early_stop import search_is_over
from spikeport.search.strategies.darts.search import search
from spikeport.search.training.checkpoint import Row

pytestmark = pytest.mark.training

SETTINGS = DartsSettings()


def row(*primitives: str) -> Row:
    edges = [asdict(Edge(node, 0, primitive)) for node, primitive in enumerate(primitives)]
    return {"validation": {"genotype": {"normal": edges, "reduce": edges[:1]}}}


def test_two_skips_in_a_cell() -> None:
    rows = [row("skip_connect", "conv_3x3"), row("skip_connect", "skip_connect")]
    settings = replace(SETTINGS, stop_at_skips=2)
    assert [search_is_over(settings, rows[:n]) for n in range(3)] == [False, False, True]
    assert not search_is_over(SETTINGS, rows)
    assert not search_is_over(replace(settings, stop_at_skips=3), rows)


def test_a_genotype_that_stays() -> None:
    a, b = row("conv_3x3"), row("conv_5x5")
    settings = replace(SETTINGS, stop_when_stable=2)
    assert [search_is_over(settings, rows) for rows in ([a, a], [b, a, a], [a, b, a], [b, a, a, a])] == [
        False,
        False,
        False,
        True,
    ]
    rested = replace(settings, alpha_warmup_epochs=2)  # while the alphas rest nothing can change
    assert not search_is_over(rested, [a, a, a, a])
    assert search_is_over(rested, [a, a, a, a, a])


def test_a_search_ends_early(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    rows: list[Row] = []
    settings = changed(tiny, search_epochs=6, alpha_learning_rate=1e-6, stop_when_stable=1)
    found = search(blobs, settings, tmp_path / "c", lambda new: rows.extend(new[len(rows) :]))
    assert len(rows) == 2
    assert rows[-1]["validation"]["genotype"]["normal"] == [asdict(edge) for edge in found.normal]
    assert search(blobs, settings, tmp_path / "c", rows.extend) == found  # resumed: it is over
    assert len(rows) == 4  # told again, none added


@pytest.mark.parametrize("epochs", [0, 3])
def test_no_rule_no_end(epochs: int) -> None:
    assert not search_is_over(SETTINGS, [row("skip_connect")] * epochs)
