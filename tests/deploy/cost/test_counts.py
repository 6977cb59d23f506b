"""Fan-out, synaptic operations and updates, worked by hand and against the plainest loop."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.cost.counts import Activity, Counts, Tally, count, fan_out, per_sample, synapses
from spikeport.errors import InputError
from spikeport.export.graph import (
    Conv,
    Dense,
    Kernel,
    Population,
    Projection,
    Role,
    Shape,
    SpikeInput,
    SpikingGraph,
    check,
    neurons,
)


def project(kernel: Kernel, source: str = "a", target: str = "b") -> Projection:
    return Projection(source=source, target=target, kernel=kernel)


def conv_fan(kernel: Conv, source: Shape) -> NDArray[np.int64]:
    return fan_out(project(kernel), source, kernel.output_shape(source))


def population(name: str, shape: Shape, role: Role = "neuron") -> Population:
    return Population(name=name, shape=shape, decay=0.5, threshold=1.0, bias=np.zeros(shape[0]), role=role)


def ones(*shape: int) -> NDArray[np.float64]:
    return np.ones(shape)


def test_a_border_neuron_reaches_fewer_targets() -> None:
    fan = conv_fan(Conv(weight=ones(1, 1, 3, 3), padding=(1, 1)), (1, 3, 3))
    assert fan.tolist() == [[[4, 6, 4], [6, 9, 6], [4, 6, 4]]]
    assert fan.dtype == np.int64


def test_without_padding_a_corner_reaches_one_target() -> None:
    fan = conv_fan(Conv(weight=ones(1, 1, 2, 2)), (1, 3, 3))
    assert fan.tolist() == [[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]


def test_stride_two_alternates() -> None:
    # one row of 5, kernel 3, padding 1, stride 2: targets read 0..1, 1..3, 3..4
    fan = conv_fan(Conv(weight=ones(1, 1, 1, 3), stride=(1, 2), padding=(0, 1)), (1, 1, 5))
    assert fan.tolist() == [[[1, 2, 1, 2, 1]]]


def test_stride_larger_than_the_kernel_leaves_neurons_out() -> None:
    fan = conv_fan(Conv(weight=ones(1, 1, 1, 1), stride=(2, 2)), (1, 3, 3))
    assert fan.tolist() == [[[1, 0, 1], [0, 0, 0], [1, 0, 1]]]


def test_the_last_column_can_fall_off_the_stride() -> None:
    # a row of 4, kernel 2, stride 3: one target, which reads columns 0 and 1
    fan = conv_fan(Conv(weight=ones(1, 1, 1, 2), stride=(1, 3)), (1, 1, 4))
    assert fan.tolist() == [[[1, 1, 0, 0]]]


def test_dilation_two_skips_neighbours() -> None:
    # a row of 5, taps 0, 2, 4, no padding: the only target reads columns 0, 2 and 4
    fan = conv_fan(Conv(weight=ones(1, 1, 1, 3), dilation=(1, 2)), (1, 1, 5))
    assert fan.tolist() == [[[1, 0, 1, 0, 1]]]


def test_groups_keep_channels_apart() -> None:
    # 4 -> 6 channels in 2 groups: sources 0 and 1 reach targets 0..2 only
    weight = ones(6, 2, 1, 1)
    weight[0, 0] = 0.0  # target 0 loses source 0
    weight[5, 1] = 0.0  # target 5 loses source 3, the second of its group
    assert conv_fan(Conv(weight=weight, groups=2), (4, 1, 1)).ravel().tolist() == [2, 3, 3, 2]


def test_depthwise_reaches_its_own_channel() -> None:
    weight = ones(3, 1, 3, 3)
    weight[1] = 0.0
    fan = conv_fan(Conv(weight=weight, padding=(1, 1), groups=3), (3, 3, 3))
    assert fan.sum(axis=(1, 2)).tolist() == [49, 0, 49]


def test_zero_weights_are_no_synapses() -> None:
    cross = np.array([[0.0, 1.0, 0.0], [1.0, -1.0, 1.0], [0.0, 1e-30, 0.0]]).reshape(1, 1, 3, 3)
    fan = conv_fan(Conv(weight=cross, padding=(1, 1)), (1, 3, 3))
    assert fan.tolist() == [[[3, 4, 3], [4, 5, 4], [3, 4, 3]]]


def test_dense_counts_columns_in_the_shape_of_the_source() -> None:
    weight = np.array([[1.0, 0.0, -2.0, 3.0], [4.0, 0.0, 0.0, 5.0]])
    projection = project(Dense(weight=weight))
    fan = fan_out(projection, (1, 2, 2), (2,))
    assert fan.tolist() == [[[2, 0], [1, 2]]]
    assert fan.dtype == np.int64
    assert synapses(projection, (1, 2, 2), (2,)) == 5


def slow_fan_out(kernel: Conv, source: Shape, target: Shape) -> NDArray[np.int64]:
    """Walk every target and every tap, and mark the source it reads."""
    fan = np.zeros(source, dtype=np.int64)
    outputs, inputs, rows, columns = kernel.weight.shape
    for o, i, k, c in product(range(outputs), range(inputs), range(rows), range(columns)):
        for y, x in product(range(target[1]), range(target[2])):
            row = y * kernel.stride[0] - kernel.padding[0] + k * kernel.dilation[0]
            column = x * kernel.stride[1] - kernel.padding[1] + c * kernel.dilation[1]
            channel = o // (outputs // kernel.groups) * inputs + i
            if 0 <= row < source[1] and 0 <= column < source[2] and kernel.weight[o, i, k, c] != 0:
                fan[channel, row, column] += 1
    return fan


@pytest.mark.parametrize("seed", range(40))
def test_random_kernels_match_the_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    weight = rng.normal(size=(groups * rng.integers(1, 3), rng.integers(1, 3), *rng.integers(1, 5, size=2)))
    weight[rng.random(weight.shape) < 0.4] = 0.0
    pair = rng.integers(1, 4, size=(2, 2))
    kernel = Conv(
        weight=weight,
        stride=(int(pair[0, 0]), int(pair[0, 1])),
        dilation=(int(pair[1, 0]), int(pair[1, 1])),
        padding=(int(rng.integers(0, 4)), int(rng.integers(0, 4))),
        groups=groups,
    )
    reach = [d * (k - 1) + 1 for d, k in zip(kernel.dilation, weight.shape[2:], strict=True)]
    source = (groups * weight.shape[1], reach[0] + int(rng.integers(0, 5)), reach[1] + int(rng.integers(0, 5)))
    target = kernel.output_shape(source)
    np.testing.assert_array_equal(fan_out(project(kernel), source, target), slow_fan_out(kernel, source, target))


def network() -> SpikingGraph:
    """A row of 4 -> conv 3 -> OR of pairs, stride 2 -> relay -> dense of 2; T = 3.

    image [1,1,4] -> hidden [1,1,4] -> pool [1,1,2] -> carry [1,1,2] -> logits [2]
                          '-------------------------------------------^
    """
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(1, 1, 4)),),
            populations=(
                population("hidden", (1, 1, 4)),
                population("pool", (1, 1, 2), "or"),
                population("carry", (1, 1, 2), "relay"),
                population("logits", (2,), "readout"),
            ),
            projections=(
                project(Conv(weight=ones(1, 1, 1, 3), padding=(0, 1)), "image", "hidden"),
                project(Conv(weight=ones(1, 1, 1, 2), stride=(1, 2)), "hidden", "pool"),
                project(Conv(weight=ones(1, 1, 1, 1)), "pool", "carry"),
                project(Dense(weight=np.array([[1.0, 0.0], [2.0, 3.0]])), "carry", "logits"),
                project(Dense(weight=np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])), "hidden", "logits"),
            ),
            time_steps=3,
        )
    )


def activity() -> dict[str, Activity]:
    """Two samples of `network()`."""
    return {
        "image": Activity(spikes=np.array([[[6, 1, 0, 2]]]), active_updates=0),
        "hidden": Activity(spikes=np.array([[[3, 4, 1, 0]]]), active_updates=15),
        "pool": Activity(spikes=np.array([[[5, 1]]]), active_updates=6),
        "carry": Activity(spikes=np.array([[[5, 1]]]), active_updates=6),
        "logits": Activity(spikes=np.zeros(2, dtype=np.int64), active_updates=8),
    }


def counted() -> Counts:
    return count(network(), activity(), samples=2)


def test_a_network_by_hand() -> None:
    tallies = {p.name: p.tally for p in counted().populations}
    assert tallies == {
        "image": Tally(spikes=9),
        # fan-out 2 3 3 2: 6*2 + 1*3 + 0*3 + 2*2 = 19; updates 3 steps * 4 neurons * 2 samples
        "hidden": Tally(neurons=4, synapses=10, spikes=8, synaptic_operations=19, neuron_updates=24, active_updates=15),
        # fan-out 1 1 1 1
        "pool": Tally(neurons=2, synapses=4, spikes=6, synaptic_operations=8, neuron_updates=12, active_updates=6),
        # fan-out 1 1
        "carry": Tally(neurons=2, synapses=2, spikes=6, synaptic_operations=6, neuron_updates=12, active_updates=6),
        # fan-out of carry 2 1: 5*2 + 1*1 = 11; of hidden 0 2 1 0: 4*2 + 1*1 = 9
        "logits": Tally(neurons=2, synapses=6, spikes=0, synaptic_operations=20, neuron_updates=12, active_updates=8),
    }


def test_totals_roles_and_means() -> None:
    counts = counted()
    total = Tally(neurons=10, synapses=22, spikes=29, synaptic_operations=53, neuron_updates=60, active_updates=35)
    assert counts.total == total
    assert total.idle_updates == 25
    assert list(counts.by_role) == ["input", "neuron", "or", "relay", "readout"]
    assert counts.by_role["relay"] == counts.populations[3].tally
    assert per_sample(total, counts.samples) == {
        "spikes": 14.5,
        "synaptic_operations": 26.5,
        "neuron_updates": 30.0,
        "active_updates": 17.5,
        "idle_updates": 12.5,
    }
    assert counts.spikes_per_synapse == 53 / (22 * 2)


def test_a_whole_synapse_counts_the_same_from_either_end() -> None:
    """SOPs by fan-out equal the convolution of the spikes with the kernel's non-zero pattern."""
    spikes = activity()["image"].spikes[0, 0]
    assert counted().populations[1].tally.synaptic_operations == np.convolve(spikes, [1, 1, 1], mode="same").sum()


def test_one_weight_less_is_seen() -> None:
    graph = network()
    graph.projections[0].kernel.weight[0, 0, 0, 2] = 0.0
    # fan-out 1 2 2 2 now: the last tap carried columns 1..3 to their left neighbours
    assert count(graph, activity(), samples=2).populations[1].tally.synaptic_operations == 19 - (1 + 0 + 2)


Change = Callable[[dict[str, Activity]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("pool"), r"lacks \['pool'\]"),
        (lambda a: a.update(extra=a["pool"]), r"has \['extra'\] too many"),
        (lambda a: a.update(pool=Activity(spikes=np.zeros(2, np.int64), active_updates=0)), r"shape \(1, 1, 2\)"),
        (lambda a: a.update(pool=Activity(spikes=np.full((1, 1, 2), 0.5), active_updates=0)), "float64"),
        (lambda a: a.update(pool=Activity(spikes=np.full((1, 1, 2), 7), active_updates=0)), "spikes <= 6"),
        (lambda a: a.update(pool=Activity(spikes=np.full((1, 1, 2), -1), active_updates=0)), "from -1 to -1"),
        (lambda a: a.update(logits=Activity(spikes=np.ones(2, np.int64), active_updates=0)), "spikes <= 0"),
        (lambda a: a.update(image=Activity(spikes=a["image"].spikes, active_updates=1)), "active_updates <= 0"),
        (lambda a: a.update(pool=Activity(spikes=a["pool"].spikes, active_updates=13)), "active_updates <= 12"),
        (lambda a: a.update(pool=Activity(spikes=a["pool"].spikes, active_updates=-1)), "active_updates=-1"),
    ],
)
def test_activity_that_does_not_fit_is_refused(change: Change, message: str) -> None:
    wrong = activity()
    change(wrong)
    with pytest.raises(InputError, match=message):
        count(network(), wrong, samples=2)


def test_no_samples_is_refused() -> None:
    with pytest.raises(InputError, match="samples >= 1"):
        count(network(), activity(), samples=0)


def test_counts_beyond_32_bits_stay_exact() -> None:
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(100,)),),
            populations=(population("logits", (100,), "readout"),),
            projections=(project(Dense(weight=ones(100, 100)), "image", "logits"),),
            time_steps=1,
        )
    )
    samples = 10**6
    run = {
        "image": Activity(spikes=np.full(100, samples), active_updates=0),
        "logits": Activity(spikes=np.zeros(100, np.int64), active_updates=neurons((100,)) * samples),
    }
    assert count(graph, run, samples).total.synaptic_operations == 10**10
