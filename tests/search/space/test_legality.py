"""The table of what a target takes, held to the exporters."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.netx.chain import chain_of
from spikeport.export.netx.writer import check_netx
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.targets import TARGETS, traced
from spikeport.search.settings.run import choose
from spikeport.search.settings.supernet import SupernetForm
from spikeport.search.space import legality
from spikeport.search.space.genotype import Edge, Genotype, random_genotype
from spikeport.search.space.legality import ALL_ATTENTION, LEGAL, Legality
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.space.primitives import PRIMITIVES, spiking_primitives
from spikeport.search.strategies.darts.search import SUPERNETS

SETTINGS = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
CASES = [(table, name) for table in PRIMITIVES for name in spiking_primitives(table)]


def chip(genotype: Genotype, settings: NetworkConfig) -> None:
    """Everything that the Loihi target may refuse."""
    torch.manual_seed(0)
    check_netx(chain_of(quantize(lower(traced(SpikingNetwork(genotype, settings).eval()).graph), 1.0)))


def only(table: str, name: str) -> Genotype:
    """Both cells with one primitive everywhere, at both strides and behind nodes."""
    cell = tuple(Edge(node, source, name) for node in range(4) for source in (0, node + 1))
    return Genotype(table, cell, cell)


@pytest.mark.parametrize(("table", "name"), CASES)
def test_loihi_takes_every_primitive_that_is_listed(table: str, name: str) -> None:
    assert name in LEGAL["loihi"].primitives
    chip(only(table, name), SETTINGS)


@pytest.mark.parametrize("attention", sorted(ALL_ATTENTION))
def test_loihi_refuses_every_attention_that_is_not_listed(attention: str) -> None:
    settings = replace(SETTINGS, attention=attention)
    if attention in LEGAL["loihi"].attention:
        chip(only("plain", "conv_3x3"), settings)
        return
    with pytest.raises(UnsupportedError):
        chip(only("plain", "conv_3x3"), settings)
    message = f"attention among none, spike, but it is {attention}; say --attention-in search"
    with pytest.raises(InputError, match=message):
        choose(for_target="loihi", attention=attention)
    choose(for_target="loihi", attention=attention, attention_in="search")  # the network has none


def test_every_target_is_one_that_can_be_exported_to() -> None:
    assert LEGAL.keys() <= TARGETS.keys()
    for legal in LEGAL.values():
        assert "none" in legal.primitives & legal.attention


def test_unknown_target() -> None:
    with pytest.raises(InputError, match=r"^Unknown target 'tpu' to search for; choose from onnx, loihi, nir\.$"):
        choose(for_target="tpu")


@pytest.mark.parametrize("form", SUPERNETS)
@pytest.mark.parametrize("relaxation", ["softmax", "sigmoid"])
def test_masked_primitives_have_no_weight_and_are_not_found(form: SupernetForm, relaxation: str) -> None:
    torch.manual_seed(0)
    supernet = SUPERNETS[form]("plain", SETTINGS)
    supernet.relaxation = relaxation
    supernet.allowed = frozenset({"none", "max_pool_3x3", "conv_3x3"})
    with torch.no_grad():
        for alphas in supernet.alphas.values():
            alphas[:, 4] = 9.0  # conv_5x5 would win
    for kind in ("normal", "reduce"):
        weights = supernet.mixture(kind)
        assert (weights[:, [2, 4]] == 0).all()
        assert (weights[:, [0, 1, 3]] > 0.1).all()
    assert supernet.choices().shape == (28, 3)
    supernet(torch.rand(2, 1, 8, 8)).sum().backward()
    for alphas in supernet.architecture():
        assert alphas.grad is not None
        assert alphas.grad.isfinite().all()
        assert (alphas.grad[:, [2, 4]] == 0).all()
    found = supernet.genotype()
    assert {edge.primitive for edge in (*found.normal, *found.reduce)} <= {"max_pool_3x3", "conv_3x3"}
    supernet.allowed = None
    assert {edge.primitive for edge in supernet.genotype().normal} == {"conv_5x5"}


def test_random_cells_are_legal(monkeypatch: pytest.MonkeyPatch) -> None:
    few = frozenset({"none", "skip_connect"})
    monkeypatch.setitem(legality.LEGAL, "small", Legality(few, frozenset({"none"})))
    allowed = legality.legality_of("small").primitives
    genotype = random_genotype(np.random.default_rng(0), "darts", allowed)
    assert {edge.primitive for edge in (*genotype.normal, *genotype.reduce)} == {"skip_connect"}
