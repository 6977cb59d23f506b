"""Rows say what was measured, and come back from JSON as they were."""

import json
import math
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.space.genotype import from_dict, random_genotype, to_dict
from spikeport.search.tables.row import Row, compact, expanded, from_bits, rounded, row_of, to_bits


def row(key: str = "k", seed: int = 0, number: int = 0, **more: Any) -> Row:
    genotype = to_dict(random_genotype(np.random.default_rng(number), "plain"))
    curve = {"val_accuracy": [0.5, 0.75]}
    return Row(
        **{"key": key, "genotype": genotype, "seed": seed, "status": "ok", "seconds": 1.5, "curve": curve}
        | {"parameters": 10}
        | more
    )


def test_a_row_comes_back() -> None:
    there = row(test_accuracy=0.875, cores={"loihi1": 3}, energy_j={"speck": 1e-6}, rates=[0.25, 0.5], reason="none")
    assert row_of(there.to_json()) == there
    assert "latency_s" not in there.to_json()  # what is empty is left out


def test_a_genotype_is_short_and_comes_back() -> None:
    for number in range(20):
        genotype = to_dict(random_genotype(np.random.default_rng(number), "darts"))
        assert expanded(compact(genotype)) == genotype
    assert compact(genotype)["normal"].count("|") == 3
    own = random_genotype(np.random.default_rng(0), "plain", gates=True, decays=True, layers=("normal", "reduce"))
    assert from_dict(expanded(json.loads(json.dumps(compact(to_dict(own)))))) == own
    path = genotype | {"layers": [{"kind": "normal", "width": 0.75}, {"kind": "reduce", "width": 1.0}]}
    assert from_dict(expanded(compact(path))) == from_dict(path)


def test_numbers_by_name() -> None:
    there = row(test_accuracy=0.5, cores={"loihi1": 3}, energy_j={"speck": 1e-6})
    assert (there.value("test_accuracy"), there.value("cores:loihi1"), there.value("energy_j:speck")) == (0.5, 3, 1e-6)
    assert math.isnan(there.value("int8_accuracy")) and math.isnan(there.value("cores:truenorth"))
    assert math.isnan(there.value("latency_s:speck"))
    with pytest.raises(InputError, match="A row has no number 'acuracy'; choose from seed, "):
        there.value("acuracy")
    with pytest.raises(InputError, match="`energy_j` is one number for each of speck; say energy_j:speck"):
        there.value("energy_j")


def test_bits() -> None:
    correct = np.random.default_rng(0).random(361) < 0.7
    assert (from_bits(to_bits(correct), 361) == correct).all()
    with pytest.raises(InputError, match="Bits of 400 test images must be 50 bytes, but are 46"):
        from_bits(to_bits(correct), 400)
    with pytest.raises(InputError, match="must be hex digits"):
        from_bits("xyz", 12)


def test_significant_digits() -> None:
    assert (rounded(1.23456e-5), rounded(123456.0), rounded(math.nan), rounded(None)) == (
        1.235e-5,
        123500.0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "well"}, "Unknown status 'well' of a row; choose from ok, diverged, silent"),
        ({"colour": 1}, "A row must have the keys curve, genotype, key"),
        ({"genotype": {"primitives": "plain", "normal": "0-conv", "reduce": ""}}, "must be the edges of its nodes"),
    ],
)
def test_damaged_rows(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        row_of(row().to_json() | change)
