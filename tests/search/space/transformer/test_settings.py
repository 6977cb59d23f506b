"""Choices that are none, sizes that cannot be halved, and a count of parameters that is the network's."""

import pytest

from spikeport.errors import InputError
from spikeport.search.space.transformer.cost import parameters
from spikeport.search.space.transformer.genotype import Block, Transformer
from spikeport.search.space.transformer.network import SpikingTransformer, TransformerConfig
from spikeport.search.space.transformer.settings import TransformerSettings

CONFIG = TransformerConfig(time_steps=2, classes=10, input_shape=(1, 8, 8))


def test_parameters_are_those_of_the_network() -> None:
    found = Transformer(width=4, blocks=(Block(attention="channels", heads=1, ratio=2),))
    assert parameters(found, CONFIG) == sum(p.numel() for p in SpikingTransformer(found, CONFIG).parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depths": "1,x"}, "`depths` must be numbers above 0 with commas between, but is '1,x'"),
        ({"attentions": "tokens,all"}, "Unknown attention 'all'; choose from tokens, channels"),
        ({"least_parameters": 9, "most_parameters": 3}, "`least_parameters <= most_parameters` must hold"),
        ({"strategy": "halving"}, "Unknown strategy 'halving'; choose from generations, random, evolution"),
    ],
)
def test_settings_that_are_wrong(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as raised:
        TransformerSettings(**change)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_sizes_that_cannot_be_halved() -> None:
    with pytest.raises(InputError, match=r"must be multiples of 4, .* but images are \(1, 6, 8\)"):
        TransformerConfig(time_steps=2, classes=3, input_shape=(1, 6, 8), stem_stride=2)
    with pytest.raises(InputError, match=r"must be multiples of 2, .* but images are \(4, 1, 16\)"):
        TransformerConfig(time_steps=2, classes=3, input_shape=(4, 1, 16))  # a signal
