"""Synaptic operations and updates of a small network, worked by hand, and what is refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.cost.counts import COUNTED, Activity, Counter, Counts, Tally, spread
from spikeport.errors import InputError
from spikeport.export.graph import Conv, Dense, Kernel, Projection, Shape, SpikeInput, SpikingGraph, check
from spikeport.tests.deploy.mapping.small import population

STEPS, SAMPLES = 3, 2


def project(kernel: Kernel, source: str, target: str) -> Projection:
    return Projection(source=source, target=target, kernel=kernel)


def ones(*shape: int) -> NDArray[np.float64]:
    return np.ones(shape)


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


def slots(numbers: list[int], shape: Shape) -> NDArray[np.uint8]:
    """[T, N, *shape]: each neuron spikes in the first so many steps, sample after sample."""
    order = np.arange(STEPS)[:, None] + STEPS * np.arange(SAMPLES)[None, :]
    return (order.reshape(STEPS, SAMPLES, *[1] * len(shape)) < np.array(numbers).reshape(shape)).astype(np.uint8)


def activity() -> dict[str, Activity]:
    """Two samples of `network()`: 6 neuron-steps for each neuron."""
    row, pair, two = (1, 1, 4), (1, 1, 2), (2,)
    return {
        "image": Activity(spikes=slots([6, 1, 0, 2], row)),
        "hidden": Activity(spikes=slots([3, 4, 1, 0], row), active=slots([6, 6, 2, 1], row) > 0),
        "pool": Activity(spikes=slots([5, 1], pair), active=slots([5, 1], pair) > 0),
        "carry": Activity(spikes=slots([5, 1], pair), active=slots([5, 1], pair) > 0),
        "logits": Activity(active=slots([6, 2], two) > 0),
    }


def counted(**settings: object) -> Counts:
    counter = Counter(network(), **settings)  # type: ignore[arg-type]
    counter.add(activity())
    return counter.counts()


def test_a_network_by_hand() -> None:
    tallies = {p.name: p.tally for p in counted().populations}
    assert tallies == {
        "image": Tally(input_spikes=9),
        # fan-out 2 3 3 2: 6*2 + 1*3 + 0*3 + 2*2 = 19; updates 3 steps * 4 neurons * 2 samples
        "hidden": Tally(
            neurons=4, synapses=10, spikes=8, synaptic_operations_conv=19, neuron_updates=24, active_updates=15
        ),
        # fan-out 1 1 1 1
        "pool": Tally(neurons=2, synapses=4, spikes=6, synaptic_operations_conv=8, neuron_updates=12, active_updates=6),
        # fan-out 1 1
        "carry": Tally(
            neurons=2, synapses=2, spikes=6, synaptic_operations_conv=6, neuron_updates=12, active_updates=6
        ),
        # fan-out of carry 2 1, a full matrix: 5*2 + 1*1 = 11; of hidden 0 2 1 0, 3 of 8 weights: 4*2 + 1*1 = 9
        "logits": Tally(
            neurons=2,
            synapses=6,
            synaptic_operations_dense=11,
            synaptic_operations_sparse=9,
            neuron_updates=12,
            active_updates=8,
        ),
    }


def test_totals_and_roles() -> None:
    counts = counted()
    total = counts.total
    assert (total.neurons, total.synapses, total.spikes, total.input_spikes) == (10, 22, 20, 9)
    assert (total.synaptic_operations, total.neuron_updates) == (53, 60)
    assert (total.active_updates, total.idle_updates) == (35, 25)
    assert list(counts.by_role) == ["input", "neuron", "or", "relay", "readout"]
    assert counts.by_role["relay"] == counts.populations[3].tally
    assert counts.spikes_per_synapse == 53 / (22 * 2)


def test_every_sample_and_step_by_hand() -> None:
    """Sample 0: image 111 1.. ... 11. -> SOPs into hidden 2+3+2, 2+2, 2; sample 1 has the first neuron only."""
    counts = counted()
    assert counts.each["input_spikes"].tolist() == [[3, 2, 1], [1, 1, 1]]
    assert counts.each["spikes"].tolist() == [[2 + 1 + 2 + 2, 2 + 1 + 1, 2 + 1 + 1], [1 + 1 + 1, 0 + 1 + 1, 0]]
    # in the first step image 7; hidden 1 1 1 0 gives 3 to the pool and 2 + 1 to the logits; pool 2; carry 2 + 1
    assert counts.each["synaptic_operations"][0, 0] == 7 + 3 + 3 + 2 + 3
    assert counts.each["neuron_updates"].tolist() == [[10] * 3] * 2
    for name in COUNTED:
        assert counts.per_sample(name).sum() == getattr(counts.total, name)
    assert spread(counts.per_sample("input_spikes")) == {"mean": 4.5, "std": 1.5, "min": 3, "max": 6}


def test_neurons_and_the_samples_in_which_they_spiked() -> None:
    image, hidden = counted().populations[:2]
    assert image.spikes_of.ravel().tolist() == [6, 1, 0, 2] and image.spikes == 9
    assert image.fired_of.ravel().tolist() == [2, 1, 0, 1]
    assert hidden.fired_of.ravel().tolist() == [1, 2, 1, 0]


def test_each_sample_of_a_population_by_hand() -> None:
    image, hidden = counted().populations[:2]
    assert image.each["spikes"].tolist() == [6, 3] and image.each["active_updates"].tolist() == [0, 0]
    # image 3 1 0 2 and 3 0 0 0 spikes with fan-out 2 3 3 2; hidden active 3 3 2 1 and 3 3 0 0
    assert hidden.each["synaptic_operations"].tolist() == [6 + 3 + 4, 6]
    assert hidden.each["active_updates"].tolist() == [9, 6]
    assert hidden.each["spikes"].tolist() == [3 + 3 + 1, 1]


def test_batches_add_up() -> None:
    counter, whole = Counter(network()), counted()
    for sample in range(SAMPLES):
        counter.add(
            {
                name: Activity(
                    spikes=None if one.spikes is None else one.spikes[:, sample : sample + 1],
                    active=None if one.active is None else one.active[:, sample : sample + 1],
                )
                for name, one in activity().items()
            }
        )
    parts = counter.counts()
    assert [p.tally for p in parts.populations] == [p.tally for p in whole.populations]
    assert all((p.fired_of == q.fired_of).all() for p, q in zip(parts.populations, whole.populations, strict=True))
    assert all((parts.each[name] == whole.each[name]).all() for name in COUNTED)


def test_synapses_of_weight_zero_count_if_asked() -> None:
    counts = counted(zeros=True)
    logits = counts.populations[4].tally
    assert logits.synapses == 12
    # fan-out 2 of every neuron: carry 6 spikes, hidden 8; stored as they were
    assert (logits.synaptic_operations_dense, logits.synaptic_operations_sparse) == (12, 16)


def test_neurons_of_an_input_layer_on_the_chip_are_updated_in_every_step() -> None:
    counts = counted(on_chip_inputs=frozenset({"image"}))
    image = counts.populations[0].tally
    assert image == Tally(neurons=4, spikes=9, neuron_updates=24, active_updates=24)
    assert counts.total.input_spikes == 0 and counts.total.neuron_updates == 84


def test_one_weight_less_is_seen() -> None:
    graph = network()
    graph.projections[0].kernel.weight[0, 0, 0, 2] = 0.0
    counter = Counter(graph)
    counter.add(activity())
    # fan-out 1 2 2 2 now: the last tap carried columns 1..3 to their left neighbours
    assert counter.counts().populations[1].tally.synaptic_operations == 19 - (1 + 0 + 2)


Change = Callable[[dict[str, Activity]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("pool"), r"lacks \['pool'\]"),
        (lambda a: a.update(extra=a["pool"]), r"has \['extra'\] too many"),
        (lambda a: a.update(pool=replace(a["pool"], spikes=a["image"].spikes)), r"shape \(3, 2, 1, 1, 2\)"),
        (lambda a: a.update(pool=replace(a["pool"], spikes=a["pool"].spikes * 1.0)), "float64"),
        (lambda a: a.update(pool=replace(a["pool"], spikes=a["pool"].spikes * np.uint8(7))), "up to 7"),
        (lambda a: a.update(pool=Activity(active=a["pool"].active)), "`spikes` is missing"),
        (lambda a: a.update(pool=Activity(spikes=a["pool"].spikes)), "`active` is missing"),
        (lambda a: a.update(logits=replace(a["logits"], spikes=slots([0, 0], (2,)))), "of a population that spikes"),
        (lambda a: a.update(pool=replace(a["pool"], active=a["pool"].active[:2])), r"shape \(3, 2, 1, 1, 2\)"),
        (lambda a: a.update({name: Activity() for name in a}), "one number of samples"),
    ],
)
def test_activity_that_does_not_fit_is_refused(change: Change, message: str) -> None:
    wrong = activity()
    change(wrong)
    with pytest.raises(InputError, match=message):
        Counter(network()).add(wrong)


def test_no_samples_is_refused() -> None:
    with pytest.raises(InputError, match="samples >= 1"):
        Counter(network()).counts()
