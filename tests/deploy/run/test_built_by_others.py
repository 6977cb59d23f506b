"""Networks of SpikingJelly's zoo as NetX files: run without Lava, and in real Lava, they fire as their graphs do."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikeport.deploy.run.forms import GraphRunner, NetxRunner, lava_records
from spikeport.deploy.run.record import Record, differing
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.writer import write_netx
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.built_by_others import NETWORKS, T, inputs_of, prepared

from .as_lava import LARGE

SAMPLES = 2
# the start of a network takes Lava seconds for each layer; SPIKEPORT_BUDGET=large takes them all
IN_LAVA = {
    *("spiking ResNet", "SEW ADD", "SEW AND", "SEW IAND", "spiking VGG-11", "MS-ResNet, events", "PLIF"),
    "spike-driven attention",
}


@dataclass(frozen=True)
class Written:
    """A network's NetX file, the graph it was written from, and spikes [T, N, *shape] for it."""

    path: Path
    graph: SpikingGraph
    spikes: NDArray[np.uint8]

    def differing(self, record: Record) -> int:
        expected = GraphRunner(self.graph)(self.spikes)
        return differing(expected, record) + int((expected.readout != record.readout).sum())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    folder, found = tmp_path_factory.mktemp("zoo"), {}
    for number, (name, built) in enumerate(NETWORKS.items()):
        network, values = prepared(built), inputs_of(built, SAMPLES)
        example = values[:, :1] if built.reads_spikes else values[:1]
        traced = trace(network, example, T, reads_spikes=built.reads_spikes)
        with torch.no_grad():
            peak = float(network(values).abs().max())
            spikes = values if traced.encoder is None else traced.encoder(values)
        chip = quantize(lower(traced.graph), peak)
        found[name] = Written(write_netx(folder / f"{number}.net", chip), chip, spikes.numpy().astype(np.uint8))
    return found


def with_a_weight_broken(one: Written) -> Written:
    """The file with the largest weight of its second layer negated; the graph is as it was."""
    path = one.path.with_suffix(".broken.net")
    path.write_bytes(one.path.read_bytes())
    with h5py.File(path, "r+") as file:
        weight = file["layer/1/weight"][()]
        weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] *= -1
        del file["layer/1/weight"]
        file["layer/1/weight"] = weight
    return replace(one, path=path)


def assert_alive(one: Written) -> None:
    """Neurons and products fire between seldom and often; ORs of many spikes may fire more."""
    record = GraphRunner(one.graph)(one.spikes)
    roles = {p.name: p.role for p in one.graph.populations}
    rates = [float(s.mean()) for name, s in record.spikes.items() if roles.get(name) in ("neuron", "and")]
    assert sum(0.03 < rate < 0.6 for rate in rates) > 0.75 * len(rates) and all(rates), rates


@pytest.mark.slow
def test_files_run_without_lava(written: dict[str, Written]) -> None:
    for name, one in written.items():
        assert_alive(one)
        assert one.differing(NetxRunner(one.path, one.graph)(one.spikes)) == 0, name


@pytest.mark.slow
def test_a_broken_weight_is_seen(written: dict[str, Written]) -> None:
    for name, one in written.items():
        broken = with_a_weight_broken(one)
        assert one.differing(NetxRunner(broken.path, one.graph)(one.spikes)) > 0, name


@pytest.mark.lava
def test_in_real_lava(real_lava: None, written: dict[str, Written]) -> None:
    """One of each kind, and one with a broken weight, in one start of Lava."""
    broken = with_a_weight_broken(written["spike-driven attention"])
    chosen = {name: one for name, one in written.items() if LARGE or name in IN_LAVA}
    jobs = [*chosen.values(), broken]
    records: list[Any] = lava_records([(one.path, one.graph, one.spikes) for one in jobs], 600.0, print)
    found = {name: one.differing(record) for (name, one), record in zip(chosen.items(), records[:-1], strict=True)}
    assert found == dict.fromkeys(chosen, 0) and (found.keys() >= IN_LAVA)
    assert broken.differing(records[-1]) > 0
