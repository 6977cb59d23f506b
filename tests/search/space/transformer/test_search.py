"""Draws are legal, the score is exact, the search keeps within its window and is the same every time."""

from dataclasses import replace

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.space.transformer.cost import parameters, reference_sops
from spikeport.search.space.transformer.genotype import Block, Transformer
from spikeport.search.space.transformer.network import SpikingTransformer, TransformerConfig
from spikeport.search.space.transformer.search import find_transformer
from spikeport.search.space.transformer.settings import TransformerSettings
from spikeport.search.space.transformer.space import Space

CONFIG = TransformerConfig(time_steps=2, classes=10, input_shape=(1, 8, 8))
SETTINGS = TransformerSettings(population=8, rounds=3, widths="4,6,8", most_parameters=1500)


def test_every_draw_is_within_the_choices() -> None:
    space, rng = Space(SETTINGS), np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(40)]
    drawn += [space.mutate(drawn[i], rng) for i in range(40)]
    drawn += [space.cross(drawn[i], drawn[i + 40], rng) for i in range(40)]
    for found in drawn:
        assert found.width in (4, 6, 8) and len(found.blocks) in (1, 2, 3)
        assert all(b.ratio in (1, 2, 3, 4) and b.heads in (1, 2, 4) for b in found.blocks)
    assert {b.attention for found in drawn for b in found.blocks} == {"tokens", "channels"}
    assert len({found.width for found in drawn}) == 3


def test_parameters_are_those_of_the_network() -> None:
    found = Transformer(width=4, blocks=(Block(attention="channels", heads=1, ratio=2),))
    assert parameters(found, CONFIG) == sum(p.numel() for p in SpikingTransformer(found, CONFIG).parameters())


def test_the_best_within_the_window_and_the_same_every_time() -> None:
    best, scored = find_transformer(SETTINGS, CONFIG, np.random.default_rng(1))
    again, _ = find_transformer(SETTINGS, CONFIG, np.random.default_rng(1))
    assert best == again and best.parameters <= 1500 and scored > 8
    assert best.score == reference_sops(best.genotype, CONFIG)
    drawn = Space(SETTINGS)
    rng = np.random.default_rng(2)
    few = [one for one in (drawn.sample(rng) for _ in range(8)) if parameters(one, CONFIG) <= 1500]
    assert best.score >= max(reference_sops(one, CONFIG) for one in few)
    by_chance, many = find_transformer(replace(SETTINGS, search="random"), CONFIG, np.random.default_rng(1))
    assert by_chance.parameters <= 1500 and many <= 24


def test_a_window_that_nothing_is_in() -> None:
    with pytest.raises(InputError, match=r"No transformer of these choices was met that has 1 to 2 parameters, of \d+"):
        find_transformer(
            replace(SETTINGS, least_parameters=1, most_parameters=2, population=4, rounds=1),
            CONFIG,
            np.random.default_rng(0),
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depths": "1,x"}, "`depths` must be numbers above 0 with commas between, but is '1,x'"),
        ({"attentions": "tokens,all"}, "Unknown attention 'all'; choose from tokens, channels"),
        ({"least_parameters": 9, "most_parameters": 3}, "`least_parameters <= most_parameters` must hold"),
    ],
)
def test_settings_that_are_wrong(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as raised:
        TransformerSettings(**change)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_sizes_that_cannot_be_halved() -> None:
    with pytest.raises(InputError, match=r"must be multiples of 4, .* but images are \(1, 6, 8\)"):
        TransformerConfig(time_steps=2, classes=3, input_shape=(1, 6, 8), stem_stride=2)
