from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.search.data.datasets import Dataset
from spikeport.search.random_streams import seeded
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.settings.supernet import SupernetForm
from spikeport.search.space.genotype import to_json
from spikeport.search.space.network import network_config
from spikeport.search.strategies.darts import search as darts
from spikeport.search.strategies.darts.search import SUPERNETS, alpha_step, dtype_of, halves, search
from spikeport.search.training.checkpoint import Row

pytestmark = pytest.mark.training


def test_halves_are_disjoint_and_complete() -> None:
    weights, alphas = halves(101, seed=4)
    assert (len(weights), len(alphas)) == (50, 51)
    assert sorted([*weights, *alphas]) == list(range(101))
    assert not np.array_equal(halves(101, seed=5)[0], weights)


@pytest.mark.parametrize("form", SUPERNETS)
def test_alpha_step_moves_only_alphas(form: SupernetForm, blobs: Dataset, tiny: SearchSettings) -> None:
    with seeded(0, "search weights"):
        supernet = SUPERNETS[form]("plain", network_config(tiny.network, blobs))
    weights = [parameter.detach().clone() for parameter in supernet.weights()]
    alphas = [parameter.detach().clone() for parameter in supernet.architecture()]
    batch = (torch.from_numpy(blobs.train_images[:8]), torch.from_numpy(blobs.train_labels[:8]))
    alpha_step(supernet, torch.optim.Adam(supernet.architecture(), lr=0.1), batch)
    assert all(torch.equal(a, b) for a, b in zip(weights, supernet.weights(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(alphas, supernet.architecture(), strict=True))
    assert all(parameter.grad is None for parameter in supernet.weights())


def numbered(dataset: Dataset) -> Dataset:
    """Each training image says its index (its mean); test images are not numbers, so that looking at them is fatal."""
    count = len(dataset.train_images)
    images = np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None, None] / count, (count, 1, 4, 4)).copy()
    return replace(dataset, train_images=images, test_images=dataset.test_images * np.float32(np.nan))


def test_weights_and_alphas_learn_from_their_own_half(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[int]] = {"weights": set(), "alphas": set()}

    def indices(images: torch.Tensor) -> set[int]:
        return set((images.mean(dim=(1, 2, 3)) * len(blobs.train_images)).round().int().tolist())

    def spy(word: str, function: Any) -> Any:
        def call(network: Any, optimizer: Any, batches: Any, **arguments: Any) -> Any:
            for images, _ in batches if word == "weights" else [batches]:
                seen[word] |= indices(images)
            return function(network, optimizer, batches, **arguments)

        return call

    monkeypatch.setattr(darts, "train_epoch", spy("weights", darts.train_epoch))
    monkeypatch.setattr(darts, "alpha_step", spy("alphas", darts.alpha_step))
    search(numbered(blobs), changed(tiny, shift=0), tmp_path / "c.safetensors")
    weight_half, alpha_half = halves(len(blobs.train_images), tiny.seed)
    assert seen == {"weights": set(weight_half.tolist()), "alphas": set(alpha_half.tolist())}


def test_a_search_may_have_batches_of_its_own_size(
    blobs: Dataset, tiny: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[int] = set()

    def spy(network: Any, optimizer: Any, batch: Any, **arguments: Any) -> None:
        sizes.add(len(batch[0]))

    monkeypatch.setattr(darts, "alpha_step", spy)
    search(blobs, changed(tiny, search_batch_size=5), tmp_path / "c.safetensors")
    assert max(sizes) == 5 < tiny.training.batch_size


@pytest.mark.parametrize("form", SUPERNETS)
def test_same_seed_same_genotype(form: SupernetForm, blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    def found(name: str) -> tuple[str, list[Row]]:
        rows: list[Row] = []
        settings = changed(tiny, search_epochs=1, supernet=form)
        genotype = search(blobs, settings, tmp_path / name, lambda new: rows.extend(new[len(rows) :]))
        return to_json(genotype), rows

    torch.manual_seed(1)
    first = found("a")
    torch.rand(5)  # what others draw does not matter
    assert found("b") == first


def test_alphas_rest_while_they_warm_up(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    settings = changed(tiny, search_epochs=1, alpha_warmup_epochs=1)
    with seeded(settings.seed, "search weights"):
        untouched = SUPERNETS[settings.supernet.supernet]("plain", network_config(settings.network, blobs)).genotype()
    assert search(blobs, settings, tmp_path / "a") == untouched
    assert search(blobs, changed(settings, alpha_warmup_epochs=0), tmp_path / "b") != untouched


def test_history_counts_spikes_in_every_epoch(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    told: list[list[Row]] = []
    search(blobs, tiny, tmp_path / "c.safetensors", told.append)
    assert [len(rows) for rows in told] == [0, 1, 2]
    for row in told[-1]:
        for split in ("train", "validation"):
            spikes = row[split]["spikes_per_cell"]
            assert list(spikes) == ["stem", "cells.0", "cells.1", "cells.2"]
            assert min(spikes.values()) >= 0
        assert set(row["train"]) == {"loss", "accuracy", "spikes_per_cell"}
        assert set(row["validation"]) == {"loss", "accuracy", "spikes_per_cell", "sops_per_cell", "genotype"}
        assert row["train"]["spikes_per_cell"]["stem"] > 0


OPTIONS: dict[str, dict[str, Any]] = {
    "price": {"spike_weight": 1.0, "sop_weight": 0.5, "target_spikes": 100},
    "sigmoid": {"relaxation": "sigmoid", "zero_one_weight": 10.0},
    "gumbel": {"relaxation": "gumbel", "gumbel_temperature": 2.0},
    "pipelined": {"pipelined_epochs": 1},
    "pipelined gumbel": {"relaxation": "gumbel", "pipelined_epochs": 1, "supernet": "plain", "cells_per_layer": True},
    "bits": {"search_bits": 4, "search_bits_after": 1},
    "beta decay": {"beta_decay": 5.0},
    "auxiliary skip": {"auxiliary_skip": True},
    "second order": {"second_order": True},
    "early stop": {"stop_when_stable": 2, "stop_at_skips": 9},
    "legal": {"for_target": "loihi"},
    "all": {
        "spike_weight": 1.0,
        "sop_weight": 0.5,
        "relaxation": "sigmoid",
        "zero_one_weight": 1.0,
        "beta_decay": 1.0,
        "auxiliary_skip": True,
        "second_order": True,
        "alpha_warmup_epochs": 1,
    },
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_resumed_search_ends_as_a_whole_one(
    option: str, blobs: Dataset, tiny: SearchSettings, tmp_path: Path
) -> None:
    """Byte for byte: the checkpoint of the last epoch has weights, alphas, optimizers and history."""
    settings = changed(tiny, search_epochs=3, **OPTIONS[option])

    def stop(event: Any) -> None:
        if (event.epoch, event.step) == (2, 1):
            raise KeyboardInterrupt

    whole = search(blobs, settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        search(blobs, settings, tmp_path / "broken", progress=stop)
    assert search(blobs, settings, tmp_path / "broken") == whole
    assert (tmp_path / "broken").read_bytes() == (tmp_path / "whole").read_bytes()


def test_every_option_changes_the_search(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    def state(name: str, **options: Any) -> bytes:
        search(blobs, changed(tiny, **options), tmp_path / name)
        return (tmp_path / name).read_bytes()

    states = [state(name, **OPTIONS[name]) for name in OPTIONS if name not in ("early stop", "legal")]
    states = [*states, state("without"), state("again")]
    assert len(set(states)) == len(states) - 1


def test_precision_of_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(darts, "fast_dtype", lambda device: torch.bfloat16)
    cpu = torch.device("cpu")
    assert dtype_of(SearchSettings(), cpu) == torch.bfloat16
    assert dtype_of(choose(search_precision="float32"), cpu) == torch.float32
    assert dtype_of(choose(second_order=True), cpu) == torch.float32
    assert dtype_of(choose(search_bits=8), cpu) == torch.float32
