"""Every space draws, changes and crosses legal candidates, and its code is read back as it was written."""

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.settings.network import NetworkSettings
from spikeport.search.space.genotype import random_genotype
from spikeport.search.spaces.closed import closed_cells
from spikeport.search.spaces.genotypes import CLOSED, SPACES, genotype_space

NAMES = tuple(SPACES)


@pytest.mark.parametrize("name", NAMES)
def test_codes_come_back_and_changes_are_small(name: str) -> None:
    space, rng = SPACES[name](NetworkSettings()), np.random.default_rng(0)
    one, other = space.sample(rng), space.sample(rng)
    for candidate in (one, other):
        assert space.decode(space.encode(candidate)) == candidate
    for _ in range(20):
        changed = space.encode(space.mutate(one, rng))
        assert sum(a != b for a, b in zip(changed, space.encode(one), strict=True)) == 1
        child = space.encode(space.cross(one, other, rng))
        assert all(c in (a, b) for c, a, b in zip(child, space.encode(one), space.encode(other), strict=True))
    assert sorted(place for motif in space.motifs for place in motif) == list(range(len(space.radices)))


def test_how_many_neighbours() -> None:
    """As counted by hand: per cell 3 pairs of sources more than one, 2 + 5 + 9 others, and 8 edges."""
    rng = np.random.default_rng(1)
    for name, number in (("darts", 2 * (8 * 6 + 16)), ("plain", 2 * (8 * 3 + 16)), ("closed", 2 + 4 * 3)):
        space = SPACES[name](NetworkSettings())
        around = space.neighbours(space.sample(rng))
        assert len(around) == number == len(set(around))


def test_samples_are_those_of_random_genotype() -> None:
    genotype = random_genotype(np.random.default_rng(4), "darts")
    space = genotype_space("darts")
    assert space.decode(space.encode(genotype)) == genotype
    assert len(space.radices) == 22


def test_the_closed_space_is_the_list_of_its_cells() -> None:
    cells = {CLOSED.encode(cell) for cell in closed_cells()}
    assert len(cells) == 768 and {CLOSED.decode(code) for code in cells} == set(closed_cells())


def test_what_a_target_does_not_take_is_not_drawn() -> None:
    space = genotype_space("plain", allowed=frozenset({"conv_3x3", "skip_connect"}))
    drawn = space.sample(np.random.default_rng(0))
    assert {edge.primitive for edge in drawn.normal} <= {"conv_3x3", "skip_connect"}


def test_candidates_of_other_spaces_are_refused() -> None:
    darts = random_genotype(np.random.default_rng(0), "darts")
    with pytest.raises(InputError, match="must have the primitives plain and the path None, but has darts"):
        genotype_space("plain").encode(darts)
    with pytest.raises(InputError, match="must be one of its 768 cells"):
        CLOSED.encode(random_genotype(np.random.default_rng(0), "plain"))
    with pytest.raises(InputError, match="A node of this space must read two sources by conv_3x3, but node 0 reads"):
        genotype_space("plain", allowed=frozenset({"conv_3x3"})).encode(
            genotype_space("plain", allowed=frozenset({"conv_5x5"})).sample(np.random.default_rng(0))
        )
    with pytest.raises(InputError, match="A code of the space closed must have 5 numbers below"):
        CLOSED.decode((0, 0, 0, 0, 4))
