"""Messages, hops, loads, time and energy of three small mapped networks, every number worked by hand.

The prices are those of `loihi1-sanafe`, whose closed form SANA-FE's simple timing model computes.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.cost.counts import Activity, Counter
from spikeport.deploy.cost.energy import Energy, estimate, of_population, over_time
from spikeport.deploy.cost.latency import StepTimes, step_times
from spikeport.deploy.cost.profiles import find_profile
from spikeport.deploy.cost.traffic import RECEIVED, SENT, Traffic, TrafficCounter
from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.mapping.core_mapping import CoreMapping, Piece
from spikeport.deploy.synapses import Box
from spikeport.export.graph import Conv, Dense, Kernel, Population, Projection, Shape, SpikeInput, SpikingGraph, check
from spikeport.tests.deploy.mapping.small import population

PJ, NS = 1e-12, 1e-9
close = partial(pytest.approx, rel=1e-12, abs=0.0)  # approx alone lets a whole picojoule pass


def graph_of(
    entry: Shape, populations: list[Population], projections: list[tuple[str, str, Kernel]], steps: int
) -> SpikingGraph:
    joined = (Projection(source=source, target=target, kernel=kernel) for source, target, kernel in projections)
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=entry),),
            populations=tuple(populations),
            projections=tuple(joined),
            time_steps=steps,
        )
    )


def mapping(*pieces: tuple[int, str, Box]) -> CoreMapping:
    """Boxes on cores; what a core holds is not limited here."""
    return CoreMapping(
        chip=find_chip("loihi1"),
        pieces=tuple(
            Piece(
                core=core,
                population=name,
                box=box,
                neurons=int(np.prod([stop - start for start, stop in box])),
                in_axons=0,
                out_axons=0,
                memory_bits=0,
            )
            for core, name, box in pieces
        ),
    )


def bits(*steps: list[list[int]]) -> NDArray[np.uint8]:
    """steps[t][n] = what each neuron of a flat population does in step t of sample n."""
    return np.array(steps, np.uint8)


class Case:
    """A network, mapped, with what it did; counted and priced."""

    def __init__(self, graph: SpikingGraph, cores: CoreMapping, activity: dict[str, Activity]) -> None:
        self.graph = graph
        counter, moved = Counter(graph), TrafficCounter(graph, cores)
        for part in (counter, moved):
            part.add(activity)
        self.counts, self.traffic = counter.counts(), moved.traffic()
        self.profile = find_profile("loihi1-sanafe")
        self.times = times_of(self.traffic, graph.time_steps, self.counts.samples)
        self.energy: Energy = estimate(self.profile, self.counts, self.traffic, self.times, 1)


def times_of(traffic: Traffic, time_steps: int, samples: int) -> StepTimes:
    profile = find_profile("loihi1-sanafe")
    found = step_times(profile, traffic, samples=samples, time_steps=time_steps, depth=traffic.depth)
    assert found is not None
    return found


# -- three tiles: image (host) -> a, core 0, tile (0, 0) -> b, cores 1 and 8, tiles (0, 0) and (0, 2) -> core 20, (1, 1)


def three_tiles() -> Case:
    graph = graph_of(
        (3,),
        [population("a", (2,)), population("b", (2,)), population("out", (1,), "readout")],
        [
            ("image", "a", Dense(weight=np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))),
            ("a", "b", Dense(weight=np.array([[1.0, 0.0], [1.0, 1.0]]))),  # a0 reaches b0 and b1, a1 reaches b1
            ("b", "out", Dense(weight=np.ones((1, 2)))),
        ],
        steps=2,
    )
    cores = mapping((0, "a", ((0, 2),)), (1, "b", ((0, 1),)), (8, "b", ((1, 2),)), (20, "out", ((0, 1),)))
    return Case(
        graph,
        cores,
        {
            "image": Activity(spikes=bits([[1, 0, 1]], [[0, 1, 0]])),
            "a": Activity(spikes=bits([[1, 0]], [[1, 1]]), active=bits([[1, 1]], [[1, 0]]) > 0),
            "b": Activity(spikes=bits([[0, 1]], [[1, 0]]), active=bits([[0, 1]], [[1, 1]]) > 0),
            "out": Activity(active=bits([[0]], [[1]]) > 0),
        },
    )


def test_messages_and_hops_by_hand() -> None:
    case = three_tiles()
    # image 2, 1; a0 sends to cores 1 and 8, a1 to core 8: 2, 3; b 1, 1
    assert case.traffic.each["messages"].tolist() == [[2 + 2 + 1, 1 + 3 + 1]]
    assert case.traffic.each["hops_x"].tolist() == [[1, 1]]  # b to core 20
    assert case.traffic.each["hops_y"].tolist() == [[2 + 1, 2 + 2 + 1]]  # a to core 8 is two tiles north
    assert case.traffic.of_population["a"] == {"messages": 5, "hops_x": 0, "hops_y": 6}
    assert case.traffic.of_population["image"] == {"messages": 3, "hops_x": 0, "hops_y": 0}


def test_energy_by_hand() -> None:
    case = three_tiles()
    # SOPs: image 2 + 1, 2; a 2, 3; b 1, 1. Updates 5 * 2, active 3 + 3 + 1. a fires 3 times, b twice.
    expected = {
        "synaptic_operations_conv": 0.0,
        "synaptic_operations_dense": 35.5 * 12,
        "synaptic_operations_sparse": 0.0,
        "neuron_updates": 51.2 * 10,
        "active_updates": 21.6 * 7,
        "spikes": 69.3 * 5,
        "messages": 111 * 10,
        "hops_x": 3.0 * 2,
        "hops_y": 4.2 * 8,
    }
    found = {name: float(joules[0]) for name, joules in case.energy.terms.items()}
    assert found == close({name: pj * PJ for name, pj in expected.items()})
    assert case.energy.total == close(2585.3 * PJ)  # 426 + 512 + 151.2 + 346.5 + 1110 + 6 + 33.6
    assert case.energy.static is None and case.energy.host is None and case.energy.missing == ()


def test_the_energy_of_the_populations_and_of_the_steps_is_that_of_the_whole() -> None:
    case = three_tiles()
    parts = [of_population(case.profile, p, case.traffic, 1) for p in case.counts.populations]
    assert sum(sum(part.values()) for part in parts) == close(case.energy.total)
    # a: SOPs 5 dense, 4 updates, 3 active, 3 spikes, 5 messages, 6 hops north
    by_hand = 35.5 * 5 + 51.2 * 4 + 21.6 * 3 + 69.3 * 3 + 111 * 5 + 4.2 * 6
    assert sum(parts[1].values()) == close(by_hand * PJ)
    first, whole = over_time(case.profile, case.counts, case.traffic)
    # step 0: SOPs 3 + 2 + 1, updates 5, active 3, spikes 2, messages 5, hops 1 and 3
    step = 35.5 * 6 + 51.2 * 5 + 21.6 * 3 + 69.3 * 2 + 111 * 5 + 3.0 * 1 + 4.2 * 3
    assert (first, whole) == (close(step * PJ), close(case.energy.total))


def test_time_by_hand() -> None:
    """a runs a step after the image, b two, out three; with two steps in the stream a and out swap their steps.

    chip step 0: core 0 has a's step 1: 2 updates, 1 active, 2 spikes, 3 messages     12 + 3.7 + 60 + 15.3 = 91 ns
    chip step 1: core 0 has a's step 0: 2 updates, 2 active, 1 spike, 2 messages      12 + 7.4 + 30 + 10.2 = 59.6 ns
    The busiest receiver: core 0 in chip step 0, the image's step 0: 2 messages, 3 SOPs     32 + 11.4 = 43.4 ns
    Three tiles: the barrier of two, 1.0 us.
    """
    case = three_tiles()
    assert case.times.steps == close([1091 * NS, 1059.6 * NS])
    assert case.times.latency == close([(3 * 1091 + 2 * 1059.6) * NS])  # T + depth = 2 + 3 steps
    assert case.times.inference == close((1091 + 1059.6) * NS)
    busiest = case.times.busiest
    assert busiest is not None and (busiest.core, busiest.phase) == (0, "sender")
    assert busiest.seconds == close((91 + 59.6) / 2 * NS)
    sender = {0: [91.0, 59.6], 1: [6.0, 44.8], 8: [44.8, 9.7], 20: [9.7, 6.0]}
    receiver = {0: [43.4, 23.6], 1: [19.8, 19.8], 8: [39.6, 19.8], 20: [19.8, 19.8]}
    for core, times in sender.items():
        longer = max(np.mean(times), np.mean(receiver[core]))
        assert case.times.busy[core] == close(longer * NS), core


def test_one_target_moved_to_another_core_shows() -> None:
    """b1 beside b0: a0 sends one message to the core that holds both, none of them goes north."""
    case = three_tiles()
    cores = mapping((0, "a", ((0, 2),)), (1, "b", ((0, 2),)), (20, "out", ((0, 1),)))
    moved = TrafficCounter(case.graph, cores)
    moved.add(
        {
            "image": Activity(spikes=bits([[1, 0, 1]], [[0, 1, 0]])),
            "a": Activity(spikes=bits([[1, 0]], [[1, 1]]), active=bits([[1, 1]], [[1, 0]]) > 0),
            "b": Activity(spikes=bits([[0, 1]], [[1, 0]]), active=bits([[0, 1]], [[1, 1]]) > 0),
            "out": Activity(active=bits([[0]], [[1]]) > 0),
        }
    )
    assert moved.traffic().each["messages"].tolist() == [[2 + 1 + 1, 1 + 2 + 1]]
    assert moved.traffic().each["hops_y"].tolist() == [[1, 1]]


# -- a convolution cut along its channels, in which the receivers are the busiest


def one_tile() -> Case:
    """image [1, 1, 4] -> a [2, 1, 4], a channel on each of cores 0 and 1 -> out [1], core 2; T = 1; a is silent."""
    graph = graph_of(
        (1, 1, 4),
        [population("a", (2, 1, 4)), population("out", (1,), "readout")],
        [
            ("image", "a", Conv(weight=np.ones((2, 1, 1, 3)), padding=(0, 1))),
            ("a", "out", Dense(weight=np.ones((1, 8)))),
        ],
        steps=1,
    )
    cores = mapping((0, "a", ((0, 1), (0, 1), (0, 4))), (1, "a", ((1, 2), (0, 1), (0, 4))), (2, "out", ((0, 1),)))
    return Case(
        graph,
        cores,
        {
            "image": Activity(spikes=np.ones((1, 1, 1, 1, 4), np.uint8)),
            "a": Activity(spikes=np.zeros((1, 1, 2, 1, 4), np.uint8), active=np.ones((1, 1, 2, 1, 4), bool)),
            "out": Activity(active=np.zeros((1, 1, 1), bool)),
        },
    )


def test_a_convolution_in_two_parts_by_hand() -> None:
    """Fan-out 2 3 3 2 into each channel: both cores take 4 messages and 10 SOPs, 64 + 31 = 95 ns; one tile, 0.6 us.

    Their own 4 neurons take 4 * (6 + 3.7) = 38.8 ns.
    """
    case = one_tile()
    assert case.traffic.each["messages"].tolist() == [[8]]
    assert case.counts.total.synaptic_operations_conv == 20
    assert case.times.steps == close([695 * NS])
    assert case.times.busiest is not None and case.times.busiest.phase == "receiver"
    assert case.energy.total == close((24.0 * 20 + 51.2 * 9 + 21.6 * 8 + 111 * 8) * PJ)


# -- three samples in a stream: in a chip step the levels hold different samples


def stream() -> Case:
    """image [2] -> a [2], core 0 -> out [1], core 4 (the tile to the north); T = 1, three samples."""
    graph = graph_of(
        (2,),
        [population("a", (2,)), population("out", (1,), "readout")],
        [("image", "a", Dense(weight=np.ones((2, 2)))), ("a", "out", Dense(weight=np.ones((1, 2))))],
        steps=1,
    )
    return Case(
        graph,
        mapping((0, "a", ((0, 2),)), (4, "out", ((0, 1),))),
        {
            "image": Activity(spikes=bits([[1, 1], [0, 0], [1, 0]])),
            "a": Activity(spikes=bits([[1, 1], [0, 0], [1, 0]]), active=bits([[1, 1], [0, 0], [1, 1]]) > 0),
            "out": Activity(active=bits([[1], [0], [1]]) > 0),
        },
    )


def test_a_stream_by_hand() -> None:
    """Chip step s: the image of sample s, a of sample s - 1, out of sample s - 2; two tiles, barrier 1.0 us.

    core 0, sender of samples 2 0 1: 12 + 7.4 + 30 + 5.1 = 54.5, 12 + 7.4 + 60 + 10.2 = 89.6, 12 ns
    core 0, receiver of the images of samples 0 1 2: 2 * 16 + 4 * 3.8 = 47.2, 0, 16 + 2 * 3.8 = 23.6 ns
    """
    case = stream()
    assert case.times.steps == close([1054.5 * NS, 1089.6 * NS, 1023.6 * NS])
    # T + depth = 3 chip steps, whichever comes first
    assert case.times.latency == close([3167.7 * NS] * 3)
    assert case.traffic.per_sample("messages").tolist() == [4, 0, 2]
    assert case.traffic.per_sample("hops_y").tolist() == [2, 0, 1]
    # sample 1 is silent and has no active update: 3 updates
    assert case.energy.dynamic[1] == close(3 * 51.2 * PJ)


def test_samples_in_batches_are_the_same_stream() -> None:
    case = stream()
    whole = case.traffic
    counter = TrafficCounter(case.graph, whole.mapping)
    spikes = bits([[1, 1], [0, 0], [1, 0]])
    for sample in ([0, 1], [2]):
        counter.add(
            {
                "image": Activity(spikes=spikes[:, sample]),
                "a": Activity(spikes=spikes[:, sample], active=bits([[1, 1], [0, 0], [1, 1]])[:, sample] > 0),
                "out": Activity(active=bits([[1], [0], [1]])[:, sample] > 0),
            }
        )
    parts = counter.traffic()
    assert all((parts.sent[name] == whole.sent[name]).all() for name in whole.sent)
    assert all((parts.received[name] == whole.received[name]).all() for name in whole.received)
    assert times_of(parts, 1, 3).steps.tolist() == case.times.steps.tolist()


def test_loads_that_take_too_much_memory_are_kept_of_the_first_samples_only() -> None:
    """Two samples of the three, also where they come in other batches; messages and hops are still those of all."""
    case = stream()
    spikes, active = bits([[1, 1], [0, 0], [1, 0]]), bits([[1, 1], [0, 0], [1, 1]]) > 0
    ends = bits([[1], [0], [1]]) > 0

    def counted(batches: list[list[int]], loads_bytes: int = 2**20, loads_sums: int = 2**20) -> Traffic:
        limits = {"loads_bytes": loads_bytes, "loads_sums": loads_sums}
        counter = TrafficCounter(case.graph, case.traffic.mapping, **limits)
        for sample in batches:
            fired = spikes[:, sample]
            did = {"image": Activity(spikes=fired), "a": Activity(spikes=fired, active=active[:, sample])}
            counter.add(did | {"out": Activity(active=ends[:, sample])})
        return counter.traffic()

    a_sample = next(iter(case.traffic.sent.values())).shape[1] * 4 * (len(SENT) + len(RECEIVED))
    few = counted([[0], [1, 2]], 2 * a_sample)
    two = counted([[0, 1]])
    assert counted([[0], [1], [2]], loads_sums=0).timed == 1 and counted([[0], [1], [2]]).timed == 3
    assert (few.timed, two.timed, case.traffic.timed) == (2, 2, 3)
    assert all((few.sent[name] == two.sent[name]).all() for name in SENT)
    assert all((few.received[name] == two.received[name]).all() for name in RECEIVED)
    assert all((few.each[name] == case.traffic.each[name]).all() for name in case.traffic.each)
    assert few.of_population == case.traffic.of_population


@pytest.mark.parametrize("build", [three_tiles, one_tile, stream])
def test_what_the_cores_receive_adds_up_to_what_the_network_counts(build: object) -> None:
    case = build()  # type: ignore[operator]
    for name in ("synaptic_operations", "synaptic_operations_conv", "synaptic_operations_dense"):
        assert case.traffic.received[name].sum() == getattr(case.counts.total, name)
    for name in ("neuron_updates", "active_updates", "idle_updates", "spikes"):
        assert case.traffic.sent[name].sum() == getattr(case.counts.total, name)
    assert case.traffic.received["messages"].sum() == case.traffic.each["messages"].sum()


def test_a_fixed_step_takes_its_time_whatever_the_load() -> None:
    profile = find_profile("truenorth")
    times = step_times(profile, None, samples=3, time_steps=2, depth=4)
    assert times is not None and times.steps.tolist() == [1e-3] * 6 and times.busiest is None
    assert times.latency == close([6e-3] * 3)
    case = stream()
    energy = estimate(profile, case.counts, None, times, chips=2)
    assert energy.static == close(64e-3 * 2 * 2e-3)  # 64 mW, two chips, two steps of 1 ms
    assert energy.total == close(energy.static + 2.30 * PJ * (4 + 2 + 2 + 1) / 3)


def test_without_a_mapping_what_needs_one_is_missing_and_no_time_is_known() -> None:
    case = stream()
    energy = estimate(case.profile, case.counts, None, None, 1)
    assert energy.missing == ("messages", "hops_x", "hops_y")
    assert energy.total == close(case.energy.total - (111 * 2 + 4.2 * 1) * PJ)
    assert step_times(case.profile, None, samples=3, time_steps=1, depth=2) is None


def test_the_ends_of_a_range_are_priced_too() -> None:
    case = stream()
    price = case.profile.energy["messages"]
    wide = replace(case.profile, energy={"messages": replace(price, low=100.0, high=200.0)})
    found = [estimate(wide, case.counts, case.traffic, None, 1, end).total for end in ("low", "value", "high")]
    assert found == close([200 * PJ, 222 * PJ, 400 * PJ])  # 2 messages per sample
