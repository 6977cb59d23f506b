"""Cells and widths in one code: it comes back, and what is no path of the space is refused."""

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.space.layout import default_layers
from spikeport.search.spaces.genotypes import genotype_space
from spikeport.search.spaces.widths import with_widths

SPACE = with_widths(genotype_space("plain"), default_layers(3), (1.0, 0.5))


def test_the_code_comes_back_and_one_number_changes() -> None:
    rng = np.random.default_rng(0)
    one, other = SPACE.sample(rng), SPACE.sample(rng)
    assert SPACE.decode(SPACE.encode(one)) == one and len(SPACE.radices) == 22 + 3
    assert [layer.kind for layer in one.layers or ()] == ["normal", "reduce", "reduce"]
    changed = SPACE.encode(SPACE.mutate(one, rng))
    assert sum(a != b for a, b in zip(changed, SPACE.encode(one), strict=True)) == 1
    assert SPACE.cross(one, other, rng).layers is not None
    assert SPACE.motifs[-1] == (22, 23, 24)
    assert SPACE.key(one) != SPACE.key(SPACE.decode((*SPACE.encode(one)[:-1], 1 - SPACE.encode(one)[-1])))


def test_other_paths_are_refused() -> None:
    drawn = genotype_space("plain").sample(np.random.default_rng(0))
    with pytest.raises(InputError, match=r"must have a path of 3 layers with widths among 1.0, 0.5, but has none"):
        SPACE.encode(drawn)
