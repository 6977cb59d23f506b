"""Chips as files: what is built in, what a user writes, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spikeport.deploy.mapping.capacity import CHIPS, REQUIRED, chip_names, find_chip
from spikeport.deploy.mapping.core_mapping import RULES
from spikeport.errors import InputError

MINE = """
title = "Mine"
rule = "capacity"

[limits.cores]
value = 12
unit = "cores"
source = "data sheet, page 3"
grade = "P"
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Writes a chip's file and returns its path."""

    def written(text: str) -> str:
        (tmp_path / "mine.toml").write_text(text)
        return str(tmp_path / "mine.toml")

    return written


def test_every_chip_that_comes_along_is_read_and_sourced() -> None:
    assert chip_names() == ("loihi1", "loihi2", "speck", "spinnaker2", "truenorth")
    for name in chip_names():
        chip = find_chip(name)
        assert chip.name == name and chip.title and chip.rule in REQUIRED
        for limit in chip.limits.values():
            assert limit.value >= 1 and limit.unit and len(limit.source) > 10 and limit.grade in ("P", "S", "D")


def test_the_limits_of_loihi() -> None:
    first, second = find_chip("loihi1"), find_chip("loihi2")
    assert [first.allows(name) for name in REQUIRED["loihi1"]] == [128, 1024, 4096, 4096, 2**20]
    assert [second.allows(name) for name in REQUIRED["loihi2"]] == [128, 8192, 12000 * 64]
    assert second.allows("lif_neurons_per_core") == 4095
    assert second.allows("in_axons_per_core") == float("inf")  # not published


def test_every_rule_that_maps_is_known_here() -> None:
    assert {*RULES, "capacity"} == set(REQUIRED)


def test_a_users_chip(write: Callable[[str], str]) -> None:
    chip = find_chip(write(MINE))
    assert (chip.name, chip.title, chip.rule, list(chip.limits)) == ("mine", "Mine", "capacity", ["cores"])
    assert (chip.limits["cores"].value, chip.limits["cores"].source) == (12, "data sheet, page 3")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('rule = "capacity"', 'rule = "loihi3"', "`rule` must be one of loihi1, loihi2, capacity"),
        ('rule = "capacity"', 'rule = "loihi1"', "`limits.neurons_per_core` must be there for the rule 'loihi1'"),
        ('title = "Mine"', "", "`title` must be a text"),
        ('title = "Mine"', 'title = "Mine"\ncolour = 1', "unknown key `colour`"),
        ("[limits.cores]", "[limits.kernels]", "unknown key `limits.kernels`; choose from cores, neurons"),
        ("[limits.cores]", "[limits.in_axons_per_core]", "unknown key `limits.in_axons_per_core`"),  # of other rules
        ("value = 12", "", "`limits.cores.value` must be a whole number >= 1, but is missing"),
        ("value = 12", "value = -12", "`limits.cores.value` must be a whole number >= 1, but is -12"),
        ("value = 12", "value = 0", "`limits.cores.value` must be a whole number >= 1, but is 0"),
        ("value = 12", "value = inf", "`limits.cores.value` must be a whole number >= 1, but is inf"),
        ("value = 12", "value = nan", "`limits.cores.value` must be a whole number >= 1, but is nan"),
        ("value = 12", "value = true", "`limits.cores.value` must be a whole number >= 1, but is True"),
        ("value = 12", 'value = "12"', "`limits.cores.value` must be a whole number >= 1, but is '12'"),
        ("value = 12", "value = 12\nhigh = 13", "unknown key `limits.cores.high`"),
        ('unit = "cores"', "", "`limits.cores.unit` must be a text"),
        ('source = "data sheet, page 3"', 'source = " "', "`limits.cores.source` must be a text"),
        ('grade = "P"', "", "`limits.cores.grade` must be a text"),
        ('grade = "P"', 'grade = "M"', "`limits.cores.grade` must be one of P, S, D"),
        ("[limits.cores]", "[limits.cores", "must be TOML"),
    ],
)
def test_a_chip_that_is_not_one(write: Callable[[str], str], before: str, after: str, said: str) -> None:
    assert MINE.count(before) == 1
    with pytest.raises(InputError) as error:
        find_chip(write(MINE.replace(before, after)))
    assert said in str(error.value) and "mine.toml'" in str(error.value) and "\n" not in str(error.value)


def test_a_tile_has_four_cores(write: Callable[[str], str]) -> None:
    text = (CHIPS / "loihi1.toml").read_text()
    with pytest.raises(InputError, match=r"`cores = 4 \* tiles` must hold, but there are 130 cores on 32 tiles"):
        find_chip(write(text.replace("value = 128\n", "value = 130\n")))


def test_unknown_chips() -> None:
    with pytest.raises(InputError, match="Unknown chip 'loihi'; choose from loihi1, loihi2, speck"):
        find_chip("loihi")
    with pytest.raises(InputError, match=r"'nowhere\.toml'"):
        find_chip("nowhere.toml")
