"""Well-formedness: what `check` lets pass and what it refuses, by name."""

from dataclasses import replace

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check

A = Population(name="a", shape=(2, 4, 4), decay=0.5, threshold=1.0, bias=np.zeros(2))
OUT = Population(name="readout", shape=(3,), decay=1.0, threshold=np.inf, bias=np.zeros(3), role="readout")
TO_A = Projection(source="x", target="a", kernel=Conv(weight=np.ones((2, 1, 3, 3)), padding=(1, 1)))
TO_OUT = Projection(source="a", target="readout", kernel=Dense(weight=np.ones((3, 32))))
GRAPH = SpikingGraph(
    inputs=(SpikeInput(name="x", shape=(1, 4, 4)),),
    populations=(A, OUT),
    projections=(TO_A, TO_OUT),
    time_steps=2,
)


def with_a(**changes: object) -> SpikingGraph:
    return replace(GRAPH, populations=(replace(A, **changes), OUT))


def loihi(**changes: object) -> SpikingGraph:
    return replace(with_a(**changes), arithmetic="loihi")


def with_kernel(kernel: Conv | Dense) -> SpikingGraph:
    return replace(GRAPH, projections=(replace(TO_A, kernel=kernel), TO_OUT))


def test_a_well_formed_graph_is_returned() -> None:
    assert check(GRAPH) is GRAPH
    assert GRAPH.readout is OUT
    assert GRAPH.incoming("a") == (TO_A,) and GRAPH.outgoing("a") == (TO_OUT,)
    assert GRAPH.shapes() == {"x": (1, 4, 4), "a": (2, 4, 4), "readout": (3,)}


def test_channels_and_neurons_may_differ_in_the_chips_integers() -> None:
    check(
        loihi(decay=np.full(2, 0.5), current_decay=np.zeros((2, 4, 4)), threshold=np.ones(2), bias=np.ones((2, 4, 4)))
    )


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (replace(GRAPH, time_steps=0), "time_steps >= 1"),
        (replace(GRAPH, inputs=(SpikeInput(name="a", shape=(1, 4, 4)),)), "unique, but 'a'"),
        (replace(GRAPH, populations=(A,), projections=(TO_A,)), "one readout"),
        (replace(GRAPH, populations=(OUT, A)), "one readout"),
        (with_a(shape=(2, 4)), "'a': a shape must be"),
        (with_a(shape=(2, 0, 4)), "'a': a shape must be"),
        (with_a(bias=np.zeros(3)), r"'a': the bias must have shape \(2,\)"),
        (with_a(bias=np.full(2, np.nan)), "'a': bias and threshold must be finite"),
        (with_a(threshold=np.nan), "'a': bias and threshold must be finite"),
        (with_a(decay=1.5), "'a': `0 <= decay <= 1`"),
        (with_a(current_decay=-0.1), "'a': `0 <= current_decay <= 1`"),
        (with_a(decay=np.full(2, 0.5)), "'a': an array as decay is for the chip's integers"),
        (loihi(decay=np.full(3, 0.5)), r"'a': decay must be one number or of shape \(2,\) or \(2, 4, 4\), not \(3,\)"),
        (loihi(current_decay=np.array([0.5, 1.5])), "'a': `0 <= current_decay <= 1` must hold, but current_decay=1.5"),
        (loihi(threshold=np.array([5, np.nan])), "'a': bias and threshold must be finite"),
        (with_a(bias=np.zeros((2, 4, 4))), "'a': the bias must have shape"),
        (with_a(role="neurone"), "'a': unknown role 'neurone'"),
        (with_a(reset="soft"), "'a': unknown role 'neuron' or reset 'soft'"),
        (replace(GRAPH, projections=(replace(TO_A, source="z"), TO_OUT)), "no node 'z'"),
        (
            replace(GRAPH, projections=(replace(TO_A, source="readout", target="a"), TO_OUT)),
            "must stand before the target",
        ),
        (with_kernel(Conv(weight=np.full((2, 1, 1, 1), np.inf))), "'x' -> 'a': weights must be finite"),
        (with_kernel(Conv(weight=np.ones((2, 3, 1, 1)))), "cannot read"),
        (with_kernel(Conv(weight=np.ones((2, 1, 3)))), "cannot read"),
        (with_kernel(Conv(weight=np.ones((2, 1, 3, 3)))), r"gives shape \(2, 2, 2\), but \(2, 4, 4\)"),
        (with_kernel(Dense(weight=np.ones((32, 15)))), r"gives shape \(32, 15\), but \(32, 16\)"),
    ],
)
def test_a_malformed_graph_is_refused_by_name(graph: SpikingGraph, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(graph)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "result"),
    [(8, 3, 1, 1, 1, 8), (8, 3, 2, 1, 1, 4), (7, 3, 2, 0, 1, 3), (8, 5, 2, 4, 2, 4), (9, 2, 2, 0, 1, 4)],
)
def test_output_shape(size: int, kernel: int, stride: int, padding: int, dilation: int, result: int) -> None:
    conv = Conv(weight=np.zeros((2, 1, kernel, 1)), stride=(stride, 1), padding=(padding, 0), dilation=(dilation, 1))
    assert conv.output_shape((1, size, 6)) == (2, result, 6)
