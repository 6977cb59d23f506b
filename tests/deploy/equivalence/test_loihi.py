"""Searched networks, exported, against unmodified Lava: every spike of every population, every membrane of the readout.

The networks have three cells, of which the second and the third reduce: there are strides of 2, relays, and levels on
which populations of several sizes lie side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.equivalence.verdict import compare_float, compare_integers
from spikeport.deploy.run.forms import GraphRunner, LavaJob, TwinRunner, lava_records
from spikeport.deploy.run.record import Record
from spikeport.deploy.run.torch_network import TorchRunner
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.netx.chain import Chain, chain_of
from spikeport.export.netx.writer import layer_indices, write_netx
from spikeport.export.onnx.twin import write_twin
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import apply
from spikeport.export.targets import traced
from spikeport.search.space.network import SpikingNetwork

SAMPLES = 3
LIMIT_S = 300.0


@dataclass(frozen=True)
class Exported:
    """A network's float and quantized graph, the files in `folder`, and spikes to run them on."""

    folder: Path
    graph: SpikingGraph
    chain: Chain
    spikes: NDArray[np.uint8]

    @property
    def twin(self) -> Record:
        return TwinRunner(self.folder / "twin.onnx", self.graph)(self.spikes)

    @property
    def job(self) -> LavaJob:
        return self.folder / "network.net", self.graph, self.spikes


def export(folder: Path, network: SpikingNetwork, images: NDArray[np.float32]) -> Exported:
    torch_runner = TorchRunner(network)
    reference = torch_runner(images)
    found = traced(network)
    spikes = reference.spikes[found.graph.inputs[0].name]
    floats = GraphRunner(found.graph)(spikes)
    same = compare_float("graph", "torch", "graph", lambda nudges: torch_runner(images, nudges), floats)
    assert same.verdict == "pass", same.first_divergence
    return written(folder, quantize(lower(found.graph), float(np.abs(reference.readout).max())), spikes)


def written(folder: Path, graph: SpikingGraph, spikes: NDArray[np.uint8]) -> Exported:
    chain = chain_of(graph)
    write_twin(folder / "twin.onnx", graph, {})
    write_netx(folder / "network.net", graph, chain)
    return Exported(folder, graph, chain, spikes)


def rates(record: Record) -> dict[str, float]:
    return {name: float(spikes.mean()) for name, spikes in record.spikes.items()}


SEARCHED = {  # name -> seed, primitives, channels, time steps, rows, columns, attention
    "1-darts": (3, "darts", 2, 2, 12, 8, "none"),
    "2-plain": (2, "plain", 2, 3, 8, 12, "none"),
    "3-spike": (1, "darts", 2, 2, 8, 8, "spike"),
}
BROKEN, BROKEN_AT = (1, "plain", 2, 2, 8, 8, "none"), "cells.1.n2"


@pytest.fixture(scope="module")
def in_lava(
    real_lava: None,
    tmp_path_factory: pytest.TempPathFactory,
    spiking_network: Callable[..., SpikingNetwork],
    images_of: Callable[..., NDArray[np.float32]],
) -> dict[str, tuple[Exported, Record]]:
    """What Lava makes of every network of this file, started once."""
    runs = {}
    for name, (seed, primitives, channels, steps, rows, columns, attention) in {**SEARCHED, "broken": BROKEN}.items():
        sizes = {"channels": channels, "time_steps": steps, "rows": rows, "columns": columns}
        cells = 3 if attention == "none" else 2  # gates take three levels more for each node
        network = spiking_network(seed, primitives, **sizes, cells=cells, attention=attention)
        runs[name] = export(tmp_path_factory.mktemp(name), network, images_of(network, SAMPLES))
    break_one_weight(runs["broken"], BROKEN_AT)
    runs["wide"] = written(tmp_path_factory.mktemp("wide"), *wide())
    records = lava_records([run.job for run in runs.values()], LIMIT_S, lambda _: None)
    return dict(zip(runs, zip(runs.values(), records, strict=True), strict=True))


@pytest.mark.lava
@pytest.mark.parametrize("name", SEARCHED)
def test_searched_networks_equal_lava(in_lava: dict[str, tuple[Exported, Record]], name: str) -> None:
    run, lava = in_lava[name]
    roles = [p.role for p in run.graph.populations]
    strides = {p.kernel.stride for p in run.graph.projections if isinstance(p.kernel, Conv)}
    assert "relay" in roles and (2, 2) in strides
    assert any(place.factor == (2, 2) for place in run.chain.places.values())  # levels of mixed resolution
    twin = run.twin
    meaning = GraphRunner(run.graph)(run.spikes)
    fired = rates(meaning)
    assert 0.05 < np.mean(list(fired.values())) < 0.4, fired  # so that being equal means something
    assert sum(0 < rate < 1 for rate in fired.values()) > 0.9 * len(fired), fired
    assert np.ptp(meaning.readout, axis=0).min() > 64  # the samples differ
    for name, candidate in (("twin", twin), ("lava", lava)):
        result = compare_integers(name, "simulate", name, meaning, candidate)
        assert (result.verdict, result.spikes_differing, result.first_divergence) == ("pass", 0, None)
        assert result.spikes_compared == sum(spikes.size for spikes in candidate.spikes.values())
        assert candidate.spikes.keys() == meaning.spikes.keys()
        assert (candidate.readout_steps == meaning.readout_steps).all()
    with_margins = TwinRunner(run.folder / "twin.onnx", run.graph)(run.spikes).margins
    assert all((with_margins[name] == values).all() for name, values in meaning.margins.items())


def break_one_weight(run: Exported, name: str) -> None:
    """In the NetX file, the strongest weight into a population's first channel changes its sign."""
    place = run.chain.places[name]
    layer = run.chain.graph.populations[place.layer]
    with h5py.File(run.folder / "network.net", "r+") as file:
        weight = file[f"layer/{layer_indices(run.chain)[layer.name]}/weight"]
        values = weight[...]
        into = values[place.start]
        strongest = np.unravel_index(np.abs(into).argmax(), into.shape)
        into[strongest] = -254 * np.sign(into[strongest])
        weight[...] = values


@pytest.mark.lava
def test_one_broken_weight_fails_and_names_its_population(in_lava: dict[str, tuple[Exported, Record]]) -> None:
    run, lava = in_lava["broken"]
    name = BROKEN_AT
    result = compare_integers("loihi", "twin.onnx", "Lava", run.twin, lava)
    assert result.verdict == "fail"
    assert result.first_divergence is not None
    assert result.first_divergence["population"] == name
    assert result.first_divergence["neuron"][0] == 0
    assert f"'{name}' differ" in result.first_divergence["cause"]
    assert result.spikes_differing


def wide() -> tuple[SpikingGraph, NDArray[np.uint8]]:
    """Sums beyond 16 bits, and spikes for them.

    image 32x8x12 -> near (3x3) -> far (5x5) -> readout, which keeps its current: 2 ** 17 * 64 = 2 ** 23
    """
    random = np.random.default_rng(4)

    def signed(*shape: int) -> NDArray[np.float64]:
        """Rows of one sign, so that sums are large: +254 and -256 by turns, a fifth of them smaller."""
        sign = np.where(np.arange(shape[0]) % 2, -256.0, 254.0).reshape(-1, *[1] * (len(shape) - 1))
        return np.where(random.random(shape) < 0.2, 2.0 * random.integers(-40, 40, shape), sign)

    near = Population(
        name="near",
        shape=(24, 8, 12),
        decay=3000 / 4096,
        current_decay=4000 / 4096,
        threshold=200,
        bias=random.integers(-4095, 4096, 24).astype(np.float64),
    )
    far = replace(near, name="far", shape=(16, 8, 12), decay=0.5, threshold=131071, bias=near.bias[:16])
    readout = Population(
        name="readout",
        shape=(5,),
        decay=1.0,
        current_decay=4090 / 4096,
        threshold=2**17 - 1,
        bias=np.array([4095.0, -4096, 0, 1, -1]),
        role="readout",
    )
    graph = check(
        SpikingGraph(
            inputs=(SpikeInput(name="image", shape=(32, 8, 12)),),
            populations=(near, far, readout),
            projections=(
                Projection(source="image", target="near", kernel=Conv(weight=signed(24, 32, 3, 3), padding=(1, 1))),
                Projection(source="near", target="far", kernel=Conv(weight=signed(16, 24, 5, 5), padding=(2, 2))),
                Projection(source="far", target="readout", kernel=Dense(weight=signed(5, 16 * 8 * 12))),
            ),
            time_steps=6,
            arithmetic="loihi",
        )
    )
    return graph, (random.random((6, 3, 32, 8, 12)) < 0.6).astype(np.uint8)


@pytest.mark.lava
def test_wrapping_currents_and_clipped_membranes_equal_lava(in_lava: dict[str, tuple[Exported, Record]]) -> None:
    """The current's 24 bits wrap, the membrane's clip, upwards and downwards."""
    run, lava = in_lava["wide"]
    graph, spikes = run.graph, run.spikes
    near, far = graph.populations[:2]
    meaning = GraphRunner(graph)(spikes)
    assert all(0.02 < rate < 0.98 for rate in rates(meaning).values()), rates(meaning)
    current = np.zeros((3, *near.shape))
    for step in spikes:
        arriving = apply(graph.projections[0].kernel, step)
        current = current * near.current_decay + 64 * arriving
    assert np.abs(arriving).max() > 2**15
    assert np.abs(current).max() > 2**23  # it wrapped
    before = {name: meaning.margins[name] + 64 * int(p.threshold) for name, p in (("near", near), ("far", far))}
    assert {int(values.min()) for values in before.values()} == {1 - 2**23}  # clipped
    assert max(int(values.max()) for values in before.values()) == 2**23 - 1
    for name, candidate in (("twin", run.twin), ("lava", lava)):
        result = compare_integers(name, "simulate", name, meaning, candidate)
        assert (result.verdict, result.first_divergence) == ("pass", None)
