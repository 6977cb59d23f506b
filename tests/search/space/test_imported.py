"""A network of one's own code: found, built, and refused before its code runs where it is not the one that is meant."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from spikeport.errors import InputError
from spikeport.search.space import imported
from spikeport.search.space.imported import ImportedConfig, ImportedNetwork, build, form_of

CODE = """
from spikingjelly.activation_based import layer, neuron
from torch import nn

def build(tau=2.0):
    layers = layer.Flatten(step_mode="m"), layer.Linear(16, 3, step_mode="m"), neuron.LIFNode(tau, step_mode="m")
    return nn.Sequential(*layers)

def of_width(width): return build()
def nothing(): return 3
made = build(4.0)
number = 7
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code_of_mine.py").write_text(CODE)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "nets.py").write_text("from beside import build\n")
    (tmp_path / "parts" / "beside.py").write_text(CODE)
    yield tmp_path


@pytest.mark.parametrize("builder", ["code_of_mine:build", "code_of_mine.py:build", "parts/nets.py:build"])
def test_a_module_or_a_file(builder: str, here: Path) -> None:
    network, digest = build(builder)
    assert not network.training and len(digest) == 64
    assert build(builder, file_sha256=digest)[1] == digest


def test_a_network_that_is_there_already(here: Path) -> None:
    assert build("code_of_mine.py:made")[0][2].tau == 4.0


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        ("code_of_mine", "is given as a module and what makes the network in it"),
        (
            "code_of_mine.py:of_width",
            r"must be a network or a function without arguments .*, but needs width; write one",
        ),
        ("code_of_mine.py:number", "but is no function"),
        ("code_of_mine.py:nothing", r"must make a torch\.nn\.Module, but made a int"),
        ("code_of_mine.py:other", "the module has no 'other'"),
        ("nowhere.py:build", r"There is no file 'nowhere\.py'"),
        ("nowhere:build", "There is no module 'nowhere' written in Python, looked for from"),
        ("nowhere.deep:build", "There is no module 'nowhere.deep'"),
        ("math:sin", "There is no module 'math' written in Python"),
    ],
)
def test_what_makes_no_network(builder: str, said: str, here: Path) -> None:
    with pytest.raises(InputError, match=said):
        build(builder)


def test_code_that_has_changed_is_not_run(here: Path) -> None:
    _, digest = build("code_of_mine.py:build")
    (here / "code_of_mine.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(InputError, match="has changed since the network was imported"):
        build("code_of_mine.py:build", file_sha256=digest)


def config(builder: str, **more: object) -> ImportedConfig:
    network, digest = build(builder)
    found = ImportedConfig(
        builder=builder,
        file_sha256=digest,
        modules_sha256=imported.printed_sha256(network),
        time_steps=2,
        classes=3,
        input_shape=(1, 4, 4),
        takes="sequences",
        gives_steps=True,
    )
    return replace(found, **more)


def written(known: ImportedConfig) -> dict[str, Any]:
    """As a run's file has it."""
    return cast(dict[str, Any], json.loads(json.dumps(imported.to_dict(known))))


def test_a_run_builds_it_again(here: Path) -> None:
    known = config("code_of_mine.py:build", mean=(0.5,), std=(0.25,))
    found = imported.load_imported(here / "run" / "model" / "config.json", written(known))
    assert found.config == known
    with torch.no_grad():
        answer = found(torch.rand(5, 1, 4, 4))
    assert answer.shape == (5, 3)


def test_another_network_from_the_same_file(here: Path) -> None:
    known = config("code_of_mine.py:build", modules_sha256=config("code_of_mine.py:made").modules_sha256)
    with pytest.raises(InputError, match="makes another network than the one that was imported"):
        imported.load_imported(here / "run" / "model" / "config.json", written(known))


def test_code_that_is_somewhere_else(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = written(config("code_of_mine.py:build"))
    monkeypatch.chdir(here / "parts")
    with pytest.raises(InputError, match=r"is made by 'code_of_mine\.py', which is not here; run this where"):
        imported.load_imported(here / "run" / "model" / "config.json", known)


def test_code_in_the_run_itself_is_not_run(here: Path) -> None:
    (here / "run" / "model").mkdir(parents=True)
    (here / "run" / "evil.py").write_text(CODE)
    known = config("run/evil.py:build")
    with pytest.raises(InputError, match="names code inside its own run"):
        imported.load_imported(here / "run" / "model" / "config.json", written(known))


@pytest.mark.parametrize(
    "change", [{"time_steps": "2"}, {"gives_steps": 1}, {"mean": ["a"]}, {"more": 1}, {"dataset": None}]
)
def test_a_damaged_config(change: dict[str, object], here: Path) -> None:
    data = written(config("code_of_mine.py:build")) | change
    with pytest.raises(InputError, match=r"must have the keys|which is of a wrong type"):
        imported.load_imported(here / "run" / "model" / "config.json", data)


def lif() -> nn.Module:
    return neuron.LIFNode(step_mode="m")


class Repeats(nn.Module):
    def __init__(self, steps: int = 4) -> None:
        super().__init__()
        self.steps, self.lif, self.out = steps, lif(), layer.Linear(4, 3, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lif(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)).flatten(2)).mean(0)


def sequences() -> nn.Module:
    return nn.Sequential(layer.Flatten(step_mode="m"), lif(), layer.Linear(4, 3, step_mode="m"))


def one_step() -> nn.Module:
    return nn.Sequential(nn.Flatten(), neuron.LIFNode(), nn.Linear(4, 3))


def test_how_a_network_is_called_is_found() -> None:
    assert form_of(Repeats(), (1, 2, 2), None, "images", None) == imported.Form("images", False, 4, 3)
    assert form_of(sequences(), (1, 2, 2), 3, "images", None) == imported.Form("sequences", True, 3, 3)
    assert form_of(sequences(), (1, 2, 2), 5, "spikes", None) == imported.Form("sequences", True, 5, 3)
    for reads in ("images", "spikes"):
        assert form_of(one_step(), (1, 2, 2), 5, reads, None) == imported.Form("steps", False, 5, 3)


@pytest.mark.parametrize(
    ("network", "steps", "takes", "said"),
    [
        (Repeats(), 2, None, "as images its neurons make 4 steps instead of 2; as sequences it stops"),
        (sequences(), None, None, "as sequences it needs a number of steps, --time-steps"),
        (nn.Sequential(lif(), nn.AvgPool3d(1)), 2, "sequences", r"3 samples are answered by \[2, 3, 1, 2, 2\] instead"),
        (nn.Flatten(), None, "images", "it has no spiking neurons of SpikingJelly"),
        (nn.LSTM(2, 2), None, "images", "it stops"),
    ],
)
def test_a_network_that_cannot_be_called(network: nn.Module, steps: int | None, takes: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        form_of(network.eval(), (1, 2, 2), steps, "images", takes)


def test_normalised_as_in_its_training(here: Path) -> None:
    network = ImportedNetwork(Repeats().eval(), config("code_of_mine.py:build", mean=(0.5, 0.1), std=(0.25, 2.0)))
    x = torch.rand(3, 2, 4, 4)
    expected = (x - torch.tensor([0.5, 0.1]).reshape(2, 1, 1)) / torch.tensor([0.25, 2.0]).reshape(2, 1, 1)
    assert torch.allclose(network.normalise(x), expected, atol=1e-6)


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5,)), ((0.5, 0.5), ()), ((0.5, 0.5), (0.5, 0.0))])
def test_not_one_number_for_each_channel(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="Images of 2 channels are normalised by as many means"):
        imported.check_normalisation(mean, std, (2, 4, 4))
