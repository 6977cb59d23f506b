"""Trials of several cells at the end of a search."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeport.errors import InputError
from spikeport.files import read_json, write_json
from spikeport.search.data.datasets import Dataset, load_dataset
from spikeport.search.evaluators import trials
from spikeport.search.evaluators.trials import (
    USUAL,
    Limits,
    Trial,
    best_of,
    contenders,
    likely_sops,
    limited_contenders,
    rounds_of,
)
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import Edge, Genotype, random_genotype, to_dict
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, count_parameters
from spikeport.search.strategies.darts.search import SUPERNETS, halves, halves_of, search
from spikeport.search.supernet.supernet import Supernet
from spikeport.search.training.progress import ProgressEvent, silent

pytestmark = pytest.mark.training

NETWORK = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 4, 4))


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


def test_those_that_keep_below_a_target_come_first() -> None:
    def excess(genotype: Genotype) -> float:
        return float(sum(edge.primitive.startswith("conv") for edge in genotype.normal) - 3)

    net = supernet(1.0)
    alone = contenders(net, 4, np.random.default_rng(0))
    found = contenders(net, 4, np.random.default_rng(0), lambda genotype: max(0.0, excess(genotype)))
    assert [excess(genotype) <= 0 for genotype in found] == [True] * 4
    assert any(excess(genotype) > 0 for genotype in alone)


def test_operations_that_are_likely_are_those_of_even_spikes() -> None:
    """Every neuron spikes 0.2 x 2 times; a single reduction cell, 4x4 -> 2x2, of 4 channels, with skips alone."""
    cell = tuple(Edge(node, source, "skip_connect") for node in range(4) for source in (0, 1))
    one = replace(NETWORK, cells=1)
    inputs = 2 * 0.4 * 6 * 16 * 4  # from the stem's 6 channels at 16 places to p0 and p1
    edges = 8 * 0.4 * 4 * (4 + 4) * 2  # two of the four places of a block are read, each by half of the channels
    readout = 0.4 * 16 * 4 * 3
    assert likely_sops(Genotype("plain", cell, cell), one) == pytest.approx(USUAL * (inputs + edges + readout))


def test_primitives_are_drawn_with_their_weights_and_masked_ones_never() -> None:
    net = supernet(0.0)
    net.allowed = frozenset({"skip_connect", "max_pool_3x3"})
    rng = np.random.default_rng(0)
    drawn = [edge.primitive for _ in range(100) for edge in net.genotype(rng).normal]
    assert set(drawn) == {"skip_connect", "max_pool_3x3"}
    assert 300 < drawn.count("skip_connect") < 500  # of 800


@pytest.fixture
def parts(tiny: SearchSettings) -> Dataset:
    dataset = load_dataset(tiny.data.dataset)
    return halves_of(dataset, *halves(len(dataset.train_images), tiny.seed))


def test_trials_see_the_train_split_only(parts: Dataset, tiny: SearchSettings) -> None:
    dataset = load_dataset(tiny.data.dataset)
    seen = np.concatenate([parts.train_images, parts.test_images])
    assert len(seen) == len(dataset.train_images)
    assert {image.tobytes() for image in seen} == {image.tobytes() for image in dataset.train_images}


def test_the_lowest_loss_and_price_wins(
    parts: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = cells(3)
    scores = {
        str(cell): score
        for cell, score in zip(
            choices,
            [(0.5, 0.35, 0.5, 100.0, 7), (0.7, 0.1, 0.5, 120.0, 9), (0.6, 0.3, 0.5, 90.0, 8)],
            strict=True,
        )
    }
    monkeypatch.setattr(trials, "_trial", lambda cell, *rest: Trial(cell, 5, *scores[str(cell)]))
    assert best_of(choices, parts, tiny, tmp_path / "any.json", silent) == choices[1]
    limited = changed(tiny, trials=3, target_sops=100)
    assert best_of(choices, parts, limited, tmp_path / "limited.json", silent) == choices[0]
    limited = changed(tiny, trials=3, target_sops=80)
    assert best_of(choices, parts, limited, tmp_path / "nothing.json", silent) == choices[2]
    limited = changed(tiny, trials=3, target_parameters=8)
    assert best_of(choices, parts, limited, tmp_path / "few.json", silent) == choices[0]


def test_a_percent_above_the_target_is_worth_a_hundredth_nat() -> None:
    (cell,) = cells(1)

    def trial(loss: float, sops: float) -> Trial:
        return Trial(cell, 5, loss, 0.1, 0.2, sops, 1000)

    def best(*trials: Trial) -> Trial:
        return min(trials, key=lambda trial: trial.rank(Limits(sops=330_000)))

    close, better, far, below = trial(2.0, 331e3), trial(1.9, 336e3), trial(1.9, 450e3), trial(2.2, 329e3)
    assert best(close, better, far) is better
    assert best(close, far) is close
    assert best(close, better, far, below) is below


def test_what_is_above_several_limits_is_above_by_the_sum() -> None:
    assert Limits(sops=100, parameters=10).excess(150.0, 12) == pytest.approx(0.7)
    assert Limits(sops=100, parameters=10).excess(90.0, 12) == pytest.approx(0.2)
    assert Limits(sops=100, parameters=10).excess(100.0, 10) == Limits().excess(1e9, 10**9) == 0


def test_contenders_keep_within_the_limit_of_parameters(tiny: SearchSettings) -> None:
    def sizes(settings: SearchSettings) -> list[int]:
        found = limited_contenders(supernet(0.0), settings.trials, NETWORK, np.random.default_rng(0))
        return [count_parameters(SpikingNetwork(cell, NETWORK)) for cell in found]

    free = sizes(changed(tiny, trials=6))
    limit = sorted(free)[1]
    assert max(free) > limit >= max(sizes(changed(tiny, trials=6, target_parameters=limit)))


def test_the_best_third_of_a_round_is_trained_three_times_as_long(
    parts: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of the first round of 4 is not that of the second, and what is kept is not tried again."""
    choices, tried = cells(4), list[tuple[int, int]]()
    losses = {5: [0.5, 0.9, 0.4, 0.8], 15: [0.1, 0.0, 0.2, 0.0]}

    def one(cell: Genotype, dataset: Dataset, settings: SearchSettings, *rest: object) -> Trial:
        number, epochs = choices.index(cell), settings.training.train_epochs
        tried.append((number, epochs))
        return Trial(cell, epochs, losses[epochs][number], 0.0, 0.5, 1.0, 1)

    monkeypatch.setattr(trials, "_trial", one)
    settings, file = changed(tiny, trials=4, trial_rounds=2), tmp_path / "trials.json"
    whole = [(0, 5), (1, 5), (2, 5), (3, 5), (2, 15), (0, 15)]
    assert best_of(choices, parts, settings, file, silent) == choices[0]
    assert tried == whole
    assert rounds_of(4, settings.trials) == [(4, 5), (2, 15)]
    rows = read_json(file)["trials"]
    for done in range(7):
        tried.clear()
        write_json(file, {"trials": rows[:done]})
        assert best_of(choices, parts, settings, file, silent) == choices[0]
        assert tried == whole[done:]


def test_what_is_finished_is_not_done_again(parts: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    """Nor is a teacher trained for a trial, nor the sharpness of surrogates searched."""
    settings, events = (
        changed(tiny, trial_epochs=1, sop_weight=0.1, teacher_epochs=1, sharpness_every=1),
        list[ProgressEvent](),
    )
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


@pytest.mark.parametrize("missing", ["parameters", "genotype"])
def test_trials_of_another_version_are_told_of(
    missing: str, parts: Dataset, tiny: SearchSettings, tmp_path: Path
) -> None:
    kept = tmp_path / "trials.json"
    best_of(cells(1), parts, tiny, kept, silent)
    row = read_json(kept)["trials"][0]
    write_json(kept, {"trials": [{key: value for key, value in row.items() if key != missing}]})
    with pytest.raises(InputError, match=rf"trials\.json' must hold trials .*'{missing}'.*; search anew with another"):
        best_of(cells(1), parts, tiny, kept, silent)


def test_a_search_ends_with_its_trials(tiny: SearchSettings, tmp_path: Path) -> None:
    settings = changed(tiny, trials=3, trial_epochs=1)
    found = search(load_dataset(tiny.data.dataset), settings, tmp_path / "checkpoint.safetensors")
    rows = read_json(tmp_path / "trials.json")["trials"]
    assert len(rows) == 3
    totals = [row["loss"] + row["price"] for row in rows]
    assert to_dict(found) == rows[totals.index(min(totals))]["genotype"]
