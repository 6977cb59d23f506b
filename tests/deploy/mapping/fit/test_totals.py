"""Chips of which only totals are known: each limit binds, on its own and by hand."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from spikeport.deploy.mapping.capacity import Chip, chip_names, find_chip
from spikeport.deploy.mapping.fit.totals import NEEDS
from spikeport.deploy.mapping.fit.verdict import fit
from spikeport.export.graph import Conv, check
from spikeport.tests.deploy.mapping.small import chain, chip_with


def test_every_total_is_one_that_a_chip_has() -> None:
    bounded = {need.name for need in NEEDS for name in chip_names() if need.allowed(find_chip(name)) < inf}
    assert bounded == {need.name for need in NEEDS}


def test_speck_takes_a_core_for_each_population() -> None:
    found = fit(chain(), find_chip("speck"))
    assert (found.fits, found.cores, found.chips, found.mapping) == (True, 3, 1, None)
    assert [layer.limit for layer in found.layers] == ["cores x populations_per_core"] * 3
    two = fit(chain(), chip_with("speck", cores=2))
    assert (two.fits, two.cores, two.chips, two.narrower) == (False, 3, 2, None)
    assert two.first_break is not None
    assert (two.first_break.layer, two.first_break.population, two.first_break.needed) == (3, "out", 3)
    assert fit(chain(), chip_with("speck", cores=2), chips=2).fits


@pytest.mark.parametrize(
    ("chip", "limit", "population", "needed", "allowed", "channels"),
    [
        (chip_with("speck", neurons=600), "neurons", "b", 1024, 600, 4),  # 2 * 64 c <= 600
        (chip_with("speck", channels=6), "channels", "a", 8, 6, 6),
        (chip_with("speck", image_size=7), "image_size", "a", 8, 7, None),
        # 1024 neurons before the 4 of the readout
        (chip_with("truenorth", cores=4), "cores x neurons_per_core", "out", 1028, 1024, 7),
        # 64 * 2c synapses into a, 64 c^2 into b, 4c into out
        (chip_with("truenorth", synapses_per_core=1), "cores x synapses_per_core", "b", 5120, 4096, 7),
        # 8 bits each for 2c, c^2 and 4c weights
        (chip_with("spinnaker2", cores=1, local_bits_per_core=500), "cores x local_bits_per_core", "b", 640, 500, 5),
    ],
)
def test_totals(chip: Chip, limit: str, population: str, needed: int, allowed: int, channels: int | None) -> None:
    found = fit(chain(), chip, channels=8)
    assert found.first_break is not None and found.cores in (None, 3)
    assert (found.first_break.limit, found.first_break.population) == (limit, population)
    assert (found.first_break.needed, found.first_break.allowed) == (needed, allowed)
    assert (found.narrower and found.narrower.channels) == channels


def test_a_kernel_that_reaches_too_far() -> None:
    graph = chain()
    wide = Conv(weight=np.full((8, 2, 5, 5), 2.0), padding=(8, 8), dilation=(4, 4))  # 17 rows
    graph = check(replace(graph, projections=(replace(graph.projections[0], kernel=wide), *graph.projections[1:])))
    found = fit(graph, find_chip("speck"))
    assert found.first_break is not None
    assert (found.first_break.limit, found.first_break.needed, found.chips) == ("kernel_size", 17, None)
    assert found.narrower is None


def test_a_population_that_sends_to_too_many() -> None:
    graph = chain()
    many = [replace(graph.populations[1], name=name) for name in ("b2", "b3")]
    more = [replace(graph.projections[1], target=name) for name in ("b2", "b3")]
    a, b, out = graph.populations
    graph = check(replace(graph, populations=(a, b, *many, out), projections=(*graph.projections, *more)))
    found = fit(graph, find_chip("speck"))
    assert found.first_break is not None
    assert (found.first_break.limit, found.first_break.population) == ("targets_per_population", "a")


def test_weights_of_too_many_bits() -> None:
    graph = chain()
    deep = Conv(weight=np.array([-6.0, 10.0]).reshape(1, 2, 1, 1).repeat(8, axis=0))  # -3..5: 4 bits
    graph = check(replace(graph, projections=(replace(graph.projections[0], kernel=deep), *graph.projections[1:])))
    found = fit(graph, chip_with("speck", weight_bits=3))
    assert found.first_break is not None
    assert (found.first_break.limit, found.first_break.population, found.first_break.needed) == ("weight_bits", "a", 4)
    assert fit(graph, chip_with("speck", weight_bits=4)).fits
    assert fit(replace(graph, arithmetic="float"), chip_with("speck", weight_bits=3)).fits  # to be quantized yet
