"""spikeport import, export, deploy: a network of one's own code goes the same road, and a broken weight is seen."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spikeport.deploy.cost.prices import price_lists
from spikeport.deploy.mapping.fit.source import read_source
from spikeport.deploy.measure import measure_run
from spikeport.deploy.pipeline import deploy
from spikeport.deploy.settings import DeploySettings, PriceSettings
from spikeport.errors import InputError
from spikeport.export import importing
from spikeport.export.importing import Imported, import_network
from spikeport.export.targets import export
from spikeport.search.data.datasets import Normalisation, load_dataset
from spikeport.search.runs import open_run
from spikeport.search.settings.imported import ImportSettings
from spikeport.search.space.network import load_network
from spikeport.search.space.predict import predict
from spikeport.tests.cli.invoking import invoke

pytestmark = pytest.mark.slow

CODE = """
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

def build(channels=1, gain=4.0):
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(channels, 4, 3, padding=1), neuron.LIFNode(decay_input=False),
        layer.Conv2d(4, 6, 3, stride=2, padding=1), neuron.LIFNode(decay_input=False),
        layer.Flatten(), layer.Linear(96, 10),
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=gain / module.weight[0].numel() ** 0.5)
    functional.set_step_mode(net, "m")
    return net

def of_events():
    return build(2, 2.0)

def one_step():  # as most tutorials write it: the loop over time is somewhere else
    net = build()
    functional.set_step_mode(net, "s")
    return net

class Sigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = build()

    def forward(self, x):
        return self.net(x).sigmoid()
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("imported")
    (folder / "nets.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def digits(here: Path) -> Imported:
    settings = ImportSettings(example="1x8x8", time_steps=2, data="digits", mean="0.3", std="0.4")
    found = import_network("nets.py:build", "runs/digits", settings)
    assert export(found.run, "all", lambda sentence: None)
    return found


FEW = DeploySettings(lava=False, samples=4, lava_samples=2)


def checks(run: Path) -> dict[str, dict[str, object]]:
    found = deploy(open_run(run), FEW, lambda sentence: None).equivalence
    return {check["name"]: check for check in found["checks"]}


def test_it_goes_the_whole_road(digits: Imported) -> None:
    assert (digits.config.takes, digits.config.gives_steps, digits.populations, digits.refused) == (
        "sequences",
        True,
        2,
        None,
    )
    found = checks(digits.run.path)
    proved = {name: check["verdict"] for name, check in found.items() if name not in ("loihi", "accuracy")}
    assert proved == dict.fromkeys(("onnx", "step", "graph", "nir", "encoder", "twin", "netx"), "pass")
    assert all(check["spikes_differing"] == 0 for name, check in found.items() if name not in ("loihi", "accuracy"))
    assert found["accuracy"]["accuracy_reference"] == digits.metrics["test_accuracy"]
    assert digits.run.report.is_file()


def test_populations_have_their_own_names(digits: Imported) -> None:
    graph = read_source(digits.run.path, {}).graph
    assert [node.name for node in graph.inputs] == ["1"] and "3" in {p.name for p in graph.populations}


def test_the_encoder_is_counted(digits: Imported) -> None:
    energy = measure_run(digits.run, price_lists(PriceSettings()))
    assert energy["encoder"]["macs"] == 2 * (64 * 1 + 4 * 9 * 64)  # the normalisation is one, too
    assert energy["samples"] == 360


def test_a_broken_weight_is_seen(digits: Imported, here: Path) -> None:
    weights = load_file(digits.run.weights)
    broken = {name: tensor.clone() for name, tensor in weights.items()}
    broken["2.weight"][0, 0, 1, 1] += 5.0
    save_file(broken, digits.run.weights)
    try:
        found = checks(digits.run.path)
        assert found["onnx"]["verdict"] == "fail" and found["graph"]["verdict"] == "pass"
        assert found["onnx"]["first_divergence"]["population"] == "3"
    finally:
        save_file(weights, digits.run.weights)


def test_the_network_of_the_run_is_theirs(digits: Imported) -> None:
    network = load_network(digits.run)
    images = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    inside = network.imported
    with torch.no_grad():
        x = network.normalise(torch.from_numpy(images))
        expected = inside(torch.stack([x, x])).mean(0)
    assert torch.equal(predict(network, images), expected)


def test_one_step_after_the_other_is_the_same_network(digits: Imported, here: Path) -> None:
    settings = ImportSettings(example="1x8x8", time_steps=2, data="digits", mean="0.3", std="0.4")
    found = import_network("nets.py:one_step", "runs/steps", settings)
    assert (found.config.takes, found.refused) == ("steps", None)
    images = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    one, other = (predict(load_network(run), images) for run in (digits.run, found.run))
    assert torch.allclose(one, other, atol=1e-6) and one.abs().max() > 0.01  # the mean, not the sum
    assert {k: v for k, v in found.metrics.items() if k != "spikes_per_population"} == {
        k: v for k, v in digits.metrics.items() if k != "spikes_per_population"
    }
    export(found.run, "all", lambda sentence: None)
    assert all(check["verdict"] == "pass" for name, check in checks(found.run.path).items() if check["status"] == "run")


def test_events_without_labels(here: Path) -> None:
    found = import_network(
        "nets.py:of_events", "runs/events", ImportSettings(example="2x8x8", time_steps=3, events=True)
    )
    assert found.metrics["test_accuracy"] is None and found.metrics["spikes_per_inference"] > 0
    export(found.run, "loihi", lambda sentence: None)
    result = checks(found.run.path)
    assert "encoder" not in result and result["netx"]["verdict"] == result["twin"]["verdict"] == "pass"
    assert result["accuracy"]["status"] == "not run"
    assert "the run has no labelled data; on events are random" in str(result["accuracy"]["reason"])
    assert json.loads(found.run.energy.read_text())["accuracy_over_time"][0]["accuracy"] is None


def test_one_that_no_chip_carries_still_has_a_run(here: Path) -> None:
    settings = ImportSettings(example="1x8x8", time_steps=2)
    found = import_network("nets.py:Sigmoid", "runs/sigmoid", settings)
    assert found.populations == 0 and "'call_method sigmoid'" in str(found.refused)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "digits", "events": True}, "'digits' holds images; leave --events out"),
        ({"data": "random:1x8x8,spikes"}, "holds events; add --events"),
        ({"data": "random:1x4x4"}, r"holds inputs of shape \[1, 4, 4\], but --example says \[1, 8, 8\]"),
        ({"mean": "0.1,0.2"}, "Images of 1 channels are normalised by as many means"),
        ({"time_steps": 0}, "as sequences it needs a number of steps, --time-steps"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(change: dict[str, object], said: str, here: Path) -> None:
    settings = {"example": "1x8x8", "time_steps": 2} | change
    with pytest.raises(InputError, match=said):
        import_network("nets.py:build", "runs/refused", ImportSettings(**settings))
    assert not (here / "runs" / "refused").exists()


def test_images_that_come_normalised_are_not_normalised_twice(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(load_dataset("digits"), normalisation=Normalisation(mean=(0.3,), std=(0.4,)))
    monkeypatch.setattr(importing, "load_dataset", lambda name, folder, time_steps: known)
    settings = ImportSettings(example="1x8x8", time_steps=2, data="digits", mean="0.3", std="0.4")
    with pytest.raises(InputError, match="Images of 'digits' come normalised; leave --mean and --std out"):
        import_network("nets.py:build", "runs/twice", settings)


def test_a_folder_that_holds_something_stays(here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="needs a folder of its own, but 'mine' holds something"):
        import_network("nets.py:build", "mine", ImportSettings(example="1x8x8", time_steps=2))
    assert (here / "mine" / "notes.txt").read_text() == "mine"


def test_the_command(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--example", "1x8x8", "--time-steps", 2, "--out", "runs/command", "--json", "-q")
    from spikeport import cli

    monkeypatch.setattr("sys.argv", ["spikeport", "import", "nets.py:build", *map(str, words)])
    with pytest.raises(SystemExit):
        cli.main()
    found = json.loads(capsys.readouterr().out)
    assert found["run"] == "runs/command" and found["config"]["time_steps"] == 2 and found["refused"] is None
    assert invoke(monkeypatch, "import", "nets.py:build", "-q") == 1
    assert "--example 3x32x32" in capsys.readouterr().err
