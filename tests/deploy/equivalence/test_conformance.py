"""Random graphs: the chain, the twin and real Lava all equal the definition; a broken weight is found."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.deploy.equivalence.conformance import Case, Choose, against_lava, dense_graph, image_graph, random_case
from spikeport.deploy.run.kernels.runner import KernelRunner
from spikeport.export import simulate as definition
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph
from spikeport.export.netx.chain import chain_of, unpacked
from spikeport.export.onnx.twin import twin_of
from spikeport.export.simulate import simulate

LARGE = os.environ.get("SPIKEPORT_BUDGET") == "large"  # make conformance
EXAMPLES = 400 if LARGE else 40
LAVA_GRAPHS = 26 if LARGE else 8

pytestmark = [pytest.mark.budget, pytest.mark.slow]

relaxed = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def choices(draw: st.DrawFn) -> Choose:
    return lambda low, high: draw(st.integers(low, high))


def chain_equals(case: Case) -> None:
    """The packed chain's layers hold every population's spikes, and its readout is the graph's."""
    entry = case.graph.inputs[0].name
    trace = simulate(case.graph, {entry: case.spikes})
    chain = chain_of(case.graph)
    chained = simulate(chain.graph, {entry: case.spikes})
    for population in case.graph.populations[:-1]:
        place = chain.places[population.name]
        layer = chained.spikes[chain.graph.populations[place.layer].name]
        np.testing.assert_array_equal(unpacked(layer, place), trace.spikes[population.name], population.name)
    np.testing.assert_array_equal(chained.readout, trace.readout)


@relaxed
@given(choices())
def test_a_chain_computes_what_its_graph_does(choose: Choose) -> None:
    chain_equals(image_graph(choose))


@relaxed
@given(choices())
def test_recurrent_and_delayed_layers_chain(choose: Choose) -> None:
    chain_equals(dense_graph(choose))


@pytest.mark.parametrize("draw", [image_graph, dense_graph])
@relaxed
@given(choices())
def test_the_kernels_compute_what_their_graph_does(draw: Callable[[Choose], Case], choose: Choose) -> None:
    case = draw(choose)
    result = KernelRunner(case.graph).run(case.spikes)
    trace = simulate(case.graph, {"input": case.spikes})
    np.testing.assert_array_equal(result.readout, trace.readout)
    for population in case.graph.populations[:-1]:
        np.testing.assert_array_equal(result.spikes(population.name), trace.spikes[population.name], population.name)


@relaxed
@given(choices())
def test_the_twin_computes_what_its_graph_does(choose: Choose) -> None:
    import onnxruntime

    case = image_graph(choose)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_mem_reuse = False
    session = onnxruntime.InferenceSession(twin_of(case.graph, {}).SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"input": case.spikes}), strict=True))
    trace = simulate(case.graph, {"input": case.spikes})
    np.testing.assert_array_equal(outputs["readout"], trace.readout[-1])
    for population in case.graph.populations[:-1]:
        spikes = trace.spikes[population.name]
        counted = spikes.sum(axis=(0, *range(2, spikes.ndim)))
        np.testing.assert_array_equal(outputs[f"spikes/{population.name}"], counted, population.name)


def test_the_graphs_are_of_every_kind() -> None:
    """Else the comparisons above would prove little."""
    cases = [random_case(seed) for seed in range(60)]
    roles = {p.role for case in cases for p in case.graph.populations}
    assert roles == {"neuron", "relay", "or", "readout"}
    projections = [p for case in cases for p in case.graph.projections]
    assert any(p.source == p.target for p in projections)
    assert any(p.delay is not None and p.delay.any() for p in projections)
    factors = {place.factor for case in cases for place in chain_of(case.graph).places.values()}
    assert {(1, 1), (2, 2)} <= factors
    traces = [simulate(case.graph, {"input": case.spikes}) for case in cases]
    rates = [np.mean([s.mean() for name, s in trace.spikes.items() if name != "input"]) for trace in traces]
    assert 0.05 < np.median(rates) < 0.8


@pytest.mark.lava
def test_random_graphs_equal_real_lava_and_a_broken_one_does_not(real_lava: None) -> None:
    cases = [random_case(seed) for seed in range(LAVA_GRAPHS)]
    checks = against_lava(cases, 600, lambda sentence: None)
    assert [(seed, check.first_divergence) for seed, check in enumerate(checks) if check.verdict != "pass"] == []
    assert sum(check.spikes_compared or 0 for check in checks) > 10_000


def test_one_broken_weight_shows() -> None:
    """The twin test of the comparison: the readout's largest weight, halved."""
    case = random_case(0)
    readout = case.graph.incoming("readout")[0]
    weight = readout.kernel.weight.copy()
    weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] /= 2
    broken = replace(
        case.graph,
        projections=tuple(
            replace(p, kernel=replace(p.kernel, weight=weight)) if p is readout else p for p in case.graph.projections
        ),
    )
    spikes = {"input": np.ones_like(case.spikes)}
    assert (simulate(broken, spikes).readout != simulate(case.graph, spikes).readout).any()


def test_a_shifted_reset_phase_shows() -> None:
    """Windows that begin one step late: the membranes of a sample reach into the next one."""
    case = next(c for c in map(random_case, range(0, 40, 2)) if c.graph.time_steps > 2)
    steps, samples = case.spikes.shape[:2]
    stream = np.swapaxes(case.spikes, 0, 1).reshape(samples * steps, 1, *case.spikes.shape[2:])
    late = np.concatenate([np.zeros_like(stream[:1]), stream, np.zeros_like(stream[: steps - 1])])
    shifted = simulate(case.graph, {"input": late}, windows=samples + 1).readout[1 : 1 + samples * steps]
    assert (shifted != simulate(case.graph, {"input": stream}, windows=samples).readout).any()


def test_a_wrong_tie_rule_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A membrane of exactly 64 * threshold does not fire on the chip; a definition that says >= is found."""

    def tied(threshold: float) -> SpikingGraph:
        readout = Population(name="readout", shape=(1,), decay=1.0, threshold=1e5, bias=np.zeros(1), role="readout")
        return SpikingGraph(
            inputs=(SpikeInput(name="input", shape=(1,)),),
            populations=(
                Population(name="p", shape=(1,), decay=0.5, threshold=threshold, bias=np.zeros(1)),
                readout,
            ),
            projections=(
                Projection(source="input", target="p", kernel=Dense(weight=np.array([[10.0]]))),
                Projection(source="p", target="readout", kernel=Dense(weight=np.array([[2.0]]))),
            ),
            time_steps=1,
            arithmetic="loihi",
        )

    spikes = np.ones((1, 1, 1), np.uint8)
    assert not KernelRunner(tied(10.0)).run(spikes).spikes("p").any()
    assert KernelRunner(tied(9.0)).run(spikes).spikes("p").all()
    step = definition.STEP["loihi"]

    def at_or_above(population: Population, u: Any, v: Any, a: Any) -> Any:
        return step(replace(population, threshold=population.threshold - 1), u, v, a)

    monkeypatch.setitem(definition.STEP, "loihi", at_or_above)
    wrong = simulate(tied(10.0), {"input": spikes})
    assert (KernelRunner(tied(10.0)).run(spikes).spikes("p") != wrong.spikes["p"]).any()
