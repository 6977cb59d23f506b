"""What each target makes of each layer: the table that `spikeport targets` prints, tried anew."""

import pytest
import torch
from torch import nn

from spikeport.deploy.capabilities import table
from spikeport.deploy.capabilities.probes import PROBES, Probe, prepared
from spikeport.deploy.capabilities.table import Differs, capabilities
from spikeport.deploy.run.any_form import run
from spikeport.export.onnx.window import write_model
from spikeport.tests.cli.invoking import invoke

pytestmark = pytest.mark.slow

# layer -> (onnx, loihi, nir) where that is not "exact" everywhere: x refused, l lowered
FATES = {
    "Conv2d, padding_mode reflect": "exx",
    "two padded Conv2d": "exx",
    "MaxPool2d on spikes": "ell",
    "MaxPool2d on currents": "exx",
    "a * b of spikes": "ell",
    "a * (1 - b) of spikes": "ell",
    "maximum of spikes": "ell",
    "LIFNode, v_reset=None": "exx",
    "AdaptiveAvgPool2d, windows that differ": "eex",
    "Upsample": "eex",
    "a * b of currents": "exx",
    "KLIFNode": "exx",
    "QIFNode": "xxx",
    "ECA on currents": "exx",
    "CBAM on currents": "exx",
    "spike gates (--attention spike)": "ell",
    "SpikeDrivenSelfAttention": "ell",
    "sigmoid": "exx",
}
LETTERS = {"exact": "e", "lowered": "l", "refused": "x"}


@pytest.fixture(scope="module")
def rows() -> dict[str, table.Row]:
    torch.set_num_threads(1)
    return {row.layer: row for row in capabilities()}


def test_every_layer_on_every_target(rows: dict[str, table.Row]) -> None:
    found = {name: "".join(LETTERS[cell.fate] for cell in row.cells.values()) for name, row in rows.items()}
    assert {name: fates for name, fates in found.items() if fates != "eee"} == FATES
    assert len(rows) == len(PROBES)


def test_a_refusal_says_what_to_do(rows: dict[str, table.Row]) -> None:
    for row in rows.values():
        for cell in row.cells.values():
            assert cell.fate != "refused" or ("; " in cell.words and cell.words.endswith("."))
            assert cell.fate == "refused" or len(cell.words) < 100


def test_spikes_flow_in_every_probe() -> None:
    for probe in PROBES:
        network, images = prepared(probe.build)
        if probe.layer != "QIFNode":
            rates = [spikes.mean() for spikes in run(network, images.numpy()).spikes.values()]
            assert all(0.004 < rate < 0.99 for rate in rates), (probe.layer, rates)


def test_a_form_that_computes_something_else_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(network: nn.Module, *given: object) -> object:
        with torch.no_grad():
            network.middle.weight[0] += 1.0
        written = write_model(given[1] / "model.onnx", network, given[0])  # type: ignore[operator]
        with torch.no_grad():
            network.middle.weight[0] -= 1.0
        return table.compare(run(network, given[0].numpy()), run(written, given[0].numpy())), False

    monkeypatch.setattr(table, "TARGETS", {"onnx": broken})
    (probe,) = [probe for probe in PROBES if probe.layer == "Conv2d"]
    with pytest.raises(Differs, match="Conv2d as onnx"):
        capabilities((probe,))


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["spikeport", "targets", "maxpool2d"])
        from spikeport import cli

        cli.cli.main(["targets", "maxpool2d", "-q"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "MaxPool2d on spikes" in said and "refused" in said and "spikeport.register" in said
    assert invoke(monkeypatch, "targets", "gru") == 1
    assert "No layer is called 'gru'" in capsys.readouterr().err


def test_a_probe_is_the_same_every_time() -> None:
    first, again = (prepared(PROBES[0].build)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert isinstance(PROBES[0], Probe)
