"""What a network does as an ANN and as an SNN without relays, by hand and against the plain convolution."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.cost.operations import Operations, operations_of
from spikeport.errors import InputError
from spikeport.export.graph import Conv, Dense, Kernel, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.passes.relays import insert_relays
from spikeport.export.simulate import apply, simulate
from spikeport.tests.deploy.mapping.small import population

Counted = dict[str, NDArray[np.int64]]


def project(source: str, target: str, kernel: Kernel) -> Projection:
    return Projection(source=source, target=target, kernel=kernel)


def network() -> SpikingGraph:
    """image [1,2,2] -> hidden [1,2,2] -> pool (OR of all four) -> carry (relay) -> logits [3], T = 2.

    hidden also reaches the logits directly; two of its weights, and one of carry's, are zero.
    """
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(1, 2, 2)),),
            populations=(
                population("hidden", (1, 2, 2)),
                population("pool", (1, 1, 1), "or"),
                population("carry", (1, 1, 1), "relay"),
                population("logits", (3,), "readout"),
            ),
            projections=(
                project("image", "hidden", Conv(weight=np.array([[[[1.0, 2.0]]]]), padding=(0, 1), stride=(1, 2))),
                project("hidden", "pool", Conv(weight=np.ones((1, 1, 2, 2)))),
                project("pool", "carry", Conv(weight=np.ones((1, 1, 1, 1)))),
                project("carry", "logits", Dense(weight=np.array([[1.0], [0.0], [2.0]]))),
                project("hidden", "logits", Dense(weight=np.array([[1.0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]]))),
            ),
            time_steps=2,
        )
    )


def spikes() -> tuple[Counted, Counted]:
    """Four samples: (spikes_of, fired_of)."""
    spikes_of = {
        "image": np.array([[[5, 3], [0, 2]]]),
        "hidden": np.array([[[1, 4], [0, 2]]]),
        "pool": np.array([[[6]]]),
        "carry": np.array([[[6]]]),
        "logits": np.zeros(3, np.int64),
    }
    fired_of = {
        "image": np.array([[[3, 2], [0, 2]]]),
        "hidden": np.array([[[1, 2], [0, 2]]]),
        "pool": np.array([[[4]]]),
        "carry": np.array([[[4]]]),
        "logits": np.zeros(3, np.int64),
    }
    return spikes_of, fired_of


def test_a_network_by_hand() -> None:
    # image: two targets a row; column 0 of the source is read by tap 1 of target 0, column 1 by tap 0 of target 1
    # fans: image 1 1 / 1 1, hidden to the logits 2 2 2 2, carry 2
    assert operations_of(network(), *spikes(), samples=4, encoder_macs=7) == Operations(
        synapses=4 + 8 + 2,
        executed=(7 + 2 * 5 + 2 * 4) / 4,
        operations=(10 + 2 * 7 + 2 * 6) / 4,
        updates=2 * (4 + 3),  # no relay and no pool
        weights=2 + 8 + 2,
        activations=4 + 4 + 1 + 3,
        written=4 + 1 + 3,
        membranes=4 + 3,
        max_pool_inputs=4,
        encoder_macs=7,
        time_steps=2,
    )


def test_one_weight_less_is_seen() -> None:
    graph = network()
    graph.projections[3].kernel.weight[2, 0] = 0.0
    before, after = (operations_of(g, *spikes(), samples=4, encoder_macs=0) for g in (network(), graph))
    assert (after.synapses, after.weights) == (before.synapses - 1, before.weights - 1)
    assert (after.operations, after.executed) == (before.operations - 6 / 4, before.executed - 4 / 4)


def test_a_relay_that_is_called_a_neuron_is_seen() -> None:
    graph = network()
    carry = replace(graph.populations[2], role="neuron")
    called = replace(graph, populations=(*graph.populations[:2], carry, graph.populations[3]))
    before, after = (operations_of(g, *spikes(), samples=4, encoder_macs=0) for g in (graph, called))
    assert (after.synapses, after.updates) == (before.synapses + 1, before.updates + 2)


def recorded(graph: SpikingGraph, image: NDArray[np.uint8]) -> tuple[dict[str, NDArray[np.uint8]], Counted, Counted]:
    trains = simulate(graph, {"image": image}).spikes
    spikes_of = {name: fired.sum((0, 1), dtype=np.int64) for name, fired in trains.items()}
    return trains, spikes_of, {name: fired.any(0).sum(0, dtype=np.int64) for name, fired in trains.items()}


def skipping(rng: np.random.Generator) -> SpikingGraph:
    """image -> a -> b -> logits and a -> logits, so that a needs a relay; random sparse kernels, T = 3."""

    def sparse(*shape: int) -> NDArray[np.float64]:
        return rng.normal(size=shape) * (rng.random(shape) < 0.6)

    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(2, 5, 5)),),
            populations=(population("a", (3, 3, 3)), population("b", (3, 3, 3)), population("logits", (4,), "readout")),
            projections=(
                project("image", "a", Conv(weight=sparse(3, 2, 3, 3), padding=(1, 1), stride=(2, 2))),
                project("a", "b", Conv(weight=sparse(3, 1, 3, 3), padding=(1, 1), groups=3)),
                project("b", "logits", Dense(weight=sparse(4, 27))),
                project("a", "logits", Dense(weight=sparse(4, 27))),
            ),
            time_steps=3,
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_skipped_zeros_and_operations_are_those_of_the_run(seed: int) -> None:
    """Each sample's executed MACs: the non-zero pattern of every kernel applied to what fired in it at least once."""
    rng = np.random.default_rng(seed)
    graph = skipping(rng)
    trains, spikes_of, fired_of = recorded(graph, (rng.random((3, 6, 2, 5, 5)) < 0.2).astype(np.uint8))
    done = operations_of(graph, spikes_of, fired_of, samples=6, encoder_macs=0)
    executed, operations = 0.0, 0.0
    for projection in graph.projections:
        kernel = replace(projection.kernel, weight=(projection.kernel.weight != 0).astype(np.float64))
        executed += apply(kernel, trains[projection.source].any(0)).sum()
        operations += sum(apply(kernel, step).sum() for step in trains[projection.source])
    assert (done.executed, done.operations) == (executed / 6, operations / 6)
    assert 0 < done.executed < done.synapses


def test_relays_change_nothing() -> None:
    rng = np.random.default_rng(0)
    graph, image = skipping(rng), (rng.random((3, 6, 2, 5, 5)) < 0.2).astype(np.uint8)
    carried = insert_relays(graph)
    assert any(p.role == "relay" for p in carried.populations)
    plain, relayed = (operations_of(g, *recorded(g, image)[1:], samples=6, encoder_macs=9) for g in (graph, carried))
    assert plain == relayed


Change = Callable[[Counted, Counted], object]


def put(counts: Mapping[str, NDArray[np.int64]], value: int) -> None:
    counts["image"][0, 0, 1] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, f: s.pop("hidden"), r"spikes_of\['hidden'\] must be integers of shape \(1, 2, 2\), but is missing"),
        (lambda s, f: f.pop("carry"), r"fired_of\['carry'\] must be .* is missing"),
        (lambda s, f: s.update(hidden=np.zeros(4, np.int64)), r"spikes_of\['hidden'\] .* is int64 of shape \(4,\)"),
        (lambda s, f: f.update(hidden=np.zeros((1, 2, 2))), r"fired_of\['hidden'\] .* is float64"),
        (lambda s, f: put(s, 5), r"neuron \(0, 0, 1\) has fired_of=2 and spikes_of=5 with samples=4 and T=2"),
        (lambda s, f: put(s, 1), r"'image': .* neuron \(0, 0, 1\) has fired_of=2 and spikes_of=1"),
        (lambda s, f: put(f, -1), r"neuron \(0, 0, 1\) has fired_of=-1"),
        (lambda s, f: (put(s, 5), put(f, 5)), r"neuron \(0, 0, 1\) has fired_of=5 .* samples=4"),
    ],
)
def test_counts_that_do_not_fit_are_refused(change: Change, message: str) -> None:
    spikes_of, fired_of = spikes()
    change(spikes_of, fired_of)
    with pytest.raises(InputError, match=message):
        operations_of(network(), spikes_of, fired_of, samples=4, encoder_macs=0)


def test_the_readout_need_not_be_counted() -> None:
    whole, part = spikes(), spikes()
    for counts in part:
        del counts["logits"]
    expected = operations_of(network(), *whole, samples=4, encoder_macs=0)
    assert operations_of(network(), *part, samples=4, encoder_macs=0) == expected


def test_no_samples_and_no_synapses_are_refused() -> None:
    with pytest.raises(InputError, match="samples >= 1"):
        operations_of(network(), *spikes(), samples=0, encoder_macs=0)
    graph = network()
    for projection in graph.projections:
        projection.kernel.weight[:] = 0.0
    with pytest.raises(InputError, match="none of its 5 projections has"):
        operations_of(graph, *spikes(), samples=4, encoder_macs=0)
