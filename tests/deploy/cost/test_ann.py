"""The ANN beside the SNN: every energy worked by hand, losses told as losses, the break-even where both are equal."""

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.cost.ann import BREAK_EVEN, ann_baseline, encoder
from spikeport.errors import InputError
from spikeport.export.graph import Dense, Kernel, Projection, SpikeInput, SpikingGraph, check
from spikeport.tests.deploy.mapping.small import population

PJ = 1e-12
close = partial(pytest.approx, rel=1e-12, abs=0.0)  # the default of abs is a whole picojoule


def project(source: str, target: str, kernel: Kernel) -> Projection:
    return Projection(source=source, target=target, kernel=kernel)


def small() -> dict[str, Any]:
    """image [3] -> hidden [2] -> logits [2], T = 5, four samples; one weight of the first matrix is zero.

    Of one inference: 5 + 4 = 9 MACs; 7*2 + 4*1 + 3*2 + 2*2 = 28 synaptic operations in four samples, so 7; 5 * 4 = 20
    updates; executed 3*2 + 2*1 + 2*2 + 1*2 = 14 in four samples, so 3.5; 100 MACs of the encoder.
    """
    graph = check(
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
    spikes_of = {"image": np.array([7, 0, 4]), "hidden": np.array([3, 2]), "logits": np.zeros(2, np.int64)}
    fired_of = {"image": np.array([3, 0, 2]), "hidden": np.array([2, 1]), "logits": np.zeros(2, np.int64)}
    return ann_baseline(graph, spikes_of=spikes_of, fired_of=fired_of, samples=4, encoder_macs=100)


def wide(spikes: NDArray[np.int64], encoder_macs: int = 0, time_steps: int = 10) -> dict[str, Any]:
    """image [100] -> logits [1], two samples; a neuron with two spikes or more fires in both."""
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(100,)),),
            populations=(population("logits", (1,), "readout"),),
            projections=(project("image", "logits", Dense(weight=np.ones((1, 100)))),),
            time_steps=time_steps,
        )
    )
    fired = np.minimum(spikes, 2)
    return ann_baseline(
        graph, spikes_of={"image": spikes}, fired_of={"image": fired}, samples=2, encoder_macs=encoder_macs
    )


def row(result: dict[str, Any], arithmetic: str, *, skips: bool = False, memory: bool = False) -> dict[str, Any]:
    found = [
        one
        for one in result["rows"]
        if (one["arithmetic"], one["zero_skipping"], one["memory"]) == (arithmetic, skips, memory)
    ]
    assert len(found) == 1
    return dict(found[0])


# joules of one MAC, one written activation, one MAC of the encoder, one synaptic operation, one update, in pJ
FREE = {
    "fp32": (4.6, 0.0, 4.6, 0.9, 5.5),
    "int8": (0.23, 0.0, 0.23, 0.03, 0.26),
    "quantized": (0.105, 0.0, 0.23, 0.03, 0.26),  # 3 bits count to 5: 0.2 * 3/8 + 0.03
}
# everything fits 8 KB, 10 pJ for 64 bits: 32 bits 5, 16 bits 2.5, 8 bits 1.25, 3 bits 0.46875
WITH_MEMORY = {
    "fp32": (4.6 + 5 + 5, 5.0, 4.6 + 5 + 5, 0.9 + 5 + 2 * 5, 5.5 + 2 * 5),
    "int8": (0.23 + 1.25 + 1.25, 1.25, 0.23 + 1.25 + 1.25, 0.03 + 1.25 + 2 * 2.5, 0.26 + 2 * 2.5),
    "quantized": (0.105 + 1.25 + 0.46875, 0.46875, 0.23 + 1.25 + 1.25, 0.03 + 1.25 + 2 * 2.5, 0.26 + 2 * 2.5),
}


@pytest.mark.parametrize("arithmetic", FREE)
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("memory", [False, True])
def test_every_row_by_hand(arithmetic: str, skips: bool, memory: bool) -> None:
    mac, write, encoder_mac, operation, update = (WITH_MEMORY if memory else FREE)[arithmetic]
    macs = 3.5 if skips else 9
    found = row(small(), arithmetic, skips=skips, memory=memory)
    # four neurons write their activation; the encoder works once for the ANN, in five steps for the SNN
    ann = {"macs": macs * mac * PJ, "activation_writes": 4 * write * PJ, "encoder": 100 * encoder_mac * PJ}
    snn = {
        "synaptic_operations": 7 * operation * PJ,
        "neuron_updates": 20 * update * PJ,
        "encoder": 500 * encoder_mac * PJ,
    }
    assert found["ann_terms_j"] == close(ann)
    assert found["snn_terms_j"] == close(snn)
    assert (found["ann_j"], found["snn_j"]) == close((sum(ann.values()), sum(snn.values())))
    assert found["ratio"] == close(sum(ann.values()) / sum(snn.values()))
    assert found["ann_macs"] == macs + 100
    assert found["spikes_per_synapse"] == close(7 / 9)
    silent = snn["neuron_updates"] + snn["encoder"]
    expected = (sum(ann.values()) - silent) / (9 * operation * PJ)
    assert found["break_even_spikes_per_synapse"] == close(expected)


def test_numbers_in_full() -> None:
    """The same once more as literals, so that no formula stands on both sides."""
    result = small()
    plain, full = row(result, "fp32"), row(result, "int8", skips=True, memory=True)
    assert (plain["ann_j"], plain["snn_j"]) == close((501.4 * PJ, 2416.3 * PJ))
    assert (full["ann_j"], full["snn_j"]) == close((287.555 * PJ, 1514.16 * PJ))
    assert plain["break_even_spikes_per_synapse"] == close(-1908.6 / 8.1)


def test_the_rows_and_what_they_are_called() -> None:
    names = [one["name"] for one in small()["rows"]]
    assert len(set(names)) == len(names) == 12
    assert names[:4] == [
        "FP32",
        "FP32, zeros skipped",
        "FP32, memory traffic",
        "FP32, zeros skipped, memory traffic",
    ]
    assert names[8] == "INT8 weights x 3-bit activations"
    assert row(small(), "int8", skips=True)["name"] == "INT8, zeros skipped"


def test_what_the_first_versions_said_still_holds() -> None:
    result = small()
    assert (result["technology"], result["time_steps"]) == ("45 nm", 1)  # an ANN looks once, not T = 5 times
    assert (result["network_macs"], result["encoder_macs"], result["macs"]) == (9, 100, 109)
    assert result["max_pool_inputs"] == 0
    assert result["energy_j"] == close({"fp32": 109 * 4.6 * PJ, "int8": 109 * 0.23 * PJ})
    assert any("Memory" in line for line in result["unpriced"])
    assert "do not add or divide" in result["caution"]
    terms = [source["term"] for source in result["sources"]]
    assert terms == [
        "fp32_add",
        "fp32_multiply",
        "int8_add",
        "int8_multiply",
        "quantized_multiply",
        "sram_8kb",
        "sram_32kb",
        "sram_1mb",
        "dram",
    ]
    assert all(source["source"] and source["grade"] in ("P", "S", "D") for source in result["sources"])
    assert result == json.loads(json.dumps(result, allow_nan=False))


def test_the_network_that_loses_is_told_as_a_loss() -> None:
    """Every spike: 10 per synapse and inference. FP32: 100 * 4.6 = 460 against 10 * 5.5 + 1000 * 0.9 = 955 pJ."""
    found = row(wide(np.full(100, 20)), "fp32")
    assert found["wins"] == "ann"
    assert (found["ann_j"], found["snn_j"]) == close((460 * PJ, 955 * PJ))
    assert found["ratio"] == close(460 / 955)
    assert found["break_even_spikes_per_synapse"] == close(4.5)  # (460 - 55) / 90
    assert found["sentence"] == (
        "The SNN loses to the ANN (FP32) by 2.08x; it would win below 4.50 spikes per synapse and inference, and has "
        "10.0."
    )


def test_the_network_that_wins_is_told_as_a_win() -> None:
    """One spike per synapse: 55 + 90 = 145 against 460 pJ; INT8 with zeros skipped 2.6 + 3 = 5.6 against 23 pJ."""
    result = wide(np.full(100, 2))
    found, skipping = row(result, "fp32"), row(result, "int8", skips=True)
    assert (found["wins"], found["ratio"]) == ("snn", close(460 / 145))
    assert (skipping["wins"], skipping["ratio"]) == ("snn", close(23 / 5.6))
    assert found["sentence"] == (
        "The SNN wins over the ANN (FP32) by 3.17x; it would lose above 4.50 spikes per synapse and inference, and has "
        "1.00."
    )


def test_what_cannot_lose_is_told_so() -> None:
    """460 against 2 * 5.5 + 100 * 0.9 = 101 pJ; with all spikes that two steps hold, 191 pJ."""
    found = row(wide(np.full(100, 2), time_steps=2), "fp32")
    assert found["sentence"] == (
        "The SNN wins over the ANN (FP32) by 4.55x; it cannot lose, because it would only above 4.99 spikes per "
        "synapse and inference, more than 2 steps can hold."
    )
    assert found["break_even_spikes_per_synapse"] == close((460 - 11) / 90)


def test_what_cannot_win_is_told_so() -> None:
    found = row(small(), "fp32")
    assert (found["wins"], found["break_even_spikes_per_synapse"] < 0) == ("ann", True)
    assert found["sentence"] == (
        "The SNN loses to the ANN (FP32) by 4.82x; it cannot win, because without any spike it would need as much as "
        "the ANN or more."
    )


def test_a_silent_network_against_an_ann_that_skips_everything() -> None:
    found = row(wide(np.zeros(100, np.int64)), "fp32", skips=True)
    assert (found["wins"], found["ratio"], found["ann_j"]) == ("ann", 0.0, 0.0)
    assert "that needs nothing, because no neuron spikes; it cannot win" in found["sentence"]


def test_skipped_zeros_turn_a_win_into_a_loss() -> None:
    """Ten neurons fire in each of ten steps: 55 + 90 = 145 pJ against 460, but 46 with zeros skipped."""
    spikes = np.where(np.arange(100) < 10, 20, 0)
    result = wide(spikes)
    assert (row(result, "fp32")["wins"], row(result, "fp32", skips=True)["wins"]) == ("snn", "ann")
    assert row(result, "fp32", skips=True)["ann_j"] == close(46 * PJ)


def test_at_the_break_even_both_need_the_same() -> None:
    """4.5 spikes per synapse: 9 of each neuron in two samples, 55 + 450 * 0.9 = 460 pJ. One spike more turns it."""
    even = np.full(100, 9)
    found = row(wide(even), "fp32")
    assert found["snn_j"] == close(found["ann_j"])
    assert (found["spikes_per_synapse"], found["break_even_spikes_per_synapse"]) == close((4.5, 4.5))
    change = np.eye(1, 100, dtype=np.int64)[0]
    assert row(wide(even - change), "fp32")["wins"] == "snn"
    assert row(wide(even + change), "fp32")["wins"] == "ann"


@pytest.mark.parametrize("result", [small(), wide(np.arange(100) % 21), wide(np.arange(100) % 5, encoder_macs=40)])
def test_spikes_scaled_to_the_break_even_give_equal_energies(result: dict[str, Any]) -> None:
    for one in result["rows"]:
        scale = one["break_even_spikes_per_synapse"] / one["spikes_per_synapse"]
        terms = one["snn_terms_j"]
        scaled = terms["synaptic_operations"] * scale + terms["neuron_updates"] + terms["encoder"]
        assert scaled == close(one["ann_j"])
        off = terms["synaptic_operations"] * scale * 1.001 + terms["neuron_updates"] + terms["encoder"]
        assert off != close(one["ann_j"])


@pytest.mark.parametrize("total", [0, 1, 50, 1000, 2000])
def test_winner_ratio_break_even_and_sentence_agree(total: int) -> None:
    spikes = np.full(100, total // 100)
    spikes[: total % 100] += 1
    for one in wide(spikes, encoder_macs=3)["rows"]:
        below = one["spikes_per_synapse"] < one["break_even_spikes_per_synapse"]
        assert (one["wins"] == "snn") == (one["ratio"] > 1) == below == ("wins" in one["sentence"])


def test_a_warning_from_the_literatures_break_even_on() -> None:
    low, high = BREAK_EVEN
    assert (low, high) == (0.15, 1.38)  # Dampfhoffer et al. 2023

    def warned(spikes_per_synapse: float) -> str | None:
        spikes = np.zeros(100, np.int64)
        total = round(200 * spikes_per_synapse)
        spikes[:] = total // 100
        spikes[: total % 100] += 1
        result = wide(spikes)
        assert result["spikes_per_synapse"] == close(spikes_per_synapse)
        return result["warning"]

    assert (warned(0.0), warned(0.15)) == (None, None)
    assert "0.155 spikes per synapse and inference are within" in str(warned(0.155))
    assert "1.38 spikes per synapse and inference are within" in str(warned(1.38))
    assert "1.39 spikes per synapse and inference are above" in str(warned(1.385))


def test_where_the_values_lie() -> None:
    least = dict.fromkeys(("weights", "activations", "membranes"), "8 KB of SRAM")
    assert small()["memories"] == {"fp32": least, "int8": least, "quantized": least}
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(3000,)),),
            populations=(population("logits", (10,), "readout"),),
            projections=(project("image", "logits", Dense(weight=np.ones((10, 3000)))),),
            time_steps=4,
        )
    )
    spikes = {"image": np.zeros(3000, np.int64)}
    result = ann_baseline(graph, spikes_of=spikes, fired_of=spikes, samples=1, encoder_macs=0)
    # 30000 weights of 4 bytes, 3010 activations of 4 bytes; 30000 bytes, 3010 bytes
    fp32 = {"weights": "1 MB of SRAM", "activations": "32 KB of SRAM", "membranes": "8 KB of SRAM"}
    int8 = {"weights": "32 KB of SRAM", "activations": "8 KB of SRAM", "membranes": "8 KB of SRAM"}
    assert result["memories"] == {"fp32": fp32, "int8": int8, "quantized": int8}
    found = row(result, "fp32", memory=True)["ann_terms_j"]
    assert found["macs"] == close(30000 * (4.6 + 50 + 10) * PJ)


def test_an_encoder_is_no_gift_to_the_snn() -> None:
    with_encoder, without = (row(wide(np.full(100, 2), encoder_macs=n), "fp32") for n in (10, 0))
    assert with_encoder["ann_j"] - without["ann_j"] == close(10 * 4.6 * PJ)
    assert with_encoder["snn_j"] - without["snn_j"] == close(10 * 10 * 4.6 * PJ)  # in every step


def test_the_encoder_multiplies_in_every_step() -> None:
    host = encoder(time_steps=5, encoder_macs=100)
    assert (host["macs"], host["time_steps"], host["technology"]) == (500, 5, "45 nm")
    assert host["energy_j"] == close(500 * 4.6 * PJ)
    assert [source["term"] for source in host["sources"]] == ["fp32_add", "fp32_multiply"]


def test_negative_macs_are_refused() -> None:
    with pytest.raises(InputError, match=r"encoder_macs >= 0` must hold, but encoder_macs=-1"):
        encoder(2, -1)
    with pytest.raises(InputError, match="encoder_macs >= 0"):
        wide(np.zeros(100, np.int64), encoder_macs=-1)
