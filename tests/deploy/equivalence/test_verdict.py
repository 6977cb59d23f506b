"""The verdict: ties are settled and listed, everything else is a fail that names its place.

The networks here are two neurons' worth of NumPy, float32, with the margins under control:

    current [T, N, 3] -> a (3 LIF neurons, v = v / 2 + I, threshold 1, reset to 0)
    a's spikes * 0.75 -> b (3, the same)                  logits = sum of b's spikes over time + bias
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.equivalence.verdict import (
    TIE,
    Check,
    Nudges,
    compare_float,
    compare_integers,
    joined,
    overall,
    settle,
    total_spikes,
)
from spikeport.deploy.run.record import Record, some_of

T, N, C = 4, 3, 3
Floats = NDArray[np.float32]


def lif(current: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """-> (spikes, membrane minus threshold before the reset)."""
    v = np.zeros_like(current[0])
    spikes, margins = [], []
    for step in current:
        v = v / np.float32(2) + step
        margins.append(v - np.float32(1))
        spikes.append((v >= 1).astype(np.uint8))
        v = np.where(v >= 1, np.float32(0), v)
    return np.stack(spikes), np.stack(margins)


class Network:
    """A reference that can be nudged, and that counts its runs."""

    def __init__(self, current: Floats, weight: float = 0.75, bias: tuple[float, ...] = (0.0, 0.25, 0.5)) -> None:
        self.current, self.weight, self.bias, self.runs = current, np.float32(weight), np.float32(bias), 0

    def __call__(self, nudges: Nudges | None = None) -> Record:
        self.runs += 1
        nudges = nudges or {}
        a, a_margins = lif(self.current + nudges.get("a", np.float32(0)))
        b, b_margins = lif(self.weight * a.astype(np.float32) + nudges.get("b", np.float32(0)))
        return Record(spikes={"a": a, "b": b}, readout=b.sum(0) + self.bias, margins={"a": a_margins, "b": b_margins})


def currents() -> Floats:
    """Strong and weak ones by turns: a fires in steps 0, 2 (neuron 0), 1, 3 (neuron 1) and never (neuron 2)."""
    current = np.full((T, N, C), 0.125, np.float32)
    current[0::2, :, 0] = 1.5
    current[1::2, :, 1] = 1.5
    return current


def nearly(step: int, sample: int, neuron: int, gap: float) -> tuple[Network, Network]:
    """Reference and candidate that differ in one membrane of `a`, by `gap` on both sides of the threshold.

    The margin of the reference is -gap, so it does not spike there, and the candidate does.
    """
    current = currents()
    place = (step, sample, neuron)
    current[place] += -np.float32(lif(current)[1][place]) - np.float32(gap)
    higher = current.copy()
    higher[place] += np.float32(2 * gap)
    return Network(current), Network(higher)


def check(reference: Network, candidate: Record) -> Check:
    result = compare_float("onnx", "torch", "model.onnx", reference, candidate)
    json.dumps(result.to_dict(), allow_nan=False)
    return result


def test_equal_networks_pass_without_a_second_run() -> None:
    network = Network(currents())
    result = check(network, Network(currents())())
    assert result == Check(
        name="onnx",
        reference="torch",
        candidate="model.onnx",
        verdict="pass",
        samples=N,
        spikes_compared=2 * T * N * C,
        spikes_differing=0,
        max_abs_logit_difference=0.0,
        top1_agreement=1.0,
    )
    assert network.runs == 1


@pytest.mark.parametrize("swap", [False, True], ids=["only the candidate spikes", "only the reference spikes"])
def test_a_tie_alone_is_settled_and_listed(swap: bool) -> None:
    # neuron 2 of `a` fires once more: 0.75 in `b` stays below its threshold, so nothing follows
    reference, candidate = nearly(3, 1, 2, gap=4e-7)[:: -1 if swap else 1]
    result = check(reference, candidate())
    assert (result.verdict, result.spikes_differing, result.first_divergence) == ("pass", 0, None)
    (tie,) = result.ties
    assert {key: tie[key] for key in ("population", "sample", "step", "neuron")} == {
        "population": "a",
        "sample": 1,
        "step": 3,
        "neuron": [2],
    }
    assert tie["margin"] == pytest.approx(4e-7 if swap else -4e-7, rel=0.5)  # 1.0 in float32 has steps of 1.2e-7
    assert reference.runs == 2


@pytest.mark.parametrize("swap", [False, True])
def test_what_follows_from_a_tie_is_not_listed(swap: bool) -> None:
    # neuron 0 of `a` fires in step 1, too: it lacks the charge for nothing after, but `b` fires at once
    reference, candidate = nearly(1, 2, 0, gap=4e-7)[:: -1 if swap else 1]
    before, after = reference(), candidate()
    assert (before.spikes["b"] != after.spikes["b"]).any()
    result = check(reference, after)
    assert (result.verdict, result.spikes_differing, result.top1_agreement) == ("pass", 0, 1.0)
    assert [(tie["population"], tie["sample"], tie["step"], tie["neuron"]) for tie in result.ties] == [("a", 2, 1, [0])]


def test_ties_one_behind_the_other_take_one_run_each() -> None:
    reference, candidate = nearly(1, 2, 0, gap=4e-7)
    for network in (reference, candidate):
        network.current[3, 2, 2] += 1 - np.float32(lif(network.current)[1][3, 2, 2] + 1)
    reference.current[3, 2, 2] -= np.float32(4e-7)
    result = check(reference, candidate())
    assert result.verdict == "pass"
    assert [(tie["step"], tie["neuron"]) for tie in result.ties] == [(1, [0]), (3, [2])]
    assert reference.runs == 3


def test_ties_of_one_step_take_one_run_together() -> None:
    """Neurons 1 and 2 of sample 1, and neuron 2 of sample 0."""
    reference, candidate = nearly(3, 1, 2, gap=4e-7)
    for network in (reference, candidate):
        network.current[:, 0, 2] = network.current[:, 1, 1] = network.current[:, 1, 2]
    result = check(reference, candidate())
    assert result.verdict == "pass"
    assert [(tie["sample"], tie["neuron"]) for tie in result.ties] == [(0, [2]), (1, [1]), (1, [2])]
    assert reference.runs == 2


def test_just_outside_is_no_tie() -> None:
    inside, outside = 0.9e-4, 1.1e-4
    reference, candidate = nearly(3, 1, 2, gap=inside)
    assert check(reference, candidate()).verdict == "pass"
    reference, candidate = nearly(3, 1, 2, gap=outside)
    result = check(reference, candidate())
    assert (result.verdict, result.ties, result.spikes_differing) == ("fail", [], 1)
    first = result.first_divergence
    assert first is not None
    assert {key: first[key] for key in ("population", "sample", "step", "neuron")} == {
        "population": "a",
        "sample": 1,
        "step": 3,
        "neuron": [2],
    }
    assert first["margin"] == pytest.approx(-outside, rel=0.01)
    assert first["cause"].startswith("only the candidate spikes, all spikes before it are equal and it is no tie:")
    assert "of 'a' differ" in first["cause"]


def test_one_broken_weight_fails_and_names_its_population() -> None:
    result = check(Network(currents()), Network(currents(), weight=1.0)())
    assert result.verdict == "fail"
    assert result.first_divergence is not None
    assert result.first_divergence["population"] == "b"
    assert result.first_divergence["step"] == 0
    assert result.first_divergence["neuron"] == [0]
    assert result.first_divergence["margin"] == pytest.approx(-0.25)
    assert result.spikes_differing == int(
        (Network(currents())().spikes["b"] != Network(currents(), 1.0)().spikes["b"]).sum()
    )


def test_samples_are_settled_each_by_itself() -> None:
    """Sample 0 is equal, sample 1 has a tie, sample 2 differs without one."""
    reference, candidate = nearly(3, 1, 2, gap=4e-7)
    candidate.current[2, 2, 1] += 1.5
    result = check(reference, candidate())
    assert result.verdict == "fail"
    assert [(tie["sample"], tie["step"]) for tie in result.ties] == [(1, 3)]
    assert result.first_divergence is not None
    assert (result.first_divergence["sample"], result.first_divergence["step"]) == (2, 2)


def test_a_tie_beside_another_difference_is_not_the_cause() -> None:
    """Both in the same population, sample and step; the tie stands first, but the fail names the other."""
    reference, candidate = nearly(1, 1, 0, gap=4e-7)
    candidate.current[1, 1, 2] += 1.5
    result = check(reference, candidate())
    assert result.verdict == "fail"
    assert [tie["neuron"] for tie in result.ties] == [[0]]
    assert result.first_divergence is not None
    assert result.first_divergence["neuron"] == [2]
    assert "no tie" in result.first_divergence["cause"]


def test_the_first_divergence_goes_by_population_then_step_then_sample() -> None:
    reference, candidate = Network(currents()), Network(currents())()
    candidate.spikes["b"][0, 0, 0] ^= 1
    candidate.spikes["a"][3, 1, 2] ^= 1
    candidate.spikes["a"][2, 2, 1] ^= 1
    candidate.spikes["a"][2, 2, 2] ^= 1
    result = check(reference, candidate)
    assert result.first_divergence is not None
    assert [result.first_divergence[key] for key in ("population", "step", "sample", "neuron")] == ["a", 2, 2, [1]]
    assert result.spikes_differing == 4


def test_a_reference_that_no_nudge_moves_ends_in_a_fail() -> None:
    reference, candidate = nearly(3, 1, 2, gap=4e-7)
    stubborn = reference()
    record, ties = settle(lambda nudges: stubborn, candidate())
    assert (record, len(ties)) == (stubborn, 1)
    result = compare_float("onnx", "torch", "model.onnx", lambda nudges: stubborn, candidate())
    assert result.verdict == "fail"
    assert result.first_divergence is not None
    assert "a tie, but deciding it does not make the rest equal" in result.first_divergence["cause"]


def test_nudges_push_a_tie_just_over_its_threshold() -> None:
    reference, candidate = nearly(3, 1, 2, gap=0.9 * TIE)
    given: list[Nudges] = []

    def listening(nudges: Nudges) -> Record:
        given.append({name: nudge.copy() for name, nudge in nudges.items()})
        return reference(nudges)

    record, _ = settle(listening, candidate())
    assert given[0] == {}
    assert np.argwhere(given[1]["a"]).tolist() == [[3, 1, 2]]
    assert 0 < record.margins["a"][3, 1, 2] < TIE / 2
    assert given[1]["a"].dtype == np.float32


@pytest.mark.parametrize(("bias", "neuron", "agreement"), [((0.0, 0.25, 9.0), 2, 0.0), ((0.0, 0.25, 0.501), 2, 1.0)])
def test_a_broken_readout_fails_and_names_class_and_last_step(
    bias: tuple[float, ...], neuron: int, agreement: float
) -> None:
    reference = Network(currents(), bias=(3.0, 0.25, 0.5))
    result = check(reference, Network(currents(), bias=(3.0, *bias[1:]))())
    assert (result.verdict, result.spikes_differing, result.top1_agreement) == ("fail", 0, agreement)
    first = result.first_divergence
    assert first is not None
    assert (first["population"], first["sample"], first["step"], first["neuron"]) == ("readout", 0, T - 1, [neuron])
    assert f"its membrane is {np.float32(bias[2]):.9g} instead of 0.5" in first["cause"]


def test_logits_that_differ_by_rounding_pass() -> None:
    result = check(Network(currents(), bias=(3.0, 0.25, 0.5)), Network(currents(), bias=(3.0, 0.25, 0.500001))())
    assert result.verdict == "pass"
    assert result.max_abs_logit_difference == pytest.approx(1e-6, rel=0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_fail(value: float) -> None:
    candidate = Network(currents())()
    candidate.readout[1, 2] = value
    result = check(Network(currents()), candidate)
    assert (result.verdict, result.max_abs_logit_difference) == ("fail", None)
    assert result.first_divergence is not None
    assert (result.first_divergence["sample"], result.first_divergence["neuron"]) == (1, [2])


def integers() -> Record:
    spikes = {"a": np.zeros((T, N, C), np.uint8), "a.relay1": np.zeros((T, N, C), np.uint8)}
    steps = np.arange(T * N * C).reshape(T, N, C)
    return Record(
        spikes=spikes, readout=steps[-1], readout_steps=steps, margins={"a": np.full((T, N, C), -64, np.int64)}
    )


def compare(reference: Record, candidate: Record) -> Check:
    result = compare_integers("loihi", "twin.onnx", "Lava network.net", reference, candidate)
    json.dumps(result.to_dict(), allow_nan=False)
    return result


def test_equal_integers_pass() -> None:
    result = compare(integers(), integers())
    assert (result.verdict, result.spikes_differing, result.spikes_compared) == ("pass", 0, 2 * T * N * C)
    assert (result.max_abs_logit_difference, result.top1_agreement, result.ties) == (0.0, 1.0, [])


def test_integers_know_no_ties() -> None:
    candidate = integers()
    candidate.spikes["a"][2, 1, 0] = 1
    reference = integers()
    reference = replace(reference, margins={"a": np.zeros((T, N, C), np.int64)})
    result = compare(reference, candidate)
    assert (result.verdict, result.spikes_differing, result.ties) == ("fail", 1, [])
    assert result.first_divergence == {
        "population": "a",
        "sample": 1,
        "step": 2,
        "neuron": [0],
        "margin": 0.0,
        "cause": "only the candidate spikes, all spikes before it are equal: weights, bias, threshold or decay of 'a' "
        "differ",
    }


def test_a_readout_that_differs_in_one_step_only_fails() -> None:
    """Not in the last one, so that the answer is the same."""
    candidate = integers()
    assert candidate.readout_steps is not None
    steps = candidate.readout_steps.copy()
    steps[1, 2, 1] += 64
    result = compare(integers(), replace(candidate, readout_steps=steps))
    assert (result.verdict, result.spikes_differing, result.max_abs_logit_difference) == ("fail", 0, 0.0)
    first = result.first_divergence
    assert first is not None
    assert [first[key] for key in ("population", "sample", "step", "neuron")] == ["readout", 2, 1, [1]]
    assert "its membrane is 80 instead of 16: weights, bias or decay of 'readout' differ" in first["cause"]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([], "fail"),
        ([{"status": "not run"}], "fail"),
        ([{"verdict": "pass"}], "pass"),
        ([{"verdict": "pass"}, {"status": "not run"}], "pass"),
        ([{"verdict": "pass"}, {"verdict": "fail"}], "fail"),
    ],
)
def test_overall(rows: list[dict[str, Any]], verdict: str) -> None:
    assert overall([Check(name="x", reference="a", candidate="b", **row) for row in rows]) == verdict


def test_total_spikes() -> None:
    assert total_spikes({"a": np.ones((2, 3), np.uint8), "b": np.array([300])}) == 306


def test_parts_of_the_samples_are_joined() -> None:
    """A tie in sample 1 and a difference in sample 2, compared sample by sample: the same as all at once."""
    reference, candidate = nearly(0, 1, 2, 1e-6)
    other = candidate()
    spikes = other.spikes["b"].copy()
    spikes[3, 2, 0] ^= 1
    changed = replace(other, spikes={**other.spikes, "b": spikes})
    whole = compare_float("graph", "torch", "graph", reference, changed)
    parts = []
    for sample in range(N):
        one = slice(sample, sample + 1)

        def run(nudges: Nudges, one: slice = one) -> Record:
            wide = {name: np.zeros((T, N, C), np.float32) for name in nudges}
            for name, nudge in nudges.items():
                wide[name][:, one] = nudge
            return some_of(reference(wide), one)

        parts.append(compare_float("graph", "torch", "graph", run, some_of(changed, one)))
    found = joined(parts)
    assert found == whole
    assert len(found.ties) == 1 and found.ties[0]["sample"] == 1 and found.spikes_differing == 1
    assert found.first_divergence is not None and found.first_divergence["sample"] == 2
    # an encoder has no answer that could agree
    silent = [replace(part, top1_agreement=None, max_abs_logit_difference=None) for part in parts]
    assert joined(silent) == replace(whole, top1_agreement=None, max_abs_logit_difference=None)
