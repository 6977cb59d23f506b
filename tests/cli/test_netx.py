"""`spikeport inspect` and `spikeport run`: results on stdout, bad input in one line and exit code 1."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.tests.cli.invoking import invoke

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A recorded network and, beside it, its spikes."""
    with np.load(GOLDEN / "recurrent.npz") as arrays:
        (tmp_path / "some.net").write_bytes(arrays["net"].tobytes())
        np.save(tmp_path / "spikes.npy", arrays["spikes"])
    return tmp_path / "some.net"


def test_inspect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], network: Path) -> None:
    assert invoke(monkeypatch, "inspect", network) == 0
    out = capsys.readouterr().out
    assert "dense_rec" in out and "warning: layer/3: it has no neuron" in out
    assert invoke(monkeypatch, "inspect", network, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "pass" and found["neurons"] == 8 + 5 + 4
    rec = found["layers"][1]
    assert (rec["type"], rec["shape"], rec["threshold"], rec["current_forgets"]) == ("dense_rec", [8], 180, 1200 / 4096)
    assert rec["synapses"] <= 8 * 9 + 8 * 8


def test_inspect_fails_on_what_cannot_be_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], network: Path
) -> None:
    import h5py

    with h5py.File(network, "r+") as file:
        file["layer/1/neuron/iDecay"][0] = 5000
    assert invoke(monkeypatch, "inspect", network) == 3
    assert "error: layer/1: `0 <= iDecay <= 4096` must hold, but iDecay is 5000" in capsys.readouterr().out
    assert invoke(monkeypatch, "run", network, "--input", network.with_name("spikes.npy")) == 1
    assert "some.net: layer/1 (dense_rec): `0 <= iDecay <= 4096` must hold" in capsys.readouterr().err


def test_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], network: Path) -> None:
    spikes, out = network.with_name("spikes.npy"), network.with_name("result.npz")
    words: list[Any] = ["run", network, "--input", spikes, "--out", out, "--reset-interval", 7, "--json"]
    assert invoke(monkeypatch, *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["time_steps"], [layer["layer"] for layer in found["layers"]]) == (3, 7, [1, 2, 3])
    with np.load(out) as written, np.load(GOLDEN / "recurrent.npz") as lava:
        for key in written.files:
            np.testing.assert_array_equal(written[key].reshape(lava[key].shape), lava[key])
    assert invoke(monkeypatch, "run", network, "--input", spikes) == 0
    said = capsys.readouterr()
    assert "3 samples of 7 steps" in said.out
    assert said.err.count("\n") == 1 and said.err.startswith("warning: layer/1, layer/2 has delays or recurrence")
    assert "give --reset-interval 7" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("inspect", "nowhere.net"), "There is no 'nowhere.net'; give a NetX file"),
        (("run", "nowhere.net", "--input", "spikes.npy"), "There is no 'nowhere.net'; give a NetX file"),
        (("run", "some.net", "--input", "nowhere.npy"), "There is no 'nowhere.npy'"),
        (
            ("run", "some.net", "--input", "some.net"),
            "'some.net' is an HDF5 file, as NetX is, but run --input reads an array",
        ),
        (("inspect", "spikes.npy"), "'spikes.npy' is an array (.npy), but inspect reads a NetX file"),
        (("inspect", "some.net", "--layers", 9), "`1 <= layers <= 4` must hold"),
        (
            ("run", "some.net", "--input", "spikes.npy", "--reset-offset", 0),
            "A reset offset (0) shifts the resets of a stream, but there is none; give --reset-interval, too.",
        ),
    ],
)
def test_bad_words(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    network: Path,
    words: tuple[object, ...],
    said: str,
) -> None:
    monkeypatch.chdir(network.parent)
    assert invoke(monkeypatch, *words) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("spikeport: ")
    assert said in err


def test_a_file_of_ours_shows_its_populations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph
    from spikeport.export.netx.writer import write_netx
    from spikeport.export.passes import lower
    from spikeport.export.passes.quantize import quantize

    def cell(name: str, shape: tuple[int, ...], **more: Any) -> Population:
        return Population(name=name, shape=shape, decay=0.5, threshold=1.0, bias=np.zeros(shape[0]), **more)

    kernel, last = Conv(weight=np.ones((2, 2, 1, 1))), Dense(weight=np.ones((3, 32)))
    graph = SpikingGraph(
        inputs=(SpikeInput(name="in", shape=(2, 4, 4)),),
        populations=(cell("a", (2, 4, 4)), cell("b", (2, 4, 4)), cell("out", (3,), role="readout")),
        projections=tuple(
            Projection(source=s, target=t, kernel=k)
            for s, t, k in (("in", "a", kernel), ("a", "b", kernel), ("a", "out", last), ("b", "out", last))
        ),
        time_steps=2,
    )
    quantized = quantize(lower(graph), 10.0)
    write_netx(tmp_path / "ours.net", quantized)
    assert invoke(monkeypatch, "inspect", tmp_path / "ours.net") == 0
    out = capsys.readouterr().out
    assert "layer/1: 1 neuron, 1 relay" in out and "1 readout" in out
