"""The neuron, redone on paper, in both arithmetics; kernels against torch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.simulate import Trace, apply, simulate

LIMIT = 2**23


def run(
    arrives: list[int], *, weight: float = 1.0, arithmetic: Any = "float", **parameters: Any
) -> tuple[list[float], list[int], Trace]:
    """(membrane before reset, spikes) of one neuron with one synapse that a spike reaches where `arrives` is 1.

    x --weight--> neuron --1--> readout
    """
    settings: dict[str, Any] = {"decay": 0.5, "threshold": 1.0, "bias": np.zeros(1)} | parameters
    neuron = Population(name="neuron", shape=(1,), **settings)
    readout = Population(name="readout", shape=(1,), decay=1.0, threshold=1e5, bias=np.zeros(1), role="readout")
    graph = SpikingGraph(
        inputs=(SpikeInput(name="x", shape=(1,)),),
        populations=(neuron, readout),
        projections=(
            Projection(source="x", target="neuron", kernel=Dense(weight=np.array([[weight]]))),
            Projection(source="neuron", target="readout", kernel=Dense(weight=np.array([[2.0]]))),
        ),
        time_steps=len(arrives),
        arithmetic=arithmetic,
    )
    trace = simulate(check(graph), {"x": np.array(arrives, np.uint8).reshape(-1, 1, 1)})
    return trace.membranes["neuron"].ravel().tolist(), trace.spikes["neuron"].ravel().tolist(), trace


def test_decay_and_bias() -> None:
    # v = v / 4 + 0.5 * x + 0.125:  0.625, 0.28125, 0.6953125
    membrane, spikes, _ = run([1, 0, 1], weight=0.5, decay=0.25, bias=np.array([0.125]))
    assert membrane == [0.625, 0.28125, 0.6953125]
    assert spikes == [0, 0, 0]


def test_current_decay() -> None:
    # u = u / 2 + x: 1, 0.5, 0.25;  v = v / 4 + u: 1, 0.75, 0.4375
    membrane, _, _ = run([1, 0, 0], decay=0.25, current_decay=0.5, threshold=2.0)
    assert membrane == [1.0, 0.75, 0.4375]


def test_a_tie_fires_and_resets_to_zero() -> None:
    # v = v / 2 + 0.75 x: 0.75, 1.125 > 1.125? equal: fires, 0, then 0.75 again
    membrane, spikes, _ = run([1, 1, 1], weight=0.75, threshold=1.125)
    assert membrane == [0.75, 1.125, 0.75]
    assert spikes == [0, 1, 0]


def test_subtracting_reset_keeps_the_rest() -> None:
    # v = v / 2 + 1.5 x, threshold 1.25: 1.5 -> 0.25; 1.625 -> 0.375; 0.1875
    membrane, spikes, _ = run([1, 1, 0], weight=1.5, threshold=1.25, reset="subtract")
    assert membrane == [1.5, 1.625, 0.1875]
    assert spikes == [1, 1, 0]


def test_readout_sums_the_steps() -> None:
    _, spikes, trace = run([1, 0, 1], weight=1.0)
    assert spikes == [1, 0, 1]
    assert trace.readout.ravel().tolist() == [2.0, 2.0, 4.0]


def test_loihi_decays_truncate_toward_zero() -> None:
    # weight -1: u = -64; v = trunc(v * 1023 / 4096) + u. -64; trunc(-15.98) = -15, so -79; trunc(-19.73) = -19
    membrane, _, _ = run([1, 1, 0], weight=-1.0, arithmetic="loihi", decay=1023 / 4096, threshold=9.0)
    assert membrane == [-64, -79, -19]
    # and for positive values: 64; 15 + 64 = 79; 19
    membrane, _, _ = run([1, 1, 0], weight=1.0, arithmetic="loihi", decay=1023 / 4096, threshold=9.0)
    assert membrane == [64, 79, 19]


def test_loihi_current_decay_truncates_too() -> None:
    # u = trunc(u * 1365 / 4096) + 64 a: -192, trunc(-63.98) = -63, trunc(-20.99) = -20;  v forgets everything
    membrane, _, _ = run(
        [1, 0, 0], weight=-3.0, arithmetic="loihi", decay=0.0, current_decay=1365 / 4096, threshold=9.0
    )
    assert membrane == [-192, -63, -20]


def test_loihi_fires_above_the_threshold_only() -> None:
    # 64 * 10 = 640 is the threshold itself: no spike; then 640 / 2 + 640 = 960: a spike; then 0 / 2 + 640
    membrane, spikes, _ = run([1, 1, 1], weight=10.0, arithmetic="loihi", threshold=10.0)
    assert membrane == [640, 960, 640]
    assert spikes == [0, 1, 0]


def test_loihi_bias_counts_64() -> None:
    membrane, spikes, _ = run([0, 0], arithmetic="loihi", bias=np.array([3.0]), threshold=4.0)
    assert membrane == [192, 288]
    assert spikes == [0, 1]


@pytest.mark.parametrize(
    ("weight", "membrane"),
    [
        (2**17 - 1, LIMIT - 64),
        (2**17, LIMIT - 1),  # 2^23 stays, the membrane clips it
        (2**17 + 1, 64 - LIMIT),  # one more wraps
        (-(2**17) + 1, 64 - LIMIT),
        (-(2**17), LIMIT - 1),  # -2^23 wraps to +2^23
        (-(2**17) - 1, LIMIT - 64),
        (2**18 + 2**17 + 5, LIMIT - 1),  # only once around: 2^24 + 2^23 + 320 becomes 2^23 + 320
    ],
)
def test_loihi_current_wraps_once_and_the_membrane_clips(weight: int, membrane: int) -> None:
    found, _, _ = run([1], weight=float(weight), arithmetic="loihi", threshold=2.0**17 - 1)
    assert found == [membrane]


def test_loihi_membrane_clips_at_both_ends() -> None:
    up, _, _ = run([1, 1], weight=2.0**17 - 1, arithmetic="loihi", decay=1.0, threshold=2.0**17)
    assert up == [LIMIT - 64, LIMIT - 1]
    down, _, _ = run([1, 1], weight=1 - 2.0**17, arithmetic="loihi", decay=1.0, threshold=2.0**17)
    assert down == [64 - LIMIT, 1 - LIMIT]


KERNELS = [
    Conv(weight=np.zeros((4, 3, 3, 3)), padding=(1, 1)),
    Conv(weight=np.zeros((4, 3, 3, 2)), stride=(2, 3), padding=(0, 1), dilation=(2, 1)),
    Conv(weight=np.zeros((6, 1, 5, 5)), stride=(2, 2), padding=(4, 4), dilation=(2, 2), groups=3),
]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_convolution_is_torchs(kernel: Conv) -> None:
    rng = np.random.default_rng(1)
    spikes = (rng.random((2, 3, 9, 8)) < 0.5).astype(np.uint8)
    weight = rng.integers(-254, 255, kernel.weight.shape).astype(np.float64)
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(spikes).double(),
        torch.from_numpy(weight),
        None,
        kernel.stride,
        kernel.padding,
        kernel.dilation,
        kernel.groups,
    )
    found = apply(
        Conv(
            weight=weight,
            stride=kernel.stride,
            padding=kernel.padding,
            dilation=kernel.dilation,
            groups=kernel.groups,
        ),
        spikes,
    )
    assert np.array_equal(found, expected.numpy())


def test_a_matrix_reads_channels_rows_columns() -> None:
    weight = np.arange(12.0).reshape(1, 12)
    spikes = np.zeros((1, 2, 2, 3), np.uint8)
    spikes[0, 1, 0, 2] = 1  # neuron 6 + 0 + 2
    assert apply(Dense(weight=weight), spikes).tolist() == [[8.0]]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"reads the inputs \['input'\], but was given \[\]"),
        ({"x": np.zeros((3, 1, 2, 8, 6))}, "was given"),
        ({"input": np.zeros((2, 1, 2, 8, 6))}, r"'input' must have shape \[3, N, 2, 8, 6\], but has \[2, 1, 2, 8, 6\]"),
        ({"input": np.zeros((3, 1, 2, 6, 8))}, "must have shape"),
        ({"input": np.zeros(3)}, "must have shape"),
        ({"input": np.full((3, 1, 2, 8, 6), 0.5)}, "'input' must be spikes"),
    ],
)
def test_wrong_inputs_are_refused(random_graph: Any, inputs: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(random_graph(), inputs)


def test_recurrent_and_delayed_synapses_read_older_spikes() -> None:
    """x -> a (delays 0 and 2), a -> a: one neuron that fires from x[t] + 2 x[t - 2] + 4 a[t - 1] > 3."""
    graph = SpikingGraph(
        inputs=(SpikeInput(name="x", shape=(2,)),),
        populations=(Population(name="a", shape=(1,), decay=0.0, threshold=4.0, bias=np.zeros(1), role="readout"),),
        projections=(
            Projection(source="x", target="a", kernel=Dense(weight=np.array([[1.0, 2.0]])), delay=np.array([[0, 2]])),
            Projection(source="a", target="a", kernel=Dense(weight=np.array([[4.0]]))),
        ),
        time_steps=5,
    )
    x = np.zeros((10, 1, 2), np.uint8)
    x[0, 0] = 1, 1  # now 1, at step 2 another 2
    x[2, 0, 0] = 1  # 1 + 2 at step 2: below the threshold
    x[4, 0, 1] = 1  # 2 at step 6, in the next window: a spike under way survives the reset
    trace = simulate(graph, {"x": x}, windows=2)
    np.testing.assert_array_equal(trace.membranes["a"][:, 0, 0], [1, 0, 3, 0, 0, 0, 2, 0, 0, 0])
    graph = replace(graph, populations=(replace(graph.populations[0], threshold=3.0),))
    trace = simulate(graph, {"x": x}, windows=2)  # fires at step 2 and keeps itself firing
    np.testing.assert_array_equal(trace.membranes["a"][:, 0, 0], [1, 0, 3, 4, 4, 4, 6, 4, 4, 4])


def test_weights_mean_the_same_however_they_lie_in_memory() -> None:
    rng = np.random.default_rng(0)
    weight, spikes = rng.normal(size=(10, 648)), (rng.random((60, 648)) < 0.2).astype(np.uint8)
    found = [apply(Dense(weight=lying), spikes) for lying in (np.ascontiguousarray(weight), np.asfortranarray(weight))]
    assert np.array_equal(*found)
