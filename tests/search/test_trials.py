"""Trials of several cells at the end of a search."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeport.files import read_json, write_json
from spikeport.search import trials
from spikeport.search.darts import SUPERNETS, halves, halves_of, search
from spikeport.search.datasets import Dataset, load_dataset
from spikeport.search.genotype import Genotype, random_genotype, to_dict
from spikeport.search.network import NetworkSettings
from spikeport.search.progress import ProgressEvent, silent
from spikeport.search.settings import SearchSettings
from spikeport.search.supernet import Supernet
from spikeport.search.trials import Trial, best_of, contenders

NETWORK = NetworkSettings(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 4, 4))


def supernet(scale: float) -> Supernet:
    """Alphas of this size."""
    torch.manual_seed(0)
    found = SUPERNETS["kernel"]("plain", NETWORK)
    for alphas in found.alphas.values():
        alphas.data.mul_(1000 * scale)
    return found


def cells(count: int) -> list[Genotype]:
    rng = np.random.default_rng(1)
    return [random_genotype(rng, "plain") for _ in range(count)]


def test_the_first_contender_is_the_supernets_own_and_all_differ() -> None:
    net = supernet(1.0)
    found = contenders(net, 5, np.random.default_rng(0))
    assert found[0] == net.genotype()
    assert len({str(genotype) for genotype in found}) == 5
    assert found == contenders(net, 5, np.random.default_rng(0))
    assert found[1:] != contenders(net, 5, np.random.default_rng(1))[1:]


def test_a_search_that_is_sure_has_one_contender() -> None:
    assert contenders(supernet(1e6), 5, np.random.default_rng(0)) == [supernet(1e6).genotype()]


def test_primitives_are_drawn_with_their_weights_and_masked_ones_never() -> None:
    net = supernet(0.0)
    net.allowed = frozenset({"skip_connect", "max_pool_3x3"})
    rng = np.random.default_rng(0)
    drawn = [edge.primitive for _ in range(100) for edge in net.genotype(rng).normal]
    assert set(drawn) == {"skip_connect", "max_pool_3x3"}
    assert 300 < drawn.count("skip_connect") < 500  # of 800


@pytest.fixture
def parts(tiny: SearchSettings) -> Dataset:
    dataset = load_dataset(tiny.dataset)
    return halves_of(dataset, *halves(len(dataset.train_images), tiny.seed))


def test_trials_see_the_train_split_only(parts: Dataset, tiny: SearchSettings) -> None:
    dataset = load_dataset(tiny.dataset)
    seen = np.concatenate([parts.train_images, parts.test_images])
    assert len(seen) == len(dataset.train_images)
    assert {image.tobytes() for image in seen} == {image.tobytes() for image in dataset.train_images}


def test_the_lowest_loss_and_price_wins(
    parts: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = cells(3)
    scores = {str(cell): score for cell, score in zip(choices, [(0.5, 0.4), (0.7, 0.1), (0.6, 0.3)], strict=True)}
    monkeypatch.setattr(trials, "_trial", lambda cell, *rest: Trial(cell, *scores[str(cell)], 0.5))
    assert best_of(choices, parts, tiny, tmp_path / "trials.json", silent) == choices[1]


def test_what_is_finished_is_not_done_again(parts: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    settings, events = replace(tiny, trial_epochs=1, sop_weight=0.1), list[ProgressEvent]()
    file, choices = tmp_path / "trials.json", cells(2)
    best = best_of(choices, parts, settings, file, events.append)
    rows = read_json(file)["trials"]
    assert best == choices[int(np.argmin([row["loss"] + row["price"] for row in rows]))]
    assert all(0 <= row["price"] < 1 and 0 <= row["accuracy"] <= 1 for row in rows)
    assert [(event.stage, event.epochs) for event in events] == [("trials", 2)] * len(events)
    assert [path.name for path in tmp_path.iterdir()] == ["trials.json"]
    write_json(file, {"trials": rows[:1]})
    best_of(choices, parts, settings, file, events.append)
    assert read_json(file)["trials"] == rows
    assert events[-1].epoch == 2
    before = len(events)
    assert best_of(choices, parts, settings, file, events.append) == best
    assert len(events) == before


def test_a_search_ends_with_its_trials(tiny: SearchSettings, tmp_path: Path) -> None:
    settings = replace(tiny, trials=3, trial_epochs=1)
    found = search(load_dataset(tiny.dataset), settings, tmp_path / "checkpoint.safetensors")
    rows = read_json(tmp_path / "trials.json")["trials"]
    assert len(rows) == 3
    totals = [row["loss"] + row["price"] for row in rows]
    assert to_dict(found) == rows[totals.index(min(totals))]["genotype"]
