"""The whole road, small: search -> export -> deploy, and what a broken weight does to it; the demo takes digits."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy import batches, measure, pipeline
from spikeport.deploy.cost.prices import price_lists
from spikeport.deploy.cost.profiles import builtin_profiles, find_profile
from spikeport.deploy.mapping.fit.source import read_source
from spikeport.deploy.measure import measure_netx, measure_run
from spikeport.deploy.pipeline import Deployment, deploy
from spikeport.deploy.report.files import compare_runs
from spikeport.deploy.run import forms
from spikeport.deploy.run.forms import EncoderRunner
from spikeport.deploy.run.netx import run_netx
from spikeport.deploy.settings import DeploySettings, PriceSettings
from spikeport.errors import InputError
from spikeport.export.netx.chain import chain_of
from spikeport.export.netx.writer import layer_indices, read_graph
from spikeport.export.targets import export
from spikeport.search.data.datasets import load_dataset
from spikeport.search.pipeline import read_genotype, run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import changed, choose
from spikeport.search.space.genotype import Layer
from spikeport.search.space.layout import default_layers
from spikeport.search.space.network import load_network
from spikeport.search.supernet.macro import MacroSupernet
from spikeport.search.supernet.trellis import WIDTHS, place
from spikeport.tests.broken_onnx import break_weight
from spikeport.tests.search.quarters import quarters_npz

pytestmark = pytest.mark.training

TINY = choose(
    primitives="plain", channels=2, cells=3, time_steps=2, search_epochs=1, train_epochs=12, train_learning_rate=0.1
)


UNUSUAL = (Layer("normal", 1.0), Layer("reduce", 0.75), Layer("normal", 0.5))


def silent(sentence: str) -> None:
    pass


@pytest.fixture(scope="module")
def quarters(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quarters_npz(tmp_path_factory.mktemp("quarters"), 400)


@pytest.fixture(scope="module")
def run(quarters: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = run_search(changed(TINY, dataset=quarters), tmp_path_factory.mktemp("runs") / "tiny")
    export(run, "all", silent)
    return run


@pytest.fixture(scope="module")
def deployed(run: Run) -> Deployment:
    """Without Lava, by all price lists; its files are in the run."""
    return deploy(run, DeploySettings(lava=False), silent)


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(run.path, tmp_path / "copy")))


def test_run_folder_holds_what_the_stages_promise(run: Run) -> None:
    onnx, loihi, nir = (run.export_folder(target) for target in ("onnx", "loihi", "nir"))
    files = [run.genotype, run.history, run.cells_svg, run.history_svg, run.weights, run.config, run.metrics]
    files += [onnx / "model.onnx", onnx / "step.onnx"]
    files += [loihi / name for name in ("network.net", "encoder.onnx", "twin.onnx", "manifest.json")]
    files += [nir / name for name in ("network.nir", "encoder.onnx", "manifest.json")]
    assert [path for path in files if not path.is_file()] == []
    assert not list(run.path.rglob(".*")), "a temporary file was left behind"


def test_every_check_without_lava(run: Run, deployed: Deployment) -> None:
    found = deployed
    checks = {check["name"]: check for check in found.equivalence["checks"]}
    assert {name for name, check in checks.items() if check["status"] == "not run"} == {"loihi"}
    for name in ("onnx", "step", "graph", "nir", "encoder", "twin", "netx"):
        assert checks[name]["spikes_differing"] == 0, checks[name]
        assert checks[name]["spikes_compared"] > 0
    assert checks["onnx"]["top1_agreement"] == 1.0
    assert json.loads(run.equivalence.read_text()) == found.equivalence
    assert found.energy is not None
    assert next(iter(found.energy["profiles"])) == "loihi1-davies2018"
    assert set(found.energy["profiles"]) == set(builtin_profiles())
    for name in ("loihi1-davies2018", "loihi1-sanafe", "loihi2-proxy"):
        one = found.energy["profiles"][name]
        assert min(one["energy_j"]["total"], one["latency_s"], one["counts"]["messages"]) > 0, name
    assert found.energy["mappings"]["loihi1"]["fits"] and found.energy["mappings"]["loihi1"]["pieces"]
    last = found.energy["accuracy_over_time"][-1]
    assert last["accuracy"] == checks["accuracy"]["accuracy_candidate"]
    for path, content in ((run.energy, found.energy), (run.activity, found.activity)):
        assert json.loads(path.read_text()) == content
    assert "not run" in run.report.read_text() and "not run" in run.report_md.read_text()


def test_a_network_that_does_not_fit_into_memory_at_once(
    deployed: Deployment, copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sample by sample and by the compiled integers: the same checks, energy and activity."""
    monkeypatch.setattr(batches, "MEMORY", 1)
    monkeypatch.setattr(measure, "COMPILED_NEURON_STEPS", 0)
    monkeypatch.setattr(pipeline, "COMPILED_NEURON_STEPS", 0)
    said: list[str] = []
    found = deploy(copy, DeploySettings(lava=False, samples=5, lava_samples=3), said.append)
    assert found.energy == deployed.energy and found.activity == deployed.activity
    checks = {check["name"]: check for check in found.equivalence["checks"]}
    for name, samples in (
        ("onnx", 5),
        ("step", 5),
        ("graph", 5),
        ("nir", 5),
        ("encoder", 5),
        ("twin", 3),
        ("netx", 3),
        ("compiled", 3),
    ):
        assert (checks[name]["verdict"], checks[name]["samples"]) == ("pass", samples), checks[name]
    before = next(check for check in deployed.equivalence["checks"] if check["name"] == "accuracy")
    assert checks["accuracy"] | {"seconds": 0} == before | {"seconds": 0}
    assert re.fullmatch(r"took 0:0\d:\d\d and at most \d+\.\d GiB of memory.*", said[-1])


def test_a_weight_of_the_nir_file_that_is_broken_shows(copy: Run) -> None:
    """Of the deploy stage the targets onnx and loihi are left out: a run may have NIR alone."""
    shutil.rmtree(copy.export_folder("onnx"))
    shutil.rmtree(copy.export_folder("loihi"))
    path = copy.export_folder("nir") / "network.nir"
    settings = DeploySettings(lava=False, samples=8)
    found = deploy(copy, settings, silent).equivalence
    assert [(check["name"], check["verdict"]) for check in found["checks"]] == [("graph", "pass"), ("nir", "pass")]
    with h5py.File(path, "r+") as file:
        name = next(name for name in file["node/nodes"] if name.endswith("_to_readout"))
        file[f"node/nodes/{name}/weight"][0] += 1.0
    found = deploy(copy, settings, silent).equivalence
    check = found["checks"][-1]
    assert (found["verdict"], check["name"], check["verdict"]) == ("fail", "nir", "fail")
    assert check["spikes_differing"] == 0 and check["first_divergence"]["population"] == "readout"


def test_a_weight_that_is_broken_shows_sample_by_sample(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MEMORY", 1)
    images = load_dataset(load_network(copy).config.dataset).test_images
    break_one_weight(copy, images)
    found = deploy(copy, DeploySettings(lava=False, samples=2, lava_samples=32), silent)
    netx = next(check for check in found.equivalence["checks"] if check["name"] == "netx")
    assert netx["verdict"] == "fail" and netx["first_divergence"]["population"] == "readout"


def test_lava_is_not_begun_where_it_could_not_end(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "LAVA_MULTIPLIES_PER_S", 1.0)
    found = deploy(copy, DeploySettings(samples=2, lava_samples=2), silent)
    lava = _loihi(found.equivalence)
    assert lava["status"] == "not run" and "would take Lava about" in lava["reason"]


def test_the_energy_of_a_run_is_what_its_deployment_found(run: Run, deployed: Deployment) -> None:
    lists = price_lists(PriceSettings())
    assert measure_run(run, lists) == deployed.energy
    assert measure_run(run, lists[:1], zeros=True)["counts"] != deployed.energy["counts"]


def test_a_run_without_an_export_has_no_energy(copy: Run) -> None:
    shutil.rmtree(copy.export_folder("loihi"))
    with pytest.raises(InputError, match=r"has no export for a chip; run `spikeport export .* --target loihi` first"):
        measure_run(copy, [])


def test_a_price_list_of_ones_own_and_zero_weights(copy: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'name = "mine"\ntitle = "Mine"\ntechnology = "1 nm"\nevidence = "a wish"\nunpriced = []\n'
        '[energy.synaptic_operations]\nvalue = 1\nunit = "pJ"\nsource = "a wish"\ngrade = "D"\n'
    )
    settings = DeploySettings(lava=False, samples=2, lava_samples=2, profiles=str(mine), count_zero_weights=True)
    energy = deploy(copy, settings, silent).energy
    assert energy is not None and list(energy["profiles"]) == ["mine"] and energy["mappings"] == {}
    operations = energy["counts"]["synaptic_operations"]["mean"]
    assert energy["profiles"]["mine"]["energy_j"]["total"] == pytest.approx(operations * 1e-12, rel=1e-12, abs=0.0)
    assert "counted like all others" in energy["counting"]
    with pytest.raises(InputError, match="Unknown profile 'loihi3'; choose from horowitz45nm"):
        deploy(copy, replace(settings, profiles="loihi3"), silent)
    with pytest.raises(InputError, match="names of their own"):
        deploy(copy, replace(settings, profiles="speck,speck"), silent)


def test_the_file_alone_costs_what_the_run_does(run: Run, deployed: Deployment, quarters: str) -> None:
    """network.net with its levels packed into layers does the same operations as the graph of the run."""
    energy = deployed.energy
    assert energy is not None
    folder, images = run.export_folder("loihi"), load_dataset(quarters).test_images
    spikes = np.swapaxes(EncoderRunner(folder / "encoder.onnx")(images), 0, 1)
    profiles = [find_profile("loihi1-davies2018")]
    alone = measure_netx(folder / "network.net", spikes, profiles)
    assert alone["counts"] == energy["counts"]
    terms = ("synaptic_operations", "active_updates", "idle_updates")
    costs = [one["profiles"]["loihi1-davies2018"]["energy_j"] for one in (alone, energy)]
    assert [costs[0][term] for term in terms] == [costs[1][term] for term in terms]
    with pytest.raises(InputError, match=r"reads spikes .*, but the input has shape"):
        measure_netx(folder / "network.net", np.zeros((1, 2, 3, 8, 8), np.uint8), profiles)
    with pytest.raises(InputError, match="must be 0 or 1"):
        measure_netx(folder / "network.net", spikes[:1] * 3, profiles)


def test_runs_side_by_side(run: Run, deployed: Deployment, copy: Run, tmp_path: Path) -> None:
    found = compare_runs([run, copy], tmp_path / "both.html")
    assert [one.name for one in found.runs] == ["tiny", "copy"] and found.profile == "loihi1-davies2018"
    assert "<svg" in (tmp_path / "both.html").read_text() and "| tiny |" in (tmp_path / "both.md").read_text()
    copy.equivalence.unlink()
    with pytest.raises(InputError, match="was not deployed"):
        compare_runs([run, copy], tmp_path / "both.html")


def test_a_weight_broken_in_model_onnx_fails(copy: Run) -> None:
    break_weight(copy.export_folder("onnx") / "model.onnx", "stem.conv.weight")
    found = deploy(copy, DeploySettings(lava=False), silent)
    check = next(check for check in found.equivalence["checks"] if check["name"] == "onnx")
    assert found.equivalence["verdict"] == check["verdict"] == "fail"
    assert check["first_divergence"]["population"] == "stem"


def test_a_weight_broken_in_step_onnx_fails_and_a_missing_one_is_told(copy: Run) -> None:
    path = copy.export_folder("onnx") / "step.onnx"
    shutil.rmtree(copy.export_folder("loihi"))
    break_weight(path, "stem.conv.weight")
    found = deploy(copy, DeploySettings(lava=False), silent)
    checks = {check["name"]: check for check in found.equivalence["checks"]}
    assert found.equivalence["verdict"] == checks["step"]["verdict"] == "fail"
    assert checks["step"]["first_divergence"]["population"] == "stem" and checks["onnx"]["verdict"] == "pass"
    path.unlink()
    checks = {check["name"]: check for check in deploy(copy, DeploySettings(lava=False), silent).equivalence["checks"]}
    assert checks["step"]["status"] == "not run" and "has no step.onnx" in checks["step"]["reason"]


def test_a_weight_broken_in_network_net_fails_without_lava(copy: Run, quarters: str) -> None:
    population = break_one_weight(copy, load_dataset(quarters).test_images)
    found = deploy(copy, DeploySettings(lava=False), silent)
    check = next(check for check in found.equivalence["checks"] if check["name"] == "netx")
    assert found.equivalence["verdict"] == check["verdict"] == "fail"
    assert check["first_divergence"]["population"] == population


@pytest.fixture(scope="module")
def on_a_path(quarters: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search for cells and path that begins near a path which the usual layout does not have, and ends there."""
    folder = tmp_path_factory.mktemp("path")
    begin = MacroSupernet.__init__

    def begin_near(supernet: MacroSupernet, *arguments: object) -> None:
        begin(supernet, *arguments)
        halvings = 0
        for stops, layer in zip(supernet.trellis, UNUSUAL, strict=True):
            stop = next(s for s in stops if (s.halvings_before, s.kind) == (halvings, layer.kind))
            supernet.betas.data[place(stop)] += 2.0
            supernet.gammas.data[(*place(stop), WIDTHS.index(layer.width))] += 2.0
            halvings = stop.halvings

    settings = changed(TINY, dataset=quarters, level="both", channels=4, cells=3, time_steps=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MacroSupernet, "__init__", begin_near)
        run = run_search(settings, folder / "run")
    export(run, "all", silent)
    return run


def test_a_path_that_was_found_goes_the_whole_road(on_a_path: Run) -> None:
    assert default_layers(3) != UNUSUAL
    assert read_genotype(on_a_path).layers == load_network(on_a_path).genotype.layers == UNUSUAL
    shapes = read_graph(on_a_path.export_folder("loihi") / "network.net").shapes()
    assert [shapes[f"cells.{i}.n1"] for i in range(3)] == [(4, 8, 8), (6, 4, 4), (4, 4, 4)]
    assert "channels x2" in on_a_path.cells_svg.read_text()
    found = deploy(on_a_path, DeploySettings(lava=False, samples=64, lava_samples=32), silent)
    checks = {check["name"]: check for check in found.equivalence["checks"]}
    assert found.equivalence["verdict"] == "pass"
    for name in ("onnx", "step", "graph", "encoder", "twin", "netx"):
        assert (checks[name]["verdict"], checks[name]["spikes_differing"]) == ("pass", 0), checks[name]
        assert checks[name]["spikes_compared"] > 0
    assert on_a_path.report.is_file()
    fitted = read_source(on_a_path.path, {})
    planned = read_source(on_a_path.genotype, {"channels": 4, "input_shape": "1x8x8"})
    hidden = [{p.name: p.shape for p in source.graph.populations if p.role == "neuron"} for source in (fitted, planned)]
    assert hidden[0] == hidden[1]


def test_a_weight_broken_on_a_path_fails(on_a_path: Run, tmp_path: Path, quarters: str) -> None:
    copy = Run(Path(shutil.copytree(on_a_path.path, tmp_path / "copy")))
    population = break_one_weight(copy, load_dataset(quarters).test_images)
    found = deploy(copy, DeploySettings(lava=False, samples=64, lava_samples=32), silent)
    check = next(check for check in found.equivalence["checks"] if check["name"] == "netx")
    assert found.equivalence["verdict"] == check["verdict"] == "fail"
    assert check["first_divergence"]["population"] == population


@pytest.mark.lava
def test_real_lava_agrees(on_a_path: Run, real_lava: None) -> None:
    """Its twin, a broken weight in real Lava, is in tests/deploy/equivalence/test_loihi.py."""
    settings = DeploySettings(samples=8, lava_samples=8)
    check = _loihi(deploy(on_a_path, settings, silent).equivalence)
    assert (check["status"], check["verdict"], check["spikes_differing"]) == ("run", "pass", 0)
    assert check["samples"] == 8


def _loihi(equivalence: dict) -> dict:
    return next(check for check in equivalence["checks"] if check["name"] == "loihi")


def break_one_weight(run: Run, images: NDArray[np.float32]) -> str:
    """Turn round the largest of the readout's weights from neurons that fire; return the population it belongs to."""
    folder = run.export_folder("loihi")
    path = folder / "network.net"
    spikes = np.swapaxes(EncoderRunner(folder / "encoder.onnx")(images), 0, 1)
    fired = [layer.sum((0, 1)).reshape(-1) for layer in run_netx(path, spikes).spikes.values()][-2]
    index = layer_indices(chain_of(read_graph(path)))["readout"]
    with h5py.File(path, "r+") as file:
        weight = file[f"layer/{index}/weight"]
        values = weight[()]
        assert (values * (fired > 0)).any()
        place = np.unravel_index(np.abs(values * (fired > 0)).argmax(), values.shape)
        values[place] = -values[place]
        weight[...] = values
    return "readout"
