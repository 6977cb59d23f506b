"""Fits by hand: what breaks first, how narrow is narrow enough, on cores and by totals alone."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from spikeport.deploy.mapping.capacity import REQUIRED, chip_names, find_chip
from spikeport.deploy.mapping.core_mapping import map_graph
from spikeport.deploy.mapping.fit.narrow import narrowed
from spikeport.deploy.mapping.fit.outcome import Break, LayerFit, by_level
from spikeport.deploy.mapping.fit.verdict import NOT_QUANTIZED, NOTES, RULES, fit
from spikeport.errors import InputError
from spikeport.export.graph import Dense, Projection, SpikeInput, SpikingGraph, check
from spikeport.tests.deploy.mapping.small import chain, chip_with, population


def test_a_network_that_fits() -> None:
    """512 neurons in a and b, a core each, one for out."""
    found = fit(chain(), find_chip("loihi1"))
    assert (found.fits, found.cores, found.chips, found.first_break, found.narrower) == (True, 3, 1, None, None)
    assert found.mapping == map_graph(chain(), find_chip("loihi1"))
    assert found.layers == (
        LayerFit(layer=1, populations=("a",), neurons=512, cores=1, limit="neurons", use=0.5),
        LayerFit(layer=2, populations=("b",), neurons=512, cores=1, limit="neurons", use=0.5),
        # 8 lists of 4 synapses, of 1 bit and 6 of index: a word each; in-axons 1, neurons 4
        LayerFit(layer=3, populations=("out",), neurons=4, cores=1, limit="neurons", use=4 / 1024),
    )
    assert found.notes == (NOTES["loihi1"],)


def test_a_chip_too_few() -> None:
    """64 neurons a core: 8 cores for a, 8 for b, 1 for out; of 12 cores a takes 8, and 4 are left for b."""
    chip = chip_with(neurons_per_core=64, cores=12)
    found = fit(chain(), chip, channels=8)
    assert (found.fits, found.cores, found.chips) == (False, 17, 2)
    assert found.first_break == Break(
        layer=2,
        population="b",
        limit="cores",
        needed=17,
        allowed=12,
        why="what comes before it takes all cores",
    )
    assert found.narrower is not None
    # c channels take 2c + 1 cores, so 5 fit
    assert (found.narrower.channels, found.narrower.ratio, found.narrower.cores) == (5, 5 / 8, 11)
    assert fit(chain(), chip, chips=2).fits


def test_the_answer_is_the_widest_that_fits() -> None:
    for cores in range(3, 18):
        chip = chip_with(neurons_per_core=64, cores=cores)
        widths = [n for n in range(1, 9) if map_graph(narrowed(chain(), Fraction(n, 8)), chip).chips == 1]
        found = fit(chain(), chip, channels=8)
        assert (8 if found.fits else found.narrower and found.narrower.channels) == max(widths)


def test_a_width_that_nobody_knows_is_changed_by_64ths() -> None:
    found = fit(chain(), chip_with(neurons_per_core=64, cores=12))
    assert found.narrower is not None
    assert (found.narrower.channels, found.narrower.cores) == (None, 11)
    assert found.narrower.ratio == 47 / 64  # 5.9 channels are 5; 48 / 64 would be 6


def test_a_layer_that_is_larger_than_a_core_can_hold_is_named() -> None:
    """1 pixel of 70 channels, a full matrix to b: 70 axons are too many for 60, 53 channels of a would do."""
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="in", shape=(4,)),),
            populations=(population("a", (70,)), population("b", (3,)), population("out", (2,), "readout")),
            projections=(
                Projection(source="in", target="a", kernel=Dense(weight=np.full((70, 4), 2.0))),
                Projection(source="a", target="b", kernel=Dense(weight=np.full((3, 70), 2.0))),
                Projection(source="b", target="out", kernel=Dense(weight=np.full((2, 3), 2.0))),
            ),
            time_steps=1,
            arithmetic="loihi",
        )
    )
    found = fit(graph, chip_with(in_axons_per_core=60))
    assert (found.fits, found.cores, found.chips, found.mapping) == (False, None, None, None)
    assert found.first_break is not None
    assert (found.first_break.layer, found.first_break.population) == (2, "b")
    assert (found.first_break.limit, found.first_break.needed, found.first_break.allowed) == (
        "in_axons_per_core",
        70,
        60,
    )
    assert found.narrower is not None and int(70 * found.narrower.ratio) <= 60 < 70 * (found.narrower.ratio + 1 / 64)
    assert [layer.cores for layer in found.layers] == [None, None, None]


def test_no_width_fits_where_the_input_alone_is_too_large() -> None:
    found = fit(chain(), chip_with(in_axons_per_core=10, neurons_per_core=1, cores=20), channels=8)
    assert not found.fits and found.narrower is None


def test_inputs_on_the_chip_are_level_0() -> None:
    found = fit(chain(), find_chip("loihi2"), on_chip_inputs=frozenset({"in"}))
    assert [layer.populations for layer in found.layers] == [("in",), ("a",), ("b",), ("out",)]
    assert found.cores == 4


def test_weights_that_are_not_quantized_are_said_to_be() -> None:
    assert NOT_QUANTIZED in fit(replace(chain(), arithmetic="float"), find_chip("loihi1")).notes


def test_no_chips_at_all_are_refused() -> None:
    with pytest.raises(InputError, match=r"`chips >= 1` must hold, but chips=0"):
        fit(chain(), find_chip("loihi1"), chips=0)


def test_every_rule_is_fitted_and_explained() -> None:
    assert set(RULES) == set(NOTES) == set(REQUIRED)
    for name in chip_names():
        found = fit(chain(), find_chip(name))
        assert found.as_json()["chip"] == name and found.as_json()["limits"][0]["source"]


def test_levels_in_order() -> None:
    assert by_level(chain()) == {1: ("a",), 2: ("b",), 3: ("out",)}
    assert by_level(chain(), frozenset({"in"})) == {0: ("in",), 1: ("a",), 2: ("b",), 3: ("out",)}
