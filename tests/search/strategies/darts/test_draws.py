"""Noise and cells that are drawn for every batch: in both supernets, in a search, and what they cannot be with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor

from spikeport.errors import InputError
from spikeport.search.data.datasets import Dataset
from spikeport.search.settings.run import SearchSettings, changed, choose
from spikeport.search.settings.supernet import SupernetForm
from spikeport.search.space.genotype import DECAYS
from spikeport.search.space.network import NetworkConfig
from spikeport.search.strategies.darts.draws import draws_of
from spikeport.search.strategies.darts.search import SUPERNETS, search
from spikeport.search.supernet.relaxation import temperature_at
from spikeport.search.supernet.supernet import Supernet, one_hot
from spikeport.search.tensors import load_tensors
from spikeport.search.training.checkpoint import Row

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 4, 4))


def supernet_of(form: SupernetForm, **also: bool) -> Supernet:
    torch.manual_seed(0)
    supernet = SUPERNETS[form]("plain", CONFIG)
    supernet.search_also(**also)
    return supernet


def logits_of(supernet: Supernet) -> Tensor:
    reset_net(supernet)
    with torch.no_grad():
        found: Tensor = supernet(torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1)))
    reset_net(supernet)
    return found


def test_noise_is_added_and_divided_by_the_temperature() -> None:
    supernet = supernet_of("kernel")
    supernet.relaxation, supernet.temperature = "gumbel", 0.25
    supernet.draw_noise(np.random.default_rng(5))
    noise = torch.from_numpy(np.random.default_rng(5).gumbel(size=(14, 5))).float()
    alphas = supernet.alphas["normal"].detach()
    assert torch.equal(supernet.mixture("normal", 0), torch.softmax((alphas + noise) / 0.25, 1))
    assert torch.equal(supernet.mixture("normal", 2), supernet.mixture("normal", 0))  # layers share their cell
    supernet.eval()
    assert torch.equal(supernet.mixture("normal", 0), torch.softmax(alphas, 1))


def test_primitives_lead_as_often_as_the_softmax_says() -> None:
    supernet = supernet_of("kernel")
    supernet.relaxation = "gumbel"
    supernet.alphas["reduce"].data[:] = torch.tensor([0.0, 1.0, -1.0, 2.0, -torch.inf])
    rng, leading = np.random.default_rng(0), torch.zeros(5)
    for _ in range(100):
        supernet.draw_noise(rng)
        leading += torch.bincount(supernet.mixture("reduce", 1).argmax(1), minlength=5) / 1400
    torch.testing.assert_close(leading, torch.softmax(supernet.alphas["reduce"].data[0], 0), atol=0.04, rtol=0)


@pytest.mark.parametrize("form", SUPERNETS)
def test_every_layer_of_its_own_cell_has_its_own_noise(form: SupernetForm) -> None:
    supernet = supernet_of(form, cells_per_layer=True)
    supernet.relaxation = "gumbel"
    kinds = [cell.kind for cell in supernet.plan]
    first, last = kinds.index("reduce"), len(kinds) - 1 - kinds[::-1].index("reduce")
    supernet.draw_noise(np.random.default_rng(0))
    assert first < last and not torch.equal(supernet.mixture("reduce", first), supernet.mixture("reduce", last))
    before = logits_of(supernet)
    assert torch.equal(logits_of(supernet), before)  # it stays until it is drawn anew
    supernet.nested = True
    supernet.draw_noise(np.random.default_rng(1))
    assert torch.equal(supernet.mixture("reduce", first), supernet.mixture("reduce", last))
    assert not torch.equal(logits_of(supernet), before)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("form", SUPERNETS)
def test_a_drawn_cell_is_the_mixture_that_is_certain_of_it(form: SupernetForm, own: bool) -> None:
    supernet, certain = supernet_of(form, cells_per_layer=own), supernet_of(form, cells_per_layer=own)
    supernet.draw_cells(np.random.default_rng(3))
    drawn = supernet.drawn
    assert drawn is not None and (drawn.cells is not None) is own
    for kind, place in certain.places():
        weights = one_hot(drawn, kind, place)
        weights[:, 0] = 1 - weights.sum(1)  # `none`
        alphas = certain.alphas[kind] if place is None else certain.own["alphas"][place]
        alphas.data = 1000 * weights.float()
    for alphas in certain.alphas.values() if own else ():
        alphas.data.zero_()
    found = logits_of(supernet)
    assert torch.equal(found, logits_of(certain))
    supernet.draw_cells(np.random.default_rng(4))
    assert not torch.equal(logits_of(supernet), found)
    supernet.eval()
    supernet.drawn, now = None, supernet.mixture("normal", 0)
    supernet.draw_cells(np.random.default_rng(3))
    assert torch.equal(supernet.mixture("normal", 0), now)  # tested is what the architecture weights say


def test_gates_and_decays_are_drawn_too() -> None:
    torch.manual_seed(0)
    supernet = SUPERNETS["kernel"]("plain", replace(CONFIG, attention="spike"))
    supernet.search_also(gates=True, decays=True)
    supernet.draw_cells(np.random.default_rng(0))
    drawn = supernet.drawn
    assert drawn is not None
    for node in range(4):
        assert supernet.gate_chance("normal", node, 0).item() == drawn.gated("normal", node, 0)
        chances = supernet.decay_chances("reduce", node, 1).tolist()
        assert chances == [float(decay == drawn.decay("reduce", node, 1)) for decay in DECAYS]
    logits_of(supernet)


def test_the_temperature_falls_over_the_epochs_that_mix() -> None:
    assert [temperature_at(4.0, 1.0, epoch, 3) for epoch in range(3)] == [4.0, 2.0, 1.0]
    supernet = supernet_of("kernel")
    named = {"search_epochs": 5, "relaxation": "gumbel", "gumbel_temperature": 4.0, "gumbel_temperature_end": 1.0}
    settings = choose(primitives="plain", pipelined_epochs=2, **named)
    temperatures = []
    for epoch in range(5):
        draws_of(supernet, settings, epoch)()
        assert (supernet.drawn is not None) == (epoch < 2)
        temperatures.append(supernet.temperature)
    assert temperatures == [4.0, 4.0, 4.0, 2.0, 1.0]


@pytest.mark.training
def test_weights_learn_first_and_the_architecture_then(blobs: Dataset, tiny: SearchSettings, tmp_path: Path) -> None:
    checkpoint, states = tmp_path / "c", []

    def keep(rows: list[Row]) -> None:
        if checkpoint.exists():
            states.append({name: t for name, t in load_tensors(checkpoint)[0].items() if name.startswith("network.")})

    settings = changed(tiny, search_epochs=3, pipelined_epochs=2, seed=1)
    search(blobs, settings, checkpoint, keep)
    first, second, third = states
    learnt = [name for name in first if name.startswith("network.cells.0.kernels")]
    alphas = [name for name in first if ".alphas." in name]
    assert learnt and alphas

    def moved(before: dict[str, Tensor], after: dict[str, Tensor], names: list[str]) -> list[bool]:
        return [not torch.equal(before[name], after[name]) for name in names]

    assert all(moved(first, second, learnt)) and not any(moved(first, second, alphas))
    assert not any(moved(second, third, learnt)) and all(moved(second, third, alphas))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"gumbel_temperature": 2.0},
            "gumbel_temperature=2.0 is of the relaxation gumbel, but the relaxation is softmax; say",
        ),
        ({"pipelined_epochs": 50}, "`pipelined_epochs < search_epochs` must hold, but got pipelined_epochs=50"),
        (
            {"pipelined_epochs": 5, "second_order": True},
            "second_order=True has nothing to act on with pipelined_epochs=5, because the weights rest when",
        ),
        (
            {"pipelined_epochs": 5, "auxiliary_skip": True},
            "auxiliary_skip=True has nothing to act on with pipelined_epochs=5, because the weights learn in cells as",
        ),
        (
            {"pipelined_epochs": 5, "alpha_warmup_epochs": 3},
            "alpha_warmup_epochs=3 has nothing to act on with pipelined_epochs=5, in which the architecture weights",
        ),
        (
            {"pipelined_epochs": 5, "cells_per_layer": True, "shared_epochs": 5},
            "`shared_epochs > pipelined_epochs` must hold, but got shared_epochs=5",
        ),
        ({"level": "macro", "relaxation": "gumbel"}, "the cell is given, so relaxation=gumbel has nothing to act on"),
        (
            {"level": "both", "pipelined_epochs": 5},
            "at --level both the cells of all paths are there at once; leave it",
        ),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        choose(**options)
    assert message in str(error.value) and "\n" not in str(error.value)
