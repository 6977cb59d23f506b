"""What energy.json says of a small mapped network, from Davies' prices by hand; what it leaves out; plain JSON."""

import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from spikeport.deploy.cost.counts import Activity, Counter, Counts
from spikeport.deploy.cost.energy_json import Mapped, energy_json
from spikeport.deploy.cost.profiles import builtin_profiles, find_profile
from spikeport.deploy.cost.traffic import TrafficCounter
from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.mapping.core_mapping import map_graph
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph, check

DAVIES = "loihi1-davies2018"
PJ, NS = 1e-12, 1e-9
close = partial(pytest.approx, rel=1e-12, abs=0.0)  # approx alone lets a whole picojoule pass
CHIPS = ("loihi1", "loihi2")


def network() -> SpikingGraph:
    """image [3] -> hidden [2] -> logits [2], T = 2; one weight of the first matrix is zero."""
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(3,)),),
            populations=tuple(
                Population(name=name, shape=(2,), decay=0.5, threshold=1.0, bias=np.zeros(2), role=role)
                for name, role in (("hidden", "neuron"), ("logits", "readout"))
            ),
            projections=(
                Projection(
                    source="image", target="hidden", kernel=Dense(weight=np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))
                ),
                Projection(source="hidden", target="logits", kernel=Dense(weight=np.ones((2, 2)))),
            ),
            time_steps=2,
        )
    )


def activity() -> dict[str, Activity]:
    """Sample 0: image 110, 001; hidden 10, 11. Sample 1: image 010, 000; hidden 00, 00. [T, N, neurons]"""
    hidden = np.array([[[1, 0], [0, 0]], [[1, 1], [0, 0]]], np.uint8)
    return {
        "image": Activity(spikes=np.array([[[1, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 0]]], np.uint8)),
        "hidden": Activity(spikes=hidden, active=np.array([[[1, 1], [1, 1]], [[1, 1], [0, 0]]]) > 0),
        "logits": Activity(active=np.array([[[1, 1], [0, 0]], [[1, 1], [0, 0]]]) > 0),
    }


def counted() -> tuple[Counts, dict[str, Mapped]]:
    graph, counter = network(), Counter(network())
    counter.add(activity())
    mapped = {}
    for name in CHIPS:
        mapping = map_graph(graph, find_chip(name))
        traffic = TrafficCounter(graph, mapping)
        traffic.add(activity())
        mapped[name] = Mapped(
            chip=find_chip(name), fits=True, chips=mapping.chips, mapping=mapping, traffic=traffic.traffic()
        )
    for name in ("truenorth", "speck", "spinnaker2"):
        mapped[name] = Mapped(chip=find_chip(name), fits=True, chips=1, reason="only its totals are known")
    return counter.counts(), mapped


def energy(*profiles: str) -> dict[str, Any]:
    counts, mapped = counted()
    return energy_json(
        graph=network(),
        counts=counts,
        profiles=[find_profile(name) for name in profiles or [DAVIES, *sorted(set(builtin_profiles()) - {DAVIES})]],
        mapped=mapped,
        encoder_macs=100,
        accuracy=[0.5, 1.0],
    )


def test_the_prices_of_davies_2018_by_hand() -> None:
    """Sample 0: SOPs 2 + 2 + 1 of the image, 3 * 2 of hidden; messages 3 + 3; updates 8, all active. One tile.

    Sample 1: SOPs 2; a message; updates 8, hidden's first two active.
    """
    one = energy(DAVIES)["profiles"][DAVIES]
    first = 23.6 * 11 + 81 * 8 + 1.7 * 6
    second = 23.6 * 2 + 81 * 2 + 52 * 6 + 1.7 * 1
    terms = one["energy_j"]
    assert one["dynamic_j"] == close((first + second) / 2 * PJ)
    assert terms["synaptic_operations"] == close(23.6 * 13 / 2 * PJ)
    assert (terms["hops_x"], terms["hops_y"]) == (0.0, 0.0)
    assert one["energy_spread_j"]["min"] == close(second * PJ)
    assert one["energy_spread_j"]["std"] == close((first - second) / 2 * PJ)
    assert terms["total"] == close(sum(v for k, v in terms.items() if k != "total"))
    assert terms["static"] == one["static_j"] == close(104e-3 * 2 * one["time_per_step_s"]["mean"])
    assert terms["host"] == one["host_j"] == close(65e-3 * 2 * one["time_per_step_s"]["mean"])
    assert one["counts"] == {
        "spikes": 1.5,
        "input_spikes": 2.0,
        "synaptic_operations": 6.5,
        "neuron_updates": 8.0,
        "active_updates": 5.0,
        "idle_updates": 3.0,
        "messages": 3.5,
        "hops_x": 0.0,
        "hops_y": 0.0,
        "hops": 0.0,
    }


def test_latency_throughput_and_what_holds_them_up() -> None:
    one = energy(DAVIES)["profiles"][DAVIES]
    step = one["time_per_step_s"]
    assert one["throughput_hz"] == close(1 / (2 * step["mean"]))
    assert one["latency_s"] == close((2 + 2) * step["mean"])  # T + depth, two samples of two steps
    assert one["energy_delay_product_js"] == close(one["energy_j"]["total"] * one["latency_s"])
    assert one["busiest"]["population"] in ("hidden", "logits") and one["busiest"]["barrier_s"] > 0
    assert step["min"] <= step["mean"] <= step["max"]


def test_accuracy_and_energy_after_each_step() -> None:
    first, last = energy(DAVIES)["accuracy_over_time"]
    # step 0: SOPs 4 + 2 and 2, messages 2 + 1 and 1, updates 4 and 4, of which active 4 and 2
    joules = (23.6 * 8 + 1.7 * 4 + 81 * 6 + 52 * 2) / 2 * PJ
    assert first == {"step": 1, "accuracy": 0.5, "energy_j": close(joules), "spikes": 2.0}
    assert last["energy_j"] == close(energy(DAVIES)["profiles"][DAVIES]["dynamic_j"])
    assert (last["accuracy"], last["spikes"]) == (1.0, 3.5)


def test_populations_and_roles_share_the_dynamic_energy() -> None:
    result = energy(DAVIES)
    rows = {row["name"]: row for row in result["per_population"]}
    hidden = rows["hidden"]
    # SOPs 5 + 2, updates 8 with 6 active, messages 3
    assert hidden["energy_j"] == close((23.6 * 7 + 81 * 6 + 52 * 2 + 1.7 * 3) / 2 * PJ)
    assert hidden["energy_j"] == close(sum(hidden["energy_terms_j"].values()))
    assert (hidden["spikes"], hidden["firing_rate"], hidden["messages"], hidden["cores"]) == (1.5, 3 / 8, 1.5, 1)
    assert (rows["image"]["cores"], rows["image"]["neurons"], rows["image"]["messages"]) == (0, 3, 2.0)
    for part in (rows, result["by_role"]):
        assert sum(row["share"] for row in part.values()) == close(1.0)
    assert set(result["by_role"]) == {"input", "neuron", "readout"}


def test_every_profile_beside_the_others() -> None:
    result = energy()
    assert list(result["profiles"]) == [DAVIES, *sorted(set(builtin_profiles()) - {DAVIES})]
    assert result["per_population_profile"] == DAVIES
    assert result["profiles"]["speck"]["energy_j"] is None  # capacity only
    assert result["profiles"]["truenorth"]["latency_s"] == close(4e-3)  # T + depth ticks of 1 ms
    proxy = result["profiles"]["loihi2-proxy"]
    assert (
        proxy["time_per_step_range_s"]["low"]
        <= proxy["time_per_step_s"]["mean"]
        < proxy["time_per_step_range_s"]["high"]
    )
    assert proxy["energy_range_j"] is not None
    for one in result["profiles"].values():
        assert one["unpriced"] and all(source["source"] and source["grade"] in "PSD" for source in one["sources"])


def test_a_network_that_does_not_fit_says_what_is_missing() -> None:
    counts, mapped = counted()
    mapped["loihi1"] = Mapped(chip=find_chip("loihi1"), fits=False, chips=1, reason="hidden needs more axons.")
    result = energy_json(graph=network(), counts=counts, profiles=[find_profile(DAVIES)], mapped=mapped, encoder_macs=0)
    one = result["profiles"][DAVIES]
    assert (one["counts"]["messages"], one["latency_s"], one["static_j"]) == (None, None, None)
    assert "hops_x" not in one["energy_j"] and "hidden needs more axons." in one["unpriced"][0]
    assert result["mappings"]["loihi1"]["fits"] is False and result["mappings"]["loihi1"]["pieces"] == []


def test_the_mapping_is_told_piece_by_piece() -> None:
    result = energy(DAVIES)["mappings"]["loihi1"]
    assert (result["fits"], result["cores"], result["chips"], result["tiles"]) == (True, 2, 1, 1)
    hidden, logits = result["pieces"]
    assert (hidden["core"], hidden["population"], hidden["box"], hidden["role"]) == (0, "hidden", [[0, 2]], "neuron")
    assert (logits["core"], logits["chip"], logits["tile"], logits["x"], logits["y"]) == (1, 0, 0, 0, 0)
    assert hidden["in_axons"] == 3 and hidden["use"]["neurons"] == 2 / 1024
    assert hidden["use"].keys() == {"neurons", "in_axons", "out_axons", "memory"}
    assert set(result["busy_s"]) == {"0", "1"}


def test_it_is_plain_json_and_never_mixes_technologies() -> None:
    result = energy()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["counts"]["spikes"] == {"mean": 1.5, "std": 1.5, "min": 0, "max": 3, "total": 3}
    assert result["spikes_per_synapse_per_inference"] == 13 / (9 * 2)
    assert result["ann_baseline"]["technology"] == result["encoder"]["technology"] == "45 nm"
    assert "do not add or divide" in result["ann_baseline"]["caution"]
    assert {"14 nm", "45 nm"} <= {one["technology"] for one in result["profiles"].values()}
