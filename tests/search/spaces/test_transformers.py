"""Transformers are drawn within the choices, and their code is read back as it was written."""

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.space.transformer.genotype import Block, Transformer
from spikeport.search.space.transformer.settings import TransformerSettings
from spikeport.search.spaces.transformers import TransformerSpace

SPACE = TransformerSpace(TransformerSettings(widths="4,6,9", heads="2,4", most_parameters=1500))


def test_every_draw_is_within_the_choices() -> None:
    rng = np.random.default_rng(0)
    drawn = [SPACE.sample(rng) for _ in range(40)]
    drawn += [SPACE.mutate(drawn[i], rng) for i in range(40)]
    drawn += [SPACE.cross(drawn[i], drawn[i + 40], rng) for i in range(40)]
    for found in drawn:
        assert found.width in (4, 6, 9) and len(found.blocks) in (1, 2, 3)
        assert all(b.ratio in (1, 2, 3, 4) and b.heads in (1, 2, 4) for b in found.blocks)
    assert {b.attention for found in drawn for b in found.blocks} == {"tokens", "channels"}
    assert len({found.width for found in drawn}) == 3


def test_codes_come_back() -> None:
    rng = np.random.default_rng(1)
    for found in [SPACE.sample(rng) for _ in range(40)]:
        assert SPACE.decode(SPACE.encode(found)) == found
    codes = rng.integers(SPACE.radices, size=(60, len(SPACE.radices))).tolist()
    for code in codes:  # every code is a transformer, and has one of its own
        found = SPACE.decode(code)
        assert SPACE.decode(SPACE.encode(found)) == found
        assert (SPACE.key(found) == SPACE.key(SPACE.decode(codes[0]))) == (found == SPACE.decode(codes[0]))
    assert sorted(place for motif in SPACE.motifs for place in motif) == list(range(len(SPACE.radices)))


def test_neighbours_by_hand() -> None:
    """Of one block: two other widths, two other depths, the other attention, three ratios; 4 heads divide 4."""
    one = Transformer(width=4, blocks=(Block(attention="tokens", heads=2, ratio=1),))
    around = SPACE.neighbours(one)
    assert len(around) == len(set(around)) == 2 + 2 + 1 + 1 + 3
    assert one not in around
    assert sum(len(other.blocks) > 1 for other in around) == 2


def test_others_are_refused() -> None:
    other = Transformer(width=8, blocks=(Block(attention="tokens", heads=2, ratio=1),))
    with pytest.raises(InputError, match=r"of this space must have a width of \(4, 6, 9\), .*but this one has others"):
        SPACE.encode(other)
    with pytest.raises(InputError, match=r"A code of the space transformers must have 11 numbers below \(3, 3, 2, 2"):
        SPACE.decode((9,) * 11)
