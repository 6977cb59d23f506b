"""What a box needs of a core, what a core allows, and the error that says what is too much."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.mapping.core_demand import Load, allowances, boxes_of, fits, fraction
from spikeport.export.graph import Conv, Dense
from spikeport.tests.deploy.mapping.small import chip_with, site


def test_two_projections_from_a_source_share_its_axons() -> None:
    point, window = Conv(weight=np.full((1, 1, 1, 1), 2.0)), Conv(weight=np.full((1, 1, 3, 3), 2.0), padding=(1, 1))
    both = site(find_chip("loihi1"), (1, 4, 4), {("in", (1, 4, 4)): point, ("other", (1, 4, 4)): window})
    assert both.in_axons(((0, 1), (0, 4), (0, 4))) == 32
    both.wirings[1].source = "in"
    assert both.in_axons(((0, 1), (0, 4), (0, 4))) == 16


def test_the_smaller_of_two_limits_counts() -> None:
    assert {word: (a.limit, a.value) for word, a in allowances(find_chip("loihi2")).items()} == {
        "neurons": ("lif_neurons_per_core", 4095),
        "in_axons": ("in_axons_per_core", inf),
        "out_axons": ("out_axons_per_core", inf),
        "memory_bits": ("synapse_bits_per_core", 768000),
    }
    assert allowances(chip_with("loihi2", neurons_per_core=4000))["neurons"].limit == "neurons_per_core"


def test_a_load_fits_up_to_the_limit() -> None:
    allowed = allowances(find_chip("loihi1"))
    full = Load(neurons=1024, in_axons=4096, out_axons=4096, memory_bits=2**20)
    assert fits(full, allowed) and set(fraction(full, allowed).values()) == {1.0}
    for quantity in ("neurons", "in_axons", "out_axons", "memory_bits"):
        assert not fits(replace(full, **{quantity: getattr(full, quantity) + 1}), allowed)


def test_out_axons_of_every_box_of_a_cut() -> None:
    fans = np.arange(24).reshape(2, 3, 4)
    here = site(find_chip("loihi1"), (2, 3, 4), {}, fans)
    axes = (((0, 2),), ((0, 1), (1, 3)), ((0, 3), (3, 4)))
    expected = [fans[tuple(slice(*span) for span in box)].sum() for box in boxes_of(axes)]
    assert here.out_axons(axes).ravel().tolist() == expected


def test_what_is_too_large_is_the_limit_that_is_exceeded_most() -> None:
    chip = chip_with("loihi1", neurons_per_core=3, in_axons_per_core=2)
    here = site(chip, (4,), {("in", (12,)): Dense(weight=np.full((4, 12), 2.0))})
    error = here.too_large((((0, 4),),), "a box")  # 4 neurons of 3, 12 axons of 2
    assert (error.limit, error.needed, error.allowed, error.population) == ("in_axons_per_core", 12, 2, "out")
    with pytest.raises(ValueError, match="a cut that does not fit"):
        site(find_chip("loihi1"), (4,), {}).too_large((((0, 4),),), "a box")


def test_boxes_of_a_class_are_counted_once() -> None:
    """3x3 on 12x12, boxes of 2x2: corners, sides and the inside, 9 classes of 36 boxes."""
    kernel = Conv(weight=np.full((1, 1, 3, 3), 2.0), padding=(1, 1))
    here = site(find_chip("loihi1"), (1, 12, 12), {("in", (1, 12, 12)): kernel})
    spans = tuple((start, start + 2) for start in range(0, 12, 2))
    assert here.fits((((0, 1),), spans, spans))
    assert len(here._of_class) == 9
