"""Networks of SpikingJelly's zoo as NetX files: run without Lava, and in real Lava, they fire as their graphs do."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikeport.deploy.equivalence.verdict import compare
from spikeport.deploy.run.any_form import encode, run
from spikeport.deploy.run.forms import GraphRunner, NetxRunner, lava_records
from spikeport.deploy.run.record import Record, differing
from spikeport.deploy.run.torch_network import TorchRunner
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.writer import write_netx
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.built_by_others import NETWORKS, T, inputs_of, prepared
from spikeport.tests.export.trace.small_network import IMAGES, Small, lif, tuned

from .as_lava import LARGE

SAMPLES = 2
# the start of a network takes Lava seconds for each layer; SPIKEPORT_BUDGET=large takes them all
IN_LAVA = {
    *("spiking ResNet", "SEW ADD", "SEW IAND", "MS-ResNet, events", "PLIF", "spike-driven attention"),
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


class Tokens(Small):
    """Neurons on tokens [T, N, L, C], which a graph counts as [C, H, W]."""

    def __init__(self) -> None:
        super().__init__(tokens=lif())

    def body(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.tokens((4.0 * self.middle(x) + 0.4).flatten(3).transpose(2, 3))
        return self.norm(2.0 * tokens.transpose(2, 3).unflatten(3, (8, 8)))


def test_neurons_on_tokens_are_compared_one_by_one() -> None:
    network = tuned(Tokens())
    traced = trace(network, IMAGES[:1], 3)
    assert traced.encoder is not None
    reference, found = run(network, IMAGES.numpy()), run(traced.graph, encode(traced.encoder, IMAGES))
    assert reference.spikes["tokens"].shape != found.spikes["tokens"].shape == (3, 4, 3, 8, 8)
    assert 0.05 < found.spikes["tokens"].mean() < 0.95
    assert compare(reference, found).verdict == "pass"
    as_torch_counts = TorchRunner(network)(IMAGES.numpy())
    assert compare(as_torch_counts, found).verdict == "fail"
    nudged = np.zeros((3, 4, 192), np.float32)
    nudged[1, 2, 77] = 100.0  # in the record's order
    nudged = nudged.reshape(reference.spikes["tokens"].shape)
    again = TorchRunner(network, IMAGES[:1].numpy())(IMAGES.numpy(), {"tokens": nudged})
    moved = again.margins["tokens"][1] - reference.margins["tokens"][1]
    assert np.argwhere(moved.reshape(4, 192) > 50.0).tolist() == [[2, 77]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spike-driven transformer", "Q-K attention of channels"])
def test_forms_whose_populations_have_other_shapes_are_compared(name: str) -> None:
    """Heads in torch, one neuron per channel in the graph, a map of them on the chip."""
    built = NETWORKS[name]
    network, images = prepared(built), inputs_of(built, SAMPLES)
    traced = trace(network, images[:1], T)
    assert traced.encoder is not None
    spikes, reference = encode(traced.encoder, images), run(network, images.numpy())
    lowered = lower(traced.graph)
    for graph in (traced.graph, lowered):
        assert compare(reference, run(graph, spikes)).verdict == "pass"
    (target,) = [p.name for p in lowered.populations if p.name.endswith("attn_lif")]
    silent = tuple(replace(p, threshold=1e9) if p.name == target else p for p in lowered.populations)
    check = compare(reference, run(replace(lowered, populations=silent), spikes))
    assert check.verdict == "fail" and check.first_divergence is not None
    assert check.first_divergence["population"] == target
    assert check.first_divergence["cause"].startswith("only the reference spikes")


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
