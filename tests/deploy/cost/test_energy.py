"""Energy worked by hand from the published prices."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeport.deploy.cost import chips
from spikeport.deploy.cost.chips import LOIHI1_DAVIES2018, MAC_45NM, PROFILES, Price, Term
from spikeport.deploy.cost.counts import Activity, Counts, count
from spikeport.deploy.cost.energy import ann_baseline, encoder, energy_json, estimate
from spikeport.errors import InputError
from spikeport.export.graph import (
    Conv,
    Dense,
    Kernel,
    Population,
    Projection,
    Role,
    Shape,
    SpikeInput,
    SpikingGraph,
    check,
)


def project(source: str, target: str, kernel: Kernel) -> Projection:
    return Projection(source=source, target=target, kernel=kernel)


def population(name: str, shape: Shape, role: Role = "neuron") -> Population:
    return Population(name=name, shape=shape, decay=0.5, threshold=1.0, bias=np.zeros(shape[0]), role=role)


def network() -> SpikingGraph:
    """image [3] -> hidden [2] -> logits [2], T = 5; one weight of the first matrix is zero."""
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(3,)),),
            populations=(population("hidden", (2,)), population("logits", (2,), "readout")),
            projections=(
                project("image", "hidden", Dense(weight=np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))),
                project("hidden", "logits", Dense(weight=np.ones((2, 2)))),
            ),
            time_steps=5,
        )
    )


def counts() -> Counts:
    """4 samples. SOPs: hidden 7*2 + 0*2 + 4*1 = 18, logits 3*2 + 2*2 = 10; updates 40 and 40, active 13 and 11."""
    activity = {
        "image": Activity(spikes=np.array([7, 0, 4]), active_updates=0),
        "hidden": Activity(spikes=np.array([3, 2]), active_updates=13),
        "logits": Activity(spikes=np.zeros(2, np.int64), active_updates=11),
    }
    return count(network(), activity, samples=4)


def energy() -> dict[str, Any]:
    return energy_json(graph=network(), counts=counts(), encoder_macs=100)


def test_the_prices_of_davies_2018() -> None:
    terms = LOIHI1_DAVIES2018.terms
    prices = {name: (term.quantity, term.price.value, term.price.unit) for name, term in terms.items()}
    assert prices == {
        "synaptic_operations": ("synaptic_operations", 23.6, "pJ"),
        "neuron_updates_active": ("active_updates", 81.0, "pJ"),
        "neuron_updates_idle": ("idle_updates", 52.0, "pJ"),
        "spikes": ("spikes", 1.7, "pJ"),
    }


def test_every_price_has_a_source_and_a_grade_and_every_profile_says_what_is_missing() -> None:
    prices = [term.price for profile in PROFILES.values() for term in profile.terms.values()] + list(MAC_45NM.values())
    assert all(price.source and price.grade in ("P", "S", "D") and price.unit in chips.JOULES for price in prices)
    assert all(name == profile.name and profile.unpriced for name, profile in PROFILES.items())


def test_energy_by_hand() -> None:
    result = estimate(counts(), LOIHI1_DAVIES2018)
    assert result.terms == pytest.approx(
        {
            "synaptic_operations": 23.6e-12 * 28 / 4,
            "neuron_updates_active": 81e-12 * 24 / 4,
            "neuron_updates_idle": 52e-12 * (80 - 24) / 4,
            "spikes": 1.7e-12 * 16 / 4,
        },
        rel=1e-12,
    )
    assert result.total == pytest.approx(1386.0e-12, rel=1e-12)  # 165.2 + 486 + 728 + 6.8 pJ
    assert result.populations == pytest.approx(
        {
            "image": 1.7e-12 * 11 / 4,
            "hidden": (23.6e-12 * 18 + 81e-12 * 13 + 52e-12 * 27 + 1.7e-12 * 5) / 4,
            "logits": (23.6e-12 * 10 + 81e-12 * 11 + 52e-12 * 29) / 4,
        },
        rel=1e-12,
    )
    assert sum(result.populations.values()) == pytest.approx(result.total, rel=1e-12)


def test_one_more_spike_costs_its_synapses_and_its_message() -> None:
    base, run = estimate(counts(), LOIHI1_DAVIES2018).total, counts()
    hidden, image = run.populations[1], run.populations[0]
    more = replace(
        run,
        populations=(
            replace(image, tally=replace(image.tally, spikes=image.tally.spikes + 1)),
            replace(hidden, tally=replace(hidden.tally, synaptic_operations=hidden.tally.synaptic_operations + 2)),
            run.populations[2],
        ),
    )
    assert estimate(more, LOIHI1_DAVIES2018).total - base == pytest.approx((1.7 + 2 * 23.6) * 1e-12 / 4, rel=1e-9)


@pytest.mark.parametrize(
    ("price", "message"),
    [
        (Price(value=-1.0, unit="pJ", source="a table", grade="P"), "'spikes' costs -1.0 pJ"),
        (Price(value=float("nan"), unit="pJ", source="a table", grade="P"), "'spikes' costs nan pJ"),
        (Price(value=1.0, unit="kWh", source="a table", grade="P"), "is 'kWh'"),
    ],
)
def test_a_price_that_cannot_be_is_refused(price: Price, message: str) -> None:
    profile = replace(
        LOIHI1_DAVIES2018, terms=LOIHI1_DAVIES2018.terms | {"spikes": Term(quantity="spikes", price=price)}
    )
    with pytest.raises(InputError, match=message):
        estimate(counts(), profile)


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'loihi3'; choose from loihi1-davies2018"):
        energy_json(graph=network(), counts=counts(), encoder_macs=0, profiles=("loihi3",))
    with pytest.raises(InputError, match="At least one"):
        energy_json(graph=network(), counts=counts(), encoder_macs=0, profiles=())


def test_ann_baseline_by_hand() -> None:
    baseline = ann_baseline(network(), encoder_macs=100)
    assert (baseline["network_macs"], baseline["encoder_macs"], baseline["macs"]) == (9, 100, 109)
    assert baseline["time_steps"] == 1  # not T = 5: an ANN sees the image once
    assert baseline["energy_j"] == pytest.approx({"fp32": 109 * 4.6e-12, "int8": 109 * 0.23e-12}, rel=1e-12)
    assert any("Memory" in line for line in baseline["unpriced"])


def test_relays_and_max_pools_multiply_nothing_in_an_ann() -> None:
    """image [1,2,2] -> pool (OR of all four) -> carry (relay) -> logits; only the dense layer multiplies."""
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(1, 2, 2)),),
            populations=(
                population("pool", (1, 1, 1), "or"),
                population("carry", (1, 1, 1), "relay"),
                population("logits", (3,), "readout"),
            ),
            projections=(
                project("image", "pool", Conv(weight=np.ones((1, 1, 2, 2)))),
                project("pool", "carry", Conv(weight=np.ones((1, 1, 1, 1)))),
                project("carry", "logits", Dense(weight=np.array([[1.0], [0.0], [2.0]]))),
            ),
            time_steps=2,
        )
    )
    baseline = ann_baseline(graph, encoder_macs=0)
    assert (baseline["macs"], baseline["max_pool_inputs"]) == (2, 4)


def test_the_encoder_multiplies_in_every_step() -> None:
    host = encoder(time_steps=5, encoder_macs=100)
    assert host["macs"] == 500
    assert host["energy_j"] == pytest.approx(500 * 4.6e-12, rel=1e-12)


@pytest.mark.parametrize("price", [lambda: encoder(2, -1), lambda: ann_baseline(network(), -1)])
def test_negative_macs_are_refused(price: Any) -> None:
    with pytest.raises(InputError, match="encoder_macs >= 0"):
        price()


def test_energies_of_two_technologies_are_never_mixed() -> None:
    result = energy()
    chip = result["profiles"]["loihi1-davies2018"]
    assert {chip["technology"], result["ann_baseline"]["technology"], result["encoder"]["technology"]} == {
        "14 nm",
        "45 nm",
    }
    terms = chip["energy_j"]
    assert terms["total"] == pytest.approx(sum(v for k, v in terms.items() if k != "total"), rel=1e-12)
    without_encoder = energy_json(graph=network(), counts=counts(), encoder_macs=0)
    assert without_encoder["profiles"] == result["profiles"]
    spoken = json.dumps(result).replace("operation", "")
    assert not any(word in spoken for word in ("ratio", "better", "saving", "factor"))
    assert "do not add or divide" in result["ann_baseline"]["caution"]


def test_energy_json_is_plain_and_complete() -> None:
    result = json.loads(json.dumps(energy(), allow_nan=False))
    assert result == energy()
    assert (result["samples"], result["time_steps"]) == (4, 5)
    assert result["spikes_per_synapse_per_inference"] == 28 / (9 * 4)
    chip = result["profiles"]["loihi1-davies2018"]
    assert chip["counts"] == {
        "spikes": 4.0,
        "synaptic_operations": 7.0,
        "neuron_updates": 20.0,
        "active_updates": 6.0,
        "idle_updates": 14.0,
        "messages": None,
        "hops": None,
    }
    assert chip["latency_s"] is None
    assert [source["term"] for source in chip["sources"]] == [k for k in chip["energy_j"] if k != "total"]
    for subject in ("Messages", "Hops", "Static power", "host", "encoder", "barrier"):
        assert any(subject in line for line in chip["unpriced"]), subject


def test_per_population_by_hand() -> None:
    rows = {row["name"]: row for row in energy()["per_population"]}
    hidden = rows["hidden"]
    assert (hidden["role"], hidden["shape"], hidden["neurons"], hidden["synapses"]) == ("neuron", [2], 2, 5)
    assert (hidden["spikes"], hidden["synaptic_operations"]) == (5 / 4, 18 / 4)
    assert hidden["firing_rate"] == 5 / (2 * 5 * 4)
    assert (rows["image"]["role"], rows["image"]["neurons"], rows["image"]["neuron_updates"]) == ("input", 3, 0)
    assert rows["image"]["firing_rate"] == 11 / (3 * 5 * 4)
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1.0, rel=1e-12)
    roles = energy()["by_role"]
    assert set(roles) == {"input", "neuron", "readout"}
    assert roles["neuron"]["energy_j"] == pytest.approx(hidden["energy_j"], rel=1e-12)


def test_a_silent_network_still_pays_for_its_updates() -> None:
    quiet = {
        "image": Activity(spikes=np.zeros(3, np.int64), active_updates=0),
        "hidden": Activity(spikes=np.zeros(2, np.int64), active_updates=0),
        "logits": Activity(spikes=np.zeros(2, np.int64), active_updates=0),
    }
    result = estimate(count(network(), quiet, samples=1), LOIHI1_DAVIES2018)
    assert result.total == pytest.approx(20 * 52e-12, rel=1e-12)
