"""`spikeport fit`: whether a network fits as table and as JSON, exit code 3 if not, bad input in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from spikeport.deploy.mapping.capacity import CHIPS
from spikeport.search.space.genotype import random_genotype, to_json
from spikeport.tests.cli.invoking import invoke

SMALL = ("--channels", 2, "--cells", 3, "--input-shape", "1x8x8")


@pytest.fixture
def genotype(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("genotype.json")
    path.write_text(to_json(random_genotype(np.random.default_rng(0), "plain")))
    return path


def test_a_genotype_that_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], genotype: Path
) -> None:
    assert invoke(monkeypatch, "fit", genotype, *SMALL) == 0
    out, err = capsys.readouterr()
    assert out.startswith("genotype.json fits on 1 x Loihi 1: it takes ") and "mapping genotype.json" in err
    assert "readout" in out and "note: Weights are not quantized yet" in out
    assert invoke(monkeypatch, "fit", genotype, *SMALL, "--json", "--chip", "loihi2") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["chip"], found["fits"], found["chips"]) == ("genotype.json", "loihi2", True, 1)
    assert sum(layer["cores"] for layer in found["layers"]) == found["cores"]


def test_a_chip_of_ones_own_on_which_it_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], genotype: Path
) -> None:
    text = (CHIPS / "loihi1.toml").read_text()
    assert text.count("value = 128\n") == text.count("value = 32\n") == 1
    Path("mine.toml").write_text(text.replace("value = 128\n", "value = 8\n").replace("value = 32\n", "value = 2\n"))
    assert invoke(monkeypatch, "fit", genotype, *SMALL, "--chip", "mine.toml", "--quiet") == 3
    out, err = capsys.readouterr()
    assert err == "" and "does not fit on 1 x Loihi 1: it takes" in out
    assert "first break: level" in out and "8 allowed" in out and "no width fits" in out
    assert invoke(monkeypatch, "fit", genotype, *SMALL, "--chip", "mine.toml", "--chips", 5, "--json") == 0
    assert json.loads(capsys.readouterr().out)["chips_given"] == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit",), "run `spikeport search` first"),
        (("fit", "nowhere"), "There is no 'nowhere'"),
        (("fit", "mine.toml"), "'mine.toml' is a TOML file, but fit reads a run folder, a NetX file or a genotype"),
        (("fit", "genotype.json", "--chip", "loihi3"), "Unknown chip 'loihi3'; choose from loihi1, loihi2, speck"),
        (("fit", "genotype.json", "--chip", "nowhere.toml"), "nowhere.toml"),
        (("fit", "genotype.json", "--chip", "mine.toml"), "`limits.cores` must be there for the rule 'loihi1'"),
        (("fit", "none.json"), "'none.json': A genotype must have exactly the keys"),
        (("fit", "genotype.json", "--chips", 0), "`chips >= 1` must hold, but chips=0"),
        (("fit", "genotype.json", "--input-shape", "3x31x31"), "pad them to 32"),
    ],
)
def test_bad_words(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    genotype: Path,
    words: tuple[object, ...],
    said: str,
) -> None:
    Path("mine.toml").write_text('title = "Mine"\nrule = "loihi1"\n')
    Path("none.json").write_text("{}")
    assert invoke(monkeypatch, *words, "--quiet") == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("spikeport: ")
    assert said in err


def test_the_help_teaches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(monkeypatch, "fit", "--help") == 0
    out = capsys.readouterr().out
    assert "spikeport fit genotype.json --channels 36" in out and "truenorth" in out and "--json" in out
