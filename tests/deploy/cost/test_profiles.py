"""A price list of one's own, and every way in which a list can be wrong."""

from functools import partial
from pathlib import Path

import pytest

from spikeport.deploy.cost.profiles import BOUNDS, Barrier, builtin_profiles, find_profile, load_profile, source_row
from spikeport.errors import InputError

close = partial(pytest.approx, rel=1e-12, abs=0.0)  # the default of abs is a whole picojoule

PROFILE = """
name = "mine"
chip = "loihi1"
title = "My chip"
technology = "22 nm"
evidence = "measured"
unpriced = ["The host."]

[energy.synaptic_operations]
value = 10
unit = "pJ"
source = "a table"
grade = "P"
low = 8
high = 12.5
note = "at room temperature"

[energy.hops_x]
value = 2
unit = "nJ"
source = "a table"
grade = "D"

[time.sender.neuron_updates]
value = 5
unit = "ns"
source = "a table"
grade = "S"

[time.receiver.messages]
value = 7
unit = "us"
source = "a table"
grade = "S"

[time.barrier]
tiles = { 1 = 0.5, 4 = 2 }
unit = "ms"
source = "a table"
grade = "S"

[power.static]
value = 3
unit = "uW"
source = "a table"
grade = "P"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    profile = find_profile(str(write(tmp_path, PROFILE)))
    operation = profile.energy["synaptic_operations"]
    assert [operation.at(bound).joules for bound in BOUNDS] == close([8e-12, 10e-12, 12.5e-12])
    assert operation.at("value").joules == operation.joules
    hop = profile.energy["hops_x"]
    assert [hop.at(bound).joules for bound in BOUNDS] == close([2e-9, 2e-9, 2e-9])
    assert profile.sender["neuron_updates"].seconds == close(5e-9)
    assert profile.receiver["messages"].seconds == close(7e-6)
    assert profile.static is not None and profile.static.watts == close(3e-6)
    assert profile.barrier is not None and profile.barrier.points == ((1, 0.5), (4, 2.0))
    assert profile.barrier.seconds(3) == close(0.5e-3)
    assert (profile.name, profile.chip, profile.unpriced) == ("mine", "loihi1", ("The host.",))
    assert source_row("synaptic_operations", operation) == {
        "term": "synaptic_operations",
        "value": 10.0,
        "unit": "pJ",
        "low": 8.0,
        "high": 12.5,
        "source": "a table",
        "grade": "P",
        "note": "at room temperature",
    }


def test_a_barrier_without_tiles_is_refused() -> None:
    barrier = Barrier(points=((1, 1.0),), form="table", unit="ns", source="a table", grade="P")
    with pytest.raises(InputError, match="tiles >= 1"):
        barrier.seconds(0)
    with pytest.raises(InputError, match="'speck' has no barrier"):
        find_profile("speck").barrier_seconds(1)
    assert find_profile("loihi1-sanafe").barrier_seconds(4) == close(1.4e-6)


def test_an_unknown_name_shows_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'loihi3'; choose from horowitz45nm, .*truenorth, or give the path"):
        find_profile("loihi3")
    with pytest.raises(InputError, match=r"There is no '.*gone\.toml'; give a price list"):
        find_profile(str(tmp_path / "gone.toml"))


def test_a_copy_must_not_keep_the_name_of_a_builtin_list(tmp_path: Path) -> None:
    path = write(tmp_path, PROFILE.replace('"mine"', '"truenorth"'))
    with pytest.raises(InputError, match=r"mine\.toml': the name 'truenorth' is a builtin profile's"):
        find_profile(str(path))
    assert find_profile(str(builtin_profiles()["truenorth"])).name == "truenorth"


# what is replaced in PROFILE, by what, and what the error says
WRONG = {
    "not TOML": ("value = 10\n", "value = = 10\n", r"must be TOML"),
    "an unknown key": ('title = "My chip"', 'titel = "My chip"', r"unknown key `titel`; choose from name, chip"),
    "an unknown table": ("[power.static]", "[power.idle]", r"unknown key `power.idle`; choose from static, host"),
    "an unknown time": ("[time.sender.neuron", "[time.send.neuron", r"unknown key `time.send`; choose from sender"),
    "an unknown quantity": ("energy.hops_x", "energy.hops_z", r"unknown key `energy.hops_z`; choose from .*hops_x"),
    "an energy in time": ("time.receiver.messages", "time.receiver.spikes", r"unknown key `time.receiver.spikes`"),
    "an unknown key of a price": ('note = "at', 'notes = "at', r"unknown key `energy.synaptic_operations.notes`"),
    "no name": ('name = "mine"', "", r"`name` must be a text, but is missing; name the price list"),
    "an empty title": ('"My chip"', '" "', r"`title` must be a text, but is ' '"),
    "a chip that is a number": ('chip = "loihi1"', "chip = 1", r"`chip` must be a text, but is 1"),
    "no unpriced list": ('unpriced = ["The host."]', "", r"`unpriced` must be a list of texts, but is missing"),
    "an unpriced text": ('["The host."]', '"The host."', r"`unpriced` must be a list of texts, but is 'The host.'"),
    "a unit of another kind": ('unit = "pJ"', 'unit = "ns"', r"operations.unit` must be one of pJ, .* is 'ns'"),
    "no unit": ('unit = "pJ"', "", r"operations.unit` must be one of pJ, .*, but is missing; convert the value"),
    "a unit that is a list": ('unit = "pJ"', 'unit = ["pJ"]', r"operations.unit` must be one of"),
    "no source": ('source = "a table"', "", r"operations.source` must be a text, but is missing; name the publication"),
    "no grade": ('grade = "P"', "", r"operations.grade` must be a text, but is missing; grade the evidence"),
    "from memory": ('grade = "P"', 'grade = "M"', r"operations.grade` must be one of P, S, D, but is 'M'; .* find the"),
    "an unknown grade": ('grade = "P"', 'grade = "A"', r"operations.grade` must be one of P, S, D, but is 'A'"),
    "no value": ("value = 10\n", "", r"operations.value` must be a finite number >= 0, but is missing"),
    "a negative price": (
        "value = 10\n",
        "value = -10\n",
        r"operations.value` must be a finite number >= 0, but is -10",
    ),
    "not a number": ("value = 10\n", "value = nan\n", r"operations.value` must be a finite number >= 0, but is nan"),
    "endless": ("value = 10\n", "value = inf\n", r"operations.value` must be a finite number >= 0, but is inf"),
    "too long": ("value = 10\n", f"value = 1{'0' * 400}\n", r"operations.value` must be a finite number >= 0"),
    "a text for a number": ("value = 10\n", 'value = "10"\n', r"operations.value` must be a finite number >= 0"),
    "a truth for a number": ("value = 10\n", "value = true\n", r"operations.value` must be .*, but is True"),
    "low above value": ("low = 8", "low = 10.5", r"low <= value <= high` must hold .* low=10.5, value=10.0, high=12.5"),
    "high below value": ("high = 12.5", "high = 9", r"low <= value <= high` must hold .* value=10.0, high=9.0"),
    "a negative low": ("low = 8", "low = -8", r"operations.low` must be a finite number >= 0, but is -8"),
    "a price that is a number": (
        '[energy.hops_x]\nvalue = 2\nunit = "nJ"\nsource = "a table"\ngrade = "D"',
        "[energy]\nhops_x = 2",
        r"`energy.hops_x` must be a table",
    ),
    "no chip to map to": (
        'chip = "loihi1"',
        "",
        r"must name a chip, because the prices of hops_x, time need a mapping",
    ),
    "a barrier of no form": ("tiles = { 1 = 0.5, 4 = 2 }", "", r"either `tiles` or both `from` and `to`, but has unit"),
    "a barrier of two forms": ("tiles = {", "from = [1, 2]\ntiles = {", r"either `tiles` or both `from` and `to`"),
    "a barrier that begins late": ("{ 1 = 0.5,", "{ 2 = 0.5,", r"`time.barrier.tiles` must be .* beginning with 1"),
    "a barrier of no tiles": ("{ 1 = 0.5,", "{ 1 = 0.5, zero = 1,", r"`time.barrier.tiles` must be"),
    "a negative barrier": ("{ 1 = 0.5,", "{ 1 = -0.5,", r"`time.barrier.tiles.1` must be a finite number >= 0"),
    "a line to nowhere": ("tiles = { 1 = 0.5, 4 = 2 }", "from = [1, 2]", r"`time.barrier.to` must be .* is missing"),
    "a line of one tile": ("tiles = { 1 = 0.5, 4 = 2 }", "from = [2, 2]\nto = [2, 3]", r"at more tiles than `from`"),
    "a line of half tiles": ("tiles = { 1 = 0.5, 4 = 2 }", "from = [0.5, 2]\nto = [2, 3]", r"`time.barrier.from` must"),
    "a line of words": ("tiles = { 1 = 0.5, 4 = 2 }", 'from = [1, "a"]\nto = [2, 3]', r"from` must be a finite number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_refused_with_file_and_key(case: str, tmp_path: Path) -> None:
    before, after, message = WRONG[case]
    assert before in PROFILE
    path = write(tmp_path, PROFILE.replace(before, after, 1))
    with pytest.raises(InputError, match=message) as error:
        load_profile(path)
    assert str(path) in str(error.value)


def price(key: str, unit: str = "pJ") -> str:
    return f'[{key}]\nvalue = 1\nunit = "{unit}"\nsource = "a table"\ngrade = "P"\n'


HEAD = PROFILE[: PROFILE.index("[energy")]
CHIPLESS = HEAD.replace('chip = "loihi1"\n', "")
OPERATIONS = "energy.synaptic_operations"
BARRIER = '[time.barrier]\ntiles = { 1 = 1 }\nunit = "ns"\nsource = "a table"\ngrade = "P"\n'
MODEL = price("time.sender.spikes", "ns") + price("time.receiver.messages", "ns") + BARRIER
TOGETHER = {
    "nothing at all": (CHIPLESS, r"must have \[energy\], \[power\] or a chip, but 'mine' has none"),
    "a whole and a part": (
        HEAD + price(OPERATIONS) + price(f"{OPERATIONS}_conv"),
        r"\[energy\] prices the same events twice with synaptic_operations and synaptic_operations_conv",
    ),
    "all updates three times": (
        HEAD + price("energy.neuron_updates") + price("energy.active_updates") + price("energy.idle_updates"),
        r"\[energy\] prices the same events twice with neuron_updates and active_updates and idle_updates",
    ),
    "updates three times in time": (
        HEAD + MODEL + "".join(price(f"time.sender.{word}_updates", "ns") for word in ("neuron", "active", "idle")),
        r"\[time.sender\] prices the same events twice",
    ),
    "one kind of synapse alone": (
        HEAD + price(f"{OPERATIONS}_conv") + price(f"{OPERATIONS}_dense"),
        r"\[energy\] must price all kinds .* lacks synaptic_operations_sparse",
    ),
    "one kind of synapse by itself": (
        HEAD + price(f"{OPERATIONS}_sparse"),
        r"\[energy\] must price all kinds .* lacks synaptic_operations_conv, synaptic_operations_dense",
    ),
    "one kind of synapse in time": (
        HEAD + MODEL + price("time.receiver.synaptic_operations_conv", "ns"),
        r"\[time.receiver\] must price all kinds",
    ),
    "messages without a chip": (CHIPLESS + price("energy.messages"), r"prices of messages need a mapping"),
    "times without a chip": (CHIPLESS + price(OPERATIONS) + MODEL, r"prices of time need a mapping"),
    "a step beside the model": (HEAD + MODEL + price("time.step", "ms"), r"\[time\] of 'mine' must have `step` alone"),
    "no barrier": (HEAD + MODEL.replace(BARRIER, ""), r"\[time\] of 'mine' must have `step` alone, or all of"),
    "a barrier alone": (HEAD + BARRIER, r"\[time\] of 'mine' must have `step` alone, or all of"),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_prices_that_do_not_go_together_are_refused(case: str, tmp_path: Path) -> None:
    text, message = TOGETHER[case]
    with pytest.raises(InputError, match=message) as error:
        load_profile(write(tmp_path, text))
    assert "mine.toml" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        HEAD,  # a chip whose capacity alone is known
        CHIPLESS + price("power.static", "W"),
        CHIPLESS + price(OPERATIONS),
        CHIPLESS + price(OPERATIONS) + price("time.step", "s"),
        HEAD + MODEL,
        HEAD + price("energy.neuron_updates") + price("energy.active_updates"),  # the second is a surcharge
    ],
)
def test_little_is_enough(text: str, tmp_path: Path) -> None:
    assert load_profile(write(tmp_path, text)).name == "mine"
