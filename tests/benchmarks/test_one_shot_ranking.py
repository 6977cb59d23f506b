"""The ranking of a supernet on a made-up table: what is said is what the supernet was made to say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.benchmarks.on_tables import one_shot
from spikeport.evaluation.spaces import TABLE_SPACES
from spikeport.search.space.genotype import to_dict
from spikeport.search.spaces.canonical import key_of
from spikeport.search.spaces.closed import closed_cells
from spikeport.search.tables.file import append
from spikeport.search.tables.row import Row

CELLS = 30


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = []
    for number, genotype in enumerate(closed_cells()[:CELLS]):
        accuracy = 0.5 + 0.01 * number
        told: dict[str, Any] = {"val_accuracy": accuracy, "test_accuracy": accuracy, "int8_accuracy": accuracy}
        told |= {"int4_accuracy": accuracy - 0.001 * (number % 7)}
        rows.append(
            Row(
                key=key_of(genotype),
                genotype=to_dict(genotype),
                seed=0,
                status="ok",
                seconds=1.0,
                curve={},
                parameters=1,
                **told,
            )
        )
    append(tmp_path / "made.jsonl", {"space": "closed"}, rows)
    return tmp_path / "made.jsonl"


def test_what_is_said_of_a_ranking(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {key_of(genotype): number for number, genotype in enumerate(closed_cells()[:CELLS])}

    def asked(evaluator: Any, genotype: Any) -> dict[str, float]:
        number = numbers[key_of(genotype)]
        rises = {"int8_loss_rise": float(number), "int4_loss_rise": float(number % 7)}
        return {"accuracy": 0.1 + 0.01 * number, "parameters": float(number % 5), "sops": float(number % 3)} | rises

    monkeypatch.setattr(one_shot, "train_elastic", lambda *args, **kwargs: None)
    monkeypatch.setattr(one_shot, "asked", asked)
    found = one_shot.measured(table, 25, {"elastic_epochs": 1}, tmp_path / "none", 20, lambda line: None)
    rows = {row["number"]: row for row in found["numbers"]}
    assert found["cells"] == 25 and rows["accuracy"]["tau_low"] == pytest.approx(rows["accuracy"]["tau"])
    assert rows["accuracy"]["tau"] == pytest.approx(1)
    assert rows["int8_loss_rise"]["tau"] == pytest.approx(-1)  # the lower the better
    assert np.isnan(rows["int8_loss_rise"]["tau_with_lost"])  # nothing is lost at 8 bits
    assert rows["int4_loss_rise"]["tau_with_lost"] == pytest.approx(1)
    assert "25 cells of" in one_shot.told(found) and "int4_loss_rise" in one_shot.told(found)


def test_settings_are_those_of_the_table() -> None:
    settings = one_shot.settings_of("closed", elastic_epochs=3)
    assert (settings.elastic.elastic_epochs, settings.network.channels, settings.training.batch_size) == (3, 6, 64)
    drawn = TABLE_SPACES["open"].coded.sample(np.random.default_rng(0))
    assert drawn.layers == one_shot.LAYERS and drawn.primitives == "darts"
