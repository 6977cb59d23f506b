"""JSON there and back, and what no transformer can be."""

from typing import Any

import pytest

from spikeport.errors import InputError
from spikeport.search.space.transformer.genotype import Block, Transformer, from_dict, from_json, to_dict, to_json

FOUND = Transformer(
    width=8,
    blocks=(Block(attention="tokens", heads=4, ratio=2), Block(attention="channels", heads=1, ratio=3)),
)


def test_there_and_back() -> None:
    assert from_json(to_json(FOUND)) == FOUND
    assert to_dict(FOUND)["blocks"][0] == {"attention": "tokens", "heads": 4, "ratio": 2}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 6}, "Heads must divide the width, but block 0 has 4 heads of 6 channels"),
        ({"blocks": []}, "must have at least one channel and one block, but has width=8 and 0 blocks"),
        ({"width": "8"}, "A transformer: 'width' must be int, but is '8'"),
        ({"depth": 2}, "A transformer must have exactly the keys width, blocks"),
        ({"blocks": [{"attention": "all", "heads": 1, "ratio": 1}]}, "Unknown attention 'all'; choose from tokens"),
        ({"blocks": [{"attention": "tokens", "heads": 0, "ratio": 1}]}, "`heads >= 1` must hold"),
        ({"blocks": [{"attention": "tokens", "heads": 1}]}, "A block of a transformer must have exactly the keys"),
        (
            {"blocks": [{"attention": "channels", "heads": 2, "ratio": 1}]},
            "a gate for each channel whatever its heads are, but a block has 2; say 1 head, or attention over tokens",
        ),
    ],
)
def test_what_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        from_dict(to_dict(FOUND) | change)
    assert said in str(raised.value)


def test_damaged_json() -> None:
    with pytest.raises(InputError, match="A transformer must be JSON, but is not"):
        from_json("{")
