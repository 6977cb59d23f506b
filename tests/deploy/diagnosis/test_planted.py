"""Faults planted by a loop that has nothing to do with the doctor: each is found, and nothing else is accused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.deploy.diagnosis.diagnose import diagnose
from spikeport.deploy.diagnosis.diagnosis import Diagnosis
from spikeport.deploy.diagnosis.hypotheses import hypotheses
from spikeport.deploy.diagnosis.replay import Replay
from spikeport.deploy.diagnosis.rules import meaning_of
from spikeport.deploy.equivalence.conformance import Case, dense_graph, image_graph
from spikeport.deploy.run.record import Record

from .by_hand import Small, run, small, spikes_for

ARITHMETICS = ("float", "loihi")
# fault of the loop -> (rule, what the doctor says of it)
PLANTED = {
    "subtract": ("reset", "resets by subtraction of the threshold"),
    "no reset": ("reset", "does not reset"),
    "zero late": ("reset", "resets to zero one step late"),
    "subtract late": ("reset", "resets by subtraction one step late"),
    "no leak": ("decay", "does not leak"),
    "flat HWC": ("axis order", "flattens spikes as H, W, C"),
    "flat WHC": ("axis order", "flattens spikes as W, H, C"),
    "flat CWH": ("axis order", "flattens spikes as C, W, H"),
    "rows as columns": ("axis order", "reads rows of its input as columns"),
    "kernel flipped": ("kernel order", "flips kernels, rows and columns"),
    "kernel transposed": ("kernel order", "swaps rows and columns of kernels"),
    "matrix transposed": ("kernel order", "has matrices as [I, O]"),
    "spikes late": ("delay or phase", "gets every spike one step later"),
    "state kept": ("delay or phase", "keeps its state between samples"),
    "answer early": ("delay or phase", "reads its answer one step early"),
    "no bias": ("bias", "has no bias"),
    "bias twice": ("bias", "has its bias twice"),
    "bias once": ("bias", "adds its bias in the first step only"),
    "input twice": ("input scale", "gets twice the input"),
    "current twice": ("input scale", "gets twice the current"),
    "decay input": ("input scale", "scales its current by 1 - decay"),
}
IN_INTEGERS = {
    "decay floor": ("decay rounding", "rounds a decayed state downward"),
    "decay nearest": ("decay rounding", "rounds a decayed state to the nearest, halves to even"),
    "decay real": ("decay rounding", "rounds a decayed state not at all"),
}
# where the states meet 2^23; what comes to the same on this input is named, too
LIMITS = {
    "current saturates": {"saturates its current at 2^23", "has no limit of its current"},
    "no current limit": {"saturates its current at 2^23", "has no limit of its current"},
    "membrane wraps": {"wraps its membrane at 2^23"},
    "no membrane limit": {"has no limit of its membrane"},
}


def live(net: Small, spikes: np.ndarray) -> bool:
    """Whether every population of the sound network fires, and none all the time."""
    return all(0.05 < fired.mean() < 0.95 for fired in run(net, spikes).spikes.values())


def told(found: Diagnosis) -> list[tuple[str, str]]:
    return [(cause.rule, cause.name) for cause in found.causes]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_the_one_cause(fault: str, arithmetic: str) -> None:
    net = small(arithmetic)
    spikes = spikes_for(net)
    assert live(net, spikes)
    found = diagnose(net.graph(), run(net, spikes, fault), spikes)
    assert (found.verdict, told(found)) == ("different", [PLANTED[fault]])
    assert all(cause.everywhere for cause in found.causes) and not found.unexplained


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("fault", ["subtract", "zero late", "no bias", "bias twice", "spikes late", "current twice"])
def test_in_one_population_alone(fault: str, arithmetic: str) -> None:
    net = small(arithmetic)
    spikes = spikes_for(net)
    found = diagnose(net.graph(), run(net, spikes, fault, only="b"), spikes)
    assert told(found) == [PLANTED[fault]]
    assert [(cause.populations, cause.everywhere) for cause in found.causes] == [(("b",), False)]
    own = {row.name: row.own for row in found.populations}
    assert own["b"] and not own["a"] and not own["c"]  # c only got other spikes


@pytest.mark.parametrize("fault", IN_INTEGERS)
def test_the_rounding_of_decays(fault: str) -> None:
    net = small("loihi", steps=24)
    spikes = spikes_for(net, samples=24)
    assert live(net, spikes)
    found = diagnose(net.graph(), run(net, spikes, fault), spikes)
    assert told(found) == [IN_INTEGERS[fault]]


@pytest.mark.parametrize("fault", LIMITS)
def test_states_that_meet_their_limits(fault: str) -> None:
    net = small("loihi", scale=900)
    spikes = spikes_for(net, rate=0.9)
    assert live(net, spikes)
    found = diagnose(net.graph(), run(net, spikes, fault), spikes)
    assert found.rules == ("saturation or wrap",)
    assert {cause.name for cause in found.causes} == LIMITS[fault]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_the_tie_rule(arithmetic: str) -> None:
    net = small(arithmetic, ties=True)
    spikes = spikes_for(net)
    assert live(net, spikes)
    found = diagnose(net.graph(), run(net, spikes, "tie"), spikes)
    says = "fires on v > threshold only" if arithmetic == "float" else "fires on v >= threshold"
    assert (found.verdict, told(found)) == ("different", [("tie rule", says)])
    assert found.margins is not None and found.margins.zero == found.margins.spikes  # every one meets it exactly


def test_two_rules_of_one_framework() -> None:
    """snnTorch resets late and fires on > threshold: in floats the ties are told beside the reset."""
    net = small("float", ties=True)
    spikes = spikes_for(net)
    found = diagnose(net.graph(), run(net, spikes, "subtract late", "tie"), spikes)
    (cause,) = found.causes
    assert cause.name == "resets by subtraction one step late"
    assert cause.also is not None and cause.also.startswith("fires on v > threshold only")


@pytest.mark.parametrize("only", ["a", "b"])
def test_the_tie_rule_of_one_population(only: str) -> None:
    net = small("float", ties=True)
    spikes = spikes_for(net)
    found = diagnose(net.graph(), run(net, spikes, "tie", only=only), spikes)
    assert [(c.rule, c.populations, c.everywhere) for c in found.causes] == [("tie rule", (only,), False)]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_no_fault_no_difference(arithmetic: str, ties: bool) -> None:
    net = small(arithmetic, ties=ties)
    spikes = spikes_for(net)
    found = diagnose(net.graph(), run(net, spikes), spikes)
    assert (found.verdict, found.causes, found.unexplained, found.first) == ("equal", (), (), None)


def test_two_faults_in_two_populations_are_both_named() -> None:
    net = small("float")
    spikes = spikes_for(net)
    silent = replace(net, biases={**net.biases, "c": 0 * net.biases["c"]})
    found = diagnose(net.graph(), run(silent, spikes, "subtract", only="a"), spikes)
    assert {(cause.populations, cause.name) for cause in found.causes} >= {
        (("a",), "resets by subtraction of the threshold"),
        (("c",), "has no bias"),
    }
    assert all(not cause.everywhere for cause in found.causes) and not found.unexplained


# a replay writes no early answers, and an answer that is not whole is none of the chip's
NOT_OF_SPIKES = ("reads its answer one step early", "rounds a decayed state not at all")


@pytest.mark.parametrize("family", [image_graph, dense_graph])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_whatever_is_switched_in_a_random_graph_is_found(family: Callable[..., Case], seed: int) -> None:
    """With skips, delays, recurrence and relays; the whole network runs by itself with the changed rule."""
    rng = np.random.default_rng(seed)
    case = family(lambda low, high: int(rng.integers(low, high + 1)))
    entry, right = case.graph.inputs[0].name, meaning_of(case.graph)
    known = [h for h in hypotheses(case.spikes) if h.name not in NOT_OF_SPIKES and h.change(right) is not None]
    planted = known[int(rng.integers(len(known)))]
    wrong = planted.change(right)
    assert wrong is not None
    replay = Replay({entry: case.spikes}, wrong)
    fired = {p.name: replay.population(wrong, p.name).spikes for p in case.graph.populations if p.role != "readout"}
    left = replay.population(wrong, case.graph.readout.name).left.astype(np.int64)
    record = Record(spikes={entry: case.spikes, **fired}, readout=left[-1], readout_steps=left, margins={})
    found = diagnose(case.graph, record, case.spikes)
    if found.verdict != "equal" and not found.notes:
        assert planted.name in {cause.name for cause in found.causes} and not found.unexplained
