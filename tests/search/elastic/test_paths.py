"""Choices open from the largest on; a step has the largest, the smallest and random ones, all of the space."""

import numpy as np

from spikeport.search.elastic.paths import Choices, by_size, sandwich
from spikeport.search.elastic.training import choices_of
from spikeport.search.settings.run import SearchSettings
from spikeport.search.space.genotype import Genotype
from spikeport.search.space.primitives import spiking_primitives
from spikeport.search.spaces.closed import REDUCE, closed_cells
from spikeport.search.spaces.genotypes import CLOSED
from spikeport.search.spaces.space import CodedSpace

ALL = frozenset(spiking_primitives("plain")) | frozenset(spiking_primitives("darts"))


def test_the_largest_primitive_first() -> None:
    assert by_size("plain", ALL) == ("conv_5x5", "conv_3x3", "skip_connect", "max_pool_3x3")
    assert by_size("darts", ALL)[:4] == ("dil_conv_5x5", "sep_conv_5x5", "dil_conv_3x3", "sep_conv_3x3")
    assert by_size("plain", frozenset({"skip_connect", "conv_3x3"})) == ("conv_3x3", "skip_connect")


def test_primitives_open_before_widths() -> None:
    choices = Choices(primitives=("a", "b", "c"), widths=(1.0, 0.5))
    opened = [choices.opened(share) for share in (0, 0.25, 0.5, 0.75, 1, 3)]
    assert [(len(one.primitives), len(one.widths)) for one in opened] == [
        (1, 1),
        (2, 1),
        (3, 1),
        (3, 2),
        (3, 2),
        (3, 2),
    ]


def test_a_step(space: CodedSpace[Genotype], settings: SearchSettings) -> None:
    choices, rng = choices_of(settings), np.random.default_rng(0)
    largest, smallest, *others = sandwich(space, choices, 3, rng)
    for one, primitive, width in ((largest, "conv_5x5", 1.0), (smallest, "max_pool_3x3", 0.5)):
        assert {edge.primitive for edge in one.normal + one.reduce} == {primitive}
        assert {layer.width for layer in one.layers or ()} == {width}
    assert len(others) == 3 and all(space.decode(space.encode(one)) == one for one in others)
    begun = sandwich(space, choices.opened(0.3), 20, rng)  # two primitives, one width
    assert {edge.primitive for one in begun for edge in one.normal} == {"conv_5x5", "conv_3x3"}
    assert {layer.width for one in begun for layer in one.layers or ()} == {1.0}


def test_what_the_space_fixes_stays() -> None:
    cells = set(closed_cells())
    drawn = sandwich(CLOSED, Choices(primitives=by_size("plain", ALL), widths=(1.0,)), 9, np.random.default_rng(1))
    assert all(one in cells and one.reduce == REDUCE for one in drawn)
    assert {edge.primitive for edge in drawn[0].normal} == {"conv_5x5"}
