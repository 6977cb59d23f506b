"""Scales chosen by spikes: what they gain, that they never lose on what they were chosen by, what is told."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeport.errors import UnsupportedError
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.scales import largest_scales
from spikeport.export.simulate import simulate
from spikeport.export.tuning.agreement import agreement, run_graph
from spikeport.export.tuning.calibrate import calibrate, dwarfed
from spikeport.tests.export.tuning.graphs import gated, spikes_of


def outlier(weight: float) -> SpikingGraph:
    """x(32) -> a(16) -> readout(4), where one of 512 weights is an outlier that changes little, for its source is one
    of many."""
    rng = np.random.default_rng(0)
    first = rng.normal(0.06, 0.15, (16, 32))
    first[3, 5] = weight
    a = Population(name="a", shape=(16,), decay=0.5, threshold=1.0, bias=np.zeros(16))
    b = replace(a, name="b", shape=(8,), bias=np.zeros(8))
    readout = replace(a, name="readout", shape=(4,), bias=np.zeros(4), decay=1.0, threshold=np.inf, role="readout")
    return lower(
        check(
            SpikingGraph(
                inputs=(SpikeInput(name="x", shape=(32,)),),
                populations=(a, b, readout),
                projections=(
                    Projection(source="x", target="a", kernel=Dense(weight=first)),
                    Projection(source="x", target="b", kernel=Dense(weight=rng.normal(0.06, 0.15, (8, 32)))),
                    Projection(source="a", target="readout", kernel=Dense(weight=rng.normal(size=(4, 16)))),
                    Projection(source="b", target="readout", kernel=Dense(weight=rng.normal(size=(4, 8)))),
                ),
                time_steps=4,
            )
        )
    )


def test_an_outlier_is_clipped_where_that_loses_less() -> None:
    graph = outlier(6.0)
    spikes = spikes_of(graph, 64)
    found = calibrate(graph, 8.0, spikes, bits=4)
    assert found.scales[1].scale / found.scales[1].step > 2 * largest_scales(graph, 8.0, 4)[1].scale / 32
    assert found.chosen.share > found.plain.share + 0.03
    unseen = spikes_of(graph, 64, seed=1)
    before, after = (
        agreement(graph, quantize(one.graph, 8.0, scales=scales), scales[2].scale, unseen).share
        for one, scales in ((found, found.scales), (replace(found, graph=graph), largest_scales(graph, 8.0, 4)))
    )
    assert before > after + 0.03


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("seed", range(3))
def test_it_never_loses_on_what_it_was_chosen_by(
    seed: int, bits: int, random_graph: Callable[..., SpikingGraph]
) -> None:
    for graph in (lower(random_graph(seed)), gated(seed)):
        spikes = spikes_of(graph, 16)
        found = calibrate(graph, 8.0, spikes, bits)
        assert found.chosen.differing <= found.plain.differing
        again = agreement(graph, found.chip, found.scales[max(found.scales)].scale, spikes)
        assert again == found.chosen and again.spikes.keys() == found.plain.spikes.keys()
        chip = quantize(found.graph, 8.0, scales=found.scales)
        assert all(
            np.array_equal(a.bias, b.bias) for a, b in zip(chip.populations, found.chip.populations, strict=True)
        )


def test_agreement_counts_what_differs() -> None:
    graph = gated(1)
    chip, spikes = quantize(graph, 8.0, weight_bits=3), spikes_of(graph, 40)
    found = agreement(graph, chip, largest_scales(graph, 8.0, 3)[6].scale, spikes)
    exact, integers = simulate(graph, {"x": spikes}), simulate(chip, {"x": spikes})
    for name, share in found.spikes.items():
        assert share == pytest.approx((exact.spikes[name] == integers.spikes[name]).mean(), abs=1e-3)
    assert set(found.spikes) == {"a", "b", "beside", "not.a", "any", "c", "d"} and found.share < 1
    same = agreement(chip, chip, 1.0, spikes)
    assert (same.share, same.answers, same.differing) == (1.0, 1.0, 0)


def test_a_float_graph_in_torch_is_the_definition() -> None:
    graph = gated(2, decay=0.3)
    spikes = spikes_of(graph, 16)
    fired, readout = run_graph(graph, torch.from_numpy(spikes), torch.float64)
    wanted = simulate(graph, {"x": spikes})
    assert all(np.array_equal(fired[name].numpy(), wanted.spikes[name]) for name in fired)
    np.testing.assert_allclose(readout.numpy(), wanted.readout, atol=1e-9)


def test_who_holds_a_scale_down_is_told() -> None:
    found = dwarfed(outlier(6.0))
    assert set(found) == {"a"} and found["a"] > 5
    assert dwarfed(outlier(0.3)) == {}


def test_what_looks_back_is_refused() -> None:
    graph = outlier(1.0)
    recurrent = Projection(source="a", target="a", kernel=Dense(weight=0.1 * np.eye(16)))
    with pytest.raises(UnsupportedError, match=r"'a' -> 'a': .* through a recurrent synapse; quantize this network"):
        calibrate(replace(graph, projections=(*graph.projections, recurrent)), 1.0, spikes_of(graph))
