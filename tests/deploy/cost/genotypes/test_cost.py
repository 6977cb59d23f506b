"""Expected counts, energy and latency are those of deploy where every neuron spikes in every step."""

import math
from dataclasses import replace

import numpy as np
import pytest

from spikeport.deploy.cost.counts import Activity, Counter
from spikeport.deploy.cost.energy import estimate
from spikeport.deploy.cost.genotypes.cost import (
    LEAST,
    QUANTITIES,
    USUAL,
    AtRates,
    GenotypeCost,
    cost_score,
    size_of,
)
from spikeport.deploy.cost.genotypes.expected import (
    ExpectedTraffic,
    expected_counts,
    joules,
    sizes_of,
    step_seconds,
)
from spikeport.deploy.cost.genotypes.graph import graph_of
from spikeport.deploy.cost.latency import step_times
from spikeport.deploy.cost.profiles import builtin_profiles, find_profile
from spikeport.deploy.cost.traffic import MOVED, TrafficCounter
from spikeport.deploy.mapping.core_mapping import map_graph
from spikeport.errors import InputError
from spikeport.export.graph import SpikingGraph
from spikeport.export.passes import lower
from spikeport.export.passes.relays import levels
from spikeport.search.objective.priced_loss import REFERENCE_RATE
from spikeport.search.scores.counts import sops_at
from spikeport.search.space.genotype import Genotype, random_genotype
from spikeport.search.space.network import NetworkConfig

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def genotype() -> Genotype:
    return random_genotype(np.random.default_rng(1), "darts")  # it has max-pools and relays


@pytest.fixture(scope="module")
def graph(genotype: Genotype) -> SpikingGraph:
    found = lower(graph_of(genotype, CONFIG))
    assert {population.role for population in found.populations} == {"neuron", "relay", "or", "readout"}
    return found


def all_spike(graph: SpikingGraph) -> dict[str, Activity]:
    readout = graph.readout.name
    ones = {name: np.ones((graph.time_steps, 1, *shape), np.uint8) for name, shape in graph.shapes().items()}
    entering = {node.name for node in graph.inputs}
    return {
        name: Activity(
            spikes=None if name == readout else fired, active=None if name in entering else fired.astype(bool)
        )
        for name, fired in ones.items()
    }


@pytest.mark.parametrize("name", ["loihi1-davies2018", "loihi1-sanafe", "loihi2-proxy", "truenorth", "horowitz45nm"])
def test_at_rate_one_it_is_what_deploy_counts(graph: SpikingGraph, name: str) -> None:
    profile = find_profile(name)
    mapping = map_graph(graph, profile.chip) if profile.chip in ("loihi1", "loihi2") else None
    counter = Counter(graph)
    counter.add(all_spike(graph))
    counts = counter.counts()
    traffic = None
    if mapping:
        moving = TrafficCounter(graph, mapping)
        moving.add(all_spike(graph))
        traffic = moving.traffic()
    depth = max(levels(graph).values())
    times = step_times(profile, traffic, samples=1, time_steps=2, depth=depth)
    energy = estimate(profile, counts, traffic, times, mapping.chips if mapping else 1)

    expected = ExpectedTraffic(graph, mapping) if mapping else None
    found = expected_counts(sizes_of(graph), 1.0, expected.moved if expected else {})
    for word in ("spikes", "input_spikes", "synaptic_operations", "neuron_updates", "active_updates", "idle_updates"):
        assert found[word] == counts.per_sample(word)[0], word
    for word in MOVED if traffic else ():
        assert found[word] == traffic.per_sample(word)[0]
    step = step_seconds(profile, expected, 1.0)
    assert (step is None) == (times is None)
    if times is not None:
        assert step == pytest.approx(times.step, rel=1e-12)
    priced = joules(profile, found, step, mapping.chips if mapping else 1, 2)
    assert priced == pytest.approx(energy.total, rel=1e-12)


def test_loads_are_those_of_every_core(graph: SpikingGraph) -> None:
    mapping = map_graph(graph, "loihi1")
    moving = TrafficCounter(graph, mapping)
    moving.add(all_spike(graph))
    traffic, expected = moving.traffic(), ExpectedTraffic(graph, mapping)
    for name, load in expected.sent(1.0).items():
        assert np.array_equal(load, traffic.sent[name].mean(0)), name
    for name, load in expected.received(1.0).items():
        assert np.array_equal(load, traffic.received[name].mean(0)), name
    half = expected.received(0.5)["messages"]
    assert np.array_equal(half, traffic.received["messages"].mean(0) / 2)


def test_active_updates_of_relays_and_ors_follow_the_rate(graph: SpikingGraph) -> None:
    sizes = sizes_of(graph)
    silent = expected_counts(sizes, 0.0, {})
    assert silent["active_updates"] == 2 * sizes.always_active
    assert silent["active_updates"] < silent["neuron_updates"]
    assert expected_counts(sizes, 1.0, {})["idle_updates"] == 0


def test_without_relays_its_sops_are_those_of_the_search(genotype: Genotype) -> None:
    """Whose count is of the network before it is lowered."""
    unlevelled = sizes_of(graph_of(genotype, CONFIG))
    assert USUAL == REFERENCE_RATE
    sops = expected_counts(unlevelled, USUAL, {})["synaptic_operations"]
    assert sops == pytest.approx(sops_at(genotype, CONFIG, REFERENCE_RATE), rel=1e-12)
    assert size_of(genotype, CONFIG).sops.usual > sops


def test_interval_and_objectives(genotype: Genotype) -> None:
    cost = GenotypeCost(config=CONFIG)
    found = cost(genotype)
    assert found.size.sops == AtRates(
        low=LEAST * 2 * found.size.synapses, usual=USUAL * 2 * found.size.synapses, high=0.3 * 2 * found.size.synapses
    )
    assert found.energy_j is not None and found.energy_j.low < found.energy_j.usual < found.energy_j.high
    assert found.latency_s is not None and found.latency_s.low <= found.latency_s.usual <= found.latency_s.high
    assert set(cost.objectives(genotype)) == set(QUANTITIES)
    assert cost(genotype) is found  # kept


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_quantity_is_a_score(name: str, genotype: Genotype) -> None:
    score = cost_score(name, CONFIG)
    assert (score.name, score.needs) == (name, "nothing")
    assert score.unit.startswith("minus ")
    assert score(genotype) == -score.cost.objectives(genotype)[name] < 0


def test_every_price_list_has_a_cost(genotype: Genotype) -> None:
    for name in builtin_profiles():
        found = GenotypeCost(config=CONFIG, profile=name)(genotype)
        assert (found.cores is None) == bool(found.reason)


def test_what_a_price_list_does_not_say_is_refused() -> None:
    with pytest.raises(InputError, match="Profile 'horowitz45nm' has no prices for latency_s"):
        cost_score("latency_s", CONFIG, "horowitz45nm")
    with pytest.raises(InputError, match="Profile 'speck' has no prices for energy_j"):
        cost_score("energy_j", CONFIG, "speck")
    with pytest.raises(InputError, match="Unknown cost 'joules'; choose from levels, relays, "):
        cost_score("joules", CONFIG)


def test_a_network_on_no_core_is_the_worst(genotype: Genotype) -> None:
    """A chip of which no cores are known."""
    score = cost_score("cores", CONFIG, "truenorth")
    assert score(genotype) == -math.inf
    assert "is not known" in score.cost(genotype).reason


def test_more_channels_cost_more(genotype: Genotype) -> None:
    few, many = (GenotypeCost(config=replace(CONFIG, channels=c)).objectives(genotype) for c in (2, 4))
    assert all(few[name] < many[name] for name in ("neurons", "synapses", "sops_on_chip", "energy_j", "relays"))
    assert few["levels"] == many["levels"]
