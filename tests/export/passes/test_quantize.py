"""The chip's registers: ranges, scales, ties, and everything that the chip's neuron cannot be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeport.errors import UnsupportedError
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import levels
from spikeport.export.simulate import simulate
from spikeport.export.weight_scale import THRESHOLD_MAX, WEIGHT_MAX

READOUT = Population(name="readout", shape=(2,), decay=1.0, threshold=np.inf, bias=np.zeros(2), role="readout")


def flat(weight: list[list[float]], *, readout: list[list[float]] | None = None, **parameters: Any) -> SpikingGraph:
    """x(2) -weight-> a(2) -readout-> readout(2)"""
    settings: dict[str, Any] = {"decay": 0.5, "threshold": 1.0, "bias": np.zeros(2)} | parameters
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="x", shape=(2,)),),
            populations=(Population(name="a", shape=(2,), **settings), READOUT),
            projections=(
                Projection(source="x", target="a", kernel=Dense(weight=np.array(weight))),
                Projection(source="a", target="readout", kernel=Dense(weight=np.array(readout or np.eye(2)))),
            ),
            time_steps=2,
        )
    )


@pytest.mark.parametrize("seed", range(4))
def test_everything_fits_its_register(seed: int, random_graph: Callable[..., SpikingGraph]) -> None:
    graph = check(quantize(lower(random_graph(seed, decay=0.3)), peak=5.0))
    assert graph.arithmetic == "loihi"
    for projection in graph.projections:
        weight = projection.kernel.weight
        assert np.array_equal(weight % 2, np.zeros_like(weight)) and -256 <= weight.min() <= weight.max() <= 254
    level = levels(graph)
    for population in graph.populations:
        assert np.array_equal(population.bias, np.round(population.bias)) and np.abs(population.bias).max() <= 4095
        assert population.decay * 4096 == round(population.decay * 4096)
        beside = [p for p in graph.populations if level[p.name] == level[population.name]]
        assert {(p.threshold, p.decay, p.current_decay) for p in beside} == {
            (population.threshold, population.decay, population.current_decay)
        }
    assert graph.populations[0].decay == (4096 - round(0.7 * 4096)) / 4096
    assert graph.readout.threshold == THRESHOLD_MAX and graph.readout.decay == 1.0


def test_scale_and_rounding() -> None:
    # S = floor(254 / 1.27) = 200 in thresholds of 2: w = 2 round(100 * w / 2), b = round(100 * b), register 199
    graph = quantize(flat([[2.54, -0.5], [0.031, 0.0]], threshold=2.0, bias=np.array([0.126, -3.0])), peak=1.0)
    assert graph.projections[0].kernel.weight.tolist() == [[254, -50], [4, 0]]
    assert graph.populations[0].bias.tolist() == [13, -300]
    assert graph.populations[0].threshold == 199


def test_a_neuron_left_alone_fires_as_it_did() -> None:
    """S = 100, register 99; the membrane of a bias b climbs to b * (2 - 2^-t) in step t.

    0.533 is at 0.999 in step 3 and fires in step 4, once. 53 is at 99.375 in step 3, above the register, and again in
    step 7; 54 is, too; 52 is at 97.5 and fires in step 4 alone. 0.512 fires in step 5, as its nearest integer does.
    """
    graph = replace(flat([[2.54, 0.0], [0.0, 0.0]], bias=np.array([0.533, 0.512])), time_steps=8)
    chip = quantize(graph, peak=1.0)
    assert chip.populations[0].threshold == 99 and chip.populations[0].bias.tolist() == [52, 51]
    nothing = {"x": np.zeros((8, 1, 2), np.uint8)}
    fired = [np.argwhere(simulate(one, nothing).spikes["a"][:, 0].T).tolist() for one in (graph, chip)]
    assert fired[0] == fired[1] == [[0, 4], [1, 5]]
    nearest = replace(chip, populations=(replace(chip.populations[0], bias=np.array([53.0, 51.0])), chip.readout))
    assert np.argwhere(simulate(nearest, nothing).spikes["a"][:, 0].T).tolist() == [[0, 3], [0, 7], [1, 5]]


def test_where_no_integer_fires_alike_the_nearest_stays() -> None:
    """At S = 2 the bias 1 fires in every other step and 2 in every step, but 0.65 in steps 2 and 5."""
    graph = replace(flat([[127.0, 0.0], [0.0, 0.0]], bias=np.array([0.65, 0.0])), time_steps=8)
    chip = quantize(graph, peak=1.0)
    assert chip.populations[0].threshold == 1 and chip.populations[0].bias.tolist() == [1, 0]


def test_a_large_bias_sets_the_scale() -> None:
    graph = quantize(flat([[0.1, 0.1], [0.1, 0.1]], bias=np.array([-40.95, 0.0])), peak=1.0)
    assert graph.populations[0].bias.tolist() == [-4095, 0]
    assert graph.populations[0].threshold == 99


def test_small_weights_stop_at_the_relay() -> None:
    assert quantize(flat([[0.1, 0.1], [0.1, 0.1]]), peak=1.0).populations[0].threshold == 251


def test_the_readout_keeps_room_above_its_peak() -> None:
    small, large = (quantize(flat([[1.0, 1.0]] * 2), peak=peak) for peak in (1.0, 1e4))
    assert np.abs(small.projections[1].kernel.weight).max() == WEIGHT_MAX
    # scale = (2^17 - 1) / (2 * 10^4) = 6.55, so a weight of 1 becomes 6
    assert large.projections[1].kernel.weight.tolist() == [[6, 0], [0, 6]]


def test_a_tie_fires_on_both_sides() -> None:
    # weight = threshold; also reached by a bias; one unit less does not fire
    for graph in (
        flat([[1.0, 0.0], [0.0, 0.98]]),
        flat([[0.5, 0.5], [0.5, 0.49]]),
        flat([[0.5, 0.0], [0.0, 0.49]], bias=np.full(2, 0.5)),
    ):
        x = np.ones((2, 1, 2), np.uint8)
        x[1] = 0
        exact = simulate(graph, {"x": x}).spikes["a"]
        chip = simulate(quantize(graph, peak=1.0), {"x": x}).spikes["a"]
        assert exact[0].tolist() == [[1, 0]]
        assert np.array_equal(exact, chip)


def test_relays_and_ors_get_the_largest_weight(quantized: SpikingGraph, random_spikes: Any) -> None:
    for population in quantized.populations:
        if population.role in ("relay", "or"):
            assert not population.bias.any()
            for projection in quantized.incoming(population.name):
                assert set(np.unique(projection.kernel.weight)) == {0.0, 254.0}
    spikes = simulate(quantized, random_spikes(quantized)).spikes
    read = spikes["a"][..., ::2, ::2]  # by a kernel of stride 2 and dilation 2
    assert np.array_equal(spikes["a.relay1"], read) and read.any()


def test_spikes_stay_close(random_graph: Any, random_spikes: Any) -> None:
    graph = lower(random_graph())
    inputs = random_spikes(graph, samples=16)
    before, after = simulate(graph, inputs).spikes, simulate(quantize(graph, peak=8.0), inputs).spikes
    for name, spikes in before.items():
        assert (spikes == after[name]).mean() > 0.97


def test_a_silent_graph_is_quantized_to_zeros() -> None:
    graph = quantize(flat([[0.0, 0.0]] * 2, readout=[[0.0, 0.0]] * 2), peak=0.0)
    assert not any(p.kernel.weight.any() for p in graph.projections)


def beside(graph: SpikingGraph, **changes: Any) -> SpikingGraph:
    """The same with a population b beside a."""
    a = graph.populations[0]
    into, out = graph.projections
    return replace(
        graph,
        populations=(a, replace(a, name="b", **changes), READOUT),
        projections=(into, replace(into, target="b"), out, replace(out, source="b")),
    )


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (flat([[1.0, 1.0]] * 2, reset="subtract"), "'a': NetX has no soft reset; train with v_reset=0.0"),
        (flat([[1.0, 1.0]] * 2, threshold=0.0), "'a': `threshold > 0` must hold, but threshold=0.0"),
        (flat([[1.0, 1.0]] * 2, threshold=-1.0), "'a': `threshold > 0`"),
        (flat([[200.0, 1.0]] * 2), "'a': weights up to 200 and biases up to 0 .* leave scale 0 .* weight decay"),
        (flat([[1.0, 1.0]] * 2, bias=np.array([3000.0, 0.0])), "biases up to 3e[+]03"),
        (beside(flat([[1.0, 1.0]] * 2), decay=0.25), "'a' and 'b' share a layer .* 0.5, 0.0 and 0.25, 0.0"),
        (beside(flat([[1.0, 1.0]] * 2), current_decay=0.25), "'a' and 'b' share a layer"),
        (
            beside(flat([[1.0, 1.0]] * 2, current_decay=0.5), role="relay", current_decay=0.0, decay=0.0),
            "'a' keeps its synaptic current and shares a layer with relays",
        ),
    ],
)
def test_what_the_chip_cannot_be_is_refused(graph: SpikingGraph, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        quantize(graph, peak=1.0)


def test_a_decay_of_0_and_1_meets_its_register() -> None:
    """The membrane's register is 12 bits: it keeps 1/4096 at least."""
    assert quantize(flat([[1.0, 1.0]] * 2, decay=0.0), peak=1.0).populations[0].decay == 1 / 4096
    assert quantize(flat([[1.0, 1.0]] * 2, decay=1.0), peak=1.0).populations[0].decay == 1.0
