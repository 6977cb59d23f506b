"""Write, read: the same graph, field for field; what was changed on the way is seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.deploy.run.any_form import run
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check, neurons
from spikeport.export.nir.reader import read_nir
from spikeport.export.nir.writer import write_nir
from spikeport.export.simulate import simulate

from .graphs import equal

DECAYS = (0.0, 0.1, 0.3, 0.5, 0.9, 0.99, 1.0)
CURRENTS = (0.0, 0.0, 0.2, 0.7)


@st.composite
def graphs(draw: Any) -> SpikingGraph:
    """Two inputs at most, images and flat populations, skips, groups, loops, delays, roles, biases of every kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))

    def choose(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    inputs = [SpikeInput(name="events", shape=(choose(1, 2), 4, 5))]
    if choose(True, False):
        inputs.append(SpikeInput(name="more.events", shape=(3,)))
    shapes: dict[str, tuple[int, ...]] = {entry.name: entry.shape for entry in inputs}
    populations, projections = [], []
    for number in range(choose(1, 2, 3, 4)):
        name, decay, current = choose(f"p{number}", f"cells.{number}.node"), choose(*DECAYS), choose(*CURRENTS)
        current = 0.0 if decay == 1 else current
        image = choose(True, False)
        shape = (choose(2, 4), 4, 5) if image else (choose(1, 3),)
        reads = [s for s in shapes if not image or len(shapes[s]) == 3]
        for source in draw(st.lists(st.sampled_from(reads), min_size=1, max_size=2)):
            groups = 2 if image and shapes[source][0] % 2 == 0 and choose(True, False) else 1
            if image:
                weight = rng.normal(size=(shape[0], shapes[source][0] // groups, 3, 3))
                kernel: Any = Conv(weight=weight, padding=(1, 1), groups=groups)
            else:
                kernel = Dense(weight=rng.normal(size=(shape[0], neurons(shapes[source]))))
            projections.append(Projection(source=source, target=name, kernel=kernel))
        if not image and choose(True, False):
            projections.append(Projection(source=name, target=name, kernel=Dense(weight=rng.normal(size=shape * 2))))
        role = choose("neuron", "or", "and", "relay") if decay == current == 0 else "neuron"
        bias = np.zeros(shape[0]) if role != "neuron" or choose(True, False) else rng.normal(size=shape[0])
        values = {"decay": decay, "current_decay": current, "threshold": choose(0.5, 1.0, 1.5), "bias": bias}
        reset = choose("zero", "subtract") if decay == 0 else "zero"
        populations.append(Population(name=name, shape=shape, role=role, reset=reset, **values))
        shapes[name] = shape
    delay = rng.integers(0, 3, (2, neurons(shapes[populations[-1].name]))) if choose(True, False) else None
    delay = None if delay is None or not delay.any() else delay
    for source in {populations[-1].name, *draw(st.lists(st.sampled_from(sorted(shapes)), max_size=1))}:
        weight = rng.normal(size=(2, neurons(shapes[source])))
        waits = delay if source == populations[-1].name else None
        projections.append(Projection(source=source, target="readout", kernel=Dense(weight=weight), delay=waits))
    decay, current = choose((1.0, 0.0), (0.9, 0.0), (0.8, 0.3), (0.0, 0.0))
    values = {"decay": decay, "current_decay": current, "threshold": np.inf, "bias": rng.normal(size=2)}
    populations.append(Population(name="readout", shape=(2,), role="readout", **values))
    graph = SpikingGraph(
        inputs=tuple(inputs), populations=tuple(populations), projections=tuple(projections), time_steps=choose(1, 3)
    )
    return check(graph)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs(), dt=st.sampled_from([1.0, 1e-3, 1e-4, 0.0007]))
def test_reading_back_gives_the_same_graph(tmp_path: Path, graph: SpikingGraph, dt: float) -> None:
    path = write_nir(tmp_path / "network.nir", graph, dt=dt)
    found = read_nir(path)
    assert equal(found.graph, graph)
    assert found.dt == dt
    assert equal(read_nir(nir.read(path)).graph, graph)  # nir reads and checks it, too


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs())
def test_the_nodes_alone_say_the_same(tmp_path: Path, graph: SpikingGraph) -> None:
    """Without what was noted, as another program reads the file: the same but for rounding of decays and names."""
    path = write_nir(tmp_path / "network.nir", graph)
    found = read_nir(path, ignore_metadata=True, time_steps=graph.time_steps, dt=1e-4, fires=">=").graph
    names = {p.name: p for p in found.populations}
    names["readout"] = found.readout
    for population in graph.populations:
        other = names[population.name]
        assert abs(other.decay - population.decay) < 1e-14
        assert abs(other.current_decay - population.current_decay) < 1e-14
        assert np.abs(other.bias - population.bias).max() < 1e-12
        assert other.threshold == population.threshold
    weights = sorted(float(p.kernel.weight.sum()) for p in graph.projections)
    assert sorted(float(p.kernel.weight.sum()) for p in found.projections) == pytest.approx(weights, abs=1e-12)


def small(**given: Any) -> SpikingGraph:
    values = {"decay": 0.3, "threshold": 1.0, "bias": np.array([0.25, 0.5])} | given
    hidden = Population(name="hidden", shape=(2,), **values)
    readout = Population(name="readout", shape=(2,), decay=1.0, threshold=np.inf, bias=np.zeros(2), role="readout")
    projections = (
        Projection(source="input", target="hidden", kernel=Dense(weight=np.array([[1.0, 2, 3], [4, 5, 6]]))),
        Projection(source="hidden", target="readout", kernel=Dense(weight=np.eye(2))),
    )
    entry = SpikeInput(name="input", shape=(3,))
    return SpikingGraph(inputs=(entry,), populations=(hidden, readout), projections=projections, time_steps=4)


def test_what_stands_in_the_file(tmp_path: Path) -> None:
    graph = nir.read(write_nir(tmp_path / "network.nir", small()))
    assert sorted(graph.nodes) == ["hidden", "hidden_to_readout", "input", "input_to_hidden", "output"]
    hidden = graph.nodes["hidden"]
    assert hidden.tau.tolist() == [1e-4 / 0.7] * 2 and hidden.v_threshold.tolist() == [1.0, 1.0]
    assert graph.nodes["input_to_hidden"].bias.tolist() == [0.25, 0.5]
    assert graph.nodes["input_to_hidden"].weight.dtype == np.float64
    told = {key: value for key, value in graph.metadata.items() if key != "graph"}
    assert told == {
        "spikeport": "0.1.0",
        "format": 1,
        "time_steps": 4,
        "dt": 1e-4,
        "arithmetic": "float",
        "fires": ">=",
    }


def test_a_kernel_that_is_not_square(tmp_path: Path) -> None:
    """nir 1.0.8 takes kernels for square where it checks types; without that check it reads the file, and we do."""
    graph = small()
    image = Population(name="hidden", shape=(2, 3, 4), decay=0.5, threshold=1.0, bias=np.zeros(2))
    projections = (
        Projection(source="input", target="hidden", kernel=Conv(weight=np.ones((2, 1, 1, 3)), padding=(0, 1))),
        Projection(source="hidden", target="readout", kernel=Dense(weight=np.ones((2, 24)))),
    )
    entry = SpikeInput(name="input", shape=(1, 3, 4))
    graph = replace(graph, inputs=(entry,), populations=(image, graph.readout), projections=projections)
    path = write_nir(tmp_path / "network.nir", graph)
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(path)
    assert equal(read_nir(nir.read(path, type_check=False)).graph, graph)
    assert equal(read_nir(path).graph, graph)


def test_one_weight_changed_in_the_file_is_another_network(tmp_path: Path) -> None:
    path = write_nir(tmp_path / "network.nir", small())
    with h5py.File(path, "r+") as file:
        file["node/nodes/input_to_hidden/weight"][0, 0] = 0.0
    spikes = {"input": np.ones((4, 1, 3), np.uint8) * np.array([1, 0, 0], np.uint8)}
    assert (run(path, spikes["input"]).spikes["hidden"] != run(small(), spikes["input"]).spikes["hidden"]).any()
    assert (simulate(read_nir(path).graph, spikes).spikes["hidden"] != simulate(small(), spikes).spikes["hidden"]).any()


def edited(path: Path, key: str, value: Any) -> Path:
    with h5py.File(path, "r+") as file:
        del file[f"node/{key}"]
        file[f"node/{key}"] = value
    return path


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "nodes/hidden/tau",
            np.full(2, 3e-4),
            r"Node 'hidden' has decay=0.6666666666666666., but the metadata says 0.2999",
        ),
        ("metadata/time_steps", 0, "its metadata of spikeport is damaged .a positive number is needed, but there is 0"),
        ("metadata/format", 2, "its metadata of spikeport is damaged .format 2 instead of 1"),
        ("metadata/graph", "{", "its metadata of spikeport is damaged"),
        ("metadata/graph", '{"inputs": [], "populations": []}', "its metadata of spikeport is damaged .'output'"),
        ("metadata/fires", "<", "its metadata of spikeport is damaged .fires <"),
    ],
)
def test_a_note_is_never_believed(tmp_path: Path, key: str, value: Any, said: str) -> None:
    path = edited(write_nir(tmp_path / "network.nir", small()), key, value)
    with pytest.raises(InputError, match=said) as caught:
        read_nir(path)
    assert "ignore_metadata=True" in str(caught.value) and str(path) in str(caught.value)
    read_nir(path, ignore_metadata=True, time_steps=4, dt=1e-4)


def test_a_layer_taken_out_contradicts_the_note(tmp_path: Path) -> None:
    path = write_nir(tmp_path / "network.nir", small())
    with h5py.File(path, "r+") as file:
        del file["node/edges"]
        file["node/edges"] = [["input", "input_to_hidden"], ["input_to_hidden", "hidden"], ["hidden", "output"]]
    with pytest.raises(
        InputError, match=r"Node 'hidden_to_readout' \(Linear\) reads nothing; connect it, or leave it out"
    ):
        read_nir(path)


def test_another_dt_leaves_the_notes_alone(tmp_path: Path) -> None:
    path = write_nir(tmp_path / "network.nir", small(), dt=1e-4)
    graph = read_nir(path, dt=5e-5).graph
    assert graph.populations[0].decay == pytest.approx(0.65)
    assert graph.readout.name == "output"


# -- what NIR cannot say


def with_readout(**given: Any) -> SpikingGraph:
    graph = small()
    return replace(graph, populations=(graph.populations[0], replace(graph.readout, **given)))


def onto_an_image() -> SpikingGraph:
    graph = small()
    image = replace(graph.populations[0], shape=(2, 1, 1))
    return replace(graph, populations=(image, graph.readout))


def silent(**given: Any) -> SpikingGraph:
    graph = small(**given)
    return replace(graph, projections=graph.projections[1:])


REFUSED = [
    (
        small(reset="subtract"),
        "Population 'hidden' resets by subtraction, which no node of NIR does, though some exporters",
    ),
    (small(current_decay=1.0), "Population 'hidden' keeps its current for ever behind a synaptic filter"),
    (small(current_decay=0.5, decay=1.0), "Population 'hidden' keeps its membrane for ever behind a synaptic filter"),
    (with_readout(threshold=9.0, decay=0.5), "Population 'readout' has a threshold, and NIR's LI has none"),
    (
        replace(small(), arithmetic="loihi"),
        "NIR has no integers of a chip, whose decays round and whose membranes saturate",
    ),
    (
        onto_an_image(),
        "Projection 'input' -> 'hidden' is a full matrix onto an image, and NIR has no node that makes images",
    ),
    (silent(decay=1.0), "Population 'hidden' has a bias but no synapse that could carry it and no leak; add a synapse"),
]


@pytest.mark.parametrize(("graph", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_what_nir_cannot_say_is_refused_and_nothing_is_written(tmp_path: Path, graph: SpikingGraph, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        write_nir(tmp_path / "network.nir", graph)
    assert not list(tmp_path.iterdir())


def test_a_name_that_hdf5_takes_for_a_folder(tmp_path: Path) -> None:
    graph = small()
    projections = tuple(replace(p, source=p.source.replace("input", "in/put")) for p in graph.projections)
    renamed = replace(graph, inputs=(SpikeInput(name="in/put", shape=(3,)),), projections=projections)
    with pytest.raises(UnsupportedError, match="'in/put': HDF5 takes '/' for a folder; rename it"):
        write_nir(tmp_path / "network.nir", renamed)


def test_dt_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`dt > 0` must hold, in seconds, but dt=0"):
        write_nir(tmp_path / "network.nir", small(), dt=0)


def test_a_population_that_only_its_bias_drives(tmp_path: Path) -> None:
    graph = silent()
    path = write_nir(tmp_path / "network.nir", graph)
    assert equal(read_nir(path).graph, graph)


def test_delays_of_synapses_without_weight_are_not_kept(tmp_path: Path) -> None:
    graph = small()
    delay = np.array([[1, 2, 0], [3, 0, 0]])
    weight = np.array([[1.0, 0, 3], [4, 5, 6]])
    first = replace(graph.projections[0], kernel=Dense(weight=weight), delay=delay)
    path = write_nir(tmp_path / "network.nir", replace(graph, projections=(first, graph.projections[1])))
    assert read_nir(path).graph.projections[0].delay.tolist() == [[1, 0, 0], [3, 0, 0]]
