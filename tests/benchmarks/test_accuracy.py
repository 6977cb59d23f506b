import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.benchmarks import accuracy
from spikeport.benchmarks.on_accuracy import tables
from spikeport.benchmarks.on_accuracy.plans import PLANS, Plan, arguments, padded_mnist

WANTED = {
    *("dataset", "attention", "weight_bits", "float_accuracy", "ptq_accuracy", "chip_accuracy"),
    *("lava_spikes_differing", "sops", "energy_j"),
}
TINY = ("--dataset", "digits", "--channels", "2", "--cells", "3", "--search-epochs", "1", "--train-epochs", "1")


def row(**changed: Any) -> dict[str, Any]:
    whole = {
        "name": "cifar10-none-0",
        "attention": "none",
        "integers": "calibrated",
        "weight_bits": 8,
        "cores": 4,
        "float_accuracy": 0.7,
        "folded_accuracy": None,
        "ptq_accuracy": 0.6,
        "chip_accuracy": 0.69,
        "lava_samples": 0,
        "lava_spikes_differing": None,
        "sops": 1e6,
        "energy_j": 1e-4,
    }
    return whole | changed


@pytest.mark.training
def test_a_plan_is_trained_measured_and_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    integers = ({"weight_bits": 8}, {"weight_bits": 4, "calibrate": True, "finetune": 1, "finetune_samples": 64})
    monkeypatch.setitem(
        PLANS, "tiny", Plan(table="networks", dataset="digits", search=TINY, integers=integers, needs=(), in_lava=False)
    )
    given = ["accuracy", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--only", "tiny", "--json"]
    monkeypatch.setattr("sys.argv", given)
    accuracy.main()
    first = json.loads(capsys.readouterr().out)["rows"]
    assert len(first) == 2 and all(row.keys() >= WANTED for row in first)
    assert [row["integers"] for row in first] == ["largest weight", "fine-tuned"]
    assert first[0]["chip_accuracy"] == first[0]["ptq_accuracy"] and first[0]["sops"] > 0 < first[0]["energy_j"]
    file = tmp_path / "out" / "tiny.json"
    whole = json.loads(file.read_text())["rows"]
    file.write_text(json.dumps({"rows": whole[:1]}))  # as if it was stopped between them
    accuracy.main()
    assert json.loads(capsys.readouterr().out)["rows"] == first
    monkeypatch.setattr(accuracy, "train", lambda *_: pytest.fail("trained again"))
    accuracy.main()
    assert json.loads(capsys.readouterr().out)["rows"] == first
    monkeypatch.setattr("sys.argv", [*given[:-1], "--measured"])
    accuracy.main()
    assert "| tiny | " in capsys.readouterr().out


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"lacks nmnist_train\.npz, nmnist_test\.npz; name another with --data"):
        accuracy.train("nmnist", tmp_path, tmp_path / "out")


def test_gains_are_taken_seed_by_seed() -> None:
    rows = [
        *(row(name=f"cifar10-none-{seed}", chip_accuracy=0.6 + seed / 10) for seed in range(3)),
        *(row(name=f"cifar10-spike-{seed}", attention="spike", chip_accuracy=0.61 + seed / 10) for seed in range(3)),
        row(name="cifar10-eca-0", attention="eca", integers="live gates, float", chip_accuracy=None, energy_j=None),
    ]
    lines = tables.attention(rows).splitlines()
    assert len(lines) == 2 + 3
    assert "| +1.00 ± 0.00 |" in lines[3] and "| 0.7100 |" in lines[3]
    assert lines[4].startswith("| eca | live gates, float | 1 | 0.7000 | - | - | - |")


def test_an_error_needs_two_values() -> None:
    assert tables.with_error([1.0]) == "+1.00" and tables.with_error([]) == "-"
    assert tables.with_error([1.0, 3.0]) == "+2.00 ± 1.00"


def test_mnist_is_framed_in_black(tmp_path: Path) -> None:
    images = np.full((2, 28, 28, 1), 7, np.uint8)
    for split in ("train", "test"):
        np.savez(tmp_path / f"mnist_{split}.npz", images=images, labels=np.zeros(2, np.int64))
    padded_mnist(tmp_path, tmp_path)
    found = np.load(tmp_path / "mnist32_test.npz")["images"]
    assert found.shape == (2, 32, 32, 1) and found.sum() == images.sum() and found[:, 2:30, 2:30].min() == 7


def test_every_plan_says_where_its_cell_comes_from(tmp_path: Path) -> None:
    for name, plan in PLANS.items():
        words = arguments(plan, tmp_path, tmp_path)
        assert not any("{" in word for word in words)
        assert ("--genotype" in words) == (plan.after is not None), name
        assert plan.after is None or plan.after in PLANS
