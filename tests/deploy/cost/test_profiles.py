"""The price lists against the published numbers, written out here once more, and every way a list can be wrong."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from spikeport.deploy.cost import traffic
from spikeport.deploy.cost.counts import COUNTED
from spikeport.deploy.cost.profiles import (
    BOUNDS,
    ENERGY,
    MOVED,
    RECEIVER,
    SENDER,
    Barrier,
    Price,
    Profile,
    builtin_profiles,
    find_profile,
    load_profile,
    source_row,
)
from spikeport.errors import InputError

NAMES = ["horowitz45nm", "loihi1-davies2018", "loihi1-sanafe", "loihi2-proxy", "speck", "spinnaker2", "truenorth"]

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


def values(prices: Mapping[str, Price]) -> dict[str, tuple[float, str]]:
    return {name: (price.value, price.unit) for name, price in prices.items()}


def every_price(profile: Profile) -> list[Price | Barrier]:
    single = [profile.step, profile.static, profile.host, profile.barrier]
    listed = [*profile.energy.values(), *profile.sender.values(), *profile.receiver.values()]
    return [*listed, *(price for price in single if price is not None)]


def test_the_lists_that_come_along() -> None:
    assert list(builtin_profiles()) == NAMES
    chips = {name: find_profile(name).chip for name in NAMES}
    assert chips == {
        "horowitz45nm": None,
        "loihi1-davies2018": "loihi1",
        "loihi1-sanafe": "loihi1",
        "loihi2-proxy": "loihi2",
        "speck": "speck",
        "spinnaker2": "spinnaker2",
        "truenorth": "truenorth",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source_and_every_list_says_what_it_leaves_out(name: str) -> None:
    profile = find_profile(name)
    assert profile.name == name and profile.title and profile.technology and profile.evidence
    assert profile.unpriced and all(line.endswith(".") for line in profile.unpriced)
    for price in every_price(profile):
        assert price.source and price.grade in ("P", "S", "D")


def test_what_can_be_priced_is_what_is_counted() -> None:
    assert sorted(ENERGY) == sorted((*COUNTED, *traffic.MOVED))
    assert (MOVED, SENDER, RECEIVER) == (traffic.MOVED, traffic.SENT, traffic.RECEIVED)


def test_loihi_1_by_davies_2018() -> None:
    """Energy 23.6 S + 81 U_active + 52 U_idle + 1.7 M + 3.0 Hx + 4.0 Hy, in pJ."""
    profile = find_profile("loihi1-davies2018")
    assert values(profile.energy) == {
        "synaptic_operations": (23.6, "pJ"),
        "active_updates": (81, "pJ"),
        "idle_updates": (52, "pJ"),
        "messages": (1.7, "pJ"),
        "hops_x": (3.0, "pJ"),
        "hops_y": (4.0, "pJ"),
    }
    assert values(profile.sender) == {
        "active_updates": (8.4, "ns"),
        "idle_updates": (5.3, "ns"),
        "messages": (2.1, "ns"),
    }
    assert values(profile.receiver) == {"synaptic_operations": (3.5, "ns")}
    assert profile.barrier is not None and profile.static is not None and profile.host is not None
    assert profile.barrier.seconds(1) == close(113e-9)
    assert profile.barrier.seconds(32) == close(465e-9)
    assert profile.barrier.seconds(16) == close((113 + 352 * 15 / 31) * 1e-9)
    assert profile.barrier.seconds(63) == close((465 + 352) * 1e-9)  # the line goes on
    assert (profile.static.watts, profile.static.at("low").watts) == close((0.104, 0.0295))
    assert profile.host.watts == close(0.065)
    assert profile.energy["synaptic_operations"].note == "a minimum"
    assert profile.receiver["synaptic_operations"].note == "a maximum"


def test_loihi_1_by_sana_fe() -> None:
    """e_syn S + 51.2 U + 21.6 U_active + 69.3 F + 111 M + 3.0 Hx + 4.2 Hy, in pJ."""
    profile = find_profile("loihi1-sanafe")
    assert values(profile.energy) == {
        "synaptic_operations_conv": (24.0, "pJ"),
        "synaptic_operations_dense": (35.5, "pJ"),
        "synaptic_operations_sparse": (33.6, "pJ"),
        "neuron_updates": (51.2, "pJ"),
        "active_updates": (21.6, "pJ"),
        "spikes": (69.3, "pJ"),
        "messages": (111, "pJ"),
        "hops_x": (3.0, "pJ"),
        "hops_y": (4.2, "pJ"),
    }
    assert values(profile.sender) == {
        "neuron_updates": (6.0, "ns"),
        "active_updates": (3.7, "ns"),
        "spikes": (30, "ns"),
        "messages": (5.1, "ns"),
    }
    assert values(profile.receiver) == {
        "messages": (16, "ns"),
        "synaptic_operations_conv": (3.1, "ns"),
        "synaptic_operations_dense": (3.8, "ns"),
        "synaptic_operations_sparse": (4.7, "ns"),
    }
    assert profile.barrier is not None
    times = {tiles: profile.barrier.seconds(tiles) for tiles in (1, 2, 3, 4, 28, 29, 100)}
    expected = {1: 0.6e-6, 2: 1.0e-6, 3: 1.0e-6, 4: 1.4e-6, 28: 1.4e-6, 29: 1.8e-6, 100: 1.8e-6}
    assert times == close(expected)
    assert (profile.static, profile.host) == (None, None)


def test_loihi_2_is_a_proxy_with_the_energies_of_loihi_1_and_says_so() -> None:
    profile, davies = find_profile("loihi2-proxy"), find_profile("loihi1-davies2018")
    assert values(profile.energy) == values(davies.energy)
    assert all(price.grade == "D" and "uncalibrated" in price.note for price in profile.energy.values())
    assert "proxy" in profile.evidence and "uncalibrated" in profile.evidence
    update, spike = profile.sender["neuron_updates"], profile.sender["spikes"]
    operation = profile.receiver["synaptic_operations"]
    assert (update.low, update.value, update.high) == (5.3 / 2, 8.4 / 2, 8.4)  # 2x faster than Loihi 1
    assert (spike.low, spike.value, spike.high) == (None, 30 / 10, 30)  # 10x
    assert (operation.low, operation.value, operation.high) == (None, 3.5 / 5, 3.5)  # 5x
    assert profile.barrier is not None and profile.static is not None
    assert [profile.barrier.seconds(tiles) for tiles in (1, 500)] == close([200e-9, 200e-9])
    assert profile.static.watts == 0.232


def test_truenorth_passes_through_the_measured_powers() -> None:
    """All of 2^20 neurons with 128 synapses each: 68, 71 and 94 mW at 11.58, 20.07 and 95.93 Hz."""
    profile = find_profile("truenorth")
    assert values(profile.energy) == {"synaptic_operations": (2.30, "pJ")}
    assert profile.static is not None and profile.step is not None
    assert (profile.static.watts, profile.step.seconds) == close((0.064, 1e-3))
    for rate, measured in ((11.58, 0.068), (20.07, 0.071), (95.93, 0.094)):
        events = rate * 2**20 * 128
        power = profile.static.watts + events * profile.energy["synaptic_operations"].joules
        assert power == pytest.approx(measured, abs=0.001)
    assert events * 26e-12 / 0.094 - 1 == pytest.approx(2.56, abs=0.01)  # why 26 pJ is not the price
    assert any("26 pJ" in line and "static" in line for line in profile.unpriced)


def test_speck_has_a_power_at_rest_and_no_energies() -> None:
    profile = find_profile("speck")
    assert (profile.energy, profile.sender, profile.receiver, profile.step) == ({}, {}, {}, None)
    assert profile.static is not None and profile.static.watts == close(0.42e-3)


def test_spinnaker_2() -> None:
    energy = find_profile("spinnaker2").energy
    assert values(energy) == {"synaptic_operations": (450, "pJ"), "neuron_updates": (2.19, "nJ")}
    assert energy["neuron_updates"].joules == close(2.19e-9)


def test_arithmetic_in_45_nm() -> None:
    energy = find_profile("horowitz45nm").energy
    operation, update = energy["synaptic_operations"], energy["neuron_updates"]
    assert (operation.value, operation.low, operation.high, operation.unit) == (0.9, 0.03, None, "pJ")
    assert (update.value, update.low) == close((3.7 + 0.9 + 0.9, 0.2 + 0.03 + 0.03))
    assert (operation.grade, update.grade) == ("S", "D")
    assert list(energy) == ["synaptic_operations", "neuron_updates"]


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
    with pytest.raises(InputError, match=r"gone\.toml'; choose from"):
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
